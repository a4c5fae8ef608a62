"""The draws of the demo world: who comes, what they do, how it ends for them, what is sent of it.

Owns the people who try a product and how they act; knows nothing of what makes them convert but the given rates.
"""

import json
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.random import Generator
from numpy.typing import NDArray

from training.demo_products import Behaviour, Product

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Counts = NDArray[np.int32]

HOUR = 3_600_000_000
DAY = 24 * HOUR
# A lead is followed this long; the free plan outlives the trial, interest rarely lasts longer.
LIFE_DAYS = 60
TIME = pl.Datetime("us", "UTC")
WEEKEND = 0.15


WORDS = ("acme", "borealis", "cobalt", "dunes", "ember", "fjord", "granite", "harbor")
FREE_MAIL = ("gmail.com", "outlook.com", "yahoo.com", "icloud.com")
FIRST_NAMES = ("ada", "ben", "chloe", "dev", "emil", "fatima", "grace", "hugo", "ines", "jonas")
SOURCES = ("organic", "ads", "referral", "partner")


def _weekend(day: Ints) -> NDArray[np.bool_]:
    # 1970-01-01 was a Thursday.
    return np.asarray((day + 3) % 7 >= 5)


def _clock(rng: Generator, size: int) -> Ints:
    """Microseconds into the day, within working hours."""
    return (7.5 * HOUR + 12 * HOUR * rng.beta(2, 2.2, size)).astype(np.int64)


def draw_accounts(rng: Generator, n: int, first: int, days: int) -> pl.DataFrame:
    """One row per company, in order of founding, on the `days` days from `first` (microseconds) on."""
    calendar = first // DAY + np.arange(days)
    share = np.where(_weekend(calendar), 0.3, 1.0)
    day = np.sort(rng.choice(calendar, n, p=share / share.sum()))
    log_size = rng.normal(3.4, 1.6, n).clip(0, np.log(5000))
    interest = rng.normal(size=n)
    free = rng.random(n) < 1 / (1 + np.exp(1.1 * (log_size - 2.6)))
    users = 1 + rng.poisson(np.exp(0.1 + 0.4 * interest + 0.1 * (log_size - 3.4)))
    own = [f"{word}-{i}.example" for i, word in enumerate(rng.choice(WORDS, n))]
    return pl.DataFrame(
        {
            "account_id": [f"a{i:05d}" for i in range(n)],
            "founded": day * DAY + _clock(rng, n),
            "company_size": np.exp(log_size).round().astype(np.int64),
            "source": rng.choice(SOURCES, n, p=[0.45, 0.30, 0.15, 0.10]),
            "interest": interest,
            "users": users.clip(1, 8),
            "business": ~free,
            "domain": np.where(free, rng.choice(FREE_MAIL, n), own),
        }
    )


def draw_people(rng: Generator, accounts: pl.DataFrame, cut: int) -> pl.DataFrame:
    """One row per trial begun before the cut, in order of starting; times in microseconds."""
    owner = np.repeat(np.arange(len(accounts)), accounts["users"].to_numpy())
    people = accounts[owner]
    drive = 0.6 * people["interest"].to_numpy() + 0.8 * rng.normal(size=len(people))
    started = _starts(rng, people, founder=np.diff(owner, prepend=-1) > 0)
    ordered = (
        people.with_columns(started, pl.Series("drive", drive))
        .filter(pl.col("started_at") < cut)
        .sort("started_at", "account_id", maintain_order=True)
        .with_columns(row=pl.int_range(pl.len()))
    )
    name = pl.Series(rng.choice(FIRST_NAMES, len(ordered)))
    return ordered.with_columns(
        user_id=pl.format("u{}", pl.col("row").cast(pl.String).str.zfill(6)),
        # Gmail allows no hyphen, so none of these can be the address of a real person.
        email=pl.format("{}-{}@{}", name, "row", "domain"),
    )


