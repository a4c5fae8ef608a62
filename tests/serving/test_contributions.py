"""What the columns add is what the model scores: the trees' own values and the line's, after calibration."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from features.windows import Floats
from serving.scoring.calibration import Sigmoid, odds_of
from serving.scoring.contributions import Contributions
from serving.scoring.scorer import Scorer


@pytest.fixture(scope="module", params=["trained", "rich"])
def version(request: pytest.FixtureRequest, made_scorer: Callable[..., Scorer], rich_definition: str) -> Scorer:
    if request.param == "trained":
        trained: Scorer = request.getfixturevalue("scorer")
        return trained
    return made_scorer(rich_definition, {"source": ["partner", "referral"]}, seed=41)


def drawn(scorer: Scorer, n: int = 300) -> Floats:
    rng = np.random.default_rng(3)
    shape = n, len(scorer.builder.columns)
    return np.where(rng.random(shape) < 0.15, np.nan, rng.exponential(4.0, shape).round(1))


def test_they_add_up_to_the_calibrated_log_odds(version: Scorer) -> None:
    rows = drawn(version)
    expected = odds_of(version.probabilities(rows))
    np.testing.assert_allclose(version.contributions(rows).sum(axis=1), expected, rtol=0, atol=1e-9)


def test_they_are_those_of_the_trees_and_of_the_line_times_the_slope(version: Scorer) -> None:
    artifact, rows = version.artifact, drawn(version, 40)
    trees = np.asarray(artifact.booster.predict(rows, pred_contrib=True, num_threads=1))
    line = np.column_stack([artifact.scorecard.contributions(rows), np.full(len(rows), artifact.scorecard.base)])
    expected = artifact.calibration.slope * (trees + line)
    expected[:, -1] += artifact.calibration.shift
    np.testing.assert_allclose(version.contributions(rows), expected, rtol=0, atol=1e-9)


def test_the_base_is_the_same_for_every_row(version: Scorer) -> None:
    assert len(set(version.contributions(drawn(version, 50))[:, -1].tolist())) == 1


def test_a_row_is_taken_apart_alike_alone_and_in_a_crowd_to_the_last_bit(version: Scorer) -> None:
    rows = drawn(version, 60)
    together = version.contributions(rows)
    alone = np.concatenate([version.contributions(rows[i : i + 1]) for i in range(len(rows))])
    turned = version.contributions(np.ascontiguousarray(rows[::-1]))[::-1]
    assert together.tobytes() == alone.tobytes() == np.ascontiguousarray(turned).tobytes()


def test_a_version_is_taken_apart_from_what_its_files_hold(version: Scorer) -> None:
    artifact, rows = version.artifact, drawn(version, 20)
    again = Contributions.of(artifact.booster_text, artifact.scorecard, artifact.calibration)
    assert again(rows).tobytes() == version.contributions(rows).tobytes()


def test_calibration_scales_the_columns_and_moves_only_the_base(version: Scorer) -> None:
    artifact, rows = version.artifact, drawn(version, 20)
    raw, twice = (
        Contributions.of(artifact.booster_text, artifact.scorecard, calibration)(rows)
        for calibration in (Sigmoid(1.0, 0.0), Sigmoid(2.0, 0.5))
    )
    np.testing.assert_allclose(twice[:, :-1], 2 * raw[:, :-1], rtol=1e-12, atol=0)
    np.testing.assert_allclose(twice[:, -1], 2 * raw[:, -1] + 0.5, rtol=1e-12)


def test_no_rows_have_no_contributions(version: Scorer) -> None:
    width = len(version.builder.columns)
    assert version.contributions(np.empty((0, width))).shape == (0, width + 1)


def test_the_rows_are_left_as_they_were(version: Scorer) -> None:
    rows = drawn(version, 10)
    before = rows.copy()
    version.contributions(rows)
    np.testing.assert_array_equal(rows, before)
