"""Which signals older leads show to matter by themselves, so that a reason does not name one that merely goes with others.

A score may lean on a behaviour that has no effect of its own: busy leads do more of everything, and a shrunken line gives each
its part. That is right for the score and wrong as a reason, so what is not proven is named after all that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy.special import expit

from features.columns import Column
from features.definition import Definition, EventMatch
from features.windows import Floats, Ints
from serving.scoring.scorecard import signed_log
from training.learn import Table
from training.rounds import ages_met, rounds
from training.snapshots import Snapshots, evenly

MOST_ASKED: Final = 60_000
"""Leads times days that are asked, the leads evenly over time."""
FEWEST: Final = 300
"""Leads that convert below which nothing is held against any signal: a usual effect would not be sure."""
SURE: Final = 3.0
"""Standard errors above nothing; at 2.3, signals without effect that busy leads show still pass in one case of ten."""
RIDGE: Final = 1e-3


def proven(table: Table) -> frozenset[str] | None:
    """Return the signals and traits whose own effect on conversion is sure on the leads that were learned from.

    None where too few of them converted to hold anything against a signal. What has no amount cannot be asked and is taken for
    proven.

    A logistic regression of converting within the horizon on the logarithm of how much of each signal was done in its widest
    window, the traits and the age, on every day on which leads were met; standard errors allow for leads of one account
    being alike (Liang and Zeger 1986).
    """
    definition, columns = table.data.definition, table.builder.columns
    everybody = np.unique(table.snapshots.lead[table.parts.fit])
    which = evenly(everybody, MOST_ASKED // len(ages_met(definition)))
    met = rounds(table.data, which, _seen_until(table), complete=False)
    if len(np.unique(met.lead[met.converted == 1])) < FEWEST:
        return None
    rows = table.data.rows(table.builder, met.lead, met.as_of)
    places, several = asked(definition, columns), umbrellas(definition)
    wide = [place for place in places if columns[place].owner in several]
    narrow = [place for place in places if place not in wide]
    # An umbrella beside its parts would take their effect; it is asked what it adds to all of them.
    found = dict(zip(narrow, _sure(rows, narrow, columns, met), strict=True))
    found |= {place: _sure(rows, [place, *narrow], columns, met)[0] for place in wide}
    unasked = {column.owner for column in columns} - {columns[place].owner for place in places}
    return frozenset(unasked | {columns[place].owner for place, sure in found.items() if sure})


def _sure(rows: Floats, places: Sequence[int], columns: Sequence[Column], met: Snapshots) -> list[bool]:
    """Return which columns have a sure effect in their direction beside the others."""
    facts = signed_log(rows[:, list(places)], np.zeros(len(places)))
    z = z_scores(facts, met.as_of - met.started_at, met.converted, met.account)
    signs = np.array([columns[place].direction for place in places])
    found: list[bool] = (np.where(signs == 0, np.abs(z), signs * z) > SURE).tolist()
    return found


def umbrellas(definition: Definition) -> frozenset[str]:
    """Return the signals that read all events of another signal, and events of other names beside them."""
    found = set()
    for one in definition.signals:
        for other in definition.signals:
            names = {match.event for match in one.events}, {match.event for match in other.events}
            if names[1] < names[0] and all(any(_holds(mine, part) for mine in one.events) for part in other.events):
                found.add(one.name)
    return frozenset(found)


def _holds(match: EventMatch, part: EventMatch) -> bool:
    """Whether one match takes all events that another one takes, as far as their filters tell."""
    return match.event == part.event and (not match.where or match.where == part.where)


def _seen_until(table: Table) -> int:
    """Return the moment at which the next part begins: nothing later was learned from."""
    parts = table.parts
    return parts.test_from if parts.cutoff is None else int(table.snapshots.started_at[parts.cutoff].min())


def asked(definition: Definition, columns: Sequence[Column]) -> list[int]:
    """Return the places of the columns that stand for each signal and trait: the widest amount of a signal, all of a trait."""
    amounts: dict[str, int] = {}
    for place, column in enumerate(columns):
        if column.measure and column.window and column.measure.spec.happened and column.measure.spec.absent == 0.0:
            best = amounts.get(column.owner)
            if best is None or _width(column) > _width(columns[best]):
                amounts[column.owner] = place
    traits = [place for place, column in enumerate(columns) if column.owner in definition.trait_of]
    return sorted(amounts.values()) + traits


def _width(column: Column) -> tuple[bool, float]:
    """Counts before other amounts, then the wider window, that since the trial began being the widest."""
    assert column.measure is not None
    assert column.window is not None
    return column.measure.how == "count", column.window.width


def z_scores(facts: Floats, ages: Ints, converted: Ints, accounts: Ints) -> Floats:
    """Return each fact's coefficient over its standard error: float64 array of shape (n_facts,).

    Parameters
    ----------
    facts : float64 array of shape (n, n_facts), finite
    ages, converted, accounts : int64 arrays of shape (n,); each age has an intercept of its own
    """
    scale = facts.std(axis=0)
    standard = (facts - facts.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    _, age = np.unique(ages, return_inverse=True)
    design = np.column_stack([standard, np.eye(age.max() + 1)[age]])
    theta = np.zeros(design.shape[1])
    share = converted.mean()
    theta[facts.shape[1] :] = np.log(share / (1 - share))
    for _ in range(30):
        p = expit(design @ theta)
        curvature = (design * (p * (1 - p))[:, None]).T @ design + RIDGE * np.eye(len(theta))
        step = np.linalg.solve(curvature, design.T @ (p - converted) + RIDGE * theta)
        theta = theta - step
        if np.abs(step).max() < 1e-8:
            break
    _, account = np.unique(accounts, return_inverse=True)
    scores = np.zeros((account.max() + 1, len(theta)))
    np.add.at(scores, account, design * (p - converted)[:, None])
    inverse = np.linalg.inv(curvature)
    error = np.sqrt(np.einsum("ij,jk,ik->i", inverse, scores.T @ scores, inverse))
    # A fact in which nobody differs says nothing, and has no error either.
    found: Floats = theta[: len(scale)] / np.where(scale > 0, error[: len(scale)], np.inf)
    return found