def _starts(rng: Generator, people: pl.DataFrame, founder: NDArray[np.bool_]) -> pl.Series:
    founded, n = people["founded"].to_numpy(), len(people)
    mean_days = 7 * np.exp(-0.3 * people["interest"].to_numpy())
    wait = rng.exponential(mean_days).clip(0, 20).astype(np.int64)
    joined = (founded // DAY + wait) * DAY + _clock(rng, n)
    # Whoever would join earlier on the first day than the founder follows within the hour.
    soon = founded + rng.integers(HOUR // 60, HOUR, n)
    return pl.Series("started_at", np.where(founder, founded, np.maximum(joined, soon)))


def _pace(rng: Generator, people: pl.DataFrame) -> Floats:
    """Activity per user and calendar day: fading fast, steady, or a slow burner."""
    n, day = len(people), np.arange(LIFE_DAYS)
    onset = rng.uniform(14, 25, (n, 1))
    fading = np.exp(-day / rng.uniform(3, 8, (n, 1)))
    steady = 0.75 * np.exp(-day / rng.uniform(25, 50, (n, 1)))
    slow = 0.10 + 0.9 / (1 + np.exp((onset - day) / 1.5))
    kind = rng.choice(3, n, p=[0.60, 0.28, 0.12])
    course = np.stack([fading, steady, slow])[kind, np.arange(n)]
    return np.asarray(course * np.exp(0.8 * people["drive"].to_numpy())[:, None])


def draw_behaviour(rng: Generator, people: pl.DataFrame, behaviours: Sequence[Behaviour]) -> pl.DataFrame:
    """Everything each user would do in 60 days, drawn without regard to how the trial ends."""
    started = people["started_at"].to_numpy()
    calendar = started[:, None] // DAY + np.arange(LIFE_DAYS)
    pace = _pace(rng, people) * np.where(_weekend(calendar), WEEKEND, 1.0)
    # Tastes differ, or every count would be the same signal; -0.4 keeps their mean at one.
    taste = rng.lognormal(-0.4, 0.9, (len(people), 1, len(behaviours)))
    counts = rng.poisson(pace[:, :, None] * taste * [b.per_day for b in behaviours])
    cell = np.repeat(np.arange(counts.size), counts.ravel())
    row, day, kind = np.unravel_index(cell, counts.shape)
    opening = started[row] + rng.integers(1, 4 * HOUR, len(row))
    at = np.where(day == 0, opening, calendar[row, day] * DAY + _clock(rng, len(row)))
    event = pl.Series([b.event for b in behaviours]).gather(kind)
    return _log(row, event, at).with_columns(_properties(rng, kind, behaviours))


def _properties(rng: Generator, kind: Ints, behaviours: Sequence[Behaviour]) -> pl.Series:
    texts = [[json.dumps({b.key: v}) for v in b.values] or ["{}"] for b in behaviours]
    sizes = np.array([len(t) for t in texts])
    flat = pl.Series("properties", [text for options in texts for text in options])
    return flat.gather((np.cumsum(sizes) - sizes)[kind] + rng.integers(sizes[kind]))


def _log(row: Ints, event: pl.Series | str, at: Ints) -> pl.DataFrame:
    log = pl.DataFrame({"row": row, "timestamp": at})
    return log.with_columns(event=pl.lit(event), properties=pl.lit("{}"))


def count_by_day(behaviour: pl.DataFrame, people: pl.DataFrame, names: Sequence[str]) -> Counts:
    """Events before each trial day, of shape (users, 61, behaviours)."""
    row = behaviour["row"].to_numpy()
    day = (behaviour["timestamp"].to_numpy() - people["started_at"].to_numpy()[row]) // DAY
    kind = behaviour["event"].cast(pl.Enum(names)).to_physical().to_numpy()
    counts = np.zeros((len(people), LIFE_DAYS + 1, len(names)), dtype=np.int32)
    np.add.at(counts, (row, day + 1, kind), 1)
    return counts.cumsum(axis=1, dtype=np.int32)


def draw_closings(rng: Generator, people: pl.DataFrame) -> Floats:
    """Days until each lead would cancel, inf for those who never do."""
    drive = people["drive"].to_numpy()
    leaves = rng.random(len(people)) < 0.06 * np.exp(-0.6 * drive - 0.1)
    return np.where(leaves, rng.uniform(1, 35, len(people)), np.inf)


def draw_outcome(rng: Generator, started: Ints, closing: Floats, log_rate: Floats) -> pl.DataFrame:
    """Microseconds at which each lead closes or converts, null where it does not."""
    rate = np.exp(log_rate)
    reached, needed = rate.cumsum(axis=1), rng.exponential(size=len(rate))
    day = (reached < needed[:, None]).sum(axis=1)
    inside = (np.arange(len(rate)), day.clip(max=LIFE_DAYS - 1))
    at = day + 1 - (reached[inside] - needed) / rate[inside]
    converts = (day < LIFE_DAYS) & (at < closing)
    days = np.where(converts, at, closing)
    moment = pl.Series((started + np.where(np.isinf(days), 0, days * DAY)).astype(np.int64))
    return pl.select(
        closed_at=pl.when(pl.lit(~converts & np.isfinite(days))).then(moment),
        converted_at=pl.when(pl.lit(converts)).then(moment),
    )


def milestones(trials: pl.DataFrame, product: Product) -> pl.DataFrame:
    """The sign-up of every lead and its end, where it has one, as events."""
    ends = {product.cancelled: "closed_at", product.converted: "converted_at"}
    moments = trials.select("row", signed_up="started_at", **ends)
    long = moments.unpivot(index="row", variable_name="event", value_name="timestamp")
    return long.drop_nulls().select("row", "timestamp", "event", properties=pl.lit("{}"))


def draw_consequences(rng: Generator, trials: pl.DataFrame, product: Product) -> pl.DataFrame:
    """What only payers do: more of it within 30 days and three monthly invoices, a trap for leaks."""
    paying = trials.drop_nulls("converted_at")
    row, paid = paying["row"].to_numpy(), paying["converted_at"].to_numpy()
    buyer = np.repeat(np.arange(len(row)), rng.poisson(1.5, len(row)))
    seats = paid[buyer] + rng.integers(1, 30 * DAY, len(buyer))
    bills = paid[:, None] + 30 * DAY * np.arange(3) + rng.integers(1, HOUR, (len(row), 3))
    invoices = _log(np.repeat(row, 3), "invoice_paid", bills.ravel())
    return pl.concat([_log(row[buyer], product.expanded, seats), invoices])


def draw_messages(rng: Generator, log: pl.DataFrame) -> pl.DataFrame:
    """The log as received: seconds late, now and then hours late, now and then twice."""
    n = len(log)
    late = rng.random(n) < 0.01
    delay = np.where(late, rng.uniform(60, 6 * 3600, n), rng.lognormal(1.0, 0.7, n))
    # Shuffled numbers, so that an id tells neither time nor kind.
    number = pl.Series(rng.permutation(n)).cast(pl.String).str.zfill(8)
    arrival = pl.col("timestamp") + pl.Series((delay * 1_000_000).astype(np.int64))
    sent = log.select(
        pl.col("user_id", "account_id", "event"),
        pl.col("timestamp").cast(TIME),
        arrival.cast(TIME).alias("received_at"),
        pl.format("m{}", number).alias("message_id"),
        "properties",
    )
    twice = sent.filter(pl.Series(rng.random(n) < 0.005))
    return pl.concat([sent, twice]).sort("received_at", "message_id")
