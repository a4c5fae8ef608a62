"""What is proven is what has an effect of its own, and what only goes with others is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.definition import parse
from features.matrix import FeatureBuilder
from features.windows import Floats, Ints
from training.proven import SURE, asked, umbrellas, z_scores

DAYS = 4


def world(n: int, seed: int, effects: Floats, alike: float = 0.0) -> tuple[Floats, Ints, Ints, Ints]:
    """Facts that all go with how busy a lead is, of which some have an effect; `alike` is shared by leads of an account."""
    rng = np.random.default_rng(seed)
    busy = rng.normal(size=(n, 1))
    facts = np.log1p(rng.poisson(np.exp(0.7 * busy + rng.normal(0, 0.5, (n, len(effects))))))
    ages = rng.integers(0, DAYS, n)
    accounts = np.arange(n) // 4
    odds = -2.5 + 0.4 * ages + facts @ effects + alike * rng.normal(size=n // 4 + 1)[accounts]
    return facts, ages, (rng.random(n) < 1 / (1 + np.exp(-odds))).astype(np.int64), accounts


def test_an_effect_is_sure_and_what_only_goes_with_it_is_not() -> None:
    effects = np.array([0.8, 0.0, -0.8, 0.0])
    z = z_scores(*world(12_000, 1, effects))
    assert z[0] > SURE
    assert z[2] < -SURE
    assert np.abs(z[[1, 3]]).max() < SURE


def test_without_effects_scores_are_as_large_as_chance_makes_them() -> None:
    found = np.concatenate([z_scores(*world(2_000, seed, np.zeros(5))) for seed in range(60)])
    assert abs(found.mean()) < 0.2
    assert 0.85 < found.std() < 1.15
    assert (np.abs(found) > SURE).mean() <= 0.02


def test_leads_of_one_account_count_as_less_than_as_many_strangers() -> None:
    """Copies of a lead say nothing new; as strangers they would double what is known."""
    facts, ages, converted, _ = world(3_000, 3, np.array([0.3, 0.0]))
    alone = z_scores(facts, ages, converted, np.arange(3_000))
    both = np.tile(np.arange(3_000), 2)
    together = z_scores(facts[both], ages[both], converted[both], both)
    strangers = z_scores(facts[both], ages[both], converted[both], np.arange(6_000))
    np.testing.assert_allclose(together, alone, rtol=1e-3)
    np.testing.assert_allclose(strangers, np.sqrt(2) * alone, rtol=1e-3)


@given(st.integers(0, 50), st.floats(0.1, 100), st.floats(-5, 5))
def test_scores_do_not_depend_on_unit_and_origin(seed: int, unit: float, origin: float) -> None:
    facts, ages, converted, accounts = world(600, seed, np.array([0.5, 0.0]))
    np.testing.assert_allclose(
        z_scores(unit * facts + origin, ages, converted, accounts),
        z_scores(facts, ages, converted, accounts),
        rtol=1e-4,
        atol=1e-4,
    )


def test_a_fact_in_which_nobody_differs_is_not_sure() -> None:
    facts, ages, converted, accounts = world(1_000, 2, np.array([0.5]))
    z = z_scores(np.column_stack([facts, np.full(1_000, 3.0)]), ages, converted, accounts)
    assert z[1] == 0
    assert np.isfinite(z).all()


TEXT = """
product: Tiny
conversion: {event: paid, horizon: 30d}
score_at: [3d]
windows: [1d, 7d, trial]
signals:
  - {name: opens, kind: value, events: [open], text: "{count:open|opens}"}
  - {name: sums, kind: value, events: [pay], measures: [sum(amount), trend], text: "{sum_amount}"}
  - {name: all_of_it, kind: consistency, events: [open, pay, look], measures: [active_days, count], text: "{count:time|times}"}
  - {name: some_opens, kind: value, events: [{event: open, where: {plan: big}}], windows: [7d], text: "{count:x|xs}"}
traits:
  - {name: seats, type: number, text: "{value}"}
  - {name: source, type: category, text: "{value}"}
cutoff: {policy: precision, at_least: 0.3}
"""


def test_each_signal_stands_for_its_widest_amount_and_a_trait_for_all_its_columns() -> None:
    builder = FeatureBuilder(parse(TEXT), {"source": ("ads", "web")})
    names = [builder.columns[place].name for place in asked(builder.definition, builder.columns)]
    assert names == [
        "opens_count_trial", "sums_sum_amount_trial", "all_of_it_count_trial", "some_opens_count_7d", "seats", "source=ads",
        "source=web",
    ]  # fmt: skip


def test_an_umbrella_reads_all_that_another_signal_reads_and_more() -> None:
    assert umbrellas(parse(TEXT)) == {"all_of_it"}


@pytest.mark.parametrize("event", ["open", "pay"])
def test_a_twin_is_no_umbrella(event: str) -> None:
    twin = TEXT.replace("events: [open, pay, look]", f"events: [{event}]")
    assert umbrellas(parse(twin)) == frozenset()
