"""Text files read record by record: JSON lines and CSV; a broken line is refused alone, counted and shown.

This module knows what makes a record readable, and nothing of what the records mean.
"""

from __future__ import annotations

import csv
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec
import polars as pl

from features.errors import InvalidInput, listing
from features.rejections import Sieve
from features.sources.files import SHOWN, Block, Text, blocks
from features.sources.source import BATCH_ROWS

T = TypeVar("T")

NOT_UTF8 = "not UTF-8 text"
NOT_JSON = "not JSON"
NOT_AN_OBJECT = "not a JSON object"
OTHER_WIDTH = "the row has another number of fields than the header"
BROKEN_QUOTES = "a quote that is not closed, or stands inside a field"

# Columns whose values are texts in every table, however a file writes them: user 7 is user "7".
_TEXTS = frozenset(
    """user_id account_id event message_id timestamp received_at sent_at original_timestamp
    started_at ends_at closed_at converted_at""".split()
)
_JSON_TEXTS = frozenset({"properties"})
_NULL = msgspec.Raw(b"null")
# What no column is called: a time, a number or JSON is a value, so the line above the rows is missing.
_NO_NAME = re.compile(r"^(\d{4}-\d\d-\d\d.*|[-+.\d]+|[{\[].*)$")


def _utf8(text: Text, block: Block, sieve: Sieve) -> list[bytes]:
    """Return the lines with an empty one for each that is not UTF-8; those are refused."""
    try:
        for line in block.lines:
            line.isascii() or line.decode()
    except UnicodeDecodeError:
        return [_readable(text, number, line, sieve) for number, line in enumerate(block.lines, block.number)]
    return block.lines


def _readable(text: Text, number: int, line: bytes, sieve: Sieve) -> bytes:
    try:
        line.decode()
    except UnicodeDecodeError:
        sieve.count(NOT_UTF8, 1, [text.sample(number, line)])
        return b""
    return line


# --- JSON lines ------------------------------------------------------------------------------


def json_records(texts: Iterable[Text], decode: Callable[[bytes], T], sieve: Sieve) -> Iterator[list[T]]:
    """Yield what `decode` makes of each line, many at a time; lines of which it makes nothing are refused.

    Blank lines are no records and are passed over.
    """
    for text in texts:
        for block in blocks(text, sieve):
            if records := _decoded(text, block, decode, sieve):
                yield records


def _decoded(text: Text, block: Block, decode: Callable[[bytes], T], sieve: Sieve) -> list[T]:
    records = []
    for number, line in enumerate(_utf8(text, block, sieve), block.number):
        try:
            records.append(decode(line))
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            if line.strip():
                sieve.count(_reason(error), 1, [text.sample(number, line)])
    return records


def _reason(error: Exception) -> str:
    """Return why a line is no record, in words that are the same for all lines with this fault."""
    if not isinstance(error, msgspec.ValidationError):
        return NOT_JSON
    message = str(error)
    if missing := re.search("missing required field `([^`]*)`", message):
        return f"the record has no field {missing[1]!r}"
    place = re.search(r"`\$\.([^`\[]*)", message)
    return f"the record's field {place[1]!r} holds what this format does not know" if place else NOT_AN_OBJECT


def json_frames(texts: Iterable[Text], sieve: Sieve) -> Iterator[pl.DataFrame]:
    """Yield the rows of JSON lines under the names they have there, many at a time.

    Columns of the canonical tables are texts, `properties` stays JSON text; other columns are numbers, truth values or
    texts as the file has them, texts where it mixes these, and JSON text where they are nested.
    """
    for records in json_records(texts, msgspec.json.Decoder(dict[str, msgspec.Raw]).decode, sieve):
        # An object without any field is a row too, for later stages to refuse.
        names = dict.fromkeys(records[0] or ("user_id",))
        names |= dict.fromkeys(sorted(set().union(*records) - names.keys()))
        yield pl.DataFrame([_column(name, [record.get(name, _NULL) for record in records]) for name in names])


