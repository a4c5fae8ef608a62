"""The commands as people and machines use them: what they print, what they write, and what they end with."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result
from starlette.testclient import TestClient

import pql
from features.definition import parse
from features.errors import Refusal
from features.times import parse_instant
from serving.scoring.answers import NAMED_BY_INPUT
from serving.scoring.artifact import FILES, load
from serving.scoring.scorer import Scorer
from tests.serving.inside import desk_of, front
from training import tracking
from training.demo import Demo, simulate, write
from training.registry import meant
from training.registry.entry import DataFacts, Entry

ROOT = Path(__file__).parents[1]
VERBS = sorted(pql.main.commands)


def run(*words: object) -> Result:
    """Run one command; an error that we did not mean to tell is a failure of the test."""
    result = CliRunner().invoke(pql.main, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def fine(*words: object) -> Result:
    result = run(*words)
    assert result.exit_code == 0, result.output
    return result


def refused(code: int, *words: object) -> str:
    """Run a command that must end with this code, and return the sentence it says on stderr."""
    result = run(*words)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.stderr


def said(result: Result) -> dict[str, Any]:
    """Return the one JSON object that a command printed, which must be strict JSON."""
    found = json.loads(result.stdout, parse_constant=lambda text: pytest.fail(f"{text} is not JSON"))
    assert isinstance(found, dict)
    assert result.stdout.count("\n") == 1
    return found


@pytest.fixture(scope="module")
def small() -> Demo:
    return simulate(900, seed=1)


@pytest.fixture(scope="module")
def tables(small: Demo, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write(small, tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder to work in, with a registry of its own."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        yield folder


@dataclass(frozen=True)
class Journey:
    """What each step of the way from raw events to scored leads printed."""

    folder: Path
    before: Result
    too_early: str
    init: Result
    train: Result
    models: Result
    score: Result


@pytest.fixture(scope="module")
def journey(home: Path, tables: tuple[Path, Path]) -> Journey:
    events, trials = tables
    return Journey(
        folder=home,
        before=fine("models"),
        too_early=refused(2, "score", events, "--trials", trials),
        init=fine("init", events, "--trials", trials, "--product", "Corkboard", "--json"),
        train=fine("train", events, "--trials", trials, "--out", "out", "--json"),
        models=fine("models", "--json"),
        score=fine("score", events, "--trials", trials, "-o", "leads.parquet", "--json"),
    )


# --- the whole way ----------------------------------------------------------------------------


def test_before_the_first_training_there_is_no_version_and_the_way_to_one_is_told(journey: Journey) -> None:
    assert journey.before.stdout == "No version is registered yet. Train one with `pql train`.\n"
    assert re.match(
        r"InvalidInput: there is no model 'pql-scorer@champion' in the registry .*`pql train`", journey.too_early
    )


def test_init_drafts_a_definition_that_can_be_trained_with(journey: Journey) -> None:
    told = said(journey.init)
    definition = parse((journey.folder / "pql.yaml").read_text(encoding="utf-8"))
    assert told["definition"] == "pql.yaml"
    assert told["signals"] == [signal.name for signal in definition.signals]
    assert told["evidence"].startswith("Strongest evidence first, from ")
    assert definition.product == "Corkboard"
    assert {"invite_accepted", "pricing_viewed", "task_completed"} <= set(told["signals"])
    left_out = {line.partition(":")[0] for line in told["left_out"]}
    assert {"subscription_started", "invoice_paid", "seat_added"} <= left_out
    assert not left_out & {event.event for signal in definition.signals for event in signal.events}


def test_train_writes_a_version_with_its_evidence(journey: Journey) -> None:
    told, out = said(journey.train), journey.folder / "out"
    assert told["folder"] == "out"
    assert (told["registered"], told["promoted"], told["rejections"]) == (1, True, [])
    artifact = load(out / "artifact")
    assert told["version"] == artifact.version
    assert sorted(path.name for path in (out / "artifact").iterdir()) == sorted(FILES)
    assert artifact.definition_text == (journey.folder / "pql.yaml").read_text(encoding="utf-8")
    metrics = json.loads((out / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert metrics["version"] == artifact.version
    assert metrics["figures"] == pytest.approx(told["figures"])
    assert 0.5 < metrics["figures"]["auc_low"] < metrics["figures"]["auc"] < metrics["figures"]["auc_high"] <= 1
    predictions = pl.read_parquet(out / "test_predictions.parquet")
    assert {"lead_id", "as_of", "probability", "converted"} <= set(predictions.columns)
    assert predictions.schema["as_of"] == pl.Datetime("us", "UTC")
    assert predictions["probability"].is_between(0, 1, closed="none").all()
    assert set(predictions["converted"]) == {0, 1}
    page = (out / "report.html").read_text(encoding="utf-8")
    assert artifact.version in page
    assert "Corkboard" in page


def test_the_steps_are_told_on_stderr_and_leave_stdout_to_machines(journey: Journey) -> None:
    assert "judging on later trials" in journey.train.stderr
    assert journey.train.stdout.startswith("{")


def test_models_lists_the_version_with_its_figures_and_verdict(journey: Journey) -> None:
    trained = said(journey.train)
    (version,) = said(journey.models)["versions"]
    assert (version["number"], version["content"], version["aliases"]) == (1, trained["version"], ["champion"])
    assert version["verdict"] == trained["why"]
    assert version["figures"]["auc"] == pytest.approx(trained["figures"]["auc"])
    lines = fine("models").stdout
    assert trained["version"] in lines
    assert "champion" in lines


def test_score_writes_every_open_lead(journey: Journey, small: Demo) -> None:
    told = said(journey.score)
    leads = pl.read_parquet(journey.folder / "leads.parquet")
    assert (told["out"], told["leads"], told["rejections"]) == ("leads.parquet", len(leads), [])
    assert told["pqls"] == leads["is_pql"].sum()
    assert told["as_of"] == leads["as_of"][0].isoformat()
    assert leads["as_of"][0] == small.events["timestamp"].max()
    open_at_the_end = small.trials.filter(
        pl.col("ends_at") > leads["as_of"][0], pl.col("closed_at").is_null(), pl.col("converted_at").is_null()
    )
    assert sorted(leads["lead_id"]) == sorted(open_at_the_end["user_id"])


def test_events_that_were_sent_twice_are_counted_and_told(journey: Journey, small: Demo) -> None:
    definition = parse((journey.folder / "pql.yaml").read_text(encoding="utf-8"))
    names = {match.event for signal in definition.signals for match in signal.events}
    read = small.events.filter(
        pl.col("event").is_in(names) & pl.col("user_id").is_in(small.trials["user_id"].implode())
    )
    repeated = len(read) - read.n_unique(["user_id", "message_id"])
    assert repeated > 100
    for result in (journey.train, journey.score):
        assert said(result)["set_right"] == {"events that were there more than once, counted once": repeated}


def test_what_is_dated_after_its_arrival_or_after_today_is_told(here: Path, small: Demo, model_folder: Path) -> None:
    some = small.events.tail(3)
    late = some.with_columns(timestamp=pl.col("received_at") + timedelta(hours=1), message_id=pl.lit(None, pl.String))
    never = some.with_columns(
        timestamp=pl.lit(datetime(2999, 1, 1, tzinfo=UTC)).cast(some.schema["timestamp"]),
        received_at=pl.lit(None, some.schema["received_at"]), message_id=pl.lit(None, pl.String),
    )  # fmt: skip
    pl.concat([small.events, late, never]).write_parquet(here / "e.parquet")
    small.trials.write_parquet(here / "t.parquet")
    found = fine("score", "e.parquet", "--trials", "t.parquet", "--model", model_folder, "--json")
    told = said(found)
    assert told["set_right"]["events dated after their arrival, moved to it"] == 3
    (refused,) = told["rejections"]
    assert refused.startswith("events: 3 row(s) refused: timestamp lies in the future.")


def test_what_is_scored_in_a_file_is_what_the_service_answers(
    journey: Journey, small: Demo, posted: Callable[..., dict[str, Any]]
) -> None:
    rows = pl.read_parquet(journey.folder / "leads.parquet").head(40).to_dicts()
    with meant.model_folder(meant.DEFAULT_MODEL) as folder:
        scorer = Scorer.from_folder(folder)
    assert scorer.artifact.version == said(journey.train)["version"]
    app = front(desk_of(scorer, 0))
    traits = [trait.name for trait in scorer.builder.definition.traits]
    leads = [posted(small.events, small.trials, row["lead_id"], traits) for row in rows]
    with TestClient(app) as client:
        body = {"leads": leads, "as_of": rows[0]["as_of"].isoformat()}
        results = client.post("/score", json=body).json()["results"]
    explained = 0
    for row, result in zip(rows, results, strict=True):
        assert result["probability"] == pytest.approx(row["probability"], abs=1e-12)
        # A file explains the likely ones, a request whom it is asked for.
        if row["reasons"]:
            assert [one["text"] for one in result["reasons"]] == [one["text"] for one in row["reasons"]]
        explained += bool(row["reasons"])
        length = None if row["reasons"] else NAMED_BY_INPUT
        assert result["receipt_id"][:length] == row["receipt_id"][:length]
    assert explained > 3


@pytest.mark.parametrize("model", ["pql-scorer@champion", "pql-scorer/1", "out/artifact"])
@pytest.mark.parametrize("ending", ["csv", "jsonl", "jsonl.gz"])
def test_every_name_of_a_model_and_every_format_gives_the_same_scores(
    journey: Journey, tables: tuple[Path, Path], model: str, ending: str
) -> None:
    out = f"{ending}/leads.{ending}"
    result = fine("score", tables[0], "--trials", tables[1], "--model", model, "-o", out)
    expected = pl.read_parquet(journey.folder / "leads.parquet")
    assert f"{len(expected)} open trials scored as of" in result.stdout
    content = (journey.folder / out).read_bytes()
    plain = gzip.decompress(content) if ending.endswith("gz") else content
    found = pl.read_csv(plain) if ending == "csv" else pl.read_ndjson(plain)
    assert found["lead_id"].to_list() == expected["lead_id"].to_list()
    assert found["probability"].to_list() == expected["probability"].to_list()


def test_score_at_another_moment_without_reasons(journey: Journey, tables: tuple[Path, Path]) -> None:
    words = ("score", tables[0], "--trials", tables[1], "--model", "out/artifact", "-o", "then.parquet")
    told = said(fine(*words, "--as-of", "2025-06-01T12:00:00+02:00", "--reasons", 0, "--json"))
    assert told["as_of"] == "2025-06-01T10:00:00+00:00"
    leads = pl.read_parquet(journey.folder / "then.parquet")
    assert leads["reasons"].list.len().sum() == 0


def test_the_same_tables_as_csv_and_json_lines_score_the_same(journey: Journey, small: Demo, tmp_path: Path) -> None:
    expected = pl.read_parquet(journey.folder / "leads.parquet")
    texts = {"events": small.events.with_columns(pl.col(pl.Datetime).dt.to_string("iso:strict")),
             "trials": small.trials.with_columns(pl.col(pl.Datetime).dt.to_string("iso:strict"))}  # fmt: skip
    texts["events"].write_csv(tmp_path / "events.csv")
    texts["trials"].write_ndjson(tmp_path / "trials.ndjson")
    fine(
        "score",
        tmp_path / "events.csv",
        "--trials",
        tmp_path / "trials.ndjson",
        "--model",
        "out/artifact",
        "-o",
        "two.parquet",
    )
    found = pl.read_parquet("two.parquet")
    assert found["lead_id"].to_list() == expected["lead_id"].to_list()
    assert found["probability"].to_list() == pytest.approx(expected["probability"].to_list(), abs=1e-12)


def test_training_again_on_the_same_data_changes_nothing_in_service_and_says_so(
    journey: Journey, tables: tuple[Path, Path]
) -> None:
    result = fine("train", tables[0], "--trials", tables[1], "--out", "again")
    for word in ("Learned", "Ranking", "Cutoff", "Version", "Model", "Report"):
        assert re.search(rf"^{word} +\S", result.stdout, re.MULTILINE), result.stdout
    assert "Next" not in result.stdout
    version = load(Path("again/artifact")).version
    assert version == said(journey.train)["version"]
    assert (
        f"Version  {version}, registered as pql-scorer/2. Not promoted: the same data and definition" in result.stdout
    )
    second, first = said(fine("models", "--json"))["versions"]
    assert (first["number"], first["aliases"]) == (1, ["champion"])
    assert (second["number"], second["aliases"]) == (2, [])
    assert second["verdict"] in result.stdout


# --- honest refusals --------------------------------------------------------------------------


def test_without_conversions_training_refuses_with_3_and_still_writes_everything(
    journey: Journey, small: Demo, definition_text: str, tmp_path: Path
) -> None:
    kept = small.events.filter(~pl.col("event").is_in(["subscription_started", "seat_added", "invoice_paid"]))
    kept.write_parquet(tmp_path / "events.parquet")
    small.trials.with_columns(pl.lit(None, pl.Datetime("us", "UTC")).alias("converted_at")).write_parquet(
        tmp_path / "trials.parquet"
    )
    Path("demo.yaml").write_text(definition_text, encoding="utf-8")
    known = said(fine("models", "--json"))["versions"]
    result = run(
        "train",
        tmp_path / "events.parquet",
        "--trials",
        tmp_path / "trials.parquet",
        "-d",
        "demo.yaml",
        "--out",
        "no",
        "--json",
    )
    assert result.exit_code == 3
    assert re.search(r"^NotEnoughData: .*\b0 conversions.*Wait for more history", result.stderr, re.MULTILINE)
    told = said(result)
    assert (told["version"], told["registered"], told["promoted"]) == (None, None, False)
    assert "conversions" in told["why"]
    metrics = json.loads(Path("no/metrics.json").read_text(encoding="utf-8"))
    assert metrics["version"] is None
    assert "conversions" in metrics["refusal"]
    predictions = pl.read_parquet("no/test_predictions.parquet")
    assert len(predictions) == 0
    assert {"lead_id", "as_of", "probability", "converted"} <= set(predictions.columns)
    assert "conversions" in Path("no/report.html").read_text(encoding="utf-8")
    assert not Path("no/artifact").exists()
    assert said(fine("models", "--json"))["versions"] == known


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ("training.learn.too_good", "too good to be true: as if it had seen the outcome"),
        ("training.learn.calibrate", "no signal: higher scores do not convert more often"),
        ("training.pipeline._no_signal", "no signal: chance explains the AUC"),
    ],
)
def test_whatever_refuses_a_learned_version_ends_with_3_and_leaves_it_out_of_service(
    journey: Journey, tables: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, step: str, why: str
) -> None:
    def refuses(*_: object) -> Refusal:
        if step.endswith("calibrate"):
            raise Refusal(why)
        return Refusal(why)

    monkeypatch.setattr(step, refuses)
    before = said(fine("models", "--json"))["versions"]
    result = run("train", tables[0], "--trials", tables[1], "--out", "refused", "--json")
    assert result.exit_code == 3, result.output
    assert why in result.stderr
    told = said(result)
    assert (told["promoted"], told["registered"]) == (False, len(before) + 1)
    assert json.loads(Path("refused/metrics.json").read_text(encoding="utf-8"))["decision"]["kind"] == "NoCutoff"
    assert not pl.read_parquet("refused/test_predictions.parquet")["is_pql"].any()
    serving = [one["number"] for one in said(fine("models", "--json"))["versions"] if "champion" in one["aliases"]]
    assert serving == [one["number"] for one in before if "champion" in one["aliases"]]


def test_without_signal_the_version_is_registered_but_not_promoted(
    journey: Journey, small: Demo, definition_text: str, tmp_path: Path
) -> None:
    """Conversions given out by lot: there is nothing to find."""
    fewer = small.trials.gather_every(2)
    opened = fewer["started_at"]
    wait = (fewer["converted_at"] - opened).shuffle(seed=3)
    drawn = fewer.with_columns(converted_at=opened + wait, closed_at=pl.lit(None, pl.Datetime("us", "UTC")))
    drawn = drawn.with_columns(company_size=drawn["company_size"].shuffle(seed=5), email=pl.lit("a@b.example"))
    drawn.write_parquet(tmp_path / "trials.parquet")
    kept = small.events.filter(
        ~pl.col("event").is_in(["subscription_started", "seat_added", "invoice_paid", "trial_cancelled"])
    )
    kept.write_parquet(tmp_path / "events.parquet")
    Path("demo.yaml").write_text(definition_text, encoding="utf-8")
    known = said(fine("models", "--json"))["versions"]
    result = run(
        "train", tmp_path / "events.parquet", "--trials", tmp_path / "trials.parquet", "-d", "demo.yaml", "--out", "lot",
        "--test-from", "2025-08-15", "--json",
    )  # fmt: skip
    assert result.exit_code == 3, result.output
    assert re.search(
        r"^Refusal: no signal: .*log loss .* than giving everybody the base rate", result.stderr, re.MULTILINE
    )
    told = said(result)
    assert told["promoted"] is False
    newest, *others = said(fine("models", "--json"))["versions"]
    assert others == known
    assert (newest["number"], newest["aliases"]) == (told["registered"], [])
    assert "no signal" in newest["verdict"]
    assert load(Path("lot/artifact")).training["test_from"] == "2025-08-15T00:00:00Z"
    assert Path("lot/report.html").exists()
    assert len(pl.read_parquet("lot/test_predictions.parquet")) > 0


@dataclass(frozen=True)
class Refused:
    """A training that has nothing to learn from: what is done to the demo's data and definition, and what is said of it.

    Attributes
    ----------
    definition : changes the text of the definition
    trials : changes the trials table
    """

    sentence: str
    words: tuple[str, ...] = ()
    definition: Callable[[str], str] = lambda text: text
    trials: Callable[[pl.DataFrame], pl.DataFrame] = lambda table: table


def _begun_when_won(trials: pl.DataFrame) -> pl.DataFrame:
    return trials.with_columns(
        started_at=pl.coalesce(pl.col("converted_at") - timedelta(minutes=3), "started_at"),
        ends_at=pl.lit(None, trials.schema["ends_at"]), closed_at=pl.lit(None, trials.schema["closed_at"]),
    )  # fmt: skip


def _telling_trait(trials: pl.DataFrame) -> pl.DataFrame:
    paying = pl.when(pl.col("converted_at").is_null()).then(pl.lit("none")).otherwise(pl.lit("paying"))
    return trials.with_columns(billing=paying)


ONLY_BILLING = """
product: Corkboard
trial: {length: 14d}
conversion: {column: converted_at, horizon: 30d}
score_at: [3d, 7d, 10d]
windows: [7d]
traits: [{name: billing, type: category}]
cutoff: {policy: precision, at_least: 0.3}
"""

REFUSED = {
    "nothing is known yet": Refused(
        r"^Refusal: no snapshot has a known outcome yet\. Wait for more history, shorten the horizon",
        definition=lambda text: text.replace("horizon: 30d", "horizon: 700d"),
    ),
    "too little before the test": Refused(
        r"^NotEnoughData: training part \(tested from 2025-01-20.*Wait for more history", ("--test-from", "2025-01-20")
    ),
    "too little to test on": Refused(
        r"^NotEnoughData: test part \(tested from 2025-12-30.*or move --test-from", ("--test-from", "2025-12-30")
    ),
    "trials that began when they were won": Refused(
        r"^Refusal: .*began within ten minutes of converting.*Export the moment at which each trial really began",
        trials=_begun_when_won,
    ),
    "only what tells the outcome": Refused(
        r"^Refusal: without what tells the outcome \('billing'\) the definition does not hold.*trusted: true",
        definition=lambda _: ONLY_BILLING, trials=_telling_trait,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_each_refusal_ends_with_3_says_what_would_help_and_leaves_a_report(
    here: Path, small: Demo, definition_text: str, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    wanted = REFUSED[case]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here}/mlflow.db")
    small.events.write_parquet(here / "events.parquet")
    wanted.trials(small.trials).write_parquet(here / "trials.parquet")
    (here / "pql.yaml").write_text(wanted.definition(definition_text), encoding="utf-8")
    result = run("train", "events.parquet", "--trials", "trials.parquet", "--out", "no", *wanted.words, "--json")
    assert result.exit_code == 3, result.output
    (sentence,) = [line for line in result.stderr.splitlines() if re.match(r"(Refusal|NotEnoughData): ", line)]
    assert re.search(wanted.sentence, sentence), sentence
    told = said(result)
    assert (told["version"], told["promoted"]) == (None, False)
    assert told["why"].removeprefix("Not promoted: ") in sentence
    assert json.loads((here / "no" / "metrics.json").read_text(encoding="utf-8"))["refusal"] in sentence
    assert (here / "no" / "report.html").exists()
    assert said(fine("models", "--json"))["versions"] == []


@pytest.mark.parametrize("case", ["nothing is known yet", "too little before the test", "too little to test on"])
def test_discovery_refuses_with_3_what_training_does(here: Path, small: Demo, definition_text: str, case: str) -> None:
    wanted = REFUSED[case]
    small.events.write_parquet(here / "events.parquet")
    small.trials.write_parquet(here / "trials.parquet")
    (here / "pql.yaml").write_text(wanted.definition(definition_text), encoding="utf-8")
    error = refused(3, "discover", "events.parquet", "--trials", "trials.parquet", "--out", "no", *wanted.words)
    assert re.search(wanted.sentence, error, re.MULTILINE), error
    assert not (here / "no").exists()


def test_a_draft_of_data_without_outcomes_is_written_all_the_same(here: Path, small: Demo) -> None:
    small.events.filter(~pl.col("event").is_in(["subscription_started", "seat_added", "invoice_paid"])).write_parquet(
        here / "events.parquet"
    )
    small.trials.with_columns(pl.lit(None, pl.Datetime("us", "UTC")).alias("converted_at")).write_parquet(
        here / "trials.parquet"
    )
    told = said(fine("init", "events.parquet", "--trials", "trials.parquet", "-o", "new.yaml", "--json"))
    assert re.match(r"No figures beside the signals: training part.* 0 conversions", told["evidence"])
    assert f"# {told['evidence']}" in (here / "new.yaml").read_text(encoding="utf-8")


def test_what_tells_the_outcome_is_left_out_by_name_and_the_rest_trained_with(
    journey: Journey, small: Demo, tmp_path: Path
) -> None:
    """Everybody who pays is welcomed, with a date an hour before."""
    won = small.trials.drop_nulls("converted_at").select(
        "user_id", "account_id", event=pl.lit("welcomed"), timestamp=pl.col("converted_at") - timedelta(hours=1)
    )
    pl.concat([small.events, won], how="diagonal").write_parquet(tmp_path / "events.parquet")
    small.trials.write_parquet(tmp_path / "trials.parquet")
    told = said(
        fine(
            "init",
            tmp_path / "events.parquet",
            "--trials",
            tmp_path / "trials.parquet",
            "-o",
            tmp_path / "d.yaml",
            "--json",
        )
    )
    assert [line for line in told["left_out"] if line.startswith("welcomed: ")]
    text = (journey.folder / "pql.yaml").read_text(encoding="utf-8")
    signal = "  - {name: welcome, kind: activation, events: [welcomed], text: was welcomed}\n"
    Path("leaky.yaml").write_text(text.replace("\ntraits:", f"{signal}\ntraits:"), encoding="utf-8")
    trained = fine(
        "train",
        tmp_path / "events.parquet",
        "--trials",
        tmp_path / "trials.parquet",
        "-d",
        "leaky.yaml",
        "--out",
        "leaky",
    )
    assert re.search(r"^Left out welcome: \d+% of the .* converters who did it began", trained.stdout, re.MULTILINE)
    definition = load(Path("leaky/artifact")).definition
    assert "welcome" not in definition.signal_of
    assert "pricing_viewed" in definition.signal_of


# --- what is in service -----------------------------------------------------------------------


@pytest.fixture
def two_versions(journey: Journey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A registry whose second version ended in a refusal; returns that version's number."""
    database = shutil.copyfile(journey.folder / "mlflow.db", tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    artifact = load(journey.folder / "out" / "artifact")
    tags = {"content_version": "feedfeedfeed", "verdict": "Not promoted: no signal.", "refusal": "no signal."}
    return str(tracking.log(tmp_path, (), Entry({}, {}, DataFacts("d", "e", {}), "f", tags, "g", artifact)))


def champion() -> dict[str, Any]:
    (found,) = [one for one in said(fine("models", "--json"))["versions"] if one["in_service"]]
    assert isinstance(found, dict)
    return found


def test_a_refused_version_is_promoted_only_by_force_and_can_be_rolled_back(two_versions: str) -> None:
    error = refused(3, "promote", two_versions)
    assert error == (
        f"Refusal: version {two_versions} ended in a refusal: no signal. To put it into service anyway, add --force.\n"
    )
    assert champion()["number"] == 1
    told = said(fine("promote", "feedfeed", "--force", "--why", "a trial", "--json"))
    assert (told["champion"], told["before"], told["changed"]) == (int(two_versions), 1, True)
    assert champion()["tags"]["promoted_why"] == "a trial (forced, although: no signal.)"
    assert "Put into service by `pql promote`" in fine("models").stdout
    back = fine("rollback", "--why", "it was a trial").stdout
    assert re.match(
        rf"pql-scorer/1 \(\w+\) is in service now; before it was pql-scorer/{two_versions} \(feedfeedfeed\)", back
    )
    assert (champion()["number"], champion()["tags"]["promoted_by"]) == (1, "rollback")


def test_what_is_scored_with_follows_what_is_in_service(two_versions: str, tables: tuple[Path, Path]) -> None:
    fine("promote", two_versions, "--force")
    with meant.model_folder(meant.DEFAULT_MODEL) as folder, meant.model_folder(f"pql-scorer/{two_versions}") as same:
        assert load(folder).version == load(same).version


def test_promoting_the_champion_says_so_and_changes_nothing(two_versions: str) -> None:
    before = said(fine("models", "--json"))
    assert "is in service already; nothing was changed." in fine("promote", "1").stdout
    assert said(fine("promote", "1", "--json"))["changed"] is False
    assert said(fine("models", "--json")) == before


@pytest.mark.parametrize("version", ["99", "no", "champion", "0000000"])
def test_a_version_that_is_not_there_is_refused_with_2(two_versions: str, version: str) -> None:
    assert f"InvalidInput: there is no version '{version}'; registered are" in refused(2, "promote", version)
    assert champion()["number"] == 1


def test_where_there_is_nothing_to_go_back_to_rollback_ends_with_2(two_versions: str) -> None:
    error = refused(2, "rollback")
    assert "InvalidInput: version 1 is in service and replaced none that is still there" in error
    assert champion()["number"] == 1


def test_models_fits_into_100_columns_and_marks_the_champion(two_versions: str) -> None:
    lines = fine("models").stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert [line.split()[1] for line in lines if line.startswith("*")] == ["1"]


# --- mistakes of the caller -------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, definition_text: str) -> Path:
    """An empty folder with a good definition; no command that fails in it may reach the registry."""
    monkeypatch.chdir(tmp_path)
    # Below a file no folder can be made, whoever runs this.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/pql.yaml/mlflow.db")
    (tmp_path / "pql.yaml").write_text(definition_text, encoding="utf-8")
    return tmp_path


GOOD = "user_id,event,timestamp\nu,invite_sent,2026-01-02T00:00:00Z\n"
BAD_EVENTS = [
    ("events.csv", None, r"events\.csv: there is no such file\. Check the path"),
    ("events.txt", GOOD, r"events\.txt: its format cannot be told from its name; .*Name it with --format"),
    (
        "events.parquet",
        GOOD,
        r"events\.parquet: is read as parquet, but looks like CSV\. Name its format: --format csv",
    ),
    ("events.jsonl", GOOD, r"events\.jsonl: is read as jsonl, but looks like CSV\. Name its format: --format csv"),
    (
        "events.csv.gz",
        gzip.compress(GOOD.encode(), mtime=0)[:-12],
        r"events.*: .*the packed file is cut off or damaged",
    ),
    ("events.csv", "", r"events\.csv: must have at least one row, got an empty file\. Check the export"),
    ("events.csv", "user_id,event,timestamp\n", r"events: must have at least one usable row, got none"),
    (
        "events.csv",
        "user,event,timestamp\nu,e,2026-01-02T00:00:00Z\n",
        r"events: missing column\(s\) 'user_id'.*Did you mean",
    ),
    ("events.csv", GOOD.replace("Z", ""), r"timestamp must carry a time zone, got '2026-01-02"),
    (
        "events.csv",
        GOOD.replace("2026-01-02T00:00:00Z", "soon"),
        r"events: no usable row\. .*timestamp is no time with a zone|events: must have at least one usable row",
    ),
]


@pytest.mark.parametrize(("name", "text", "sentence"), BAD_EVENTS)
@pytest.mark.parametrize("verb", ["train", "score"])
def test_events_that_cannot_be_used_are_refused_with_2_and_a_sentence(
    here: Path, model_folder: Path, verb: str, name: str, text: str | bytes | None, sentence: str
) -> None:
    if text is not None:
        (here / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    more = ("--model", model_folder) if verb == "score" else ()
    error = refused(2, verb, name, *more)
    assert re.search(rf"^(InvalidInput|NaiveTimestamp): .*({sentence})", error, re.MULTILINE), error
    assert sorted(path.name for path in here.iterdir()) == sorted({"pql.yaml", *([name] if text is not None else [])})


@pytest.mark.parametrize(("name", "text", "sentence"), BAD_EVENTS)
def test_init_refuses_such_events_as_well(here: Path, name: str, text: str | bytes | None, sentence: str) -> None:
    if text is not None:
        (here / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    error = refused(2, "init", name, "-o", "new.yaml")
    assert re.search(rf"^(InvalidInput|NaiveTimestamp): .*({sentence})", error, re.MULTILINE), error
    assert not (here / "new.yaml").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: text + "\nwindow: [1d]\n", r"InvalidSetting: .*window.*Did you mean 'windows'"),
        (
            lambda text: text.replace("horizon: 30d", "horizon: soon"),
            r"InvalidSetting: .*horizon.*must be .*got 'soon'",
        ),
        (
            lambda text: text.replace("at_least: 0.3", "at_least: 30"),
            r"InvalidSetting: .*at_least.*less than 1.*got 30",
        ),
        (lambda text: text.replace("product: Corkboard", "product: [}"), r"InvalidSetting: .*pql\.yaml"),
        (lambda _: "", r"InvalidSetting: .*pql\.yaml"),
        (lambda _: "- 1", r"InvalidSetting: .*pql\.yaml"),
    ],
)
def test_a_definition_that_is_wrong_is_refused_with_its_place(
    here: Path, change: Callable[[str], str], sentence: str
) -> None:
    (here / "events.csv").write_text(GOOD, encoding="utf-8")
    (here / "pql.yaml").write_text(change((here / "pql.yaml").read_text(encoding="utf-8")), encoding="utf-8")
    assert re.search(sentence, refused(2, "train", "events.csv"))


