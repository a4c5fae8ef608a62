"""Files, folders, patterns, archives and databases open as what they are, or the error says what they look like."""

import gzip
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from features.errors import InvalidInput
from features.rejections import Sieve
from features.sources.files import TORN
from features.sources.formats import FORMATS
from features.sources.locations import open_source, open_trials
from features.sources.source import BATCH_ROWS

ROWS = [{"user_id": f"u{number}", "event": "a", "timestamp": f"2026-03-01T00:00:0{number}Z"} for number in range(3)]
SEGMENT = {"type": "track", "event": "a", "userId": "u", "messageId": "m", "timestamp": "2026-03-01T00:00:00Z"}


def jsonl(*records: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def csv(rows: list[dict[str, str]]) -> bytes:
    return pl.DataFrame(rows).write_csv().encode()


def parquet(path: Path, rows: list[dict[str, str]]) -> None:
    pl.DataFrame(rows).write_parquet(path)


def zipped(path: Path, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), content)


def read(location: Path | str, form: str | None = None, table: str = "events") -> pl.DataFrame:
    return open_source(str(location), form, table).table(Sieve(table))


WRITERS: dict[str, Callable[[Path], object]] = {
    "events.parquet": lambda path: parquet(path, ROWS),
    "events.pq": lambda path: parquet(path, ROWS),
    "events.csv": lambda path: path.write_bytes(csv(ROWS)),
    "events.csv.gz": lambda path: path.write_bytes(gzip.compress(csv(ROWS))),
    "events.jsonl": lambda path: path.write_bytes(jsonl(*ROWS)),
    "events.ndjson": lambda path: path.write_bytes(jsonl(*ROWS)),
    "events.json.gz": lambda path: path.write_bytes(gzip.compress(jsonl(*ROWS))),
    "1434676800000.abc.1-1.gz": lambda path: path.write_bytes(gzip.compress(jsonl(*ROWS))),
    "gzipped but not called so.jsonl": lambda path: path.write_bytes(gzip.compress(jsonl(*ROWS))),
    "export": lambda path: path.write_bytes(jsonl(*ROWS)),
    "csv.zip": lambda path: zipped(path, a_csv=csv(ROWS)),
    "json.zip": lambda path: zipped(path, x__b_json_gz=gzip.compress(jsonl(*ROWS[1:])), x__a_json=jsonl(ROWS[0])),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file_gives_its_rows(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name)
    assert read(tmp_path / name).to_dicts() == ROWS


def test_a_source_is_named_by_its_location_and_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "events.csv.gz"
    path.write_bytes(gzip.compress(csv(ROWS)))
    source = open_source(str(path))
    assert source.name == str(path)
    assert [source.table(Sieve("events")).to_dicts() for _ in range(2)] == [ROWS, ROWS]


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_a_large_file_comes_in_batches(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"events.{ending}"
    frame = pl.DataFrame({"user_id": [f"{number:050}" for number in range(BATCH_ROWS + 150_000)]})
    writers: dict[str, Callable[[Path], Any]] = {
        "parquet": frame.write_parquet,
        "csv": frame.write_csv,
        "jsonl": frame.write_ndjson,
    }
    writers[ending](path)
    batches = list(open_source(str(path)).read(Sieve("events")))
    assert pl.concat(batches).equals(frame)
    assert len(batches) > 1
    assert max(map(len, batches)) < 1.3 * BATCH_ROWS


# --- folders and patterns --------------------------------------------------------------------


def test_a_folder_is_all_its_files_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for hour, row in ((10, ROWS[1]), (9, ROWS[0]), (11, ROWS[2])):
        folder = tmp_path / f"day {hour}"
        folder.mkdir()
        (folder / f"part_{hour}.json").write_bytes(jsonl(row))
    (tmp_path / "README.md").write_text("not data", encoding="utf-8")
    (tmp_path / ".hidden.json").write_bytes(jsonl(ROWS[0]))
    (tmp_path / "quiet hour.json").write_bytes(b"")
    assert read(tmp_path).to_dicts() == ROWS


def test_a_pattern_is_the_files_it_fits(tmp_path: Path) -> None:
    for number, row in enumerate(ROWS):
        (tmp_path / f"{number}.jsonl").write_bytes(jsonl(row))
    assert read(tmp_path / "[01].jsonl").to_dicts() == ROWS[:2]
    assert read(f"{tmp_path}/**/*.jsonl").to_dicts() == ROWS


def test_a_name_with_brackets_is_no_pattern_where_the_file_exists(tmp_path: Path) -> None:
    (tmp_path / "events [1].jsonl").write_bytes(jsonl(*ROWS))
    assert read(tmp_path / "events [1].jsonl").to_dicts() == ROWS


def test_files_of_a_folder_that_are_of_another_format_than_the_named_one_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(jsonl(SEGMENT))
    (tmp_path / "users.csv").write_bytes(csv(ROWS))
    assert read(tmp_path, "segment")["user_id"].to_list() == ["u"]
    assert read(tmp_path, "csv").to_dicts() == ROWS


def test_a_folder_of_several_formats_is_an_error_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(SEGMENT))
    (tmp_path / "b.csv").write_bytes(csv(ROWS))
    with pytest.raises(InvalidInput, match=r"one format, got segment \(.*a\.jsonl\); csv \(.*b\.csv\)"):
        open_source(str(tmp_path))


@pytest.mark.parametrize("location", ["nothing.csv", "nothing/*.csv"])
def test_nothing_there_is_an_error(location: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"there is no such file|holds no file"):
        open_source(str(tmp_path / location))


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"holds no file with a known ending '\.parquet'"):
        open_source(str(tmp_path))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.csv.gz"])
