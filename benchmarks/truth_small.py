"""Small products: what is learned from forty conversions, and what is said to fewer than a dozen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.truth_demo import ACCOUNTS, DEFINITION, Found, judged
from benchmarks.truth_page import Bar, Part, table
from features.dataset import dataset
from features.definition import parse
from features.errors import PQLError, Refusal
from training import demo
from training.pipeline import Settings, Trained, train

TITLE: Final = "Forty conversions"
PRODUCTS: Final = 20
FORTY: Final = 120
"""Accounts that bring about 40 conversions."""
FEW: Final = (1, 2, 4, 6, 9, 12, 16, 20, 24, 28)
"""Accounts that bring 0 to 10."""


@dataclass(frozen=True)
class Outcome:
    """What came of one product: a version judged by the truth, or why there is none, with the exit code of that."""

    conversions: int
    leads: int
    found: Found | None = None
    doubted: bool = False
    refused: str = ""
    exit_code: int = 0


def forty() -> Part:
    """Measure the bars on small products."""
    small = [outcome(FORTY, seed) for seed in range(PRODUCTS)]
    print(f"  {PRODUCTS} products of about {np.mean([one.conversions for one in small]):.0f} conversions", flush=True)
    fewer = [outcome(accounts, seed) for seed, accounts in enumerate(FEW)]
    return Part(TITLE, _world(small, fewer), _bars(small, fewer), _table(small, fewer))


def outcome(accounts: int, seed: int) -> Outcome:
    """Return what comes of a demo product of so many accounts."""
    world = demo.simulate(accounts, 1_000 + seed)
    conversions, leads = int(world.trials["converted_at"].is_not_null().sum()), len(world.trials)
    try:
        trained = train(dataset(world.events, world.trials, parse(DEFINITION)), DEFINITION, Settings())
    except PQLError as error:
        return Outcome(conversions, leads, refused=str(error), exit_code=error.exit_code)
    return Outcome(conversions, leads, judged(trained), _is_doubted(trained), exit_code=_exit_code(trained))


def _is_doubted(trained: Trained) -> bool:
    return trained.refusal is not None


def _exit_code(trained: Trained) -> int:
    return Refusal.exit_code if _is_doubted(trained) else 0


def _bars(small: Sequence[Outcome], fewer: Sequence[Outcome]) -> list[Bar]:
    honest = sum(one.found is not None or one.exit_code == Refusal.exit_code for one in small)
    promised = [one.found.precision for one in small if one.found and one.found.precision is not None]
    broken = sum(precision < 0.3 for precision in promised)
    refused = sum(one.exit_code == Refusal.exit_code for one in fewer)
    trained = [one.found for one in small if one.found]
    right = sum(found.rung == found.better for found in trained)
    said = f"{broken} broken of {len(promised)} made, in {len(small)} products"
    return [
        Bar("about 40 conversions: trained, or refused with a reason", "all", f"{honest} of {len(small)}", honest == len(small)),
        Bar("the better rung was taken", "", f"{right} of {len(trained)} (log loss lost {_lost(trained)} on average)", None),
        Bar("promises", "at most 10 % broken", said, broken <= 0.1 * len(small)),
        Bar("about 0 to 10 conversions: refused with exit code 3", "all", f"{refused} of {len(fewer)}", refused == len(fewer)),
    ]  # fmt: skip


def _lost(found: Sequence[Found]) -> str:
    return f"{np.mean([one.lost for one in found]):.4f}"


def _table(small: Sequence[Outcome], fewer: Sequence[Outcome]) -> str:
    rungs = Counter(one.found.rung for one in small if one.found)
    versions = [one.found for one in small if one.found]
    reasons = Counter(one.refused.split(";")[0].split(":")[0].split(" (")[0] for one in (*small, *fewer) if one.refused)
    rows = [
        ("trained to a version", f"{len(versions)} of {len(small)}"),
        ("of these said to have no signal", f"{sum(one.doubted for one in small)}"),
        ("rungs", ", ".join(f"{rung} {n}" for rung, n in rungs.items())),
        ("AUC on another year, mean (least)", _spread([one.auc for one in versions], "mean")),
        ("O/E by true probabilities, median (range)", _spread([one.ratio for one in versions], "median")),
        ("slope by true probabilities, median (range)", _spread([one.slope for one in versions], "median")),
        ("refusals, by what they are about", ", ".join(f"{reason}: {n}" for reason, n in reasons.items())),
    ]
    return table(("", "measured"), rows)


def _spread(values: Sequence[float], how: str) -> str:
    middle = np.mean(values) if how == "mean" else np.median(values)
    around = f"{min(values):.2f}" if how == "mean" else f"{min(values):.2f} to {max(values):.2f}"
    return f"{middle:.2f} ({around})"


def _world(small: Sequence[Outcome], fewer: Sequence[Outcome]) -> str:
    low, high = (f(one.conversions for one in small) for f in (min, max))
    least, most = (f(one.conversions for one in fewer) for f in (min, max))
    leads = np.mean([one.leads for one in small])
    return f"""The demo product with {FORTY} accounts instead of {ACCOUNTS:,}: {low} to {high} conversions among some
{leads:.0f} leads, in training, cutoff and test together; and with {FEW[0]} to {FEW[-1]} accounts: {least} to {most} conversions.
Versions are judged by the true probabilities of another year."""
