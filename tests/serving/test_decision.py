"""From the cutoff on a lead is a PQL; without a cutoff nobody is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from serving.scoring.decision import Cutoff, NoCutoff

CUTOFF = Cutoff(0.25, 0.3, 0.9, 900, 300, 0.31, "2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z")
NONE = NoCutoff(0.3, 0.9, "the best precision is 0.22")


def test_a_lead_exactly_at_the_cutoff_is_a_pql_and_one_just_below_is_not() -> None:
    below = np.nextafter(0.25, 0)
    assert CUTOFF.flags(np.array([below, 0.25, 0.9, 0.1])).tolist() == [False, True, True, False]


def test_a_higher_cutoff_never_flags_more() -> None:
    probabilities = np.random.default_rng(0).random(500)
    higher = replace(CUTOFF, probability=0.4).flags(probabilities)
    assert (higher <= CUTOFF.flags(probabilities)).all()
    assert 0 < higher.sum() < CUTOFF.flags(probabilities).sum()


def test_without_a_cutoff_nobody_is_a_pql_however_high_the_score() -> None:
    flags = NONE.flags(np.array([0.0, 0.5, 1.0]))
    assert flags.dtype == bool
    assert not flags.any()


def test_nobody_gets_no_flags() -> None:
    assert CUTOFF.flags(np.empty(0)).shape == NONE.flags(np.empty(0)).shape == (0,)