def test_an_empty_file_is_an_error(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"") if name.endswith("gz") else b"\n")
    with pytest.raises(InvalidInput, match="must have at least one row, got an empty file"):
        open_source(str(tmp_path / name))


# --- databases -------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "form"), [("events.duckdb", None), ("events.db", None), ("events.db", "duckdb")])
def test_a_duckdb_file_is_opened_as_a_database(name: str, form: str | None, tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / name)) as database:
        database.execute("create table events as select 'u' as user_id, 'a' as event")
    assert read(tmp_path / name, form).select("user_id", "event").rows() == [("u", "a")]


# --- a wrong format fails at once ------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "form", "message"),
    [
        ("a.csv", "parquet", None, "a.csv: is read as csv, but looks like Parquet. Name its format: --format parquet"),
        ("a.parquet", csv(ROWS), None, "is read as parquet, but looks like CSV. Name its format: --format csv"),
        ("a.jsonl", jsonl(SEGMENT), "mixpanel", "as mixpanel, but looks like Segment's JSON lines.*--format segment"),
        ("a.jsonl", jsonl(*ROWS), "segment", "looks like JSON lines of plain records.*--format jsonl"),
        ("a.jsonl", jsonl(SEGMENT), "jsonl", "looks like Segment's JSON lines"),
        ("a.jsonl", csv(ROWS), None, "is read as jsonl, but looks like CSV"),
        ("a.csv", jsonl(*ROWS), None, "is read as csv, but looks like JSON lines"),
        ("a.csv", csv(ROWS), "parquet", "is read as parquet, but looks like CSV"),
        ("a.json", json.dumps(ROWS).encode(), None, "a.json: looks like a JSON array. Write one object per line"),
        ("a.json", b"<html>", "segment", "looks like an HTML or XML page"),
        ("a.csv", gzip.compress(gzip.compress(csv(ROWS))), None, "looks like gzip inside gzip"),
        ("a.txt", csv(ROWS), None, "its format cannot be told from its name.*Name it with --format"),
        ("a.jsonl", b"\0" * 8 + b"DUCK" + b"\0" * 99, None, "looks like a DuckDB database. Give it a name"),
        ("a.csv.gz", gzip.compress(csv(ROWS))[:8], None, "a.csv.gz: cannot be read .a packed file that is damaged"),
        ("a.zip", b"PK\x03\x04 and rubbish", None, "a.zip: cannot be read"),
        ("a.parquet", b"PAR1 and rubbish PAR1", None, "a.parquet: cannot be read .not parquet"),
    ],
)
def test_a_wrong_format_is_named_with_the_right_one(
    name: str, content: bytes | str, form: str | None, message: str, tmp_path: Path
) -> None:
    if content == "parquet":
        parquet(tmp_path / name, ROWS)
    elif isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=message):
        open_source(str(tmp_path / name), form)


def test_an_excel_workbook_is_recognised(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "events.zip", "w") as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
    with pytest.raises(InvalidInput, match=r"looks like an Excel or Office file\. Save it as CSV"):
        open_source(str(tmp_path / "events.zip"))


def test_parquet_in_an_archive_is_an_error_that_says_to_unpack_it(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", ROWS)
    packed = tmp_path / "a.parquet.gz"
    packed.write_bytes(gzip.compress((tmp_path / "a.parquet").read_bytes()))
    with pytest.raises(InvalidInput, match=r"looks like Parquet inside an archive\. Unpack it"):
        open_source(str(packed))


def test_a_format_that_nobody_knows_is_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidInput, match=r"must be one of 'parquet'.*got 'segmnt'\. Did you mean 'segment'"
    ) as caught:
        open_source(str(tmp_path), "segmnt")
    assert caught.value.field == "format"


