"""Time and accounts decide the parts: nothing learned has seen anything of what it is judged on."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from features.durations import DAY
from features.errors import NotEnoughData, Refusal
from features.windows import Ints
from training.snapshots import Snapshots
from training.split import MIN_JUDGED, MIN_LEARNED, Split, counts, folds, split

START = 1_700_000_000_000_000
HORIZON = 20 * DAY


def table_of(started: Ints, account: Ints, converted: Ints, ages: tuple[int, ...] = (3, 7)) -> Snapshots:
    """Every lead at every age; those that convert do so after the last age."""
    n, k = len(started), len(ages)
    lead = np.repeat(np.arange(n), k)
    as_of = started[lead] + np.tile(np.array(ages, np.int64), n) * DAY
    order = np.argsort(as_of, kind="stable")
    lead, as_of = lead[order], as_of[order]
    return Snapshots(lead, account[lead], as_of, started[lead], as_of + HORIZON, converted[lead], np.full(n * k, 1 / k))


def random_table(seed: int, n: int, per_account: float, share: float, days: int = 400) -> Snapshots:
    """Leads of a year; those of one account start within `days` of each other."""
    rng = np.random.default_rng(seed)
    accounts = max(1, round(n / per_account))
    founded, account = rng.integers(0, 360 * DAY, accounts), rng.integers(0, accounts, n)
    started = START + (founded[account] + rng.integers(0, days * DAY, n)) % (360 * DAY)
    return table_of(started, account, (rng.random(n) < share).astype(np.int64))


seeds, shares = st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.3, 0.6, 0.9])
tables = st.builds(random_table, seeds, st.integers(200, 3_000), st.sampled_from([0.2, 1.5, 4.0, 40.0]), shares)
large_tables = st.builds(random_table, seeds, st.just(10_000), st.just(3.0), shares, st.sampled_from([10, 40]))


def split_or_skip(table: Snapshots, test_from: int | None = None) -> Split:
    try:
        return split(table, test_from)
    except Refusal:
        assume(False)
        raise


def parts_of(parts: Split) -> list[Ints]:
    return [part for part in (parts.fit, parts.cutoff, parts.test) if part is not None]


many, few = settings(max_examples=60), settings(max_examples=15)


@many
@given(tables)
def test_no_label_that_was_learned_from_ends_after_the_test_begins(table: Snapshots) -> None:
    parts = split_or_skip(table)
    assert table.label_end[parts.learned].max() <= parts.test_from


@many
@given(tables)
def test_every_test_trial_starts_when_the_test_begins_or_later(table: Snapshots) -> None:
    parts = split_or_skip(table)
    assert table.started_at[parts.test].min() >= parts.test_from


@many
@given(tables)
def test_no_lead_is_on_two_sides(table: Snapshots) -> None:
    sides = [set(table.lead[part].tolist()) for part in parts_of(split_or_skip(table))]
    assert sum(map(len, sides)) == len(set.union(*sides))


@many
@given(tables)
def test_no_account_is_on_both_sides_of_the_test_where_accounts_are_apart(table: Snapshots) -> None:
    parts = split_or_skip(table)
    shared = np.isin(table.account[parts.learned], table.account[parts.test]).any()
    assert parts.accounts_apart is not bool(shared)


@few
@given(large_tables)
def test_labels_of_the_fit_part_end_before_the_cutoff_part_begins(table: Snapshots) -> None:
    parts = split_or_skip(table)
    assert parts.cutoff is not None
    assert table.label_end[parts.fit].max() <= table.started_at[parts.cutoff].min()


@few
@given(large_tables)
def test_no_account_sets_the_cutoff_of_a_model_that_learned_from_it(table: Snapshots) -> None:
    parts = split_or_skip(table)
    assert parts.cutoff is not None
    assert not np.isin(table.account[parts.fit], table.account[parts.cutoff]).any()


@many
@given(tables)
def test_rows_of_each_part_are_ascending_in_time(table: Snapshots) -> None:
    assert all((np.diff(table.as_of[part]) >= 0).all() for part in parts_of(split_or_skip(table)))


@many
@given(tables, st.integers(40, 340))
def test_a_given_start_of_the_test_is_kept(table: Snapshots, day: int) -> None:
    moment = START + day * DAY
    parts = split_or_skip(table, moment)
    assert parts.test_from == moment
    assert parts.test.tolist() == np.flatnonzero(table.started_at >= moment).tolist()


def test_a_label_that_ends_exactly_when_the_test_begins_may_be_learned_from() -> None:
    n = 400
    started = START + np.arange(n) * DAY
    table = table_of(started, np.arange(n), np.arange(n) % 2, ages=(3,))
    parts = split(table, START + 300 * DAY)
    assert table.label_end[parts.learned].max() == parts.test_from


def test_large_data_spares_a_part_for_the_cutoff() -> None:
    assert split(random_table(1, 12_000, 1.0, 0.2)).cutoff is not None


def test_large_data_whose_accounts_recur_spares_none() -> None:
    """A cutoff from accounts that were learned from would promise too much."""
    assert split(random_table(1, 12_000, 40.0, 0.2)).cutoff is None


def test_small_data_spares_none() -> None:
    assert split(random_table(1, 1_000, 1.0, 0.2)).cutoff is None


def test_accounts_that_recur_by_nature_are_kept_on_both_sides() -> None:
    parts = split(random_table(1, 3_000, 40.0, 0.2))
    assert not parts.accounts_apart


def test_accounts_that_hardly_recur_are_kept_apart() -> None:
    assert split(random_table(1, 3_000, 1.2, 0.2)).accounts_apart


# --- refusals ---------------------------------------------------------------------------------


def test_no_snapshot_at_all_is_refused_with_what_to_do() -> None:
    none = np.zeros(0, np.int64)
    with pytest.raises(
        Refusal, match=r"no snapshot has a known outcome yet\. Wait .*, shorten the horizon, or score earlier"
    ):
        split(table_of(none, none, none))


@pytest.mark.parametrize(("share", "found"), [(0.0, "0 conversions"), (1.0, r"(\d+) mature leads with \1 conversions")])
def test_one_outcome_only_is_refused_with_what_to_do(share: float, found: str) -> None:
    with pytest.raises(
        NotEnoughData, match=rf"training part.*{found}.*at least {MIN_LEARNED} .*Wait .*shorten .*move --test-from"
    ):
        split(random_table(1, 1_000, 1.0, share))


def with_conversions(older: int, newer: int) -> Snapshots:
    """1,000 leads before the test that begins on day 200, and 200 in it."""
    started = START + np.concatenate([np.arange(1_000) * DAY // 10, (200 + np.arange(200) // 10) * DAY])
    converted = np.concatenate([np.arange(1_000) < older, np.arange(200) < newer]).astype(np.int64)
    return table_of(started, np.arange(1_200), converted)


@pytest.mark.parametrize(
    ("older", "newer", "part"), [(MIN_LEARNED - 1, 50, "training part"), (50, MIN_JUDGED - 1, "test part")]
)
def test_too_few_conversions_are_refused_by_the_name_of_the_part(older: int, newer: int, part: str) -> None:
    with pytest.raises(
        NotEnoughData,
        match=rf"^{part} \(tested from .*{min(older, newer)} conversions; at least {min(older, newer) + 1} ",
    ):
        split(with_conversions(older, newer), START + 200 * DAY)


def test_just_enough_conversions_are_not_refused() -> None:
    assert len(split(with_conversions(MIN_LEARNED, MIN_JUDGED), START + 200 * DAY).test) == 400


@pytest.mark.parametrize(("day", "part"), [(-1, "training part"), (500, "test part")])
def test_a_test_that_begins_outside_the_data_is_refused_by_the_empty_part(day: int, part: str) -> None:
    with pytest.raises(NotEnoughData, match=rf"^{part} .*0 mature leads with 0 conversions"):
        split(random_table(1, 1_000, 1.0, 0.3), START + day * DAY)


# --- counting and folds -----------------------------------------------------------------------


def test_a_lead_counts_once_however_often_it_was_looked_at() -> None:
    table = table_of(np.full(3, START), np.arange(3), np.array([1, 0, 1]))
    assert counts(table, np.arange(6)) == (3, 2)


@many
@given(tables, st.integers(2, 6))
def test_each_row_is_held_out_exactly_once(table: Snapshots, k: int) -> None:
    held = np.concatenate([held for _, held in folds(table, np.arange(len(table)), k)])
    assert np.sort(held).tolist() == list(range(len(table)))


@many
@given(tables)
def test_learned_and_held_out_rows_never_share_an_account(table: Snapshots) -> None:
    for learn, held in folds(table, np.arange(len(table))):
        assert not np.isin(table.account[learn], table.account[held]).any()


@many
@given(tables)
def test_each_fold_has_both_outcomes_on_both_sides(table: Snapshots) -> None:
    for learn, held in folds(table, np.arange(len(table))):
        assert set(table.converted[learn]) == set(table.converted[held]) == {0, 1}


def test_folds_are_blocks_of_time() -> None:
    table = random_table(1, 2_000, 0.2, 0.3)  # five accounts per lead: hardly any account has two
    first = [table.as_of[held].min() for _, held in folds(table, np.arange(len(table)))]
    assert len(first) == 5
    assert first == sorted(first)


def test_positions_count_within_the_rows_given() -> None:
    table = random_table(1, 500, 1.0, 0.3)
    rows = np.arange(400, 900)
    positions = np.concatenate([held for _, held in folds(table, rows)])
    assert np.sort(positions).tolist() == list(range(500))


def test_fewer_blocks_are_made_where_conversions_are_few() -> None:
    n = 100
    converted = np.isin(np.arange(n), [5, 40, 90]).astype(np.int64)
    table = table_of(START + np.arange(n) * DAY, np.arange(n), converted)
    assert len(folds(table, np.arange(len(table)))) == 3


def test_conversions_of_one_account_only_are_refused() -> None:
    n = 100
    converted = (np.arange(n) == 5).astype(np.int64)
    table = table_of(START + np.arange(n) * DAY, np.arange(n), converted)
    with pytest.raises(
        NotEnoughData, match=r"100 mature leads with 1 conversions, but not some of either outcome in each half.*Wait"
    ):
        folds(table, np.arange(len(table)))


def test_outcomes_as_far_as_they_had_been_seen_decide_how_many_blocks_there_are() -> None:
    """A conversion that was not known when learning stopped looking is none."""
    n = 100
    late = np.isin(np.arange(n), [5, 25, 45, 65, 85]).astype(np.int64)
    table = table_of(START + np.arange(n) * DAY, np.arange(n), late, ages=(3,))
    rows = np.arange(n)
    assert len(folds(table, rows)) == 5
    assert len(folds(table, rows, converted=np.where(rows > 70, 0, late))) == 2
    only_old = np.where(rows > 20, 0, late)
    with pytest.raises(NotEnoughData, match="in each half of the time"):
        folds(table, rows, converted=only_old)


def test_outcomes_given_are_those_of_the_rows_in_their_order() -> None:
    table = random_table(1, 500, 1.0, 0.3)
    rows = np.random.default_rng(1).permutation(len(table))[:600]
    plain = folds(table, rows)
    given = folds(table, rows, converted=table.converted[rows])
    assert [[part.tolist() for part in fold] for fold in plain] == [[part.tolist() for part in fold] for fold in given]
