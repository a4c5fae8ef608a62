"""How the leaves of trees are put together for the compiled loops: groups with a table each, and leaves too deep for one.

A row's answers to the splits of a group, as bits, are its place in the group's table. The bits of what the path to a group
asks are one for each feature, however often it asks for it; those of the splits inside of the group follow. The highest
nodes that few enough bits describe become groups, so a whole small tree is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from features.windows import Floats, Ints
from serving.scoring.tree_text import Tree


@dataclass(frozen=True)
class Splits:
    """All splits of all trees, one after another; see `tree_text.Tree`."""

    column: Ints
    threshold: Floats
    flips: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Groups:
    """Groups of leaves below one node each, tree by tree, and the forks that lead to them.

    Attributes
    ----------
    starts : int64 array of shape (n_trees + 1, 2), where the forks and the groups of each tree begin
    forks : int64 array of shape (n, 6): split; where its pattern is read; the bit it may set, the bit it may clear; where
        the patterns of its left and right child are put
    groups : int64 array of shape (n, 7): where its pattern is read; how many bits that has; from and to in `asked`; the
        table's first cell; from and to in `columns`
    asked : splits inside of groups, in the order of the answer's further bits
    columns : what the cells of a group's table are about; there is a row of cells for each answer
    """

    starts: Ints
    forks: Ints
    groups: Ints
    asked: Ints
    columns: Ints


@dataclass(frozen=True)
class Filling:
    """What fills the tables: the leaves of all groups.

    Attributes
    ----------
    leaves : int64 array of shape (n, 5): the table's first cell, its answers, its width; from and to in `tests`
    values : float64 array of shape (n,)
    tests : int64 array of shape (m, 3), a feature of a leaf's path: which bits of the answer tell of it, what they must be,
        its place in a row of the table
    shares : float64 array of shape (m,), of the leads that met what the path asks of the feature
    """

    leaves: Ints
    values: Floats
    tests: Ints
    shares: Floats


@dataclass(frozen=True)
class Deep:
    """Leaves whose paths have too many features for a table.

    Attributes
    ----------
    leaves : int64 array of shape (n, 4): from and to in `steps`, from and to in `shares`
    values : float64 array of shape (n,)
    steps : int64 array of shape (m, 3), what a path asks: split, 1 for left, place among the leaf's features
    shares, columns : arrays of shape (k,), of the features
    """

    leaves: Ints
    values: Floats
    steps: Ints
    shares: Floats
    columns: Ints


@dataclass(frozen=True)
class Layout:
    """All of that for a model; `bases` are its trees' mean values, `widest` the most features of a path."""

    splits: Splits
    groups: Groups
    filling: Filling
    n_cells: int
    deep: Deep
    bases: list[float]
    widest: int


def laid_out(trees: Sequence[Tree], most_bits: int, most_cells: int) -> Layout:
    """Return the layout with the largest tables of at most `most_bits` bits that together have at most so many cells."""
    walked = [_walked(tree) for tree in trees]
    fits = (bits for bits in range(most_bits, 0, -1) if sum(one.cells(bits) for one in walked) <= most_cells)
    # Without a bit only trees of one leaf are groups, and these have no cells.
    bits, builder = next(fits, 0), _Builder()
    for one in walked:
        builder.add(one, bits)
    return builder.layout(walked)


@dataclass(frozen=True)
class _Walked:
    """A tree's nodes as Python numbers: splits from 0, and behind them the leaves.

    `shares` holds the features of the path to each node, in the order in which the path asks for them, each with the share
    of the leads that meets what the path asks of it. `inside` counts the splits at and below a node, `features` holds those
    of a node's path and of the splits below it.
    """

    column: list[int]
    children: list[tuple[int, int]]
    shares: list[dict[int, float]]
    inside: list[int]
    features: list[set[int]]
    tree: Tree

    def bits(self, node: int) -> int:
        return len(self.shares[node]) + self.inside[node]

    def tops(self, most: int) -> tuple[list[int], list[int], list[int]]:
        """Return the forks, the highest nodes that `most` bits describe, and the leaves below none of these."""
        forks, tops, deep, open_ = [], [], [], [0]
        while open_:
            node = open_.pop()
            if self.bits(node) <= most:
                tops.append(node)
            elif node < len(self.column):
                forks.append(node)
                open_ += self.children[node]
            else:
                deep.append(node)
        return forks, tops, deep

    def cells(self, most: int) -> int:
        return sum(len(self.features[top]) << self.bits(top) for top in self.tops(most)[1])

    def base(self) -> float:
        """Return the value of a row of which nothing is known."""
        paths = self.shares[len(self.column) :]
        values: list[float] = self.tree.values.tolist()
        return sum((value * prod(path.values()) for value, path in zip(values, paths, strict=True)), 0.0)


def _walked(tree: Tree) -> _Walked:
    n = len(tree)
    ends = [[end if end >= 0 else n + ~end for end in side.tolist()] for side in (tree.left, tree.right)]
    children, column = list(zip(*ends, strict=True)), tree.column.tolist()
    below = list(zip(tree.left_share.tolist(), tree.right_share.tolist(), strict=True))
    shares: list[dict[int, float]] = [{} for _ in range(2 * n + 1)]
    order, open_ = [], [0] if n else []
    while open_:
        node = open_.pop()
        order.append(node)
        for child, share in zip(children[node], below[node], strict=True):
            shares[child] = {**shares[node], column[node]: shares[node].get(column[node], 1.0) * share}
            if child < n:
                open_.append(child)
    inside, features = [0] * (2 * n + 1), [set(path) for path in shares]
    for node in reversed(order):
        left, right = children[node]
        inside[node] = 1 + inside[left] + inside[right]
        features[node] = features[left] | features[right]
    return _Walked(column, children, shares, inside, features, tree)


