"""LightGBM's text format as arrays: what each tree asks of a row, and how many leads went each way when it was grown.

Reads what a contribution needs and no more. What it does not know (splits on categories, lines in leaves, several classes) is
refused instead of explained wrongly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.errors import ArtifactError
from features.windows import Floats, Ints

ZERO: Final = float(np.float32(1e-35))
"""Up to here a value is zero to LightGBM: `kZeroThreshold`, which it writes as a 32-bit number."""

NAN_FLIPS, ZERO_FLIPS = 1, 2
"""Whether a NaN (or a zero) goes where comparing it with the threshold would not send it."""

_CATEGORY, _DEFAULT_LEFT, _MISSING = 1, 2, 12
_MISSING_IS_ZERO, _MISSING_IS_NAN = 4, 8
"""Bits of `decision_type`."""


@dataclass(frozen=True)
class Tree:
    """One tree; splits are numbered from 0, which is the root, and a leaf i stands as ~i among children.

    Attributes
    ----------
    column, threshold : arrays of shape (n_splits,); values up to the threshold go left
    flips : uint8 array of shape (n_splits,), bits NAN_FLIPS and ZERO_FLIPS
    left, right : int64 arrays of shape (n_splits,)
    left_share, right_share : float64 arrays of shape (n_splits,), of the leads at a split those that went there
    values : float64 array of shape (n_splits + 1,), what each leaf adds to the score
    """

    column: Ints
    threshold: Floats
    flips: npt.NDArray[np.uint8]
    left: Ints
    right: Ints
    left_share: Floats
    right_share: Floats
    values: Floats

    def __len__(self) -> int:
        return len(self.column)

    @classmethod
    def leaf(cls, value: float) -> Tree:
        """Return a tree that says the same of everybody."""
        none, nobody = np.empty(0, np.int64), np.empty(0)
        return cls(none, nobody, np.empty(0, np.uint8), none, none, nobody, nobody, np.array([value]))


def trees_of(text: str, n_columns: int) -> list[Tree]:
    """Return the trees of a model for rows of `n_columns` columns.

    Raises
    ------
    ArtifactError
        Where the model is for other rows, is damaged, or holds something that has no exact contributions here.
    """
    head, *blocks = re.split(r"(?m)^Tree=", text.partition("\nend of trees")[0])
    facts = _facts(head)
    for key, wanted in {"num_class": "1", "num_tree_per_iteration": "1", "max_feature_idx": str(n_columns - 1)}.items():
        if facts.get(key) != wanted:
            raise _unknown(f"{key} must be {wanted}", facts.get(key))
    if "average_output" in facts:
        raise _unknown("trees must be added up", "average_output")
    n_trees = len(facts.get("tree_sizes", "").split())
    if n_trees != len(blocks):
        raise _unknown(f"there must be {n_trees} trees", len(blocks))
    return [_tree(_facts(block), number, n_columns) for number, block in enumerate(blocks)]


def _facts(block: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in block.splitlines() if line.strip())
    return {key.strip(): value for key, _, value in pairs}


def _unknown(must: str, got: object) -> ArtifactError:
    return ArtifactError(
        f"booster.txt: {must}, got {got!r}. Contributions are exact for added-up trees of numeric splits only; train again."
    )


def _tree(facts: Mapping[str, str], number: int, n_columns: int) -> Tree:
    where = f"in tree {number}"
    for key in ("num_cat", "is_linear"):
        if facts.get(key, "0") != "0":
            raise _unknown(f"{key} must be 0 {where}", facts[key])
    try:
        n_leaves = int(facts["num_leaves"])
        n_splits = n_leaves - 1
        ints, floats = _reader(facts, n_splits, int), _reader(facts, n_splits, float)
        values = _reader(facts, n_leaves, float)("leaf_value")
        if not n_splits:
            return Tree.leaf(float(values[0]))
        kinds, threshold, column = ints("decision_type"), floats("threshold"), ints("split_feature")
        left, right = ints("left_child"), ints("right_child")
        counts = np.concatenate([floats("internal_count"), _reader(facts, n_leaves, float)("leaf_count")])
    except (KeyError, ValueError) as error:
        raise _unknown(f"a tree must be whole {where}", str(error)) from None
    if (kinds & _CATEGORY).any():
        raise _unknown(f"splits must compare numbers {where}", "a split on categories")
    if not ((column >= 0) & (column < n_columns)).all():
        raise _unknown(f"columns must be 0 to {n_columns - 1} {where}", column.tolist())
    # Below zero stands leaf ~i, which numpy would count from the end: leaf i is n_splits + i.
    ends = [np.where(child < 0, n_splits + ~child, child) for child in (left, right)]
    # A child is made after its parent, so what keeps to that and to one parent each is a tree.
    after = all((end > np.arange(n_splits)).all() for end in ends)
    if not after or sorted(np.concatenate(ends).tolist()) != list(range(1, n_splits + n_leaves)):
        raise _unknown(f"every split and leaf must have one parent {where}", "other children")
    if not ((counts[:n_splits] > 0).all() and (counts >= 0).all()):
        raise _unknown(f"counts of leads must be above 0 {where}", "a split that nobody came to")
    shares = [counts[end] / counts[:n_splits] for end in ends]
    return Tree(column, threshold, _flips(kinds, threshold), left, right, shares[0], shares[1], values)


def _reader(facts: Mapping[str, str], size: int, kind: type[int | float]) -> Callable[[str], npt.NDArray[Any]]:
    def read(key: str) -> npt.NDArray[Any]:
        found = np.array([kind(word) for word in facts[key].split()])
        if len(found) != size:
            raise ValueError(f"{len(found)} values of {key} where {size} are needed")
        return found

    return read


def _flips(kinds: Ints, threshold: Floats) -> npt.NDArray[np.uint8]:
    """Return what `NAN_FLIPS` and `ZERO_FLIPS` say of each split.

    Where missing values are none of a split's business NaN is a zero; where they are zeros both go to the default side;
    where they are NaN only NaN does. A comparison sends NaN right.
    """
    default, zero = (kinds & _DEFAULT_LEFT) > 0, threshold >= 0
    missing = kinds & _MISSING
    nan_left = np.where(missing > 0, default, zero)
    zero_left = np.where(missing == _MISSING_IS_ZERO, default, zero)
    flips: npt.NDArray[np.uint8] = (NAN_FLIPS * nan_left + ZERO_FLIPS * (zero_left != zero)).astype(np.uint8)
    return flips
