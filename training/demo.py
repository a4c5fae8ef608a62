"""Seeded worlds of trials of invented products, whose true conversion probabilities are known.

Owns what is recorded of that world and what is true in it; knows nothing of features or models.
"""

from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.random import Generator
from numpy.typing import NDArray

from features.errors import InvalidInput
from training import demo_world as world
from training.demo_products import CORKBOARD, PRODUCTS, Product, product_named
from training.demo_world import DAY, LIFE_DAYS, TIME, Counts, Floats, Ints

__all__ = ["CORKBOARD", "PRODUCTS", "Demo", "Product", "Truth", "simulate", "write"]

When = Sequence[datetime] | pl.Series
FRESH_DAYS = 7
ACCOUNTS = 8000


@dataclass(frozen=True, eq=False)
class Truth:
    """What decides a conversion and stays hidden from models; row i belongs to `user_ids[i]`.

    `counts[i, d]` are the events per behaviour before trial day d, `log_rate[i, d]` the log of
    the rate per day on it, `closing[i]` the days until an unconverted lead cancels (inf: never).
    """

    user_ids: NDArray[np.str_]
    started: Ints
    closing: Floats
    counts: Counts
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
    product : what was tried.
    """

    events: pl.DataFrame
    trials: pl.DataFrame
    truth: Truth
    product: Product

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

        Counts stop where the running trial day began, so drivers change once a day. A jump belongs to
        its behaviour, one that takes two behaviours to each by half; company and timing are no part.

        Returns
        -------
        DataFrame with user_id and one Float64 column per behaviour, rows as in `user_ids`
        """
        rows, days = self.truth.locate(user_ids, as_of)
        day = np.floor(days).clip(0, LIFE_DAYS).astype(np.int64)
        parts = _drivers(self.product, self.truth.counts, rows, day)
        return pl.DataFrame(parts, schema=list(self.product.names)).insert_column(
            0, pl.Series("user_id", user_ids, dtype=pl.String)
        )


def simulate(
    accounts: int = ACCOUNTS,
    seed: int = 1,
    start: datetime = datetime(2025, 1, 6, tzinfo=UTC),
    days: int = 365,
    product: Product = CORKBOARD,
) -> Demo:
    """Draw a demo recorded over [start, start + days), `start` counted from its midnight UTC.

    Parameters
    ----------
    accounts : number of companies, at least 1; each brings one to eight users.
    seed : the same seed and settings give identical frames.
    product : what they try, one of `PRODUCTS` or one of your own.
    """
    # Streams of their own, so that a change to one stage leaves the draws of the others alone.
    who, act, decide, after, send = np.random.default_rng(seed).spawn(5)
    first = int(_micros([start])[0]) // DAY * DAY
    cut = first + days * DAY
    people = world.draw_people(who, world.draw_accounts(who, accounts, first, days), cut)
    # All behaviour first: the truth is exact only while conversions cannot influence it.
    behaviour = world.draw_behaviour(act, people, product.behaviours)
    truth = _truth(decide, people, world.count_by_day(behaviour, people, product.names), product)
    trials = people.hstack(world.draw_outcome(decide, truth.started, truth.closing, truth.log_rate))
    after_all = [world.milestones(trials, product), world.draw_consequences(after, trials, product)]
    seen = _seen(pl.concat([behaviour, *after_all]), trials, cut, product)
    return Demo(world.draw_messages(send, seen), _recorded(trials, cut, product), truth, product)


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


def _truth(rng: Generator, people: pl.DataFrame, counts: Counts, product: Product) -> Truth:
    size, business = np.log(people["company_size"].to_numpy()), people["business"].to_numpy()
    fit = product.size * (size - 3.4) + product.business * business + 0.2 * people["interest"].to_numpy()
    # Day by day: the parts of all days at once would take hundreds of megabytes.
    pushed = [_drivers(product, counts, slice(None), day).sum(axis=1) for day in range(LIFE_DAYS)]
    log_rate = product.base_log_rate + fit[:, None] + timing(product) + np.stack(pushed, axis=1)
    ids, started = people["user_id"].to_numpy().astype(np.str_), people["started_at"].to_numpy()
    return Truth(ids, started, world.draw_closings(rng, people), counts, log_rate)


def timing(product: Product) -> Floats:
    """What each of the 60 days adds to the log rate by itself."""
    begins, adds = zip(*product.timing, strict=True)
    return np.repeat(adds, np.diff(begins, append=LIFE_DAYS))


def _drivers(product: Product, counts: Counts, rows: Ints | slice, day: Ints | int) -> Floats:
    """Each behaviour's part of the log rate on a trial day, of shape (rows, behaviours)."""
    weight, cap, latest = (np.array(part) for part in zip(*product.effects, strict=True))
    total = counts[rows, day]
    fresh = total - counts[rows, np.maximum(day - FRESH_DAYS, 0)]
    lasting = np.where(latest > 0, total - fresh, total)
    parts = weight * np.log1p(np.minimum(lasting, cap)) + latest * np.log1p(fresh)
    team, pair = product.names.index(product.team), [product.names.index(event) for event in product.pair]
    parts[:, team] += product.team_jump * (total[:, team] >= product.team_size)
    parts[:, pair] += product.pair_jump / 2 * (total[:, pair] > 0).all(axis=1, keepdims=True)
    return np.asarray(parts)


def _seen(log: pl.DataFrame, trials: pl.DataFrame, cut: int, product: Product) -> pl.DataFrame:
    """Events before the cut and before the closing, with the ids of who sent them."""
    owners = trials.select("row", "user_id", "account_id", "closed_at")
    over = (pl.col("timestamp") >= pl.col("closed_at")) & (pl.col("event") != product.cancelled)
    return log.join(owners, on="row", maintain_order="left").filter(
        pl.col("timestamp") < cut, ~over.fill_null(value=False)
    )


def _recorded(trials: pl.DataFrame, cut: int, product: Product) -> pl.DataFrame:
    length = None if product.trial_days is None else product.trial_days * DAY
    ends = (pl.col("started_at") + pl.lit(length, pl.Int64)).alias("ends_at")
    known = [pl.when(pl.col(c) < cut).then(c).alias(c) for c in ("closed_at", "converted_at")]
    times = pl.col("started_at", "ends_at", "closed_at", "converted_at").cast(TIME)
    traits = ("company_size", "source", "email")
    return trials.with_columns(ends, *known).select("user_id", "account_id", times, *traits)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the world that the command line asks for, and print where."""
    parser = ArgumentParser(prog="python -m training.demo", description="Write events.parquet and trials.parquet.")
    parser.add_argument("out", type=Path, help="folder to write into")
    parser.add_argument("--product", default="corkboard", help=f"one of {', '.join(PRODUCTS)} (default: %(default)s)")
    parser.add_argument("--accounts", type=int, default=ACCOUNTS, help="number of companies (default: %(default)s)")
    asked = parser.parse_args(arguments)
    try:
        product = product_named(asked.product)
    except InvalidInput as error:
        parser.error(str(error))
    print(*write(simulate(asked.accounts, product=product), asked.out), sep="\n")


if __name__ == "__main__":
    main()