class _Builder:
    """Trees laid out one after another for the compiled loops."""

    def __init__(self) -> None:
        self.splits = 0
        self.cells = 0
        self.starts: list[tuple[int, int]] = [(0, 0)]
        self.forks: list[tuple[int, ...]] = []
        self.groups: list[tuple[int, ...]] = []
        self.asked: list[int] = []
        self.columns: list[int] = []
        self.leaves: list[tuple[int, ...]] = []
        self.values: list[float] = []
        self.tests: list[tuple[int, int, int]] = []
        self.shares: list[float] = []
        self.deep: list[tuple[int, ...]] = []
        self.deep_values: list[float] = []
        self.steps: list[tuple[int, int, int]] = []
        self.deep_shares: list[float] = []
        self.deep_columns: list[int] = []

    def add(self, walked: _Walked, most: int) -> None:
        forks, tops, deep = walked.tops(most)
        patterns = {0: 0}
        for node in forks:
            if len(walked.shares[node]) <= most:
                self._fork(walked, node, patterns)
        for top in tops:
            self._group(walked, top, patterns[top])
        if deep:
            parents = {end: (node, side) for node, ends in enumerate(walked.children) for side, end in enumerate(ends)}
            for leaf in deep:
                self._deep_leaf(walked, leaf, parents)
        self.splits += len(walked.column)
        self.starts.append((len(self.forks), len(self.groups)))

    def _fork(self, walked: _Walked, node: int, patterns: dict[int, int]) -> None:
        left, right = walked.children[node]
        column, before = walked.column[node], walked.shares[node]
        bit = 1 << list(walked.shares[left]).index(column)
        fresh = 0 if column in before else bit
        patterns[left] = len(patterns)
        patterns[right] = len(patterns)
        self.forks.append((self.splits + node, patterns[node], fresh, bit, patterns[left], patterns[right]))

    def _group(self, walked: _Walked, top: int, pattern: int) -> None:
        features = list(walked.shares[top])
        features += sorted(walked.features[top] - set(features))
        place = {feature: at for at, feature in enumerate(features)}
        path = {feature: (1 << at, 1 << at) for at, feature in enumerate(walked.shares[top])}
        first_asked, bits, answers = len(self.asked), len(path), 1 << walked.bits(top)
        open_ = [(top, path)]
        while open_:
            node, path = open_.pop()
            if node >= len(walked.column):
                low = len(self.shares)
                self.tests += [(*path[feature], place[feature]) for feature in path]
                self.shares += walked.shares[node].values()
                self.leaves.append((self.cells, answers, len(place), low, len(self.shares)))
                self.values.append(float(walked.tree.values[node - len(walked.column)]))
                continue
            bit, column = 1 << bits, walked.column[node]
            bits += 1
            self.asked.append(self.splits + node)
            mask, want = path.get(column, (0, 0))
            for child, side in zip(walked.children[node], (bit, 0), strict=True):
                open_.append((child, {**path, column: (mask | bit, want | side)}))
        first_column = len(self.columns)
        self.columns += features
        self.groups.append(
            (pattern, len(walked.shares[top]), first_asked, len(self.asked), self.cells, first_column, len(self.columns))
        )  # fmt: skip
        self.cells += answers * len(features)

    def _deep_leaf(self, walked: _Walked, leaf: int, parents: Mapping[int, tuple[int, int]]) -> None:
        path = walked.shares[leaf]
        place = {feature: at for at, feature in enumerate(path)}
        first_step, first_share = len(self.steps), len(self.deep_shares)
        node = leaf
        while node in parents:
            node, side = parents[node]
            self.steps.append((self.splits + node, int(side == 0), place[walked.column[node]]))
        self.deep_shares += path.values()
        self.deep_columns += path
        self.deep.append((first_step, len(self.steps), first_share, len(self.deep_shares)))
        self.deep_values.append(float(walked.tree.values[leaf - len(walked.column)]))

    def layout(self, walked: Sequence[_Walked]) -> Layout:
        none = Tree.leaf(0.0)
        trees = [none, *(one.tree for one in walked)]
        splits = Splits(
            np.concatenate([tree.column for tree in trees]),
            np.concatenate([tree.threshold for tree in trees]),
            np.concatenate([tree.flips for tree in trees]),
        )
        groups = Groups(
            _rows(self.starts, 2), _rows(self.forks, 6), _rows(self.groups, 7), _ints(self.asked), _ints(self.columns)
        )
        filling = Filling(_rows(self.leaves, 5), _floats(self.values), _rows(self.tests, 3), _floats(self.shares))
        deep = Deep(
            _rows(self.deep, 4), _floats(self.deep_values), _rows(self.steps, 3), _floats(self.deep_shares),
            _ints(self.deep_columns),
        )  # fmt: skip
        widest = max((len(path) for one in walked for path in one.shares), default=0)
        return Layout(splits, groups, filling, self.cells, deep, [one.base() for one in walked], widest)


def _rows(rows: Sequence[tuple[int, ...]], width: int) -> Ints:
    return np.array(rows, np.int64).reshape(-1, width)


def _ints(values: Sequence[int]) -> Ints:
    return np.array(values, np.int64)


def _floats(values: Sequence[float]) -> Floats:
    return np.array(values, np.float64)