def _column(name: str, raws: Sequence[msgspec.Raw]) -> pl.Series:
    if name in _JSON_TEXTS:
        return json_texts(name, raws)
    # One decoding of the whole column: each value is JSON by itself, so together they are a JSON array.
    together = b"[" + b",".join(raws) + b"]"
    if name in _TEXTS:
        try:
            return pl.Series(name, msgspec.json.decode(together, type=list[str | None]), dtype=pl.String)
        except msgspec.ValidationError:
            return _as_texts(name, raws, _values(raws, together))
    values = _values(raws, together)
    kinds = set(map(type, values)) - {type(None)}
    try:
        if kinds <= {bool} or kinds <= {str} or kinds <= {int}:
            return pl.Series(name, values)
        if kinds <= {int, float}:
            return pl.Series(name, values, dtype=pl.Float64, strict=False)
    except (OverflowError, pl.exceptions.PolarsError):
        pass
    return _as_texts(name, raws, values)


def _values(raws: Sequence[msgspec.Raw], together: bytes) -> list[Any]:
    """Return the values; a number too large for any type stays as it is in the file."""
    try:
        return msgspec.json.decode(together, type=list[Any])
    except msgspec.ValidationError:
        return [msgspec.json.decode(raw) if bytes(raw)[:1] in b'"tfn' else raw for raw in raws]


def _as_texts(name: str, raws: Sequence[msgspec.Raw], values: Sequence[Any]) -> pl.Series:
    # Nothing nested identifies anybody or is a time.
    unfit = (dict, list) if name in _TEXTS else ()
    texts = [
        None if value is None or isinstance(value, unfit) else value if isinstance(value, str) else str(raw, "utf-8")
        for raw, value in zip(raws, values, strict=True)
    ]
    return pl.Series(name, texts, dtype=pl.String)


def json_texts(name: str, raws: Iterable[msgspec.Raw]) -> pl.Series:
    """Return JSON values as the texts they are in the file: null for null, and what a text holds where it is one."""
    texts = pl.Series(name, list(map(bytes, raws)), dtype=pl.Binary).cast(pl.String)
    texts = texts.zip_with(texts != "null", pl.Series([None], dtype=pl.String))
    quoted = texts.str.starts_with('"').fill_null(value=False)
    if quoted.any():
        inner = [
            msgspec.json.decode(text) if is_quoted else text for text, is_quoted in zip(texts, quoted, strict=True)
        ]
        return pl.Series(name, inner, dtype=pl.String)
    return texts


def texts_of(name: str, values: Sequence[str | int | float | None]) -> pl.Series:
    """Return scalars as texts, null where there is none."""
    try:
        return pl.Series(name, values, dtype=pl.String)
    except TypeError:
        return pl.Series(name, [None if value is None else str(value) for value in values], dtype=pl.String)


# --- CSV -------------------------------------------------------------------------------------


def csv_frames(texts: Iterable[Text], sieve: Sieve) -> Iterator[pl.DataFrame]:
    """Yield the rows of CSV files with a header, many at a time; all columns are texts, an empty field is null.

    Raises
    ------
    InvalidInput
        Where a file has no header, or one that names a column twice.
    """
    for text in texts:
        feed = _Feed(text, sieve)
        header = _header(feed)
        yield pl.DataFrame(schema=dict.fromkeys(header, pl.String))
        while lines := feed.block():
            rows = _plain(lines, len(header))
            if rows is None:
                rows = _careful(feed, len(header))
            feed.waiting.clear()
            yield _texts_frame(header, rows)


def _texts_frame(header: list[str], rows: list[list[str]]) -> pl.DataFrame:
    columns = list(zip(*rows, strict=True)) or [()] * len(header)
    frame = pl.DataFrame(
        [pl.Series(name, values, dtype=pl.String) for name, values in zip(header, columns, strict=True)]
    )
    return frame.with_columns(pl.when(pl.all() != "").then(pl.all()))


