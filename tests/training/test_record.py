"""What a training writes down: all of it readable without us, and nothing else touched."""

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from features.dataset import Dataset, dataset
from features.definition import Definition, parse
from features.errors import Refusal
from features.rejections import Rejection
from features.sources.source import Source
from serving.scoring.artifact import FILES, load
from serving.scoring.decision import Cutoff, NoCutoff, Segmented, from_facts, to_facts
from training import record
from training.demo import Demo
from training.evaluate import METRICS, PREDICTION_COLUMNS, Promise
from training.judging import evidence
from training.leaks import Leak
from training.pipeline import Trained

ROOT = Path(__file__).resolve().parents[2]
REFUSAL = Refusal("no signal: as if by chance.")


def metrics_of(folder: Path) -> dict[str, Any]:
    """The figures as strict JSON, in which NaN is no number."""
    text = (folder / record.METRICS_FILE).read_text(encoding="utf-8")
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert isinstance(found, dict)
    return found


def predictions_of(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / record.PREDICTIONS)


@pytest.fixture(scope="module")
def written(trained: Trained, history: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record.write_trained(trained, history, tmp_path_factory.mktemp("out") / "new" / "latest")


@pytest.fixture(scope="module")
def refused(history: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record.write_refusal(REFUSAL, history, tmp_path_factory.mktemp("out"))


# --- a version --------------------------------------------------------------------------------


def test_the_artifact_is_written_as_its_three_files(written: Path, trained: Trained) -> None:
    assert sorted(path.name for path in (written / "artifact").iterdir()) == sorted(FILES)
    assert load(written / "artifact").version == trained.artifact.version


def test_predictions_read_back_as_they_were(written: Path, trained: Trained) -> None:
    found = predictions_of(written)
    for name in PREDICTION_COLUMNS:
        here, there = pd.Series(found[name].to_list()), trained.daily[name].reset_index(drop=True)
        # A figure that is no number is not equal to itself.
        assert ((here == there) | (here.isna() & there.isna())).all(), name


def test_predictions_have_the_promised_types(written: Path) -> None:
    assert dict(predictions_of(written).schema) == {
        "lead_id": pl.String, "account": pl.Int64, "as_of": pl.Datetime("us", "UTC"), "trial_day": pl.Float64,
        "probability": pl.Float64, "converted": pl.Int64, "converted_in_days": pl.Float64, "is_pql": pl.Boolean,
        "segment": pl.String, "logistic": pl.Float64, "base_rate": pl.Float64, "points": pl.Float64, "rule": pl.Boolean,
        "later": pl.Float64, "later_days": pl.Float64, "is_nurture": pl.Boolean,
        "at_age": pl.Boolean,
    }  # fmt: skip


def test_metrics_name_the_version_and_the_data(written: Path, trained: Trained, history: Dataset) -> None:
    found = metrics_of(written)
    assert (found["version"], found["data"]) == (trained.artifact.version, history.digest)


def test_metrics_hold_every_figure_with_its_interval(written: Path, trained: Trained) -> None:
    figures = metrics_of(written)["figures"]
    for name in METRICS:
        one = trained.figures[name]
        assert (figures[name], figures[f"{name}_low"], figures[f"{name}_high"]) == (one.value, one.low, one.high)


def test_metrics_say_how_the_promise_was_kept(written: Path) -> None:
    figures, table = metrics_of(written)["figures"], predictions_of(written)
    flagged = table.filter("is_pql").unique("lead_id", keep="first", maintain_order=True)
    assert (figures["pql_leads"], figures["pql_converted"]) == (len(flagged), flagged["converted"].sum())
    assert figures["pql_precision"] == pytest.approx(flagged["converted"].mean())


def test_metrics_tell_the_decision_with_its_evidence(written: Path, trained: Trained) -> None:
    decision = metrics_of(written)["decision"]
    assert (decision["kind"], decision["at_least"]) == ("Cutoff", trained.artifact.decision.at_least)
    assert decision["precision_low"] >= decision["at_least"]
    assert from_facts(decision) == trained.artifact.decision


def test_metrics_of_a_version_without_a_cutoff_say_why(trained: Trained, history: Dataset, tmp_path: Path) -> None:
    decision = NoCutoff(0.3, 0.9, "too few leads")
    none = Promise(0, 0, None, 0.3, 0.0)
    without = replace(trained, artifact=replace(trained.artifact, decision=decision), promise=none)
    found = metrics_of(record.write_trained(without, history, tmp_path))
    assert found["decision"] == to_facts(decision)
    assert not {"cutoff", "pql_precision"} & set(found["figures"])


def test_a_figure_that_is_no_number_is_null(trained: Trained, history: Dataset, tmp_path: Path) -> None:
    unknown = replace(trained, promise=replace(trained.promise, caught=math.nan))
    assert metrics_of(record.write_trained(unknown, history, tmp_path))["figures"]["pql_caught"] is None


def test_texts_that_look_like_no_number_are_kept(trained: Trained, history: Dataset, tmp_path: Path) -> None:
    strange = replace(history, rejections=(Rejection("events", "NaN", 1, ("{'user_id': 'NaN'}",)),))
    found = metrics_of(record.write_trained(trained, strange, tmp_path))
    assert found["rejections"] == [{"table": "events", "reason": "NaN", "count": 1, "samples": ["{'user_id': 'NaN'}"]}]


def test_a_refused_version_says_so_in_its_metrics(
    trained: Trained, history: Dataset, tmp_path: Path, written: Path
) -> None:
    folder = record.write_trained(replace(trained, refusal=REFUSAL), history, tmp_path)
    assert (metrics_of(folder)["refusal"], metrics_of(written)["refusal"]) == (str(REFUSAL), None)


def test_parameters_are_flat_and_say_what_was_learned_from(trained: Trained) -> None:
    found = record.parameters(trained)
    assert not [value for value in found.values() if isinstance(value, dict)]
    assert found["fit_leads"] == len(np.unique(trained.table.lead[trained.split.fit]))
    assert found["fingerprint"] == trained.artifact.builder.fingerprint


def test_every_cutoff_of_a_decision_is_a_figure_under_a_name_of_its_own(trained: Trained) -> None:
    one = Cutoff(0.3, 0.25, 0.95, 80, 30, 0.27, "", "", leads_per_week=2.5)
    decision = Segmented("source", ("a b", "web"), (None, one), NoCutoff(0.25, 0.9, "why"))
    found = record.figures(replace(trained, artifact=replace(trained.artifact, decision=decision)))
    assert {key: value for key, value in found.items() if key.startswith("cutoff")} == {
        "cutoff_segment_2": 0.3, "cutoff_segment_2_leads": 80, "cutoff_segment_2_converted": 30,
        "cutoff_segment_2_precision_low": 0.27, "cutoff_segment_2_leads_per_week": 2.5,
    }  # fmt: skip


def test_a_gain_over_a_baseline_has_both_ends(written: Path, trained: Trained) -> None:
    figures, gain = metrics_of(written)["figures"], trained.against["logistic"]
    names = ("log_loss_minus_logistic", "log_loss_minus_logistic_low", "log_loss_minus_logistic_high")
    assert [figures[name] for name in names] == [gain.value, gain.low, gain.high]


def test_metrics_hold_all_that_the_predictions_say(written: Path, trained: Trained) -> None:
    figures = metrics_of(written)["figures"]
    said = evidence.figures(record.evidence_of(trained))
    assert {"miscalibration", "cox_p_value", "day_3_auc", "capacity_10_precision", "backtest_logistic_gain"} <= set(
        said
    )
    for name, value in said.items():
        assert figures[name] == (value if math.isfinite(value) else None)


def test_figures_have_names_that_a_registry_takes(trained: Trained) -> None:
    predictions = trained.daily.assign(segment="<strange/ name>", rule=True, points=1.0)
    names = record.figures(replace(trained, daily=predictions))
    assert [name for name in names if not re.fullmatch(r"[\w.-]+", name)] == []
    assert "segment_1_observed_to_expected" in names


def test_metrics_tell_what_leaked_and_how_the_model_was_chosen(
    trained: Trained, history: Dataset, tmp_path: Path
) -> None:
    leak = Leak("invoices", "consequence", "follows conversions", {"share": 0.96})
    found = metrics_of(
        record.write_trained(replace(trained, leaks=(leak,), tried={"candidates": 3}), history, tmp_path)
    )
    assert found["leaks"][0]["name"] == "invoices"
    assert [step["rung"] for step in found["ladder"]] == [step.rung for step in trained.ladder]
    assert found["tried"] == {"candidates": 3}


# --- a refusal --------------------------------------------------------------------------------


def test_a_refusal_leaves_its_reason_and_no_version(refused: Path, history: Dataset) -> None:
    found = metrics_of(refused)
    assert (found["version"], found["refusal"], found["data"]) == (None, str(REFUSAL), history.digest)
    assert not (refused / "artifact").exists()


def test_a_refusal_leaves_no_predictions_but_their_columns_and_types(refused: Path, written: Path) -> None:
    empty = predictions_of(refused)
    assert len(empty) == 0
    assert empty.schema == predictions_of(written).schema
    assert tuple(empty.columns) == PREDICTION_COLUMNS


# --- the folder -------------------------------------------------------------------------------


def test_a_refusal_after_a_version_leaves_nothing_of_the_version(
    trained: Trained, history: Dataset, tmp_path: Path
) -> None:
    record.write_trained(trained, history, tmp_path)
    (tmp_path / record.REPORT).write_text("of the version", encoding="utf-8")
    record.write_refusal(REFUSAL, history, tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "metrics.json",
        "test_predictions.parquet",
    ]


def test_what_else_lies_in_the_folder_stays(trained: Trained, history: Dataset, tmp_path: Path) -> None:
    """Somebody may write to the folder in which they work."""
    (tmp_path / "src").mkdir()
    for mine in ("notes.txt", "src/work.py", "events.parquet"):
        (tmp_path / mine).write_text("mine", encoding="utf-8")
    for _ in range(2):
        record.write_trained(trained, history, tmp_path)
    assert all(
        (tmp_path / mine).read_text(encoding="utf-8") == "mine"
        for mine in ("notes.txt", "src/work.py", "events.parquet")
    )


def test_the_folder_is_made_where_there_is_none(history: Dataset, tmp_path: Path) -> None:
    assert record.write_refusal(REFUSAL, history, tmp_path / "a" / "b").is_dir()


# --- the digest -------------------------------------------------------------------------------


def small(demo: Demo, text: str) -> tuple[pl.DataFrame, pl.DataFrame, Definition]:
    """Raw tables of a tenth of the demo's users."""
    trials = demo.trials.head(150)
    return demo.events.filter(pl.col("user_id").is_in(trials["user_id"].to_list())), trials, parse(text)


def test_equal_tables_have_the_same_digest_in_whatever_order_their_events_are(
    demo_world: Demo, definition_text: str
) -> None:
    events, trials, definition = small(demo_world, definition_text)
    one = dataset(events, trials, definition)
    for again in (events.clone(), events.reverse(), events.sample(fraction=1.0, shuffle=True, seed=4)):
        assert dataset(again, trials, definition).digest == one.digest


def test_equal_tables_have_the_same_digest_in_whatever_parts_they_are_read(
    demo_world: Demo, definition_text: str
) -> None:
    events, trials, definition = small(demo_world, definition_text)
    batches = Source("events", lambda _: events.iter_slices(1_000))
    assert dataset(batches, trials, definition).digest == dataset(events, trials, definition).digest


def test_one_event_less_has_another_digest(demo_world: Demo, definition_text: str) -> None:
    events, trials, definition = small(demo_world, definition_text)
    events = events.unique("message_id", maintain_order=True)
    last = (pl.col("event") == "session_started") & (pl.col("timestamp") > trials["started_at"].max())
    place = events.select(last.arg_true()).to_series()[0]
    fewer = pl.concat([events[:place], events[place + 1 :]])
    whole, less = (dataset(one, trials, definition) for one in (events, fewer))
    assert whole.digest != less.digest


ONE = {"user_id": "u", "event": "limit_reached", "timestamp": datetime(2026, 3, 2, tzinfo=UTC)}
CHANGES: list[dict[str, object]] = [
    {"properties": '{"limit": "b"}'},
    {"properties": None},
    {"properties": '{"limit": "a"}', "received_at": datetime(2026, 3, 5, tzinfo=UTC)},
    {"properties": '{"company_size": 9}', "event": "$identify"},
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("lead", ["user", "account"])
def test_whatever_a_row_of_features_depends_on_changes_the_digest(
    change: dict[str, object], lead: str, rich_definition: str, rich_account_definition: str
) -> None:
    """Values that are only told apart, arrivals where they count, and facts that events tell."""
    definition = parse((rich_definition if lead == "user" else rich_account_definition) + "clock: received_at\n")
    kinds: dict[str, pl.DataType] = {"received_at": pl.Datetime("us", "UTC"), "properties": pl.String()}
    base = {**ONE, "properties": '{"limit": "a"}', "received_at": datetime(2026, 3, 2, tzinfo=UTC)}
    other = {**ONE, "user_id": "x", "properties": '{"company_size": 3}', "event": "$identify", "received_at": None}
    trials = pl.DataFrame(
        {"user_id": ["u"], "account_id": ["A"], "started_at": [datetime(2026, 3, 1, tzinfo=UTC)],
         "converted_at": pl.Series([None], dtype=pl.Datetime("us", "UTC")), "source": ["x"], "email": ["a@b.example"]},
    )  # fmt: skip
    earlier = datetime(2026, 3, 1, 7, tzinfo=UTC)
    before = {**base, "timestamp": earlier, "received_at": earlier}
    told = {**base, "properties": '{"company_size": 3}', "event": "$identify"}
    first = told if change.get("event") == "$identify" else base
    digests = [
        dataset(pl.DataFrame([other, before, row], schema_overrides=kinds), trials, definition).digest
        for row in (first, {**first, **change}, dict(first))
    ]
    assert digests[0] == digests[2] != digests[1]


IN_ANOTHER_PROCESS = """
from datetime import UTC, datetime
import sys
import pandas as pd
import polars as pl
from features.dataset import dataset
from features.definition import parse
from training import record
from training.judging import evidence
values = ["business", "team", "solo", "enterprise", "none", "x"]
events = pl.DataFrame({
    "user_id": "u", "event": "limit_reached", "properties": [f'{{"limit": "{value}"}}' for value in values],
    "timestamp": [datetime(2026, 3, 2, hour, tzinfo=UTC) for hour in range(len(values))],
})
trials = pl.DataFrame({
    "user_id": ["u"], "account_id": ["A"], "started_at": [datetime(2026, 3, 1, tzinfo=UTC)], "company_size": [3],
    "source": ["x"], "email": ["a@b.example"],
    "converted_at": pl.Series([None], dtype=pl.Datetime("us", "UTC")),
})
print(dataset(events, trials, parse(sys.stdin.read())).digest)
"""


def test_equal_tables_have_the_same_digest_in_every_process(rich_definition: str) -> None:
    """Or the same data would look like other data each time it is trained on."""
    found = {
        subprocess.run(
            [sys.executable, "-c", IN_ANOTHER_PROCESS], input=rich_definition, text=True, capture_output=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)},
        ).stdout
        for seed in (1, 2, 3)
    }  # fmt: skip
    assert len(found) == 1


def test_one_trial_less_has_another_digest(demo_world: Demo, definition_text: str) -> None:
    events, trials, definition = small(demo_world, definition_text)
    whole, less = (dataset(events, one, definition) for one in (trials, trials.head(len(trials) - 1)))
    assert whole.digest != less.digest


def test_the_digest_of_accounts_does_not_depend_on_the_order_of_events(
    demo_world: Demo, rich_account_definition: str
) -> None:
    events, trials, definition = small(demo_world, rich_account_definition)
    one, other = (dataset(frame, trials, definition) for frame in (events, events.reverse()))
    assert one.digest == other.digest


def test_one_value_changed_has_another_digest(history: Dataset) -> None:
    last = pl.int_range(pl.len()) == pl.len() - 1
    trials = history.trials.with_columns(company_size=pl.col("company_size") + last.cast(pl.Int64))
    assert replace(history, trials=trials).digest != history.digest
