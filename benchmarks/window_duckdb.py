"""DuckDB's sides of the window benchmark: the query that anyone would write, and the best that we found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from benchmarks.window_work import DAY, EVENTS, SNAPSHOT_DAYS, WINDOWS, Work

if TYPE_CHECKING:
    import duckdb

FAR = 7
"""Days that the longest fixed window looks back."""

_MASKS = dict(zip(WINDOWS, ("1", str((1 << FAR) - 1), "((1 << day) - 1)"), strict=True))


def duckdb_rows(work: Work) -> duckdb.DuckDBPyRelation:
    """Return the rows by the best query: one that groups twice."""
    return _made(statement(work))


def duckdb_filtered(work: Work) -> duckdb.DuckDBPyRelation:
    """Return the rows by one query with a filtered aggregate per column."""
    return _made(filtered(work))


def _made(query: str) -> duckdb.DuckDBPyRelation:
    """Return a query's rows as a table in DuckDB's memory; fetching them would only add to its cost."""
    import duckdb

    # A second thread shortens the wait and costs more CPU time, which is what is compared.
    connection = duckdb.connect(config={"threads": 1, "preserve_insertion_order": False})
    connection.execute(f"CREATE TYPE kind AS ENUM ({', '.join(map(repr, EVENTS))})")
    connection.execute(f"CREATE TEMP TABLE result AS {query}")
    return connection.table("result")


def statement(work: Work) -> str:
    """Return the query.

    Grouping by snapshot and event first, and turning the few values of each snapshot into columns through a map, costs a
    quarter of a single grouping with one filtered aggregate per column.
    """
    return f"""
WITH trials AS (
    SELECT user_id, row_number() OVER ()::INT AS number, epoch_us(started_at) AS start FROM '{work.trials}'
), near AS MATERIALIZED (
    SELECT number, enum_code(event::kind) AS event, epoch_us(timestamp) - start AS since_start
    FROM '{work.events}' JOIN trials USING (user_id)
    WHERE since_start >= {min(_farthest(day) for day in SNAPSHOT_DAYS)} AND since_start < {max(SNAPSHOT_DAYS) * DAY}
), seen AS (
    {" UNION ALL ".join(map(_seen, SNAPSHOT_DAYS))}
), totals AS (
    SELECT number, day, event,
        count(*) FILTER (WHERE age <= {DAY}) AS n0,
        count(*) FILTER (WHERE age <= {FAR * DAY}) AS n1,
        count(*) FILTER (WHERE age <= day::BIGINT * {DAY}) AS n2,
        min(age) AS last, bit_or(bit) AS bits
    FROM seen GROUP BY ALL
), by_row AS (
    SELECT number, day, bit_or(bits) AS bits,
        map(list(event), list({{'n0': n0, 'n1': n1, 'n2': n2, 'last': last}})) AS of_event
    FROM totals GROUP BY number, day
)
SELECT user_id, day, {", ".join(_columns())}
FROM by_row RIGHT JOIN (SELECT user_id, number, unnest([{", ".join(map(str, SNAPSHOT_DAYS))}]) AS day FROM trials)
USING (number, day)"""  # noqa: S608 - nothing in it comes from outside


def filtered(work: Work) -> str:
    """Return the plain query: events joined to snapshots by a range of time, and one filtered aggregate per column."""
    aggregates = []
    for event in EVENTS:
        mine = f"event = '{event}' AND"
        for window, within in _WITHIN.items():
            aggregates.append(f"count(*) FILTER (WHERE {mine} {within}) AS {event}_count_{window}")
        aggregates.append(f"min(age) FILTER (WHERE event = '{event}') / {DAY}.0::DOUBLE AS {event}_days_since_last")
    for window, within in _WITHIN.items():
        aggregates.append(
            f"count(DISTINCT (age - 1) // {DAY}) FILTER (WHERE {within}) AS activity_active_days_{window}"
        )
    return f"""
WITH snapshots AS (
    SELECT user_id, day, epoch_us(started_at) + day::BIGINT * {DAY} AS as_of
    FROM (SELECT *, unnest([{", ".join(map(str, SNAPSHOT_DAYS))}]) AS day FROM '{work.trials}')
), seen AS (
    SELECT s.user_id, day, event, as_of - epoch_us(timestamp) AS age
    FROM snapshots s LEFT JOIN '{work.events}' e
    ON s.user_id = e.user_id AND epoch_us(timestamp) < as_of AND as_of - epoch_us(timestamp) <= greatest({FAR}, day) * {DAY}
)
SELECT user_id, day, {", ".join(aggregates)} FROM seen GROUP BY user_id, day"""  # noqa: S608 - as above


_WITHIN = dict(zip(WINDOWS, (f"age <= {DAY}", f"age <= {FAR * DAY}", f"age <= day::BIGINT * {DAY}"), strict=True))


def _farthest(day: int) -> int:
    return min(day - FAR, 0) * DAY


def _seen(day: int) -> str:
    """Return the events in the windows of one snapshot day, with their age and its whole days as a bit."""
    age = f"{day * DAY} - since_start"
    return (
        f"SELECT number, {day} AS day, event, {age} AS age, 1::INT << (({age} - 1) // {DAY})::INT AS bit "  # noqa: S608
        f"FROM near WHERE since_start < {day * DAY} AND since_start >= {_farthest(day)}"
    )


def _columns() -> Iterator[str]:
    for code, event in enumerate(EVENTS):
        for k, window in enumerate(WINDOWS):
            yield f"coalesce(of_event[{code}].n{k}, 0) AS {event}_count_{window}"
        yield f"of_event[{code}].last / {DAY}.0::DOUBLE AS {event}_days_since_last"
    for window in WINDOWS:
        yield f"bit_count(coalesce(bits, 0) & {_MASKS[window]})::INT AS activity_active_days_{window}"