def test_a_definition_that_is_not_there_is_refused(here: Path) -> None:
    (here / "events.csv").write_text(GOOD, encoding="utf-8")
    assert "InvalidInput: other.yaml: cannot be read" in refused(2, "train", "events.csv", "-d", "other.yaml")


def test_trials_without_a_trait_of_the_definition_are_refused(here: Path) -> None:
    (here / "events.csv").write_text(GOOD, encoding="utf-8")
    (here / "trials.csv").write_text("user_id,started_at\nu,2026-01-01T00:00:00Z\n", encoding="utf-8")
    error = refused(2, "train", "events.csv", "--trials", "trials.csv")
    assert re.search(r"InvalidInput: trials: missing column\(s\) 'company_size', 'source', 'email'", error)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--as-of", "2026-01-09T09:00:00"], r"NaiveTimestamp: --as-of must carry a time zone"),
        (["--as-of", "yesterday"], r"InvalidInput: --as-of must be an ISO 8601 time, got 'yesterday'"),
        (["--as-of", "2031-01-01T00:00:00Z"], r"InvalidInput: there are no open trials to score at 2031-01-01T00"),
        (["--reasons", "21"], r"--reasons.*21 is not in the range"),
        (["--format", "xml"], r"InvalidInput: format must be one of 'parquet', .*, got 'xml'"),
        (["-o", "leads.xlsx"], r"InvalidInput: leads\.xlsx: its format cannot be told"),
    ],
)
def test_options_of_score_that_make_no_sense_are_refused(
    here: Path, tables: tuple[Path, Path], model_folder: Path, words: list[str], sentence: str
) -> None:
    error = refused(2, "score", tables[0], "--trials", tables[1], "--model", model_folder, *words)
    assert re.search(sentence, error), error
    assert sorted(path.name for path in here.iterdir()) == ["pql.yaml"]


