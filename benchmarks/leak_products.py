"""Simulated products in which nothing leaks: demo worlds with more honest signals and traits.

They have honest signals and traits that a hasty check would accuse: strong drivers days before a conversion, a
burst of use on the day of it, numbers that nobody shares, facts that are known of buyers more often.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from numpy.random import Generator

from features.dataset import Dataset, dataset
from features.definition import parse
from training.demo import simulate

ROOT = Path(__file__).resolve().parent.parent
HOUR = 3_600_000_000
DAY = 24 * HOUR
Ints = np.ndarray[tuple[int], np.dtype[np.int64]]
Event = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """How large a product is, what share converts, how many converters a leak marks, and how many others.

    `rate` None leaves the share of the demo world, one in eight.
    """

    accounts: int
    seed: int
    rate: float | None = None
    coverage: float = 1.0
    noise: float = 0.0
    arrival: bool = True
    lead: str = "user"


@dataclass(frozen=True)
class Product:
    """Raw tables and a definition as it would be written."""

    events: pl.DataFrame
    trials: pl.DataFrame
    definition: dict[str, Any]
    setting: Setting
    rng: Generator

    def read(self) -> Dataset:
        return dataset(self.events, self.trials, parse(yaml.safe_dump(self.definition, sort_keys=False)))

    @property
    def names(self) -> list[str]:
        return [one["name"] for part in ("signals", "traits") for one in self.definition[part]]

    def times(self, column: str) -> Ints:
        """Return a column of the trials in microseconds, 0 where it is empty."""
        return self.trials[column].dt.epoch("us").fill_null(0).to_numpy()

    @property
    def won(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return self.trials["converted_at"].is_not_null().to_numpy()

    def marked(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Draw whom a leak marks: some converters, and a few others."""
        share = np.where(self.won, self.setting.coverage, self.setting.noise)
        return self.rng.random(len(self.trials)) < share

    def with_events(
        self, name: str, rows: Ints, at: Ints, arrived: Ints | None = None, said: dict[str, Any] | None = None
    ) -> Product:
        """Add an event for these rows of the trials."""
        who = self.trials[rows].select("user_id", "account_id")
        late = at + 3_000_000 if arrived is None else arrived
        added = who.with_columns(
            event=pl.lit(name),
            timestamp=pl.Series(at).cast(pl.Datetime("us", "UTC")),
            received_at=pl.Series(late).cast(pl.Datetime("us", "UTC")),
            message_id=pl.concat_str(pl.lit(name), pl.lit("-"), "user_id", pl.int_range(pl.len()).cast(pl.String)),
            properties=pl.lit(json.dumps(said or {})),
        )
        return replace(self, events=pl.concat([self.events, added.select(self.events.columns)]))

    def with_signal(self, name: str, **more: Any) -> Product:
        """Let the definition read a signal."""
        signal = {
            "name": name,
            "kind": "value",
            "events": [name],
            "text": f"{name} {{count:once|times}} {{window}}",
            **more,
        }
        return replace(self, definition={**self.definition, "signals": [*self.definition["signals"], signal]})

    def with_trait(self, name: str, kind: str, values: pl.Series | list[Any]) -> Product:
        """Give the trials a column, and let the definition read it."""
        traits = [*self.definition["traits"], {"name": name, "type": kind}]
        trials = self.trials.with_columns(pl.Series(name, values))
        return replace(self, trials=trials, definition={**self.definition, "traits": traits})

    def moments_before(self) -> Ints:
        """Return for each lead a moment of its trial: the conversion, or one drawn for those who do not convert."""
        drawn = self.times("started_at") + self.rng.integers(HOUR, 25 * DAY, len(self.trials))
        return np.where(self.won, self.times("converted_at"), drawn)


def honest(setting: Setting) -> Product:
    """Return a product in which nothing leaks."""
    rng = np.random.default_rng(setting.seed + 10_000)
    demo = simulate(setting.accounts, setting.seed)
    definition = yaml.safe_load((ROOT / "pql.yaml").read_text(encoding="utf-8"))
    definition |= {"lead": setting.lead, "conversion": {"column": "converted_at", "horizon": "30d"}}
    product = Product(demo.events, demo.trials, definition, setting, rng)
    product = _with_rate(product, setting.rate)
    return _with_honest_traits(_with_honest_signals(product))