def test_a_table_that_nobody_knows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="table must be one of 'events', 'trials', got 'users'"):
        open_source(str(tmp_path), None, "users")


@pytest.mark.parametrize("form", [None, "segment"])
def test_a_vendors_export_holds_no_trials(form: str | None, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(SEGMENT))
    with pytest.raises(InvalidInput, match=r"hold events, not trials\. Give trials as 'parquet', 'csv', 'jsonl'"):
        open_source(str(tmp_path / "a.jsonl"), form, "trials")


def test_trials_keep_their_traits(tmp_path: Path) -> None:
    (tmp_path / "trials.jsonl").write_bytes(
        jsonl({"user_id": 1, "started_at": "2026-03-01T00:00:00Z", "seats": 5, "is_student": True, "plan": "pro"})
    )
    assert read(tmp_path / "trials.jsonl", table="trials").row(0) == ("1", "2026-03-01T00:00:00Z", 5, True, "pro")


@pytest.mark.parametrize("form", [None, "parquet", "csv", "segment"])
def test_trials_tell_their_own_format_beside_events_of_another(form: str | None, tmp_path: Path) -> None:
    (tmp_path / "trials.csv").write_bytes(b"user_id,started_at\nu,2026-03-01\n")
    assert open_trials(str(tmp_path / "trials.csv"), form).table(Sieve("trials")).rows() == [("u", "2026-03-01")]


def test_trials_without_a_telling_name_are_of_the_events_format(tmp_path: Path) -> None:
    (tmp_path / "trials").write_bytes(b"user_id,started_at\nu,2026-03-01\n")
    assert open_trials(str(tmp_path / "trials"), "csv").table(Sieve("trials")).rows() == [("u", "2026-03-01")]
    with pytest.raises(InvalidInput, match="its format cannot be told from its name"):
        open_trials(str(tmp_path / "trials"), "segment")


def test_posthogs_parquet_is_recognised_by_its_columns(tmp_path: Path) -> None:
    row = {"uuid": "x", "event": "a", "distinct_id": "p", "person_id": "d", "timestamp": "2026-03-01T00:00:00Z"}
    parquet(tmp_path / "a.parquet", [row])
    (tmp_path / "b.jsonl").write_bytes(jsonl({**row, "distinct_id": "q"}))
    assert read(tmp_path)["user_id"].to_list() == ["q", "p"]
    with pytest.raises(InvalidInput, match=r"is read as parquet, but looks like PostHog's Parquet.*--format posthog"):
        open_source(str(tmp_path / "a.parquet"), "parquet")


def test_every_format_has_its_way_to_be_opened(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\0\0\0\0")
    for form in FORMATS:
        with pytest.raises(InvalidInput, match=re.escape("a.txt")):
            read(tmp_path / "a.txt", form)


# --- what is broken inside -------------------------------------------------------------------


@pytest.mark.parametrize("form", ["csv", "jsonl", "segment"])
def test_a_twentieth_of_broken_lines_costs_those_lines_only(form: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.csv" if form == "csv" else "a.jsonl")
    good = {"csv": b"u,a,2026-03-01T00:00:00Z\n", "jsonl": jsonl(ROWS[0]), "segment": jsonl(SEGMENT)}[form]
    head = b"user_id,event,timestamp\n" if form == "csv" else b""
    path.write_bytes(head + (good * 19 + b"broken\n") * 100)
    sieve = Sieve("events")
    assert len(open_source(str(path)).table(sieve)) == 1_900
    [rejection] = sieve
    assert rejection.count == 100
    assert rejection.samples[0] == f"{path} line {21 if form == 'csv' else 20}: broken"


def test_a_torn_gzip_keeps_what_lies_before_the_tear(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    packed = gzip.compress(b"".join(jsonl({**ROWS[0], "message_id": str(number)}) for number in range(20_000)))
    path.write_bytes(packed[:-1_000])
    sieve = Sieve("events")
    assert 5_000 < len(open_source(str(path)).table(sieve)) < 20_000
    assert [(rejection.reason, rejection.count) for rejection in sieve] == [(TORN, 1)]


def test_a_file_of_nothing_but_broken_lines_says_what_is_wrong_with_them(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a":\n{"b":\n')
    sieve = Sieve("events")
    with pytest.raises(InvalidInput, match=r"events: no usable row\. events: 2 row\(s\) refused: not JSON"):
        open_source(str(path)).table(sieve)
    assert sieve.total == 2
