"""Small versions of the benchmark of truth: what a naive choice would fail, where the truth is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks import truth_noise
from benchmarks.truth_drift import WAYS, measured
from benchmarks.truth_page import HEADING, Bar, Part, introduction, text_of, write
from benchmarks.truth_promise import ONCE, REPEATED, Row, rows_of
from benchmarks.truth_promise_worlds import Looks, Population, drifting, table_of
from benchmarks.truth_rows import BASES, divergence, draw
from benchmarks.truth_slow import caught, learned
from benchmarks.truth_slow_world import HORIZON, START
from benchmarks.truth_slow_world import draw as draw_slow
from features.durations import DAY
from serving.scoring.calibration import odds_of
from training.first_flags import FirstFlags

DELTA = 0.1


def at_most(share: float, n: int) -> float:
    """The count that so many trials of a chance of at most `share` exceed in one case of a thousand."""
    return float(binom.ppf(0.999, n, share))


# --- the promise ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def repeated() -> Row:
    return rows_of("sharper", REPEATED["a sharper score"], (3_000,), products=60, chunks=1)[0]


def test_the_promise_is_broken_no_more_often_than_was_said(repeated: Row) -> None:
    assert repeated.certified > 30
    assert repeated.broken <= at_most(DELTA, repeated.certified)


def test_the_naive_choice_breaks_it_in_every_third_product_at_least(repeated: Row) -> None:
    assert repeated.naive_broken > len(repeated.outcomes) / 3


def test_the_promise_costs_no_more_than_a_quarter_of_what_an_oracle_catches() -> None:
    name, world = next(iter(ONCE.items()))
    found = rows_of(name, world, (2_000,), products=60, chunks=1)[0]
    assert found.broken <= at_most(DELTA, found.certified)
    assert found.recall > 0.75


def test_the_truth_about_a_cutoff_counts_like_first_flags() -> None:
    world = drifting(2.0, -3.0, 0.3)
    looks = world(np.random.default_rng(3), 2_000)
    seen, population = FirstFlags.of(*table_of(looks)), Population.of(_always(looks), 0, 1)
    for probability in np.quantile(seen.peaks, [0.2, 0.5, 0.9, 0.99]):
        flagged, won = seen.at(float(probability))
        # At no look itself, so that rounding on the way to log-odds and back flags nobody more.
        score = float(odds_of(np.array([probability]))[0]) - 1e-9
        assert population.at(score)[0] == pytest.approx(won / flagged)


def _always(looks: Looks) -> Callable[[np.random.Generator, int], Looks]:
    return lambda _, __: looks


# --- drift ------------------------------------------------------------------------------------


def test_fifteen_conversions_bring_a_calibration_up_to_date_better_than_keeping_or_learning_it_anew() -> None:
    kept, ours, anew, isotonic = (measured("base rate -35 %", 15, way, repeats=30) for way in WAYS)
    assert ours <= 2.5
    assert ours < 0.5 * kept
    assert ours < anew
    assert isotonic > 20 * ours


def test_an_update_without_drift_does_less_harm_than_learning_anew() -> None:
    kept, ours, anew, _ = (measured("no drift", 15, way, repeats=30) for way in WAYS)
    assert kept == 0
    assert ours < 0.6 * anew


@pytest.mark.parametrize("base", BASES)
def test_the_share_that_converts_is_the_one_asked_for_and_the_truth_has_no_divergence(base: float) -> None:
    drawn = draw(np.random.default_rng(1), 30_000, base)
    assert drawn.probability.mean() == pytest.approx(base, rel=0.05)
    assert divergence(odds_of(drawn.probability), drawn.probability) == 0
    assert divergence(odds_of(drawn.probability) + 0.2, drawn.probability) > 0


# --- slow burners -----------------------------------------------------------------------------


def test_ninety_days_find_slow_buyers_that_fourteen_days_do_not_and_no_horizons_cross() -> None:
    rng = np.random.default_rng(2)
    past, later = draw_slow(rng, 2_700, 180), draw_slow(rng, 5_000, 30)
    scores = learned(past, START + 180 * DAY)
    soon, curves = scores.within(HORIZON, later.rows), scores.probabilities(later.rows)
    assert caught(curves[:, -1], later) > 1.5 * caught(soon, later)
    assert (np.diff(curves, axis=1) >= 0).all()
    assert 0.85 < later.truth.mean() / curves[:, -1].mean() < 1.18
    assert later.truth.mean() > 2 * soon.mean()


# --- nothing to be found ----------------------------------------------------------------------


SMALL = (1_002, 1_012, 1_016, 1_018, 1_020)
"""Products of some 1,000 leads that are large enough to learn from."""


@pytest.fixture(scope="module")
def nothing() -> list[truth_noise.Outcome]:
    return [truth_noise.outcome(truth_noise.Noise.of(seed)) for seed in SMALL]


def test_pure_noise_is_offered_no_more_cutoffs_than_were_said_and_nothing_of_it_is_promoted(
    nothing: list[truth_noise.Outcome],
) -> None:
    assert not any(one.refused for one in nothing)
    assert sum(one.offered for one in nothing) <= at_most(DELTA, len(nothing))
    assert not any(one.promoted for one in nothing)


def test_the_naive_choice_finds_cutoffs_in_pure_noise(nothing: list[truth_noise.Outcome]) -> None:
    assert sum(one.naive for one in nothing) >= 3


def test_conversions_of_pure_noise_come_from_nothing_that_a_lead_does() -> None:
    product = truth_noise.Noise(seed=5, leads=3_000, signals=4, base=0.3, at_least=0.3)
    data = product.read()
    assert {signal.name for signal in data.definition.signals} == {f"signal_{i}" for i in range(4)}
    again = product.read()
    assert (data.leads.converted_at == again.leads.converted_at).all()


# --- the page ---------------------------------------------------------------------------------


def test_a_part_says_which_bars_it_missed() -> None:
    bars = [Bar("one", "1", "2", met=True), Bar("two", "1", "0", met=False), Bar("three", "", "0", None)]
    text = text_of(Part("Calibration", "A world.", bars), 12.0)
    assert "| one | 1 | 2 | met |" in text
    assert "| two | 1 | 0 | **missed** |" in text
    assert "| three |  | 0 |  |" in text
    assert text.endswith("12 CPU seconds.")


def test_a_part_measured_anew_takes_the_place_of_the_old_one_and_leaves_the_others(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    page.write_text("# Results\n\nMade.\n\n## Before\n\nstays\n", encoding="utf-8")
    write(page, ["### B\n\nthe first try"], ["A", "B"], introduction())
    write(page, ["### A\n\nfirst"], ["A", "B"], introduction())
    write(page, ["### B\n\nnew"], ["A", "B"], introduction())
    text = page.read_text(encoding="utf-8")
    assert text.index("stays") < text.index(HEADING) < text.index("### A") < text.index("### B\n\nnew")
    assert "the first try" not in text
    assert text.count("### ") == 2