def by_chance(product: Product) -> Product:
    """Return the product with conversions handed to other leads, so that nothing tells anything of them."""
    start, end = product.times("started_at"), product.times("converted_at")
    took = np.where(product.won, end - start, -1)[product.rng.permutation(len(start))]
    at = [int(begun + days) if days >= 0 else None for begun, days in zip(start, took, strict=True)]
    return replace(
        product,
        trials=product.trials.with_columns(
            pl.Series("converted_at", at, dtype=pl.Int64).cast(pl.Datetime("us", "UTC")),
            closed_at=pl.lit(None, pl.Datetime("us", "UTC")),
        ),
    )


def with_prerequisite(product: Product) -> Product:
    """Return the product with a step that everybody takes before converting, and every second of the others."""
    rows = np.flatnonzero(product.won | (product.rng.random(len(product.trials)) < 0.5))
    start, end = product.times("started_at")[rows], product.moments_before()[rows]
    at = start + (product.rng.random(len(rows)) ** 2 * 0.8 * (end - start)).astype(np.int64)
    return product.with_events("workspace_made", rows, at).with_signal("workspace_made")


def paced(product: Product, pace: float) -> Product:
    """Return the product with everything happening `pace` times as long after the start of each trial."""
    start = pl.col("started_at")
    begun = product.trials.select("user_id", "started_at")
    late = [(start + (pl.col(name) - start) * pace).alias(name) for name in ("converted_at", "closed_at", "ends_at")]
    moved = (start + (pl.col("timestamp") - start) * pace).alias("timestamp")
    waited = pl.col("received_at") - pl.col("timestamp")
    events = (
        product.events.with_columns(waited=waited)
        .join(begun, on="user_id", how="left", maintain_order="left")
        .with_columns(moved)
        .with_columns(received_at=pl.col("timestamp") + pl.col("waited"))
        .select(product.events.columns)
    )
    ages = ["1d", "2d"] if pace < 1 else ["7d", "21d"]
    definition = {
        **product.definition,
        "score_at": ages,
        "conversion": {"column": "converted_at", "horizon": "60d" if pace > 1 else "7d"},
    }
    return replace(product, events=events, trials=product.trials.with_columns(late), definition=definition)


def imported(product: Product) -> Product:
    """Return the product with a history that all arrived on one day."""
    at = pl.col("timestamp").max() + pl.duration(hours=1)
    return replace(product, events=product.events.with_columns(received_at=at))


def bought_together(product: Product) -> Product:
    """Return the product with everybody in an account converting within minutes of the first."""
    first = pl.col("converted_at").min().over("account_id") + pl.duration(
        minutes=pl.int_range(pl.len()).over("account_id")
    )
    could = first >= pl.col("started_at")
    at = pl.when(could).then(first).otherwise(None).alias("converted_at")
    closed = pl.when(could).then(None).otherwise(pl.col("closed_at")).alias("closed_at")
    return replace(product, trials=product.trials.with_columns(at, closed))


def dated(product: Product) -> Product:
    """Return the product with dates for times of events."""
    day = pl.col("timestamp").dt.truncate("1d")
    return replace(product, events=product.events.with_columns(day))


def seldom_used(product: Product) -> Product:
    """Return the product with one in seven of its events, so that the day of converting stands out."""
    kept = pl.Series(product.rng.random(len(product.events)) < 1 / 7)
    return replace(product, events=product.events.filter(kept))


HONEST: dict[str, Callable[[Product], Product]] = {
    "as it is": lambda product: product,
    "conversions by chance": by_chance,
    "a step that all take before": with_prerequisite,
    "decided within days": lambda product: paced(product, 0.12),
    "decided after months": lambda product: paced(product, 3.0),
    "history imported on one day": imported,
    "accounts that buy together": bought_together,
    "events with dates only": dated,
    "seldom used": seldom_used,
}


