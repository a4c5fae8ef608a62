"""Who is in the middle of the horizon when learning stops looking, and that they teach without bias."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import expit

from features.durations import DAY
from features.errors import Refusal
from features.leads import NEVER
from features.windows import Ints
from tests.training.worlds import COLUMNS, HORIZON, RIDGE, START, World, leads_of, simulated, table_of
from training.fit import Lessons, fit_scorecard
from training.snapshots import Snapshots
from training.split import split
from training.watched import Watched, known_until, lessons, watched, young

# --- a world with a known truth ---------------------------------------------------------------


def learned(seen: Watched, begin: float = 0.0, end: float = HORIZON) -> tuple[Lessons, Ints]:
    return lessons(seen, begin, end, COLUMNS, RIDGE)


# --- who is young -----------------------------------------------------------------------------


def random_table(seed: int, n: int, per_account: float, share: float = 0.3) -> Snapshots:
    """Leads of a year; large accounts send leads all the time, small ones within a month."""
    rng = np.random.default_rng(seed)
    accounts = max(1, round(n / per_account))
    founded, account = rng.integers(0, 330 * DAY, accounts), rng.integers(0, accounts, n)
    within = (360 if per_account > 10 else 30) * DAY
    started = START + (founded[account] + rng.integers(0, within, n)) % (360 * DAY)
    took = np.where(rng.random(n) < share, rng.integers(8 * DAY, 37 * DAY, n), 0)
    return table_of(leads_of(started, np.where(took > 0, started + took, NEVER), account))


tables = st.builds(
    random_table,
    st.integers(0, 2**32 - 1),
    st.sampled_from([300, 1_500, 8_000]),
    st.sampled_from([0.5, 1.5, 4.0, 60.0]),
)


@settings(max_examples=40)
@given(tables)
def test_the_young_are_who_began_before_the_moment_and_whose_horizon_ends_after_it(table: Snapshots) -> None:
    try:
        parts = split(table)
    except Refusal:
        assume(False)
    until = known_until(table, parts)
    newer = [] if parts.cutoff is None else parts.cutoff.tolist()
    kept_apart = set(table.account[[*newer, *parts.test]].tolist()) if parts.accounts_apart else set()
    plain = [
        number
        for number in range(len(table))
        if max(table.started_at[number], table.as_of[number]) < until < table.label_end[number]
        and int(table.account[number]) not in kept_apart
    ]
    assert young(table, parts).tolist() == plain


def test_all_kinds_of_splits_are_met() -> None:
    kinds = set()
    for n, per_account in ((300, 1.5), (8_000, 1.5), (8_000, 60.0)):
        table = random_table(1, n, per_account)
        parts = split(table)
        assert len(young(table, parts)) > 5
        kinds.add((parts.cutoff is None, parts.accounts_apart))
    assert kinds == {(True, True), (False, True), (True, False)}


@settings(max_examples=20)
@given(tables)
def test_learning_stops_looking_when_the_next_part_begins(table: Snapshots) -> None:
    try:
        parts = split(table)
    except Refusal:
        assume(False)
    until = known_until(table, parts)
    assert table.label_end[parts.fit].max() <= until
    following = parts.test if parts.cutoff is None else parts.cutoff
    assert until <= table.started_at[following].min()
    assert not np.isin(young(table, parts), np.concatenate([parts.learned, parts.test])).any()


# --- without bias -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """How far predictions lie from the truth: their sum over that of the truth, and the excess log loss in thousandths."""

    ratio: float
    excess: float


def judge(lesson: Lessons, world: World) -> Judged:
    odds = fit_scorecard(lesson, COLUMNS, 3.0).margins(world.rows)
    chance = expit(world.odds)
    losses = np.logaddexp(0, odds) - np.logaddexp(0, world.odds) - chance * (odds - world.odds)
    return Judged(float(expit(odds).sum() / chance.sum()), 1e3 * float(losses.mean()))


@pytest.fixture(scope="module")
def ways() -> dict[str, list[Judged]]:
    """Worlds watched for 50 days, so that most trials are young: learned with them, without them, and as if they lost."""
    found: dict[str, list[Judged]] = {"with": [], "without": [], "blind": []}
    for seed in range(12):
        world = replace(simulated(100 + seed, 1_200), until=START + 60 * DAY)
        before = world.table.take(np.flatnonzero(world.table.as_of < world.until))
        seen = watched(world.rows, before, world.leads, np.arange(len(before)), world.until)
        whole = seen.take(np.flatnonzero(seen.seen >= HORIZON))
        won = (seen.took < HORIZON).astype(np.int64)
        lesson = {
            "with": learned(seen)[0],
            "without": learned(whole)[0],
            "blind": Lessons.whole(seen.rows, won, seen.weight),
        }
        for way, one in lesson.items():
            found[way].append(judge(one, world))
    return found


def mean_ratio(ways: dict[str, list[Judged]], way: str) -> float:
    return float(np.mean([one.ratio for one in ways[way]]))


def test_counting_the_young_as_lost_would_make_all_probabilities_too_low(ways: dict[str, list[Judged]]) -> None:
    assert mean_ratio(ways, "blind") < 0.8


def test_learning_from_the_young_is_right_on_average(ways: dict[str, list[Judged]]) -> None:
    assert mean_ratio(ways, "with") == pytest.approx(1.0, abs=0.05)
    assert mean_ratio(ways, "with") == pytest.approx(mean_ratio(ways, "without"), abs=0.05)


def test_learning_from_the_young_comes_closer_to_the_truth_than_dropping_them(ways: dict[str, list[Judged]]) -> None:
    with_them, without, blind = (np.array([one.excess for one in ways[way]]) for way in ("with", "without", "blind"))
    assert with_them.mean() < without.mean()
    assert with_them.mean() < 0.5 * blind.mean()
