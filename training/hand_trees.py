"""Rules and point cards as LightGBM trees: what people wrote is served, explained and versioned like what was learned.

A rule is a chain of splits with the points at its end; a card's line is a chain of one. The text format is LightGBM's own
(version v4), so scoring, exact contributions and the artifact need to know nothing of hand-written rungs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np

from features.columns import Column
from features.definition import Definition
from features.rules import Condition, place_of
from features.windows import Floats

_NAN_RIGHT, _NAN_LEFT = 8, 10
"""Split kinds of the format: missing values are NaN and go to that side."""


@dataclass(frozen=True)
class Split:
    """Values up to `threshold` go left; `passes_left` where that is the side that goes on. NaN never passes."""

    place: int
    threshold: float
    passes_left: bool


@dataclass(frozen=True)
class Chain:
    """What is worth so many points where all splits pass."""

    splits: tuple[Split, ...]
    points: float


def chains_of(definition: Definition, columns: Sequence[Column]) -> list[Chain]:
    """Return the definition's point card, or else its rules at one point each; empty where it has neither.

    Lines about a category that has no column hold for nobody and are left out.
    """
    written: list[tuple[tuple[Condition, ...], float]] = [(rule.all, 1.0) for rule in definition.rules]
    if definition.points is not None:
        written = [((item,), item.points) for item in definition.points.card]
    found = []
    for conditions, points in written:
        if all(place_of(condition, columns) is not None for condition in conditions):
            splits = [split for condition in conditions for split in _splits(condition, columns)]
            found.append(Chain(tuple(splits), float(points)))
    return found


def _splits(condition: Condition, columns: Sequence[Column]) -> list[Split]:
    place = place_of(condition, columns)
    if place is None:
        return []
    low = 1.0 if condition.equals is not None else condition.at_least
    found = [] if low is None else [Split(place, float(np.nextafter(low, -np.inf)), passes_left=False)]
    if condition.below is not None:
        found.append(Split(place, float(np.nextafter(condition.below, -np.inf)), passes_left=True))
    return found


def booster(chains: Sequence[Chain], names: Sequence[str], rows: Floats, scale: float) -> lgb.Booster:
    """Return a booster whose raw score is `scale` times the points of a row.

    Parameters
    ----------
    names : of the columns, in their order
    rows : float64 array of shape (n, n_columns), the leads that contributions compare with
    """
    trees = [_tree(number, chain, rows, scale) for number, chain in enumerate(chains)]
    spans = " ".join("none" for _ in names)
    head = "\n".join(
        [
            "tree", "version=v4", "num_class=1", "num_tree_per_iteration=1", "label_index=0",
            f"max_feature_idx={len(names) - 1}", "objective=binary sigmoid:1",
            f"feature_names={' '.join(f'Column_{place}' for place in range(len(names)))}", f"feature_infos={spans}",
            f"tree_sizes={' '.join(str(len(tree)) for tree in trees)}",
        ]
    )  # fmt: skip
    return lgb.Booster(model_str=f"{head}\n\n{''.join(trees)}end of trees\n\nparameters:\nend of parameters\n")


def _tree(number: int, chain: Chain, rows: Floats, scale: float) -> str:
    inside, reached, failed = np.ones(len(rows), bool), [], []
    for split in chain.splits:
        left = rows[:, split.place] <= split.threshold
        known = ~np.isnan(rows[:, split.place])
        passed = known & (left if split.passes_left else ~left)
        # One lead more on each side: the contributions divide by these counts.
        failed.append(int((inside & ~passed).sum()) + 1)
        inside &= passed
    ends = [*failed, int(inside.sum()) + 1]
    reached = [sum(ends[place:]) for place in range(len(chain.splits))]
    last = len(chain.splits) - 1
    on = [place + 1 if place < last else ~len(chain.splits) for place in range(len(chain.splits))]
    off = [~place for place in range(len(chain.splits))]
    left_child = [on[i] if split.passes_left else off[i] for i, split in enumerate(chain.splits)]
    right_child = [off[i] if split.passes_left else on[i] for i, split in enumerate(chain.splits)]
    values = [0.0] * len(chain.splits) + [scale * chain.points]
    facts: dict[str, Sequence[object]] = {
        "num_leaves": [len(ends)], "num_cat": [0],
        "split_feature": [split.place for split in chain.splits], "split_gain": [1] * len(chain.splits),
        "threshold": [repr(split.threshold) for split in chain.splits],
        "decision_type": [_NAN_RIGHT if split.passes_left else _NAN_LEFT for split in chain.splits],
        "left_child": left_child, "right_child": right_child, "leaf_value": [repr(value) for value in values],
        "leaf_weight": ends, "leaf_count": ends, "internal_value": [0] * len(reached), "internal_weight": reached,
        "internal_count": reached, "is_linear": [0], "shrinkage": [1],
    }  # fmt: skip
    lines = [f"{name}={' '.join(str(value) for value in told)}" for name, told in facts.items()]
    return "\n".join([f"Tree={number}", *lines]) + "\n\n\n"
