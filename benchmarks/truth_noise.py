"""Products in which nothing tells who converts: what is offered there is offered for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import polars as pl
import yaml
from numpy.random import Generator

from benchmarks.truth_page import Bar, Part, table
from benchmarks.truth_promise import naive_cutoff
from features.dataset import Dataset, dataset
from features.definition import parse
from features.durations import DAY
from features.errors import Refusal
from features.policies import PrecisionPolicy
from features.windows import Ints
from serving.scoring.decision import NoCutoff
from training.first_flags import FirstFlags
from training.fit import FitSettings
from training.pipeline import Settings, Trained, train
from training.promote import judge

TITLE: Final = "Nothing to be found"
PRODUCTS: Final = 300
"""Some are too small to learn from; at least 200 are not."""
DELTA: Final = 0.1
START: Final = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
SPAN: Final = 240
"""Days over which trials begin."""
TRIAL: Final = 14
TIME: Final = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Noise:
    """A product: how many leads it has, how many signals are read, what share of leads converts, and what is promised."""

    seed: int
    leads: int
    signals: int
    base: float
    at_least: float

    @classmethod
    def of(cls, seed: int) -> Noise:
        rng = np.random.default_rng(seed)
        base = float(np.exp(rng.uniform(np.log(0.03), np.log(0.30))))
        leads, signals = round(np.exp(rng.uniform(np.log(300), np.log(3_000)))), int(rng.integers(3, 13))
        # A promise not far above the base rate is the easier one to make by luck.
        return cls(seed, leads, signals, base, 0.30 if seed % 2 else round(1.3 * base, 2))

    @property
    def definition(self) -> str:
        rng = np.random.default_rng([self.seed, 1])
        signs = rng.choice(["+", "-", "free"], self.signals, p=[0.6, 0.1, 0.3]).tolist()
        signals = [
            {
                "name": f"signal_{i}",
                "kind": "value",
                "events": [f"event_{i}"],
                "direction": sign,
                "text": "{count} {window}",
            }
            for i, sign in enumerate(signs)
        ]
        asked: dict[str, Any] = {
            "product": "Noise", "trial": {"length": f"{TRIAL}d"},
            "conversion": {"column": "converted_at", "horizon": "30d"},
            "score_at": ["3d", "7d", "10d"], "windows": ["3d", "trial"], "signals": signals,
            "traits": [{"name": "size", "type": "number"}, {"name": "source", "type": "category"}],
            "cutoff": {"policy": "precision", "at_least": self.at_least, "confidence": 1 - DELTA},
        }  # fmt: skip
        return yaml.safe_dump(asked, sort_keys=False)

    def read(self) -> Dataset:
        """Return the product's history; conversions are drawn apart from all that leads do and are."""
        rng = np.random.default_rng([self.seed, 2])
        started = START + np.sort(rng.random(self.leads) * SPAN * DAY).astype(np.int64)
        return dataset(self._events(rng, started), self._trials(rng, started), parse(self.definition))

    def _trials(self, rng: Generator, started: Ints) -> pl.DataFrame:
        n = self.leads
        end = START + (SPAN + TRIAL) * DAY
        converted = started + (rng.uniform(0.1, 40, n) * DAY).astype(np.int64)
        known = (rng.random(n) < self.base) & (converted < end)
        # In half of the products several leads share an account.
        accounts = np.arange(n) if self.seed % 4 < 2 else rng.integers(0, n // 2, n)
        return pl.DataFrame(
            {
                "user_id": [f"u{i}" for i in range(n)],
                "account_id": [f"a{i}" for i in accounts],
                "started_at": pl.Series(started).cast(TIME),
                "converted_at": pl.Series(np.where(known, converted, 0)).replace(0, None).cast(TIME),
                "size": np.exp(rng.normal(3, 1.5, n)).round(),
                "source": rng.choice(["organic", "ads", "partner"], n),
            }
        )

    def _events(self, rng: Generator, started: Ints) -> pl.DataFrame:
        drive = 0.8 * rng.normal(size=self.leads)
        parts = [pl.DataFrame(schema={"user_id": pl.String, "event": pl.String, "timestamp": pl.Int64})]
        for i, mean in enumerate(np.exp(rng.uniform(np.log(0.2), np.log(6), self.signals))):
            who = np.repeat(np.arange(self.leads), rng.poisson(mean * np.exp(drive)))
            when = started[who] + (rng.random(len(who)) * TRIAL * DAY).astype(np.int64)
            parts.append(pl.DataFrame({"user_id": [f"u{w}" for w in who], "event": f"event_{i}", "timestamp": when}))
        return pl.concat(parts).with_columns(pl.col("timestamp").cast(TIME))


@dataclass(frozen=True)
class Outcome:
    """What came of one product; `auc` is NaN and `refused` says why where training ended early."""

    product: Noise
    auc: float = float("nan")
    offered: bool = False
    promoted: bool = False
    doubted: bool = True
    naive: bool = False
    refused: str = ""


def noise() -> Part:
    """Measure the bars on pure noise."""
    found = []
    for seed in range(PRODUCTS):
        found.append(outcome(Noise.of(seed)))
        if len(found) % 20 == 0:
            print(f"  {len(found)} of {PRODUCTS}: {_count(found, 'offered')} offered", flush=True)
    return Part(TITLE, _world(found), _bars(found), _table(found))


def outcome(product: Noise) -> Outcome:
    """Return what comes of one product."""
    data, settings = product.read(), FitSettings()
    try:
        trained = train(data, product.definition, Settings(fit=settings))
    except Refusal as refusal:
        return Outcome(product, refused=str(refusal))
    return Outcome(
        product, trained.figures["auc"].value,
        offered=not isinstance(trained.artifact.decision, NoCutoff),
        promoted=promoted(trained, data, settings.seed), doubted=trained.refusal is not None,
        naive=_naive(trained, product.at_least),
    )  # fmt: skip


def promoted(trained: Trained, data: Dataset, seed: int) -> bool:
    """Return whether a version would go into service where nothing is in service yet."""
    return judge(trained, None, data, seed).promote


def _naive(trained: Trained, at_least: float) -> bool:
    """Whether somebody who looks for a cutoff on the test trials, and asks for no evidence, finds one."""
    scores = trained.predictions["probability"].to_numpy(np.float64)
    seen = FirstFlags.of(scores, trained.table.take(trained.split.test))
    return naive_cutoff(seen, PrecisionPolicy(at_least=at_least)) is not None


def _count(found: Sequence[Outcome], name: str) -> int:
    return sum(bool(getattr(one, name)) for one in found)


def _bars(found: Sequence[Outcome]) -> list[Bar]:
    n = sum(not one.refused for one in found)
    offered, promoted, naive = (_count(found, name) for name in ("offered", "promoted", "naive"))
    most = round(DELTA * n)
    return [
        Bar("products of pure noise that are offered a cutoff", f"at most {most} of {n}", f"{offered}", offered <= most),
        Bar("of these, versions that would be promoted", "0", f"{promoted}", promoted == 0),
        Bar("where the test trials have a cutoff that looks good enough", "", f"{naive} of {n}", None),
    ]  # fmt: skip


def _table(found: Sequence[Outcome]) -> str:
    early = [one for one in found if one.refused]
    learned = [one for one in found if not one.refused]
    doubted = _count(learned, "doubted")
    rows = [
        ("ended with a refusal before anything was learned", f"{len(early)}"),
        ("learned, and said that there is no signal", f"{doubted}"),
        ("learned, and did not say so", f"{len(learned) - doubted}"),
        ("of these with a cutoff", f"{_count(learned, 'offered')}"),
        ("mean AUC on the test trials", f"{np.mean([one.auc for one in learned]):.3f}"),
    ]
    return table(("what came of them", "products"), rows)


def _world(found: Sequence[Outcome]) -> str:
    sizes, bases = ([getattr(one.product, name) for one in found] for name in ("leads", "base"))
    return f"""{len(found)} products of {min(sizes):,} to {max(sizes):,} leads, 3 to 12 signals and two traits, trained whole by
`training.pipeline.train`. {min(bases):.0%} to {max(bases):.0%} convert, whatever they do. Half of the products promise 30 %,
half 1.3 times their base rate, with 90 % confidence; in half of them several leads share an account."""
