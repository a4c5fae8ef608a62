"""What a version computes of rows, laid out flat for the compiled loops: trees, scorecards, calibration, course, percentiles.

The trees' part is what `Booster.predict` gives, to the last bit: the same comparisons, and the leaves added in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.compiling import compiled
from features.windows import Floats, Ints
from serving.scoring.calibration import Sigmoid
from serving.scoring.course import Course
from serving.scoring.scorecard import Scorecard, Scorecards
from serving.scoring.tree_text import Tree

NODE: Final = np.dtype([("threshold", "f8"), ("column", "i4"), ("left", "i4"), ("right", "i4"), ("flips", "i4")])
"""A split: where a value up to the threshold goes, and where another; a leaf i stands as ~i."""

MOST_SPLITS: Final = 10
"""Splits of a tree whose answers are a place in a table; rows walk through larger ones."""


@dataclass(frozen=True)
class Forest:
    """Trees one after another.

    Attributes
    ----------
    nodes : array of `NODE`, the splits of all trees; `left` and `right` are places in it
    trees : int64 array of shape (n_trees, 4): the root's place, negative where the tree is one leaf; the first leaf's place in
        `leaves`; how many splits there are; where its table begins, -1 where it has none
    leaves : float64 array, what each leaf adds
    tables : float64 array, what each tree says for each way to answer its splits, as bits
    """

    nodes: npt.NDArray[Any]
    trees: Ints
    leaves: Floats
    tables: Floats

    @classmethod
    def of(cls, trees: Sequence[Tree]) -> Forest:
        """Return the forest of some trees."""
        nodes, tables, told, low, first, table = [], [], [], 0, 0, 0
        for tree in trees:
            nodes.append(_nodes(tree, first))
            tables.append(_table(tree) if len(tree) <= MOST_SPLITS else np.empty(0))
            place = table if len(tables[-1]) else -1
            told.append((first if len(tree) else ~0, low, len(tree), place))
            first, low, table = first + len(tree), low + len(tree.values), table + len(tables[-1])
        whole = np.concatenate([np.empty(0, NODE), *nodes])
        leaves = np.concatenate([np.empty(0), *(tree.values for tree in trees)])
        return cls(whole, np.array(told, np.int64).reshape(-1, 4), leaves, np.concatenate([np.empty(0), *tables]))

    def margins(self, rows: Floats) -> Floats:
        """Return the sum of what the trees say of each row: float64 array of shape (n,)."""
        margins = np.zeros(len(rows))
        rows = np.ascontiguousarray(rows, np.float64)
        _compiled("add_trees")(margins, rows, self.nodes, self.trees, self.leaves, self.tables)
        return margins


@dataclass(frozen=True)
class Arithmetic:
    """Everything that is computed of rows to score them, but for who is called a PQL.

    Attributes
    ----------
    cards : the scorecard, and that of the later stage where there is one
    sigmoids : float64 array of shape (n_cards, 2), slope and shift of each
    quantiles : of the probabilities that a row's is compared with
    """

    forest: Forest
    cards: Scorecards
    sigmoids: Floats
    course: Course
    quantiles: Floats

    @classmethod
    def of(
        cls, trees: Sequence[Tree], scorecard: Scorecard, calibration: Sigmoid, course: Course, quantiles: Floats
    ) -> Arithmetic:
        """Return that of a version."""
        later = [] if course.later is None else [course.later]
        cards = Scorecards((scorecard, *(one.scorecard for one in later)))
        sigmoids = [calibration, *(one.calibration for one in later)]
        told = np.array([(one.slope, one.shift) for one in sigmoids])
        return cls(Forest.of(trees), cards, told, course, np.ascontiguousarray(quantiles, np.float64))

    def __call__(self, rows: Floats) -> tuple[Floats, Floats]:
        """Return what rows come to, and what their columns add to the scorecards.

        Returns
        -------
        float64 array of shape (n, 2 + n_days): probability, percentile, and the probability by each of the course's days
        float64 array of shape (n_cards, n, n_columns)
        """
        n, columns = rows.shape
        found, linear = np.empty((n, self._width)), np.empty((len(self.sigmoids), n, columns))
        self._score_rows(found, linear, rows, *self._told)
        return found, linear

    @cached_property
    def _width(self) -> int:
        return 2 + len(self.course.days)

    @cached_property
    def _score_rows(self) -> Callable[..., None]:
        return _compiled("score_rows")

    @cached_property
    def _told(self) -> tuple[Any, ...]:
        """What the compiled loop is told beside the rows."""
        forest, cards, course = self.forest, self.cards, self.course
        trees = (forest.nodes, forest.trees, forest.leaves, forest.tables)
        lines = (cards.numbers, cards.bases, cards.whole, self.sigmoids)
        return (*trees, *lines, course.starts, course.shifts, len(course.soon.days), self.quantiles)


def _nodes(tree: Tree, first: int) -> npt.NDArray[Any]:
    nodes = np.empty(len(tree), NODE)
    nodes["threshold"], nodes["column"], nodes["flips"] = tree.threshold, tree.column, tree.flips
    for side, children in (("left", tree.left), ("right", tree.right)):
        nodes[side] = np.where(children >= 0, children + first, children)
    return nodes


def _table(tree: Tree) -> Floats:
    """Return what a tree says for each way to answer its splits; bit i tells whether split i sends a row left."""
    answers = np.arange(1 << len(tree))
    node = np.zeros(len(answers), np.int64) if len(tree) else np.full(1, ~0)
    for split in range(len(tree)):
        # A child is made after its parent, so one way through the splits is enough.
        here = node == split
        node[here] = np.where((answers[here] >> split) & 1, tree.left[split], tree.right[split])
    found: Floats = tree.values[~node]
    return found


def _compiled(name: str) -> Callable[..., Any]:
    # Its import brings in the compiler.
    from serving.scoring import score_kernel

    return compiled(score_kernel, name)
