"""`pql train` and `pql score` read every source, and it does not matter which one the events come from."""

import gzip
import json
import re
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from click.testing import CliRunner
from polars.testing import assert_frame_equal

import pql
from training.demo import simulate

DEFINITION = """
product: Corkboard
trial: {length: 14d}
conversion: {column: converted_at, horizon: 30d}
score_at: [3d, 7d]
windows: [7d, trial]
cutoff: {at_least: 0.2}
signals:
  - name: pricing
    kind: upgrade_intent
    events: [pricing_viewed]
    measures: [count, days_since_last, share]
    text: "opened the pricing page {count:once|times} {window}"
  - name: team
    kind: team_growth
    scope: account
    events: [invite_accepted]
    measures: [count, distinct(user), lead_rank]
    text: "{count:teammate|teammates} joined {window}"
"""
Row = dict[str, Any]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a definition and trials, in which the commands run, with a registry of its own."""
    folder = tmp_path_factory.mktemp("sources")
    demo = simulate(700, seed=4)
    demo.trials.write_parquet(folder / "trials.parquet")
    events = demo.events.sort("timestamp").with_columns(pl.col("timestamp", "received_at").dt.truncate("1s"))
    events.filter(pl.col("event").is_in(["pricing_viewed", "invite_accepted", "task_completed"])).write_parquet(
        folder / "events.parquet"
    )
    (folder / "pql.yaml").write_text(DEFINITION, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        yield folder


def run(*words: object) -> dict[str, Any]:
    result = CliRunner().invoke(pql.main, [str(word) for word in (*words, "--json")], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert isinstance(told, dict)
    return told


def refused(*words: object) -> str:
    result = CliRunner().invoke(pql.main, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 2, result.output
    return result.stderr


# --- the same events, as each vendor exports them ---------------------------------------------


def rows(home: Path) -> list[Row]:
    return pl.read_parquet(home / "events.parquet").to_dicts()


def lines(records: list[Row]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def segment(row: Row) -> Row:
    return {
        "type": "track", "event": row["event"], "userId": row["user_id"], "anonymousId": None,
        "messageId": row["message_id"], "timestamp": iso(row["timestamp"]), "receivedAt": iso(row["received_at"]),
        "properties": json.loads(row["properties"]), "context": {"groupId": row["account_id"]},
    }  # fmt: skip


def mixpanel(row: Row) -> Row:
    properties = {
        "time": int(row["timestamp"].timestamp()), "distinct_id": row["user_id"], "$insert_id": row["message_id"],
        "mp_processing_time_ms": int(row["received_at"].timestamp() * 1000), **json.loads(row["properties"]),
    }  # fmt: skip
    return {"event": row["event"], "properties": properties}


def amplitude(row: Row) -> Row:
    happened, received = (f"{row[name]:%Y-%m-%d %H:%M:%S.%f}" for name in ("timestamp", "received_at"))
    return {
        "event_type": row["event"], "user_id": row["user_id"], "device_id": f"device of {row['user_id']}",
        "amplitude_id": int(row["user_id"][1:]) + 1, "$insert_id": row["message_id"], "event_time": happened,
        "server_received_time": received, "event_properties": json.loads(row["properties"]),
        "user_properties": {}, "groups": {"company": [row["account_id"]]},
    }  # fmt: skip


def posthog(row: Row) -> Row:
    properties = {"$groups": {"company": row["account_id"]}, "$is_identified": True, **json.loads(row["properties"])}
    return {
        "uuid": row["message_id"], "event": row["event"], "distinct_id": row["user_id"], "person_id": "0195",
        "timestamp": iso(row["timestamp"]), "created_at": iso(row["received_at"]), "properties": properties,
    }  # fmt: skip


def as_csv(home: Path) -> str:
    pl.read_parquet(home / "events.parquet").with_columns(
        pl.col("timestamp", "received_at").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    ).write_csv(home / "events.csv")
    return "events.csv"


def as_json_lines(home: Path) -> str:
    plain = [{**row, "timestamp": iso(row["timestamp"]), "received_at": iso(row["received_at"])} for row in rows(home)]
    (home / "events.jsonl.gz").write_bytes(gzip.compress(lines(plain)))
    return "events.jsonl.gz"


def as_segment(home: Path) -> str:
    folder = home / "segment-archive"
    folder.mkdir()
    exported = [segment(row) for row in rows(home)]
    for part in range(3):
        (folder / f"{part}.json.gz").write_bytes(gzip.compress(lines(exported[part::3])))
    return "segment-archive"


def as_mixpanel(home: Path) -> str:
    (home / "mixpanel.jsonl").write_bytes(lines([mixpanel(row) for row in rows(home)]))
    return "mixpanel.jsonl"


def as_amplitude(home: Path) -> str:
    exported = [amplitude(row) for row in rows(home)]
    with zipfile.ZipFile(home / "amplitude.zip", "w") as archive:
        for hour in range(12):
            packed = gzip.compress(lines(exported[hour::12]))
            archive.writestr(f"123456/123456_2026-03-01_{hour}#0.json.gz", packed)
    return "amplitude.zip"


def as_posthog(home: Path) -> str:
    (home / "posthog.jsonl").write_bytes(lines([posthog(row) for row in rows(home)]))
    return "posthog.jsonl"


def as_duckdb(home: Path) -> str:
    with duckdb.connect(str(home / "product.duckdb")) as database:
        database.execute("create table tracked as select * from read_parquet(?)", [str(home / "events.parquet")])
    return "product.duckdb#tracked"


def as_sqlite(home: Path) -> str:
    columns = ("user_id", "account_id", "event", "timestamp", "received_at", "message_id", "properties")
    with sqlite3.connect(home / "product.sqlite") as database:
        database.execute(f"create table events ({', '.join(columns)})")
        plain = (
            {**row, "timestamp": iso(row["timestamp"]), "received_at": iso(row["received_at"])} for row in rows(home)
        )
        places = ", ".join(f":{name}" for name in columns)
        database.executemany(f"insert into events values ({places})", plain)
    database.close()
    return "product.sqlite"


SOURCES: dict[str, Callable[[Path], str]] = {
    "csv": as_csv, "jsonl": as_json_lines, "segment": as_segment, "mixpanel": as_mixpanel, "amplitude": as_amplitude,
    "posthog": as_posthog, "duckdb": as_duckdb, "sqlite": as_sqlite,
}  # fmt: skip


@pytest.fixture(scope="module")
def locations(home: Path) -> dict[str, str]:
    return {name: written(home) for name, written in SOURCES.items()}


@pytest.fixture(scope="module")
def trained(home: Path) -> dict[str, Any]:
    """What training on Parquet said; it made the champion."""
    told = run("train", "events.parquet", "--trials", "trials.parquet", "--out", "from-parquet")
    run("score", "events.parquet", "--trials", "trials.parquet", "-o", "from-parquet.parquet")
    assert told["promoted"], told["why"]
    assert (home / "from-parquet.parquet").exists()
    return told


@pytest.mark.parametrize("source", SOURCES)
def test_training_on_any_source_makes_the_same_version(
    source: str, locations: dict[str, str], trained: dict[str, Any]
) -> None:
    told = run("train", locations[source], "--trials", "trials.parquet", "--out", f"from-{source}")
    assert told["rejections"] == []
    assert told["version"] == trained["version"]


@pytest.mark.parametrize("source", SOURCES)
def test_scoring_any_source_gives_the_same_leads(
    source: str, home: Path, locations: dict[str, str], trained: dict[str, Any]
) -> None:
    told = run("score", locations[source], "--trials", "trials.parquet", "-o", f"leads-{source}.parquet")
    found = pl.read_parquet(home / f"leads-{source}.parquet")
    assert_frame_equal(found, pl.read_parquet(home / "from-parquet.parquet"))
    assert told["leads"] == len(found) > 0
    assert set(found["model_version"]) == {trained["version"]}


@pytest.mark.parametrize("verb", ["train", "score", "init"])
@pytest.mark.parametrize(
    ("named", "really"),
    [
        ("mixpanel", "segment"), ("segment", "mixpanel"), ("amplitude", "posthog"), ("posthog", "amplitude"),
        ("segment", "jsonl"), ("csv", "mixpanel"), ("jsonl", "csv"),
    ],
)  # fmt: skip
def test_a_wrong_format_says_which_one_it_looks_like(
    verb: str, named: str, really: str, locations: dict[str, str], trained: dict[str, Any]
) -> None:
    assert trained
    words = () if verb == "init" else ("--trials", "trials.parquet")
    extra = ("-o", "never.yaml") if verb == "init" else ()
    said = refused(verb, locations[really], "--format", named, *words, *extra)
    assert re.search(rf"is read as {named}, but looks like .*--format {really}", said), said


def test_a_file_with_broken_lines_trains_on_the_others_and_counts_each_kind(
    home: Path, trained: dict[str, Any]
) -> None:
    whole = [
        json.dumps({**row, "timestamp": iso(row["timestamp"]), "received_at": iso(row["received_at"])})
        for row in rows(home)
    ]
    told_by = {"not JSON": 0, "timestamp": 0, "user_id": 0}
    mixed = []
    for number, line in enumerate(whole):
        mixed.append(line)
        # One broken line after every 19 good ones is 5 %, of three kinds in turn.
        if number % 19 == 18:
            kind = list(told_by)[number // 19 % 3]
            told_by[kind] += 1
            broken = {
                "not JSON": line[:-20],
                "timestamp": json.dumps({**json.loads(line), "timestamp": "yesterday", "message_id": f"x{number}"}),
                "user_id": json.dumps({**json.loads(line), "user_id": "", "message_id": f"x{number}"}),
            }[kind]
            mixed.append(broken)
    (home / "broken.jsonl").write_text("\n".join(mixed) + "\n", encoding="utf-8")
    told = run("train", "broken.jsonl", "--trials", "trials.parquet", "--out", "from-broken")
    assert told["version"] == trained["version"]
    metrics = json.loads((home / "from-broken" / "metrics.json").read_text(encoding="utf-8"))
    counted = {kind: [one for one in metrics["rejections"] if kind in one["reason"]] for kind in told_by}
    assert {kind: [one["count"] for one in found] for kind, found in counted.items()} == {
        kind: [number] for kind, number in told_by.items()
    }
    assert sum(told_by.values()) == pytest.approx(0.05 * len(mixed), rel=0.01)
    assert all(len(one["samples"]) == 3 for one in metrics["rejections"])
    assert len(told["rejections"]) == 3
    report = (home / "from-broken" / "report.html").read_text(encoding="utf-8")
    assert all(f"{number:,}" in report for number in told_by.values())
