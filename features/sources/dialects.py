"""What each kind of database needs said differently: how it is opened, which options it takes, how columns are asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from features.errors import InvalidInput, listing, suggestion

if TYPE_CHECKING:
    from adbc_driver_manager import AdbcConnection, AdbcDatabase, AdbcStatement

_HOST = r"(?:\[[^\]@]*\]|[^@/?:,\[\]]*)(?::\d+)?"
URL = re.compile(
    r"(?P<scheme>[\w+.-]+)://(?:(?P<user>[^:@/?]*)(?::(?P<password>[^@/?]*))?@)?"
    rf"(?P<host>{_HOST}(?:,{_HOST})*)(?P<path>(?:/[^@?]*)?)(?:\?(?P<options>[^@]*))?",
    re.DOTALL,
)
"""An address; no @ may stand anywhere else in it, so that a badly written password is never taken for a host."""

Run = Callable[[str], Any]
"""Sends one query and gives what has `__arrow_c_stream__`."""


@dataclass(frozen=True)
class Dialect:
    """What one kind of database needs said differently.

    Attributes
    ----------
    session : opens an address for reading and closes it again
    tables : a query for the schema and name of every table that can be read, where there is one
    types : names each column's type of a query, where columns have to be cast by the database
    casts : pattern of a type's name -> how to ask for such a column; the first that fits counts
    mark : the quotation mark around names
    upper : whether names that are not quoted mean capital letters
    """

    session: Callable[[str], AbstractContextManager[Run]]
    tables: str | None = None
    types: Callable[[Run, str], list[tuple[str, str]]] | None = None
    casts: Sequence[tuple[str, str]] = ()
    mark: str = '"'
    upper: bool = False

    def quoted(self, name: str) -> str:
        """Return a name so that it can mean nothing but that name."""
        if self.mark == "`" and not {"`", "\\"}.isdisjoint(name):
            raise InvalidInput(f"table {name!r}: its name must have no backtick and no backslash.", "table")
        return self.mark + name.replace(self.mark, 2 * self.mark) + self.mark


@contextmanager
def _duckdb(address: str) -> Iterator[Run]:
    import duckdb

    # Reading a table must download nothing, whatever its views would need.
    settings: dict[str, str | bool | int | float | list[str]] = {
        "TimeZone": "UTC",
        "autoinstall_known_extensions": False,
    }
    with duckdb.connect(_existing(address), read_only=True, config=settings) as connection:
        yield connection.sql


def _existing(path: str) -> Path:
    if not Path(path).exists():
        raise InvalidInput(f"{path}: there is no such file.", hint="Check the path.")
    return Path(path).absolute()


def _adbc(
    opened: Callable[[str], AdbcDatabase], bounds: Mapping[str, str] | None = None, first: Sequence[str] = ()
) -> Callable[[str], AbstractContextManager[Run]]:
    """Return a session over a driver; `bounds` keep its buffers small, `first` begins the transaction."""

    @contextmanager
    def session(address: str) -> Iterator[Run]:
        from adbc_driver_manager import AdbcConnection, AdbcStatement

        with opened(address) as database, AdbcConnection(database) as connection, ExitStack() as statements:

            def prepared(sql: str) -> AdbcStatement:
                statement: AdbcStatement = statements.enter_context(AdbcStatement(connection))
                statement.set_options(**(bounds or {}))
                statement.set_sql_query(sql)
                return statement

            _begin(connection, prepared, first)
            yield lambda sql: prepared(sql).execute_query()[0]

    return session


def _begin(connection: AdbcConnection, prepared: Callable[[str], AdbcStatement], first: Sequence[str]) -> None:
    if first:
        connection.set_autocommit(enabled=False)
    for sql in first:
        prepared(sql).execute_update()


def _postgresql(url: str) -> AdbcDatabase:
    from adbc_driver_postgresql import connect

    database: AdbcDatabase = connect(url)
    return database


def _sqlite(address: str) -> AdbcDatabase:
    from adbc_driver_sqlite import connect

    path = unquote(address.removeprefix("sqlite:").removeprefix("//")) if address.startswith("sqlite:") else address
    return connect(f"{_existing(path).as_uri()}?mode=ro")


def _snowflake(url: str) -> AdbcDatabase:
    from adbc_driver_snowflake import connect

    return connect(db_kwargs=snowflake_options(url))


def _bigquery(url: str) -> AdbcDatabase:
    from adbc_driver_bigquery import connect

    return connect(db_kwargs=bigquery_options(url))


def _any_driver(url: str) -> AdbcDatabase:
    from adbc_driver_manager import AdbcDatabase

    # The manager finds the driver that is installed under the URL's scheme, or the profile that a profile:// names.
    return AdbcDatabase(uri=url.removeprefix("adbc+"))


def snowflake_options(url: str) -> dict[str, str]:
    """Return the driver's options for snowflake://user:password@account/database/schema?warehouse=...&role=..."""
    names = {key: f"adbc.snowflake.sql.{key}" for key in ("warehouse", "role", "region", "auth_type")}
    names |= {
        "private_key": "adbc.snowflake.sql.client_option.jwt_private_key",
        "token": "adbc.snowflake.sql.client_option.auth_token",
    }
    places = ("adbc.snowflake.sql.account", "adbc.snowflake.sql.db", "adbc.snowflake.sql.schema")
    return {
        # Whole numbers and floats instead of decimals; and a year past 2262 does not fit into nanoseconds.
        "adbc.snowflake.sql.client_option.use_high_precision": "false",
        "adbc.snowflake.sql.client_option.max_timestamp_precision": "microseconds",
        # Else a misspelt account is looked for during five minutes.
        "adbc.snowflake.sql.client_option.login_timeout": "60s",
    } | _url_options(url, names, places)