def made(product: Product) -> Product:
    """Return a product as it is exported: without arrivals where nobody notes them."""
    return product if product.setting.arrival else replace(product, events=product.events.drop("received_at"))


def _with_rate(product: Product, rate: float | None) -> Product:
    """Return the product with some conversions undone, or some other leads gone."""
    won, trials = product.won, product.trials
    if rate is None:
        return product
    drawn = product.rng.random(len(trials))
    if rate < won.mean():
        undone = won & (drawn > rate / won.mean())
        gone = trials.filter(pl.Series(undone))["user_id"]
        consequences = pl.col("event").is_in(["seat_added", "invoice_paid", "subscription_started"])
        events = product.events.filter(~(consequences & pl.col("user_id").is_in(gone.implode())))
        kept = pl.when(pl.Series(undone)).then(None).otherwise(pl.col("converted_at")).alias("converted_at")
        return replace(product, events=events, trials=trials.with_columns(kept))
    wanted = won.sum() * (1 - rate) / rate / max((~won).sum(), 1)
    trials = trials.filter(pl.Series(won | (drawn < wanted)))
    events = product.events.filter(pl.col("user_id").is_in(trials["user_id"].implode()))
    return replace(product, events=events, trials=trials)


def _with_honest_signals(product: Product) -> Product:
    """Add strong drivers with days of lead time, a rare one, more use once paid, and a burst on the day of conversion."""
    rng, won, n = product.rng, product.won, len(product.trials)
    start, end = product.times("started_at"), product.moments_before()
    every = np.arange(n)

    def some(if_won: float, else_: float) -> Ints:
        return every[rng.random(n) < np.where(won, if_won, else_)]

    booked = some(0.30, 0.03)
    at = np.maximum(end[booked] - rng.integers(2 * DAY, 10 * DAY, len(booked)), start[booked] + HOUR)
    product = product.with_events("demo_booked", booked, at).with_signal("demo_booked")
    compared = some(0.65, 0.20)
    at = np.maximum(
        end[compared] - (rng.exponential(3.5 * DAY, len(compared))).astype(np.int64) - HOUR, start[compared] + HOUR
    )
    product = product.with_events("plans_compared", compared, at).with_signal("plans_compared")
    rare = some(0.02, 0.01)
    at = start[rare] + rng.integers(HOUR, 50 * DAY, len(rare))
    product = product.with_events("webhook_made", rare, at).with_signal("webhook_made")
    ramp = np.repeat(every[won], 3)
    at = product.times("converted_at")[ramp] + rng.integers(HOUR, 40 * DAY, len(ramp))
    product = product.with_events("task_completed", ramp, at)
    burst = every[won]
    for event in ("session_started", "report_viewed"):
        at = product.times("converted_at")[burst] - rng.integers(HOUR // 30, 2 * HOUR, len(burst))
        product = product.with_events(event, burst, np.maximum(at, start[burst]))
    return product


def _with_honest_traits(product: Product) -> Product:
    """Add a strong fact, a number that nobody shares, a fact known of buyers more often, a category, a shuffled id."""
    rng, won, n = product.rng, product.won, len(product.trials)
    # Where 5 % convert, this one makes a conversion ten times as likely.
    review = rng.random(n) < np.where(won, 0.30, 0.016 if (product.setting.rate or 1) < 0.1 else 0.03)
    product = product.with_trait("security_review", "flag", review.tolist())
    revenue = np.exp(rng.normal(13 + 0.8 * won, 1.5)).round(2)
    product = product.with_trait("revenue", "number", revenue.tolist())
    known = rng.random(n) < np.where(won, 0.9, 0.6)
    industries = np.array(["retail", "software", "health", "school", "bank"])
    industry = [str(one) if there else None for one, there in zip(rng.choice(industries, n), known, strict=True)]
    product = product.with_trait("industry", "category", industry)
    hundred = [f"city {k}" for k in (100 * rng.random(n) ** 2).astype(int)]
    product = product.with_trait("city", "category", hundred)
    return product.with_trait("crm_id", "number", rng.permutation(n).tolist())