class _Feed:
    """Lines for a csv reader; those of the record it is reading can be given back."""

    def __init__(self, text: Text, sieve: Sieve) -> None:
        self.text, self.sieve = text, sieve
        self.waiting: deque[tuple[int, str]] = deque()
        self.taken: list[tuple[int, str]] = []
        self._blocks = blocks(text, sieve)

    def block(self) -> list[str]:
        """Return the lines that wait, or those of the next block."""
        if not self.waiting and (block := next(self._blocks, None)):
            lines = enumerate(_utf8(self.text, block, self.sieve), block.number)
            self.waiting.extend((number, line.decode()) for number, line in lines)
        return [line for _, line in self.waiting]

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        if not self.waiting and not self.block():
            raise StopIteration
        self.taken.append(self.waiting.popleft())
        return self.taken[-1][1] + "\n"

    def refuse(self, reason: str, lines: int) -> None:
        """Count the record under way as one refused row of so many lines, and give its other lines back."""
        self.sieve.count(reason, 1, [self.text.sample(*self.taken[0])])
        self.waiting.extendleft(reversed(self.taken[lines:]))


def _plain(lines: list[str], width: int) -> list[list[str]] | None:
    """Return the rows of lines that are a good row each, None where one is not."""
    try:
        rows = list(csv.reader(lines, strict=True))
    except csv.Error:
        return None
    # As many rows as lines: no row runs over two of them.
    good = len(rows) == len(lines) and all(len(row) == width for row in rows)
    return rows if good else None


def _careful(feed: _Feed, width: int) -> list[list[str]]:
    """Return the good rows of the lines that wait; a quote left open costs its own line and not those behind it."""
    rows = []
    reader = csv.reader(feed, strict=True)
    while feed.waiting:
        feed.taken.clear()
        try:
            row = next(reader)
        except csv.Error:
            feed.refuse(BROKEN_QUOTES, 1)
            continue
        if len(row) == width:
            rows.append(row)
        if len(row) == width or not "".join(row).strip():
            continue
        # A good row whose quotes pair up within its line was not meant to be the end of the row above it.
        swallowed = any(line.count('"') % 2 == 0 and _plain([line], width) for _, line in feed.taken[1:])
        feed.refuse(OTHER_WIDTH, 1 if swallowed else len(feed.taken))
    return rows


def _header(feed: _Feed) -> list[str]:
    while feed.block() and not feed.waiting[0][1].strip():
        feed.waiting.popleft()
    if not feed.waiting:
        raise InvalidInput(f"{feed.text.name}: must have a header and rows, got nothing.", hint="Check the export.")
    line = feed.waiting.popleft()[1]
    try:
        names = [name.strip() for name in next(csv.reader([line], strict=True))]
    except csv.Error as error:
        raise InvalidInput.unreadable(feed.text.name, f"not csv: header: {error}") from None
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise InvalidInput(
            f"{feed.text.name}: the header must name each column once, got {listing(twice)} more than once.",
            field=twice[0],
            hint="Rename or drop one of them.",
        )
    if not all(names) or any(map(_NO_NAME.search, names)):
        raise InvalidInput(
            f"{feed.text.name}: the first line must name the columns, got {line[:SHOWN]!r}.",
            hint="Put a header such as user_id,event,timestamp above the rows.",
        )
    return names


# --- rows together ---------------------------------------------------------------------------


def batches(frames: Iterable[pl.DataFrame], rows: int = BATCH_ROWS) -> Iterator[pl.DataFrame]:
    """Yield the same rows in frames of about `rows` of them; at least one frame where there is any, even without rows."""
    waiting: list[pl.DataFrame] = []
    size = 0
    for frame in frames:
        waiting.append(frame)
        size += len(frame)
        if size >= rows:
            yield _together(waiting)
            waiting, size = [], 0
    if waiting:
        yield _together(waiting)


def _together(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Return the frames as one; a column that is a truth value here and a number there becomes texts."""
    kinds: dict[str, set[pl.DataType]] = {}
    for frame in frames:
        for name, dtype in frame.schema.items():
            kinds.setdefault(name, set()).add(dtype)
    mixed = [name for name, found in kinds.items() if pl.Boolean() in found and found - {pl.Boolean(), pl.Null()}]
    if mixed:
        frames = [frame.with_columns(pl.col(set(mixed) & set(frame.columns)).cast(pl.String)) for frame in frames]
    return pl.concat(frames, how="diagonal_relaxed")
