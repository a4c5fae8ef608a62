"""Tables in databases: a DuckDB or SQLite file, or any server that an ADBC driver reaches, read in batches.

Only reading happens here: one query per table, which the database itself is asked to refuse if it would write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import polars as pl

from features.errors import InvalidInput, listing
from features.sources import source
from features.sources.dialects import DIALECTS, URL, Dialect, Run
from features.sources.source import Source

EXTRA = "pip install 'pql-scoring-service[warehouse]'"

# --- where to read ----------------------------------------------------------------------------

_MAGIC = {b"DUCK": (8, "duckdb"), b"SQLite format 3\0": (0, "sqlite")}
_ENDINGS = {".duckdb": "duckdb", ".ddb": "duckdb", ".sqlite": "sqlite", ".sqlite3": "sqlite"}
_SCHEMES = {"postgres": "postgresql", "postgresql": "postgresql", "snowflake": "snowflake", "bigquery": "bigquery"}
_SCHEMES |= {"sqlite": "sqlite", "profile": "adbc"}
_SECRET = re.compile("pass|pwd|secret|token|key|cred", re.IGNORECASE)
_PATHS = ("credentials", "private_key", "sslkey")
_ESCAPES = "Write @ : / ? # in a password as %40 %3A %2F %3F %23."


@dataclass(frozen=True)
class Place:
    """One table or query of one database; only `shown` may be seen by anyone.

    Attributes
    ----------
    address : a file's path or a URL, with its password if it has one
    shown : the same without password and options
    parts : the table's name, after its schema's; nothing where a query is read
    query : the query; nothing where a table is read
    """

    address: str = field(repr=False)
    shown: str
    parts: tuple[str, ...] = ()
    query: str = ""

    def __str__(self) -> str:
        return f"{self.shown}#{'.'.join(self.parts) or ' '.join(self.query.split())[:60]}"

    def failed(self, why: str, hint: str) -> InvalidInput:
        """Return the error that quotes the first line of a driver's words, with secrets taken out of it."""
        for secret in _secrets(self.address):
            why = why.replace(secret, "***")
        return InvalidInput(f"{self}: cannot be read ({' '.join(why.strip().splitlines()[:1])[:300]}).", hint=hint)


def is_database(location: str) -> bool:
    """Return whether a location names a database rather than a file of events."""
    return _kind(location.partition("#")[0]) is not None


def _kind(address: str) -> str | None:
    scheme, colon, _ = address.partition(":")
    if colon and scheme.startswith("adbc+"):
        return "adbc"
    if colon and scheme in _SCHEMES and (scheme == "sqlite" or address.startswith(f"{scheme}://")):
        return _SCHEMES[scheme]
    path = Path(address)
    return _ENDINGS.get(path.suffix.lower()) or (_kind_by_bytes(path) if path.suffix.lower() == ".db" else None)