@pytest.mark.parametrize("text", ["soon", "2025-13-01", "2025-09-01T00:00:00"])
def test_a_test_date_that_is_no_date_is_refused(here: Path, tables: tuple[Path, Path], text: str) -> None:
    error = refused(2, "train", tables[0], "--trials", tables[1], "--test-from", text)
    assert re.search(r"(InvalidInput|NaiveTimestamp): --test-from must", error)


@pytest.mark.parametrize(
    "model",
    [
        "pql-scorer@nobody",
        "pql-scorer/99",
        "other@champion",
        "no/such/folder",
        "/no/such/folder",
        "nothing",
        "@",
        "a@b@c",
    ],
)
@pytest.mark.parametrize("verb", ["score", "serve"])
def test_a_model_that_does_not_exist_is_refused(
    journey: Journey, tables: tuple[Path, Path], verb: str, model: str
) -> None:
    words = ("score", tables[0], "--trials", tables[1]) if verb == "score" else ("serve",)
    error = refused(2, *words, "--model", model)
    assert re.search(r"^InvalidInput: there is no model ", error, re.MULTILINE), error
    assert len(error.strip().splitlines()) == 1


def test_a_folder_that_is_no_model_is_refused(here: Path, tables: tuple[Path, Path]) -> None:
    error = refused(2, "score", tables[0], "--trials", tables[1], "--model", here)
    assert re.match(r"(\n)?ArtifactError: .*scorer\.json: cannot be read .*Name a folder that `pql train` wrote", error)


