"""Where a table lies (file, folder, pattern, archive, database), opened as a source of the format it has."""

from __future__ import annotations

import gzip
import io
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from glob import glob, has_magic
from itertools import chain
from pathlib import Path
from typing import IO, cast

import polars as pl

from features.errors import InvalidInput, listing, suggestion
from features.rejections import Sieve
from features.sources import amplitude, files, mixpanel, posthog, segment
from features.sources.databases import is_database, open_database
from features.sources.files import Bytes, Text
from features.sources.formats import FORMATS, VENDORS
from features.sources.lines import batches, csv_frames, json_frames
from features.sources.looks import JSON_LINES, WORDS, Look, is_posthog, look
from features.sources.source import Source

TABLES = ("events", "trials")
_ENDINGS = (".parquet", ".pq", ".csv", ".jsonl", ".ndjson", ".json", ".gz", ".zip")
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_HEAD_BYTES = 1 << 18


@dataclass(frozen=True)
class _Part:
    """One file, or one inside an archive."""

    path: Path
    text: Text
    look: Look

    def form(self, named: str | None) -> str:
        """Return the format of this part: what its content says, where that agrees with what the caller or its name says.

        Raises
        ------
        InvalidInput
            Where they do not agree, with the format to name instead.
        """
        if not self.look.forms:
            raise InvalidInput(f"{self.text.name}: looks like {self.look.words}.", hint=self.look.advice)
        wanted = self._wanted(named)
        for form in self.look.forms:
            if form in wanted:
                return form
        raise InvalidInput(
            f"{self.text.name}: is read as {wanted[0]}, but looks like {self.look.words}.",
            field="format",
            hint=f"Name its format: --format {self.look.forms[0]}",
        )

    def _wanted(self, named: str | None) -> tuple[str, ...]:
        """Return the formats that the caller or, without one, the name allows."""
        if named is not None:
            return (named,)
        path = Path(self.text.name)
        if files.form_by_name(path) is None and self.look.forms[0] != "csv":
            return self.look.forms
        # Any text looks like CSV, so there the name must say it.
        told = files.format_of(path)
        return {"jsonl": JSON_LINES, "parquet": ("parquet", "posthog")}.get(told, (told,))


def open_source(location: str, form: str | None = None, table: str = "events") -> Source:
    """Return the table at a location as a source.

    Parameters
    ----------
    location : a file (plain, gzipped, or a zip of such files), a folder (all files in it with known endings), a pattern such
        as `exports/*.json.gz`, a DuckDB file, or a database's address
    form : one of FORMATS; None lets names and contents tell
    table : "events" or "trials"

    Raises
    ------
    InvalidInput
        Where there is nothing, or something that is not of this format: the message says what it looks like.
    """
    if form is not None and form not in FORMATS:
        raise InvalidInput(
            f"format must be one of {listing(FORMATS, 10)}, got {form!r}.{suggestion(form, FORMATS)}", "format"
        )
    if table not in TABLES:
        raise InvalidInput(f"table must be one of {listing(TABLES)}, got {table!r}.", "table")
    if form == "duckdb" or (form is None and is_database(location)):
        return open_database(location, table)
    parts = list(chain.from_iterable(map(_parts, _paths(location, form))))
    found = _one_form(location, parts, form)
    if found in VENDORS and table != "events":
        raise InvalidInput(
            f"{location}: {WORDS[found]} hold events, not {table}.",
            field="format",
            hint=f"Give {table} as {listing(files.FORMATS)}, or leave them to be derived from the events.",
        )
    return _OPENERS[found](location, parts)


def open_trials(location: str, form: str | None = None) -> Source:
    """Return the trials at a location as a source, given the format of the events beside them.

    Where the trials' own name tells another format, or the events are a vendor's export, which holds no trials, the trials'
    name and content tell.
    """
    own = form in VENDORS or files.form_by_name(Path(location)) is not None or is_database(location)
    return open_source(location, None if own else form, "trials")


def _one_form(location: str, parts: Sequence[_Part], form: str | None) -> str:
    if not parts:
        raise InvalidInput(
            f"{location}: holds no file with a known ending {listing(_ENDINGS)}.", hint="Check the path."
        )
    # An empty file beside others is a quiet hour, not another format.
    telling = [part for part in parts if part.look != _EMPTY] or parts[:1]
    if telling[0].look == _EMPTY:
        raise InvalidInput(f"{location}: must have at least one row, got an empty file.", hint="Check the export.")
    forms = {part.form(form): part.text.name for part in telling}
    if len(forms) > 1:
        several = "; ".join(f"{found} ({name})" for found, name in forms.items())
        raise InvalidInput(f"{location}: must hold files of one format, got {several}.", hint="Name one, or a pattern.")
    return next(iter(forms))


_EMPTY = look(b"", whole=True)
_POSTHOGS_PARQUET = Look("PostHog's Parquet", ("posthog",))


# --- which files -----------------------------------------------------------------------------


def _paths(location: str, form: str | None) -> list[Path]:
    path = Path(location)
    if path.is_dir():
        inside = (
            file for file in path.rglob("*") if not any(part.startswith(".") for part in file.relative_to(path).parts)
        )
        return sorted((file for file in inside if _is_known(file.name, form) and file.is_file()), key=_in_order)
    if path.exists():
        return [path]
    if has_magic(location):
        return sorted(
            (file for name in glob(location, recursive=True) if (file := Path(name)).is_file()), key=_in_order
        )
    raise InvalidInput(f"{location}: there is no such file.", hint="Check the path.")


