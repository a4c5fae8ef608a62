"""What a model must beat: as other implementations find it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit

from features.columns import Column
from features.definition import Measure
from features.phrases import Phrase
from features.windows import Floats, Ints
from training.baselines import base_rate, logistic

COUNT, AGO, TRAIT = Measure(how="count"), Measure(how="days_since_last"), None
TABLE = [
    Column(f"c{place}", f"s{place}", "lead", 0, "", "", Phrase.parse("{value}"), measure)
    for place, measure in enumerate((COUNT, COUNT, AGO, TRAIT))
]
USED = [0, 1, 3]


def leads(n: int, seed: int = 0) -> tuple[Floats, Ints, Floats]:
    rng = np.random.default_rng(seed)
    rows = rng.poisson(3.0, (n, 4)).astype(np.float64)
    converted = (rng.random(n) < expit(0.8 * np.log1p(rows[:, 0]) - 0.5 * np.log1p(rows[:, 3]) - 1)).astype(np.int64)
    return rows, converted, rng.uniform(0.2, 1.0, n)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 5)), min_size=1), st.integers(0, 5))
def test_base_rate_is_the_share_of_conversions_with_rows_repeated_by_weight(
    rows: list[tuple[int, int]], n: int
) -> None:
    converted, weight = np.array(rows).T
    found = base_rate(converted, weight.astype(np.float64), n)
    np.testing.assert_allclose(found, np.full(n, np.repeat(converted, weight).mean()))


def plain_logistic(rows: Floats, converted: Ints, weight: Floats, later: Floats) -> Floats:
    """Ridge-penalised regression on standardised logs, by a general optimiser."""
    logs = np.log1p(rows)
    center, scale = logs.mean(axis=0), logs.std(axis=0)
    x, later_x = (logs - center) / scale, (np.log1p(later) - center) / scale

    def loss(theta: Floats) -> float:
        odds = x @ theta[1:] + theta[0]
        return float(weight @ (np.logaddexp(0, odds) - converted * odds) + theta[1:] @ theta[1:] / 2)

    best = minimize(loss, np.zeros(x.shape[1] + 1), method="BFGS", options={"gtol": 1e-7}).x
    return np.asarray(expit(later_x @ best[1:] + best[0]))


def test_logistic_regression_is_the_optimum_that_another_optimiser_finds() -> None:
    rows, converted, weight = leads(800)
    later, _, _ = leads(50, seed=1)
    oracle = plain_logistic(rows[:, USED], converted, weight, later[:, USED])
    np.testing.assert_allclose(logistic(rows, converted, weight, later, TABLE), oracle, atol=2e-4)


def test_only_counts_and_traits_are_used() -> None:
    rows, converted, weight = leads(300)
    later, _, _ = leads(50, seed=1)
    other = later.copy()
    other[:, 2] += 9
    assert (
        logistic(rows, converted, weight, later, TABLE).tolist()
        == logistic(rows, converted, weight, other, TABLE).tolist()
    )


def test_later_rows_do_not_influence_each_other() -> None:
    rows, converted, weight = leads(300)
    later, _, _ = leads(50, seed=1)
    together = logistic(rows, converted, weight, later, TABLE)
    alone = [float(logistic(rows, converted, weight, later[i : i + 1], TABLE)[0]) for i in range(5)]
    assert together[:5].tolist() == pytest.approx(alone, rel=1e-12)


def test_what_is_not_known_counts_as_zero() -> None:
    rows, converted, weight = leads(300)
    unknown, zero = np.full((1, 4), np.nan), np.zeros((1, 4))
    assert logistic(rows, converted, weight, unknown, TABLE) == logistic(rows, converted, weight, zero, TABLE)
