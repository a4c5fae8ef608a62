"""A table of scored leads: its columns, its order, its default moment, and that files hold what was scored."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features import roster
from features.dataset import Dataset
from features.durations import DAY
from features.errors import InvalidInput
from features.leads import NEVER, open_leads
from features.sources import files
from features.times import micros, moment_of
from serving.batch import LEADS_OUT, read_for, score_open, warnings, whom
from serving.scoring.answers import HIGHEST, NEAR, Asked
from serving.scoring.decision import Cutoff, NoCutoff
from serving.scoring.scorer import Scorer
from training.demo import Demo

PROMISED = [
    "lead_id", "account_id", "as_of", "trial_day", "probability", "is_pql", "track", "within", "percentile", "reasons",
    "against", "missing", "playbook", "model_version", "cutoff", "receipt_id",
]  # fmt: skip


@pytest.fixture(scope="module")
def scored(scorer: Scorer, history: Dataset, moments: list[int]) -> pl.DataFrame:
    return score_open(scorer, history, moments[3])


def test_the_columns_are_those_that_are_promised(scored: pl.DataFrame) -> None:
    assert scored.columns == PROMISED == list(LEADS_OUT)
    assert dict(scored.schema) == LEADS_OUT
    for name in ("reasons", "against"):
        fields = {field.name for field in scored.schema[name].inner.fields}  # type: ignore[attr-defined]
        assert fields == {"signal", "kind", "text", "facts", "contribution", "mention"}
    assert not any(scored[name].null_count() for name in PROMISED if name not in ("account_id", "playbook", "track"))


def test_the_track_is_now_for_pqls_and_for_nobody_else(scored: pl.DataFrame) -> None:
    assert ((scored["track"] == "now").fill_null(value=False) == scored["is_pql"]).all()
    assert set(scored["track"].drop_nulls()) <= {"now", "nurture"}


def test_probabilities_by_day_ascend_and_hold_that_of_the_horizon(scored: pl.DataFrame, scorer: Scorer) -> None:
    for row in scored.iter_rows(named=True):
        days, grown = ([one[name] for one in row["within"]] for name in ("days", "probability"))
        assert tuple(days) == scorer.artifact.course.days
        assert grown == sorted(grown)
        assert grown[days.index(30.0)] == row["probability"]


def test_the_day_of_the_trial_is_that_of_the_moment(scored: pl.DataFrame, history: Dataset, moments: list[int]) -> None:
    started = dict(zip(history.leads.ids, history.leads.started_at.tolist(), strict=True))
    told = [(moments[3] - started[lead]) / DAY for lead in scored["lead_id"]]
    assert scored["trial_day"].to_list() == pytest.approx(told, abs=1e-3)


def test_leads_of_ages_that_nothing_is_promised_for_are_counted(scored: pl.DataFrame, scorer: Scorer) -> None:
    young = int((scored["trial_day"] < 3).sum())
    assert young > 0
    (said,) = warnings(scored, scorer)
    assert said.startswith(f"{young:,} of them are before day 3 or from day 14 on, days of which nothing is promised")
    assert warnings(scored.filter(pl.col("trial_day") >= 3), scorer) == []


def test_evidence_that_is_out_of_date_is_said(scored: pl.DataFrame, scorer: Scorer) -> None:
    old = replace(Cutoff(0.2, 0.3, 0.9, 900, 300, 0.31, "a", "b"), expires="2020-01-01T00:00:00Z")
    stale = Scorer(replace(scorer.artifact, decision=old))
    assert warnings(scored.filter(pl.col("trial_day") >= 3), stale) == [
        "The cutoff's evidence is out of date at that moment: train again."
    ]


def test_every_open_trial_is_scored_once_and_no_other(
    scored: pl.DataFrame, history: Dataset, moments: list[int]
) -> None:
    leads, moment = history.leads, moments[3]
    expected = [
        leads.ids[i]
        for i in range(len(leads))
        if leads.started_at[i] <= moment < leads.ends_at[i]
        and leads.closed_at[i] >= moment
        and leads.converted_at[i] >= moment
    ]
    assert sorted(scored["lead_id"]) == sorted(expected)
    assert len(expected) > 50


def test_the_highest_probability_comes_first_and_ties_go_by_name(scored: pl.DataFrame) -> None:
    order = [(-row["probability"], row["lead_id"]) for row in scored.to_dicts()]
    assert order == sorted(order)


def test_leads_that_score_the_same_come_in_the_order_of_their_names(
    made_scorer: Callable[..., Scorer], rich_definition: str
) -> None:
    names = ["b", "c", "a", "d"]
    began, done = "2026-01-02T00:00:00Z", "2026-01-05T00:00:00Z"
    events = pl.DataFrame({"user_id": names, "event": "file_uploaded", "timestamp": done, "properties": "{}"})
    traits = {"company_size": 5, "source": "partner", "email": "a@b.example"}
    trials = pl.DataFrame({"user_id": names, "started_at": began, **traits})
    scorer = made_scorer(rich_definition, {"source": ["partner"]})
    found = score_open(scorer, read_for(scorer, events, trials), micros(datetime(2026, 1, 6, tzinfo=UTC)))
    assert found["probability"].n_unique() == 1
    assert found["lead_id"].to_list() == ["a", "b", "c", "d"]


def test_the_scores_are_those_of_the_scorer(
    scored: pl.DataFrame, scorer: Scorer, history: Dataset, moments: list[int]
) -> None:
    which = open_leads(history.leads, moments[3])
    found = scorer.score(history.rows(scorer.builder, which, np.full(len(which), moments[3])))
    expected = dict(zip([history.leads.ids[i] for i in which], found.probabilities.tolist(), strict=True))
    assert dict(scored.select("lead_id", "probability").iter_rows()) == expected
    cutoff = scored["cutoff"].unique().item()
    in_time = (scored["trial_day"] >= 3) & (scored["trial_day"] < 14)
    assert (scored["is_pql"] == ((scored["probability"] >= cutoff) & in_time)).all()
    assert set(scored["model_version"]) == {scorer.artifact.version}
    assert set(scored["as_of"]) == {moment_of(moments[3])}


@pytest.mark.parametrize("name", ["reasons", "against"])
def test_facts_are_json_texts_of_what_a_reason_says(scored: pl.DataFrame, name: str) -> None:
    reasons = [one for row in scored[name].to_list() for one in row]
    assert reasons
    assert all("window" in (facts := json.loads(one["facts"])) or "value" in facts for one in reasons)
    assert all(len(row) <= 3 for row in scored[name].to_list())


# --- who is explained -------------------------------------------------------------------------


def explained(frame: pl.DataFrame) -> set[str]:
    """Return the leads of whom anything is said."""
    told = (
        (pl.col("reasons").list.len() + pl.col("against").list.len() + pl.col("missing").list.len() > 0)
        | pl.col("playbook").struct.field("id").is_not_null()
    )  # fmt: skip
    return set(frame.filter(told)["lead_id"])


def test_by_default_pqls_and_those_to_nurture_and_near_ones_are_explained_and_nobody_else(
    scored: pl.DataFrame, scorer: Scorer, history: Dataset, moments: list[int]
) -> None:
    cutoff = scored["cutoff"].unique().item()
    likely = scored.filter(
        (pl.col("probability") / NEAR >= cutoff)
        | pl.col("is_pql")
        | (pl.col("track") == "nurture").fill_null(value=False)
    )
    everybody = score_open(scorer, history, moments[3], Asked())
    assert explained(scored) == explained(everybody) & set(likely["lead_id"])
    assert 0 < len(explained(scored)) < len(explained(everybody))
    near = likely.filter(~pl.col("is_pql"), pl.col("track").is_null())
    assert len(near) > 0


def test_who_is_explained_is_told_the_same_whoever_else_is(
    scored: pl.DataFrame, scorer: Scorer, history: Dataset, moments: list[int]
) -> None:
    everybody = score_open(scorer, history, moments[3], Asked())
    said = pl.col("lead_id").is_in(list(explained(scored)))
    assert_frame_equal(scored.filter(said), everybody.filter(said), check_exact=True)
    told = ["reasons", "against", "missing", "playbook", "receipt_id"]
    assert_frame_equal(scored.drop(told), everybody.drop(told), check_exact=True)


def test_where_nobody_is_a_pql_the_highest_and_those_to_nurture_are_explained(
    scorer: Scorer, history: Dataset, moments: list[int]
) -> None:
    undecided = Scorer(replace(scorer.artifact, decision=NoCutoff(0.3, 0.9, "too few")))
    found = score_open(undecided, history, moments[3])
    assert found["cutoff"].null_count() == len(found)
    which = open_leads(history.leads, moments[3])
    ranks = undecided.score(history.rows(scorer.builder, which, np.full(len(which), moments[3]))).percentiles
    highest = {history.leads.ids[lead] for lead, rank in zip(which.tolist(), ranks, strict=True) if rank >= HIGHEST}
    nurture = set(found.filter(pl.col("track") == "nurture")["lead_id"])
    everybody = explained(score_open(undecided, history, moments[3], Asked()))
    assert explained(found) == (highest | nurture) & everybody
    assert explained(found) & highest


def test_the_default_moment_is_the_end_of_the_data(scorer: Scorer, history: Dataset) -> None:
    assert_frame_equal(score_open(scorer, history), score_open(scorer, history, history.until))
    assert set(score_open(scorer, history)["as_of"]) == {moment_of(history.until)}


@pytest.mark.parametrize("moment", [0, 4_000_000_000_000_000])
def test_a_moment_at_which_no_trial_is_open_is_refused(scorer: Scorer, history: Dataset, moment: int) -> None:
    with pytest.raises(
        InvalidInput, match=r"no open trials to score at (1970|2096)-.*Name another moment with --as-of"
    ) as raised:
        score_open(scorer, history, moment)
    assert raised.value.field == "as_of"
    assert moment < NEVER


@pytest.mark.parametrize(
    ("lead", "length", "said"),
    [
        ("user", 14 * DAY, "open trials"), ("user", None, "users"), ("account", 14 * DAY, "open accounts"),
        ("account", None, "open accounts"),
    ],
)  # fmt: skip
def test_leads_are_called_what_the_definition_makes_of_them(
    scorer: Scorer, lead: str, length: int | None, said: str
) -> None:
    definition = scorer.builder.definition
    trial = definition.trial.model_copy(update={"length": length})
    assert whom(definition.model_copy(update={"lead": lead, "trial": trial})) == said


def test_without_reasons_the_scores_are_the_same_and_nothing_is_said(
    scored: pl.DataFrame, scorer: Scorer, history: Dataset, moments: list[int]
) -> None:
    silent = score_open(scorer, history, moments[3], Asked(reasons=0))
    kept = [name for name in PROMISED if name not in ("reasons", "against", "missing", "playbook", "receipt_id")]
    assert_frame_equal(silent.select(kept), scored.select(kept))
    assert silent.schema == scored.schema
    assert [silent[name].list.len().sum() for name in ("reasons", "against", "missing")] == [0, 0, 0]
    assert silent["playbook"].null_count() == len(silent)


def test_progress_is_told_after_each_part_and_parts_change_nothing(
    scored: pl.DataFrame, scorer: Scorer, demo_world: Demo, moments: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roster, "PART_LEADS", 20)
    history = read_for(scorer, demo_world.events, demo_world.trials)
    told: list[tuple[int, int]] = []
    again = score_open(scorer, history, moments[3], progress=lambda done, total: told.append((done, total)))
    assert_frame_equal(again, scored)
    assert len(told) > 2
    done = [part for part, _ in told]
    assert done == sorted(set(done))
    assert done[-1] == len(scored)
    assert {total for _, total in told} == {len(scored)}


def test_many_leads_are_explained_in_parts_that_change_nothing(
    scored: pl.DataFrame, scorer: Scorer, history: Dataset, moments: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.scoring.answers.ANSWERED_AT_ONCE", 33)
    assert_frame_equal(score_open(scorer, history, moments[3]), scored)


@pytest.mark.parametrize("ending", [".parquet", ".jsonl", ".jsonl.gz"])
def test_a_file_read_again_holds_the_same_leads(scored: pl.DataFrame, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"leads{ending}"
    files.write(scored, path)
    again = pl.read_parquet(path) if ending == ".parquet" else pl.read_ndjson(path, infer_schema_length=None)
    if again.schema["as_of"] == pl.String:
        told = pl.Series("as_of", [datetime.fromisoformat(text) for text in again["as_of"]], LEADS_OUT["as_of"])
        again = again.with_columns(told)
    assert_frame_equal(again.cast(dict(LEADS_OUT)), scored)  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_a_csv_read_again_holds_the_same_leads_with_reasons_as_json(
    scored: pl.DataFrame, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"leads{ending}"
    files.write(scored, path)
    again = pl.read_csv(path, infer_schema=False)
    assert again.columns == PROMISED
    for name in ("lead_id", "account_id", "model_version", "receipt_id"):
        assert again[name].to_list() == scored[name].to_list()
    for name in ("probability", "percentile", "cutoff"):
        assert [float(text) for text in again[name]] == scored[name].to_list()
    assert [text == "true" for text in again["is_pql"]] == scored["is_pql"].to_list()
    assert [datetime.fromisoformat(text) for text in again["as_of"]] == scored["as_of"].to_list()
    for name in ("reasons", "against", "missing", "playbook"):
        assert [text and json.loads(text) for text in again[name]] == scored[name].to_list()


def test_raw_tables_are_read_by_the_definition_inside_the_model(
    scorer: Scorer, demo_world: Demo, history: Dataset
) -> None:
    read = read_for(scorer, demo_world.events, demo_world.trials)
    assert read.definition == scorer.artifact.definition
    assert read.n_events == history.n_events
    assert_frame_equal(read.trials, history.trials)


def test_a_table_that_lacks_a_trait_of_the_model_is_refused(scorer: Scorer, demo_world: Demo) -> None:
    with pytest.raises(InvalidInput, match=r"trials: missing column\(s\) 'company_size'"):
        read_for(scorer, demo_world.events, demo_world.trials.drop("company_size"))