def _is_known(name: str, form: str | None) -> bool:
    """Whether a file in a folder is part of the table: by its ending and, where the format is named, that of this format."""
    told = files.form_by_name(Path(name))
    fitting = {None: None, "posthog": {"jsonl", "parquet"}}.get(form, {"jsonl"} if form in VENDORS else {form})
    return name.lower().endswith(_ENDINGS) and (fitting is None or told is None or told in fitting)


def _in_order(path: Path) -> list[tuple[int, str]]:
    """Return a key that puts hour 9 before hour 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", str(path))]


def _parts(path: Path) -> list[_Part]:
    try:
        with path.open("rb") as file:
            is_zip = file.read(4) == _ZIP
        if not is_zip:
            return [_part(path, str(path), None)]
        with zipfile.ZipFile(path) as archive:
            members = [member.filename for member in archive.infolist() if not member.is_dir()]
        if "[Content_Types].xml" in members:
            raise InvalidInput(f"{path}: looks like an Excel or Office file.", hint="Save it as CSV.")
        known = [name for name in members if name.lower().endswith(_ENDINGS[:-1]) and "__MACOSX" not in name]
        return [_part(path, f"{path}/{name}", name) for name in sorted(known, key=lambda name: _in_order(Path(name)))]
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise InvalidInput.unreadable(path, error) from None


def _part(path: Path, name: str, member: str | None) -> _Part:
    text = Text(name, lambda: _opened(path, member))
    head, whole = _head(text)
    seen = look(head, whole=whole)
    if "parquet" in seen.forms:
        seen = _parquet_look(path, name, seen, head)
    return _Part(path, text, seen)


def _parquet_look(path: Path, name: str, seen: Look, head: bytes) -> Look:
    with path.open("rb") as file:
        if file.read(len(head)) != head:
            return Look("Parquet inside an archive", advice="Unpack it: Parquet packs itself.")
    try:
        columns = pl.read_parquet_schema(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InvalidInput.unreadable(name, f"not parquet: {str(error).splitlines()[0]}") from None
    return _POSTHOGS_PARQUET if is_posthog(columns) else Look(seen.words, ("parquet",))


def _head(text: Text) -> tuple[bytes, bool]:
    """Return the first bytes of a text, and whether they are all of it."""
    head = b""
    try:
        with text.open() as file:
            while len(head) < _HEAD_BYTES:
                piece = file.read1(_HEAD_BYTES)
                head += piece
                if not piece:
                    return head, True
    except files.TORN_ERRORS:
        # What is torn can still be read up to there, but not where nothing of it can.
        if not head:
            raise InvalidInput.unreadable(text.name, "a packed file that is damaged at its beginning") from None
    return head, False


@contextmanager
def _opened(path: Path, member: str | None) -> Iterator[Bytes]:
    """Open a file or a member of an archive at its beginning, unpacked where it is gzipped, whatever it is called."""
    with ExitStack() as stack:
        file = cast("IO[bytes]", stack.enter_context(path.open("rb")))
        if member is not None:
            file = stack.enter_context(stack.enter_context(zipfile.ZipFile(file)).open(member))
        buffered = cast("io.BufferedReader", file)
        if buffered.peek(2)[:2] == _GZIP:
            yield stack.enter_context(gzip.GzipFile(fileobj=buffered))
        else:
            yield buffered


# --- as sources ------------------------------------------------------------------------------


def _texts(parts: Sequence[_Part]) -> list[Text]:
    return [part.text for part in parts if part.look != _EMPTY]


def _plain(
    read: Callable[[Sequence[_Part], Sieve], Iterator[pl.DataFrame]],
) -> Callable[[str, Sequence[_Part]], Source]:
    def opened(name: str, parts: Sequence[_Part]) -> Source:
        def frames(sieve: Sieve) -> Iterator[pl.DataFrame]:
            some = False
            for frame in batches(read(parts, sieve)):
                some = True
                yield frame
            if not some:
                yield pl.DataFrame()

        return Source(name, frames)

    return opened


def _parquet(parts: Sequence[_Part], _: Sieve) -> Iterator[pl.DataFrame]:
    return chain.from_iterable(files.parquet_frames(part.path) for part in parts if part.look != _EMPTY)


def _posthog(name: str, parts: Sequence[_Part]) -> Source:
    tables = [part.path for part in parts if part.look == _POSTHOGS_PARQUET]
    return posthog.source(name, [text for text in _texts(parts) if Path(text.name) not in tables], tables)


_OPENERS: dict[str, Callable[[str, Sequence[_Part]], Source]] = {
    "parquet": _plain(_parquet),
    "csv": _plain(lambda parts, sieve: csv_frames(_texts(parts), sieve)),
    "jsonl": _plain(lambda parts, sieve: json_frames(_texts(parts), sieve)),
    "segment": lambda name, parts: segment.source(name, _texts(parts)),
    "mixpanel": lambda name, parts: mixpanel.source(name, _texts(parts)),
    "amplitude": lambda name, parts: amplitude.source(name, _texts(parts)),
    "posthog": _posthog,
}