def _kind_by_bytes(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError:
        return None
    return next((kind for magic, (at, kind) in _MAGIC.items() if head[at:].startswith(magic)), None)


def _place(location: str, table: str) -> Place:
    address, _, wanted = location.partition("#")
    shown = _shown(address)
    if re.match(r"(select|with)\b", wanted.strip(), re.IGNORECASE):
        return Place(address, shown, query=_one_statement(wanted, shown))
    if "@" in wanted and "@" not in address and not wanted.startswith('"'):
        # What follows the # may be the end of a password, so nothing is repeated.
        raise InvalidInput("The database's URL must have no # before its @.", hint=_ESCAPES)
    return Place(address, shown, parts=_parts(wanted.strip() or table, shown))


def _one_statement(query: str, shown: str) -> str:
    # Stricter than SQL, in which a quoted text may hold one; so no dialect's way of quoting can be used to get around it.
    query = query.strip().removesuffix(";")
    if ";" in query:
        raise InvalidInput(
            f"{shown}: the query after # must be one statement, it has a ; inside.", hint="Leave it out."
        )
    return query


def _parts(name: str, shown: str) -> tuple[str, ...]:
    """Split schema.table at its dots; a part in double quotes may hold dots, and quotes if they are doubled."""
    quoted = r'"(?:[^"]|"")+"'
    found = re.fullmatch(rf"({quoted}|[^.]+)(?:\.({quoted}|[^.]+))?(?:\.({quoted}|[^.]+))?", name, re.DOTALL)
    if not found or "\0" in name:
        raise InvalidInput(
            f"{shown}: the table after # must be written name or schema.name, got {name!r}.",
            hint='Put names with dots in double quotes: "a.b".',
        )
    return tuple(part for part in found.groups() if part)


def _shown(address: str) -> str:
    """Return an address without its password and options; one in which these cannot be told apart is refused."""
    scheme, url, _ = address.partition("://")
    if not url:
        return address.partition("?")[0]
    found = URL.fullmatch(address)
    if found is None:
        raise InvalidInput(
            f"{scheme}://...: must be written {scheme}://user:password@host:port/database.", hint=_ESCAPES
        )
    user, password, host, path = found.group("user", "password", "host", "path")
    login = "" if user is None else f"{user}@" if password is None else f"{user}:***@"
    return f"{scheme}://{login}{host}{path}"


def _secrets(address: str) -> list[str]:
    found = URL.fullmatch(address)
    texts = [found["password"] or ""] if found else []
    options = parse_qsl(address.partition("?")[2])
    texts += [value for name, value in options if _SECRET.search(name) and name not in _PATHS]
    return sorted({form for text in texts if text for form in (text, unquote(text))}, key=len, reverse=True)


# --- reading ----------------------------------------------------------------------------------


def open_database(location: str, table: str) -> Source:
    """Return a table of a database as a source; nothing is opened before it is read.

    Parameters
    ----------
    location : a file's path or a URL, and after a # another table (`name`, `schema.name`) or a query that begins with
        select or with
    table : the table that is read where the location names none

    Raises
    ------
    InvalidInput
        Where the location is not well formed; while reading, where a package is missing, the database cannot be
        reached or refuses, there is no such table, or a column cannot be held. No message has the password.
    """
    place = _place(location, table)
    kind = _kind(place.address)
    if kind is None:
        raise InvalidInput(
            f"{place.shown}: must be a DuckDB or SQLite file, or a URL.", hint="Begin it like postgresql://."
        )
    return Source(str(place), lambda _: _read(place, DIALECTS[kind]))


def _read(place: Place, dialect: Dialect) -> Iterator[pl.DataFrame]:
    with _failures(place), dialect.session(place.address) as run:
        try:
            stream = run(_asked(place, dialect, run))
        except Exception as error:
            if dialect.tables and _NO_TABLE.search(str(error)):
                raise place.failed(str(error), _what_there_is(place, dialect)) from None
            raise
        yield from _in_batches(_frames(stream, place, dialect))


def _asked(place: Place, dialect: Dialect, run: Run) -> str:
    """Return the one query that is run; a query of the user's stands inside it, where nothing can be written."""
    rows = f"(\n{place.query}\n)" if place.query else ".".join(_name(part, dialect) for part in place.parts)
    if dialect.types is None:
        return f"SELECT * FROM {rows} AS picked"  # noqa: S608 - names are quoted, see Dialect.quoted
    columns = dialect.types(run, f"SELECT * FROM {rows} AS picked")  # noqa: S608
    _check_names([name for name, _ in columns], place)
    return f"SELECT {', '.join(_cast(*column, dialect) for column in columns)} FROM {rows} AS picked"  # noqa: S608


def _name(part: str, dialect: Dialect) -> str:
    if part.startswith('"') and part.endswith('"') and len(part) > 2:
        return dialect.quoted(part[1:-1].replace('""', '"'))
    return dialect.quoted(part.upper() if dialect.upper else part)


def _cast(column: str, kind: str, dialect: Dialect) -> str:
    name = dialect.quoted(column)
    asked = next(template for pattern, template in dialect.casts if re.fullmatch(pattern, kind))
    return f"{asked.replace('{}', name)} AS {name}"


def _check_names(names: list[str], place: Place) -> None:
    if len(set(names)) < len(names):
        raise InvalidInput(
            f"{place}: each column must have a name of its own, got {listing(names, 20)}.", hint="Rename them with AS."
        )


def _frames(stream: Any, place: Place, dialect: Dialect) -> Iterator[pl.DataFrame]:
    import nanoarrow

    batches = nanoarrow.c_array_stream(stream)
    names = [child.name for child in batches.get_schema().children]
    if dialect.upper:
        names = [name.lower() if name.isupper() else name for name in names]
    _check_names(names, place)
    yield pl.DataFrame(schema=dict.fromkeys(names, pl.Null))
    for batch in batches:
        columns = zip(names, batch.children, strict=True)
        yield pl.DataFrame([_plain(name, column, place) for name, column in columns])


def _in_batches(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Join and cut what a driver sends to `source.BATCH_ROWS` rows; at least one frame comes, for its columns."""
    held = next(frames)
    come = False
    for frame in frames:
        held = frame if held.is_empty() else pl.concat([held, frame], how="vertical_relaxed")
        while len(held) >= source.BATCH_ROWS:
            yield held.head(source.BATCH_ROWS)
            held, come = held.slice(source.BATCH_ROWS), True
    if len(held) or not come:
        yield held


def _plain(name: str, column: Any, place: Place) -> pl.Series:
    """Return a column as text, number, truth or time: what every later stage knows how to read."""
    try:
        values = pl.Series(column).alias(name)
    except pl.exceptions.PolarsError:
        kind = column.schema.format
        raise InvalidInput(
            f"{place}: column {name!r} has a type that cannot be held (Arrow {kind!r}).",
            name,
            "Leave it out or cast it to text: #select ... from ...",
        ) from None
    if isinstance(values.dtype, pl.BaseExtension):
        values = values.ext.storage()
    if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is not None:
        return values.dt.convert_time_zone("UTC")
    if values.dtype.is_decimal():
        return values.cast(pl.Float64)
    if values.dtype.is_nested():
        return _as_json(values)
    return values.cast(pl.String) if values.dtype in (pl.Categorical, pl.Enum) else values


def _as_json(values: pl.Series) -> pl.Series:
    wrapped = pl.select(pl.struct(value=values).struct.json_encode()).to_series()
    texts = wrapped.str.strip_prefix('{"value":').str.head(-1)
    return texts.zip_with(values.is_not_null(), pl.Series([None], dtype=pl.String)).alias(values.name)


# --- what goes wrong --------------------------------------------------------------------------

_LIBRARIES = {"duckdb", "_duckdb", "adbc_driver_manager", "nanoarrow"}
_NO_TABLE = re.compile(r"(relation|table|object|view)\b.* does not exist|no such table|not found: table", re.IGNORECASE)
_HINTS = (
    ("constructing client", "Name a key file with ?credentials=key.json, or sign in with gcloud on this machine."),
    ("password auth|no password|authenticat|credential|username or password", f"Check user and password. {_ESCAPES}"),
    ("could not translate|refused|no such host|timed? ?out|no route", "Check host and port, and the way there."),
    ('database ".*" does not exist', "Check the database's name after the host."),
    ("permission|denied|authorized|forbidden", "Ask for the right to read it, and to use its schema."),
    ("type mismatch|nested record", "Cast the column to text: #select ... from ..."),
    ("", "Try the same address and query with the database's own client."),
)


@contextmanager
def _failures(place: Place) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise InvalidInput(
            f"{place}: reading it needs the package {error.name!r}, which is not installed.", hint=f"Run {EXTRA}."
        ) from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _LIBRARIES:
            raise
        hint = next(hint for pattern, hint in _HINTS if re.search(pattern, str(error), re.IGNORECASE))
        raise place.failed(str(error), hint) from None


def _what_there_is(place: Place, dialect: Dialect) -> str:
    try:
        with dialect.session(place.address) as run:
            frames = list(_frames(run(dialect.tables or ""), place, dialect))
    except Exception:
        # The list is a help; where it cannot be had, what the driver said first must not be lost.
        return "Check the table's name and its schema."
    there = sorted(".".join(part for part in name if part) for frame in frames for name in frame.iter_rows())
    return f"The tables are {listing(there, 20)}." if there else "There are no tables in it."
