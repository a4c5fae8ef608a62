"""A reason that says the opposite of what its signal's direction allows is seen, whichever way it was chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from serving.scoring.reasons import Reason
from training.judging.agreement import Agreement

if TYPE_CHECKING:
    from features.windows import Floats
    from serving.scoring.scorer import Scorer


def a_reason(signal: str, contribution: float, window: str = "since the trial began") -> Reason:
    return Reason(signal, "value", "", {"window": window}, contribution)


@pytest.fixture(scope="module")
def agreement(scorer: Scorer) -> Agreement:
    return Agreement.of(scorer)


def row_with(scorer: Scorer, **values: float) -> Floats:
    """A row of a lead of seven days that has these values and no others."""
    row = np.zeros(len(scorer.builder.columns))
    columns = [column.name for column in scorer.builder.columns]
    row[0] = 7.0
    for name, value in values.items():
        row[columns.index(name)] = value
    return row


@pytest.mark.parametrize(
    ("signal", "contribution", "way", "values", "expected"),
    [
        ("activity", 0.3, 1, {"activity_active_days_trial": 99}, False),
        ("activity", 0.3, 1, {"activity_active_days_trial": 0}, True),
        ("activity", -0.3, 1, {"activity_active_days_trial": 99}, True),
        ("activity", -0.3, -1, {"activity_active_days_trial": 0}, False),
        ("activity", -0.3, -1, {"activity_active_days_trial": 99}, True),
        ("activity", 0.3, -1, {"activity_active_days_trial": 0}, True),
        ("support_tickets", 0.3, 1, {"support_tickets_count_trial": 9}, True),
        ("support_tickets", -0.3, -1, {"support_tickets_count_trial": 9}, False),
        ("team_activity", 0.3, 1, {}, False),
        ("team_activity", -0.3, -1, {"team_activity_count_7d": 99}, False),
        ("company_size", 0.3, 1, {"company_size": 5_000}, False),
        ("company_size", 0.3, 1, {"company_size": 1}, True),
        ("company_size", -0.3, -1, {"company_size": 1}, False),
        ("company_size", -0.3, -1, {"company_size": 5_000}, True),
        ("email", 0.3, 1, {"email_is_business": 1}, False),
        ("email", 0.3, 1, {"email_is_business": 0}, True),
        ("email", -0.3, -1, {"email_is_business": 0}, False),
        ("email", -0.3, -1, {"email_is_business": 1}, True),
    ],
)
def test_a_reason_that_says_the_opposite_of_its_direction_is_seen(
    agreement: Agreement, scorer: Scorer, signal: str, contribution: float, way: int, values: dict[str, float],
    *, expected: bool,
) -> None:  # fmt: skip
    """Most trials of seven days were active on some of them."""
    assert agreement.contradicts(a_reason(signal, contribution), row_with(scorer, **values), way) == expected


def test_a_reason_is_compared_in_the_window_that_it_speaks_of(agreement: Agreement, scorer: Scorer) -> None:
    row = row_with(scorer, activity_active_days_7d=0, activity_active_days_trial=99)
    found = [
        agreement.contradicts(a_reason("activity", 0.3, window), row, 1)
        for window in ("since the trial began", "in the last 7 days", "in no window")
    ]
    assert found == [False, True, False]