def test_init_does_not_overwrite_a_definition_unless_forced(here: Path, tables: tuple[Path, Path]) -> None:
    before = (here / "pql.yaml").read_text(encoding="utf-8")
    error = refused(2, "init", tables[0], "--trials", tables[1])
    assert (
        error == "InvalidInput: pql.yaml is there already. Name another file with -o, or overwrite it with --force.\n"
    )
    assert (here / "pql.yaml").read_text(encoding="utf-8") == before
    fine("init", tables[0], "--trials", tables[1], "--force")
    assert (here / "pql.yaml").read_text(encoding="utf-8") != before


def test_init_takes_what_the_caller_knows_already(here: Path, tables: tuple[Path, Path]) -> None:
    options = [
        "--horizon",
        "21d",
        "--trial-length",
        "10d",
        "--score-at",
        "1d,36h,5d",
        "--lead",
        "account",
        "--product",
        "A: {b}",
    ]
    result = fine("init", tables[0], "--trials", tables[1], "-o", "mine.yaml", *options)
    definition = parse((here / "mine.yaml").read_text(encoding="utf-8"))
    day = 86_400_000_000
    assert (definition.conversion.horizon, definition.trial.length) == (21 * day, 10 * day)
    assert sorted(definition.score_at) == [day, 3 * day // 2, 5 * day]
    assert (definition.lead, definition.product) == ("account", "A: {b}")
    assert f"pql train {tables[0]} --trials {tables[1]} -d mine.yaml" in result.stdout


@pytest.mark.parametrize("option", ["--horizon", "--trial-length", "--score-at"])
@pytest.mark.parametrize("value", ["soon", "30", "-1d", "99999d", ""])
def test_init_refuses_a_span_that_is_none(here: Path, option: str, value: str) -> None:
    assert re.search(rf"Invalid value for '{option}': must be", refused(2, "init", "events.csv", option, value))


# --- help -------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_for_every_option(verb: str) -> None:
    command = pql.main.commands[verb]
    text = fine(verb, "--help").stdout
    assert command.help
    assert command.help.splitlines()[0].rstrip(".") in " ".join(text.split())
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert all(name in text for name in parameter.opts)
    assert fine(verb, "-h").stdout == text


def test_every_verb_of_the_readme_exists_and_every_verb_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `pql (\w+)", readme, re.MULTILINE)) == set(VERBS)


def test_every_verb_that_computes_speaks_json() -> None:
    for verb in set(VERBS) - {"serve"}:
        assert "--json" in {name for parameter in pql.main.commands[verb].params for name in parameter.opts}


def test_the_version_is_told() -> None:
    assert re.search(r"\d+\.\d+", fine("--version").stdout)


def test_a_word_that_is_no_verb_ends_with_2() -> None:
    assert "No such command 'scores'" in refused(2, "scores")


def test_times_on_the_command_line_are_instants() -> None:
    assert parse_instant("2025-06-01T12:00:00+02:00", "--as-of") == parse_instant("2025-06-01T10:00:00Z", "--as-of")
