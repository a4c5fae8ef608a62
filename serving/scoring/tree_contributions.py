"""Exact contributions of a LightGBM text model, from tables made once instead of a recursion per row.

What is computed are the path-dependent SHAP values of Lundberg et al. (2018, arXiv:1802.03888; 2020, Nature Machine
Intelligence 2), the ones of LightGBM's `pred_contrib`. There the value of a set S of features is what the tree says where
features outside S are not asked: a row goes both ways, by the shares of the training rows that did. For one leaf with value v
that is v times a product over the D features of its path, of o_j (1 where the row meets all that the path asks of feature j,
else 0) for j in S, and p_j (the product of the shares of the splits on j) for the others. The Shapley value of such a
product is an integral, because the Shapley weight s! (D - 1 - s)! / D! of a set of s others is the integral of
t^s (1 - t)^(D - 1 - s) over t from 0 to 1::

    phi_i = v (o_i - p_i) * integral of prod over j != i of (t o_j + (1 - t) p_j) dt

The integrand is a polynomial of degree D - 1 in t, so Gauss-Legendre quadrature with (D + 1) // 2 points gives it exactly, as
a sum of products of shares that loses no digits however long the path is, where the usual recursion, which divides, does. It
depends on the row through the D bits o alone: splits that few bits describe get a table from bits to contributions, and a row
costs a look-up. Relatives: Yang (2021, arXiv:2109.09847) keeps such tables by subset, Yu et al. (2022, Linear TreeSHAP)
evaluate the same polynomial at fixed points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from features.compiling import compiled
from features.errors import InvalidInput
from features.windows import Floats
from serving.scoring.tree_layout import Deep, Groups, Splits, laid_out
from serving.scoring.tree_text import trees_of

MOST_BITS: Final = 10
"""How many answers a table may depend on; one more would double every table of a deep tree."""

MOST_CELLS: Final = 8_000_000
"""Of all tables together, 64 MB; a larger model gets smaller tables. The usual one, of depth 3, needs less than 1 MB."""


@dataclass(frozen=True)
class TreeContributions:
    """What each column adds to the raw score of a model's trees; safe to share between threads, which it does not hold up.

    Attributes
    ----------
    n_columns : of the rows
    base : the raw score of a row of which nothing is known
    splits, groups, deep : the trees, see `tree_layout`
    cells : the tables of the groups, one after another
    rules : float64 array of shape (2, n), points and weights of quadrature, see `_rules`
    """

    n_columns: int
    base: float
    splits: Splits
    groups: Groups
    cells: Floats
    deep: Deep
    rules: Floats

    @classmethod
    def of(cls, text: str, n_columns: int) -> TreeContributions:
        """Return the contributions of a LightGBM model in its text format.

        Raises
        ------
        ArtifactError
            Where the model is for other rows, is damaged, or has splits on categories, linear leaves or several classes.
        """
        layout = laid_out(trees_of(text, n_columns), MOST_BITS, MOST_CELLS)
        cells, rules, filling = np.zeros(layout.n_cells), _rules(layout.widest), layout.filling
        if layout.n_cells:
            _compiled("fill_tables")(cells, filling.leaves, filling.values, filling.tests, filling.shares, *rules)
        return cls(n_columns, sum(layout.bases, 0.0), layout.splits, layout.groups, cells, layout.deep, rules)

    def contributions(self, rows: Floats) -> Floats:
        """Return what each column adds, and the base last: float64 array of shape (n, n_columns + 1).

        A row's sum is its raw score. Equal to LightGBM's `pred_contrib` but for the last digits, and bit for bit the same
        whatever rows stand beside a row.
        """
        if rows.ndim != 2 or rows.shape[1] != self.n_columns:
            raise InvalidInput(f"rows must have {self.n_columns} columns each, as the model's had, got {rows.shape}.")
        # One layout in memory for all callers, so that the loops are compiled once.
        rows = np.ascontiguousarray(rows, np.float64)
        out = np.zeros((len(rows), self.n_columns + 1))
        out[:, -1] = self.base
        for add, told in self._adding:
            add(out, rows, *told)
        return out

    @cached_property
    def _adding(self) -> tuple[tuple[Callable[..., Any], tuple[Any, ...]], ...]:
        """The compiled functions that add to contributions, and what each is told beside the rows."""
        asked, groups, deep = (self.splits.column, self.splits.threshold, self.splits.flips), self.groups, self.deep
        tables = (*asked, groups.starts, groups.forks, groups.groups, groups.asked, groups.columns, self.cells)
        leaves = (*asked, deep.leaves, deep.values, deep.steps, deep.shares, deep.columns, *self.rules)
        used = [("add_tables", tables, self.cells.size), ("add_deep", leaves, deep.leaves.size)]
        return tuple((_compiled(name), told) for name, told, size in used if size)


def _rules(widest: int) -> Floats:
    """Return Gauss-Legendre points and weights on [0, 1] for paths of up to so many features: shape (2, n).

    Rules of 1, 2, 3, ... points stand one after another; one of k points is exact for 2 k features.
    """
    found = [np.array(np.polynomial.legendre.leggauss(size)) for size in range(1, (widest + 1) // 2 + 1)]
    rules = np.concatenate([np.empty((2, 0)), *found], axis=1) / 2
    rules[0] += 0.5
    return rules


def _compiled(name: str) -> Callable[..., Any]:
    # Its import brings in the compiler.
    from serving.scoring import tree_kernel

    return compiled(tree_kernel, name)
