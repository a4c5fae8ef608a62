"""A seeded world of "Corkboard" trials whose true conversion probabilities are known.

Owns how the demo data comes about; knows nothing of features or models.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
When = Sequence[datetime] | pl.Series

HOUR = 3_600_000_000
DAY = 24 * HOUR
TRIAL_DAYS = 14
# A lead is followed this long; the free plan outlives the trial, interest rarely lasts longer.
LIFE_DAYS = 60
TIME = pl.Datetime("us", "UTC")
WEEKEND = 0.15


class Behaviour(NamedTuple):
    """What leads do: mean count on a busy day, weight of log1p(count) in the log rate, detail."""

    event: str
    per_day: float
    weight: float
    key: str = ""
    values: tuple[str | float, ...] = ()


MEGABYTES = tuple(round(0.1 * 1.3**step, 1) for step in range(25))
BEHAVIOURS = (
    Behaviour("session_started", 1.00, 0.0),
    Behaviour("project_created", 0.25, 0.15),
    Behaviour("task_completed", 0.80, 0.30),
    Behaviour("comment_added", 0.50, 0.05),
    Behaviour("file_uploaded", 0.30, 0.10, "megabytes", MEGABYTES),
    Behaviour("invite_sent", 0.15, 0.35, "role", ("member", "member", "guest", "admin")),
    Behaviour("invite_accepted", 0.08, 0.55),
    Behaviour("integration_connected", 0.05, 0.60),
    Behaviour("report_viewed", 0.25, 0.30),
    Behaviour("api_call", 0.40, 0.20, "endpoint", ("/boards", "/tasks", "/search", "/export")),
    Behaviour("limit_reached", 0.06, 0.60, "limit", ("boards", "members", "storage")),
    Behaviour("pricing_viewed", 0.08, 0.60, "plan", ("team", "team", "business")),
    Behaviour("export_downloaded", 0.10, 0.15),
    Behaviour("support_ticket_opened", 0.05, -0.50),
    Behaviour("theme_changed", 0.08, 0.0),
    Behaviour("help_article_viewed", 0.25, 0.0),
)
NAMES = tuple(b.event for b in BEHAVIOURS)
WEIGHTS = np.array([b.weight for b in BEHAVIOURS])
# Chosen by simulation so that 12-16 % of users convert within 60 days.
BASE_LOG_RATE = -9.05
# Leads decide when the trial runs out, and hesitate once it has.
TIMING = np.repeat([0.0, 1.3, -0.4, -2.2], [10, 5, 15, LIFE_DAYS - 30])

WORDS = ("acme", "borealis", "cobalt", "dunes", "ember", "fjord", "granite", "harbor")
FREE_MAIL = ("gmail.com", "outlook.com", "yahoo.com", "icloud.com")
FIRST_NAMES = ("ada", "ben", "chloe", "dev", "emil", "fatima", "grace", "hugo", "ines", "jonas")
SOURCES = ("organic", "ads", "referral", "partner")


@dataclass(frozen=True, eq=False)
class Truth:
    """What decides a conversion and stays hidden from models; row i belongs to `user_ids[i]`.

    `counts[i, d]` are the events per behaviour before trial day d, `log_rate[i, d]` the log of
    the rate per day on it, `closing[i]` the days until an unconverted lead cancels (inf: never).
    """

    user_ids: NDArray[np.str_]
    started: Ints
    closing: Floats
    counts: NDArray[np.int32]
    log_rate: Floats

    def locate(self, user_ids: Sequence[str], as_of: When) -> tuple[Ints, Floats]:
        """Row of each user and days from the start of that trial to `as_of`."""
        wanted = np.array(user_ids, dtype=np.str_)
        rows = np.searchsorted(self.user_ids, wanted).clip(max=len(self.user_ids) - 1)
        unknown = wanted[self.user_ids[rows] != wanted]
        if len(unknown):
            raise ValueError(f"user_ids must be users of this demo; got {unknown[:3].tolist()}.")
        return rows, (_micros(as_of) - self.started[rows]) / DAY

    def expected(self, rows: Ints, days: Floats) -> Floats:
        """Integral of the rate from the start of the trial until `days` after it."""
        until = days.clip(0, np.minimum(self.closing[rows], LIFE_DAYS))
        spent = (until[:, None] - np.arange(LIFE_DAYS)).clip(0, 1)
        return np.asarray((np.exp(self.log_rate[rows]) * spent).sum(axis=1))


@dataclass(frozen=True, eq=False)
class Demo:
    """Recorded events and trials, with the truth behind them.

    Attributes
    ----------
    events : one row per message received, sorted by received_at; duplicates are included.
    trials : one row per user; converted_at and closed_at are null unless seen before the cut.
    truth : the hidden rates; not for training.
    """

    events: pl.DataFrame
    trials: pl.DataFrame
    truth: Truth

    def true_probability(self, user_ids: Sequence[str], as_of: When, horizon_days: float) -> Floats:
        """Probability of converting in [as_of, as_of + horizon_days), given none before `as_of`.

        This is 1 - exp(-integral of the rate) over the lead's *whole* course of behaviour, later
        days included, which was drawn before and apart from the conversion. A single value thus
        knows more than a model may; its mean over open leads with the same history is their true
        conditional probability, so it may be regressed on predictions. The rate is zero before
        the trial starts, after the lead closes, and from 60 days after the start.

        Returns
        -------
        ndarray of shape (n_users,), in [0, 1)
        """
        rows, days = self.truth.locate(user_ids, as_of)
        gained = self.truth.expected(rows, days + horizon_days) - self.truth.expected(rows, days)
        return np.asarray(-np.expm1(-gained))

    def true_drivers(self, user_ids: Sequence[str], as_of: When) -> pl.DataFrame:
        """Each behaviour's additive part of the log rate per day in force at `as_of`.

        Counts stop where the running trial day began, so drivers change once a day.

        Returns
        -------
        DataFrame with user_id and one Float64 column per behaviour, rows as in `user_ids`
        """
        rows, days = self.truth.locate(user_ids, as_of)
        day = np.floor(days).clip(0, LIFE_DAYS).astype(np.int64)
        parts = WEIGHTS * np.log1p(self.truth.counts[rows, day])
        return pl.DataFrame(parts, schema=list(NAMES)).insert_column(
            0, pl.Series("user_id", user_ids, dtype=pl.String)
        )


def simulate(
    accounts: int = 4000,
    seed: int = 7,
    start: datetime = datetime(2025, 1, 6, tzinfo=UTC),
    days: int = 365,
) -> Demo:
    """Draw a demo recorded over [start, start + days), `start` counted from its midnight UTC.

    Parameters
    ----------
    accounts : number of companies, at least 1; each brings one to eight users.
    seed : the same seed and settings give identical frames.
    """
    # Streams of their own, so that a change to one stage leaves the draws of the others alone.
    who, act, decide, after, send = np.random.default_rng(seed).spawn(5)
    first = int(_micros([start])[0]) // DAY * DAY
    cut = first + days * DAY
    people = _people(who, _accounts(who, accounts, first, days), cut)
    # All behaviour first: the truth is exact only while conversions cannot influence it.
    behaviour = _behaviour(act, people)
    truth = _truth(decide, people, _counts(behaviour, people))
    trials = people.hstack(_outcome(decide, truth))
    log = pl.concat([behaviour, _milestones(trials), _consequences(after, trials)])
    return Demo(_messages(send, _seen(log, trials, cut)), _recorded(trials, cut), truth)


def write(demo: Demo, folder: Path) -> tuple[Path, Path]:
    """Paths of events.parquet and trials.parquet, written into `folder` (made if missing)."""
    folder.mkdir(parents=True, exist_ok=True)
    events, trials = folder / "events.parquet", folder / "trials.parquet"
    demo.events.write_parquet(events)
    demo.trials.write_parquet(trials)
    return events, trials


def _micros(times: When) -> Ints:
    series = pl.Series("as_of", times)
    aware = getattr(series.dtype, "time_zone", None) is not None
    if len(series) and (not aware or series.null_count()):
        raise ValueError(
            "times must be timezone-aware and never null; "
            f"got {series.dtype} with {series.null_count()} nulls. Pass UTC datetimes."
        )
    return series.cast(pl.Datetime("us", "UTC")).cast(pl.Int64).to_numpy()


def _weekend(day: Ints) -> NDArray[np.bool_]:
    # 1970-01-01 was a Thursday.
    return np.asarray((day + 3) % 7 >= 5)


def _clock(rng: Generator, size: int) -> Ints:
    """Microseconds into the day, within working hours."""
    return (7.5 * HOUR + 12 * HOUR * rng.beta(2, 2.2, size)).astype(np.int64)


def _accounts(rng: Generator, n: int, first: int, days: int) -> pl.DataFrame:
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


def _people(rng: Generator, accounts: pl.DataFrame, cut: int) -> pl.DataFrame:
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


def _behaviour(rng: Generator, people: pl.DataFrame) -> pl.DataFrame:
    """Everything each user would do in 60 days, drawn without regard to how the trial ends."""
    started = people["started_at"].to_numpy()
    calendar = started[:, None] // DAY + np.arange(LIFE_DAYS)
    pace = _pace(rng, people) * np.where(_weekend(calendar), WEEKEND, 1.0)
    # Tastes differ, or every count would be the same signal; -0.18 keeps their mean at one.
    taste = rng.lognormal(-0.18, 0.6, (len(people), 1, len(BEHAVIOURS)))
    counts = rng.poisson(pace[:, :, None] * taste * [b.per_day for b in BEHAVIOURS])
    cell = np.repeat(np.arange(counts.size), counts.ravel())
    row, day, kind = np.unravel_index(cell, counts.shape)
    opening = started[row] + rng.integers(1, 4 * HOUR, len(row))
    at = np.where(day == 0, opening, calendar[row, day] * DAY + _clock(rng, len(row)))
    return _log(row, pl.Series(NAMES).gather(kind), at).with_columns(_properties(rng, kind))


def _properties(rng: Generator, kind: Ints) -> pl.Series:
    texts = [[json.dumps({b.key: v}) for v in b.values] or ["{}"] for b in BEHAVIOURS]
    sizes = np.array([len(t) for t in texts])
    flat = pl.Series("properties", [text for options in texts for text in options])
    return flat.gather((np.cumsum(sizes) - sizes)[kind] + rng.integers(sizes[kind]))


def _log(row: Ints, event: pl.Series | str, at: Ints) -> pl.DataFrame:
    log = pl.DataFrame({"row": row, "timestamp": at})
    return log.with_columns(event=pl.lit(event), properties=pl.lit("{}"))


def _counts(behaviour: pl.DataFrame, people: pl.DataFrame) -> NDArray[np.int32]:
    """Events before each trial day, of shape (users, 61, behaviours)."""
    row = behaviour["row"].to_numpy()
    day = (behaviour["timestamp"].to_numpy() - people["started_at"].to_numpy()[row]) // DAY
    kind = behaviour["event"].cast(pl.Enum(NAMES)).to_physical().to_numpy()
    counts = np.zeros((len(people), LIFE_DAYS + 1, len(NAMES)), dtype=np.int32)
    np.add.at(counts, (row, day + 1, kind), 1)
    return counts.cumsum(axis=1, dtype=np.int32)


def _truth(rng: Generator, people: pl.DataFrame, counts: NDArray[np.int32]) -> Truth:
    drive, interest = people["drive"].to_numpy(), people["interest"].to_numpy()
    fit = 0.2 * (np.log(people["company_size"].to_numpy()) - 3.4) + 0.5 * people["business"]
    own = BASE_LOG_RATE + fit.to_numpy() + 0.2 * interest
    log_rate = own[:, None] + TIMING + np.log1p(counts[:, :LIFE_DAYS]) @ WEIGHTS
    leaves = rng.random(len(people)) < 0.06 * np.exp(-0.6 * drive - 0.1)
    closing = np.where(leaves, rng.uniform(1, 35, len(people)), np.inf)
    ids = people["user_id"].to_numpy().astype(np.str_)
    return Truth(ids, people["started_at"].to_numpy(), closing, counts, log_rate)


def _outcome(rng: Generator, truth: Truth) -> pl.DataFrame:
    """Microseconds at which each lead closes or converts, null where it does not."""
    rate = np.exp(truth.log_rate)
    reached, needed = rate.cumsum(axis=1), rng.exponential(size=len(rate))
    day = (reached < needed[:, None]).sum(axis=1)
    inside = (np.arange(len(rate)), day.clip(max=LIFE_DAYS - 1))
    at = day + 1 - (reached[inside] - needed) / rate[inside]
    converts = (day < LIFE_DAYS) & (at < truth.closing)
    days = np.where(converts, at, truth.closing)
    moment = pl.Series((truth.started + np.where(np.isinf(days), 0, days * DAY)).astype(np.int64))
    return pl.select(
        closed_at=pl.when(pl.lit(~converts & np.isfinite(days))).then(moment),
        converted_at=pl.when(pl.lit(converts)).then(moment),
    )


def _milestones(trials: pl.DataFrame) -> pl.DataFrame:
    moments = trials.select(
        "row",
        signed_up="started_at",
        trial_cancelled="closed_at",
        subscription_started="converted_at",
    )
    long = moments.unpivot(index="row", variable_name="event", value_name="timestamp")
    return long.drop_nulls().select("row", "timestamp", "event", properties=pl.lit("{}"))


def _consequences(rng: Generator, trials: pl.DataFrame) -> pl.DataFrame:
    """What only payers do: seats within 30 days and three monthly invoices, a trap for leaks."""
    paying = trials.drop_nulls("converted_at")
    row, paid = paying["row"].to_numpy(), paying["converted_at"].to_numpy()
    buyer = np.repeat(np.arange(len(row)), rng.poisson(1.5, len(row)))
    seats = paid[buyer] + rng.integers(1, 30 * DAY, len(buyer))
    bills = paid[:, None] + 30 * DAY * np.arange(3) + rng.integers(1, HOUR, (len(row), 3))
    invoices = _log(np.repeat(row, 3), "invoice_paid", bills.ravel())
    return pl.concat([_log(row[buyer], "seat_added", seats), invoices])


def _seen(log: pl.DataFrame, trials: pl.DataFrame, cut: int) -> pl.DataFrame:
    """Events before the cut and before the closing, with the ids of who sent them."""
    owners = trials.select("row", "user_id", "account_id", "closed_at")
    over = (pl.col("timestamp") >= pl.col("closed_at")) & (pl.col("event") != "trial_cancelled")
    return log.join(owners, on="row", maintain_order="left").filter(
        pl.col("timestamp") < cut, ~over.fill_null(False)
    )


def _recorded(trials: pl.DataFrame, cut: int) -> pl.DataFrame:
    ends = (pl.col("started_at") + TRIAL_DAYS * DAY).alias("ends_at")
    known = [pl.when(pl.col(c) < cut).then(c).alias(c) for c in ("closed_at", "converted_at")]
    times = pl.col("started_at", "ends_at", "closed_at", "converted_at").cast(TIME)
    traits = ("company_size", "source", "email")
    return trials.with_columns(ends, *known).select("user_id", "account_id", times, *traits)


def _messages(rng: Generator, log: pl.DataFrame) -> pl.DataFrame:
    """The log as received: seconds late, now and then hours late, now and then twice."""
    n = len(log)
    late = rng.random(n) < 0.01
    delay = np.where(late, rng.uniform(60, 6 * 3600, n), rng.lognormal(1.0, 0.7, n))
    # Shuffled numbers, so that an id tells neither time nor kind.
    number = pl.Series(rng.permutation(n)).cast(pl.String).str.zfill(8)
    arrival = pl.col("timestamp") + pl.Series((delay * 1_000_000).astype(np.int64))
    sent = log.select(
        "user_id",
        "account_id",
        "event",
        pl.col("timestamp").cast(TIME),
        arrival.cast(TIME).alias("received_at"),
        pl.format("m{}", number).alias("message_id"),
        "properties",
    )
    twice = sent.filter(pl.Series(rng.random(n) < 0.005))
    return pl.concat([sent, twice]).sort("received_at", "message_id")


if __name__ == "__main__":
    import sys

    print(*write(simulate(), Path(sys.argv[1])), sep="\n")