def bigquery_options(url: str) -> dict[str, str]:
    """Return the driver's options for bigquery://project/dataset?location=...&credentials=key.json."""
    names = {"location": "adbc.bigquery.sql.location", "credentials": "adbc.bigquery.sql.auth_credentials"}
    options = _url_options(url, names, ("adbc.bigquery.sql.project_id", "adbc.bigquery.sql.dataset_id"))
    if names["credentials"] in options:
        options["adbc.bigquery.sql.auth_type"] = "adbc.bigquery.sql.auth_type.json_credential_file"
    return options


def _url_options(url: str, names: Mapping[str, str], places: Sequence[str]) -> dict[str, str]:
    found = URL.fullmatch(url)
    assert found, "checked where the location is read"
    options = {"username": unquote(found["user"] or ""), "password": unquote(found["password"] or "")}
    options |= dict(zip(places, [found["host"], *map(unquote, found["path"].strip("/").split("/"))], strict=False))
    for key, value in parse_qsl(found["options"] or ""):
        if key not in names and not key.startswith("adbc."):
            hint = f"It may be one of {listing(names)}, or an option of the driver.{suggestion(key, names)}"
            raise InvalidInput(
                f"{found['scheme']}://{found['host']}: has an unknown option {key!r} after the ?.", hint=hint
            )
        options[names.get(key, key)] = value
    return {name: value for name, value in options.items() if value}


def _postgres_types(run: Run, sql: str) -> list[tuple[str, str]]:
    import nanoarrow

    schema = nanoarrow.c_array_stream(run(f"{sql} LIMIT 0")).get_schema()
    return [(column.name, _postgres_type(column)) for column in schema.children]


def _postgres_type(column: Any) -> str:
    known: dict[bytes, bytes] = dict(column.metadata or ())
    return "record" if column.format.startswith("+s") else known.get(b"POSTGRESQL:type", b"").decode()


def _duckdb_types(run: Run, sql: str) -> list[tuple[str, str]]:
    return [(column, kind) for column, kind, *_ in run(f"DESCRIBE {sql}").fetchall()]


# A date without end is written infinity there; nothing later knows such a time.
_ENDLESS = "NULLIF(NULLIF({}, 'infinity'), '-infinity')"

_DUCKDB = Dialect(
    session=_duckdb,
    tables="SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal "
    "UNION ALL SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal",
    types=_duckdb_types,
    casts=(
        ("BOOLEAN|U?(TINYINT|SMALLINT|INTEGER|BIGINT)|FLOAT|DOUBLE|VARCHAR|TIME", "{}"),
        ("DATE|TIMESTAMP.*", _ENDLESS),
        (r"DECIMAL\(.*|U?HUGEINT|BIGNUM", "{}::DOUBLE"),
        (r"(STRUCT|MAP|UNION)\(.*|.*\]|VARIANT", "to_json({})::VARCHAR"),
        ("(?s).*", "{}::VARCHAR"),
    ),
)
_POSTGRESQL = Dialect(
    session=_adbc(
        _postgresql,
        {"adbc.postgresql.batch_size_hint_bytes": str(8 << 20)},
        ("SET TRANSACTION READ ONLY", "SET LOCAL TimeZone TO 'UTC'"),
    ),
    tables="SELECT nspname::text, relname::text FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
    r"WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'",
    types=_postgres_types,
    casts=(
        ("bool|int[248]|float[48]|text|varchar|bpchar|char|name|time", "{}"),
        ("timestamp|timestamptz|date", _ENDLESS),
        ("numeric|money", "{}::numeric::float8"),
        ("record|_.*", "to_jsonb({})::text"),
        (".*", "{}::text"),
    ),
)
_SQLITE = Dialect(
    # The driver learns a column's type from the first batch, so that is made a large one.
    session=_adbc(_sqlite, {"adbc.sqlite.query.batch_rows": "100000"}),
    tables="SELECT '', name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'",
)
_SNOWFLAKE = Dialect(
    session=_adbc(_snowflake, {"adbc.rpc.result_queue_size": "8", "adbc.snowflake.rpc.prefetch_concurrency": "2"}),
    tables="SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema <> 'INFORMATION_SCHEMA'",
    upper=True,
)
_BIGQUERY = Dialect(
    session=_adbc(
        _bigquery,
        {"adbc.bigquery.sql.query.result_buffer_size": "8", "adbc.bigquery.sql.query.prefetch_concurrency": "2"},
    ),
    tables="SELECT table_schema, table_name FROM INFORMATION_SCHEMA.TABLES",
    mark="`",
)

DIALECTS = {
    "duckdb": _DUCKDB,
    "postgresql": _POSTGRESQL,
    "sqlite": _SQLITE,
    "snowflake": _SNOWFLAKE,
    "bigquery": _BIGQUERY,
    "adbc": Dialect(session=_adbc(_any_driver)),
}
