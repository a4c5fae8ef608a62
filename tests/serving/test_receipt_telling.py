"""Receipts are looked up, replayed by the version that gave them, and told; a version is loaded once and only where needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from features.durations import DAY
from features.errors import InvalidInput
from serving import receipt_telling as telling
from serving.receipts import Receipts
from serving.scoring.receipt import Receipt
from serving.scoring.scorer import Scorer
from tests.serving.answered import LEVELS, NOW, answered, receipts_of, subjects_of


@pytest.fixture(scope="module")
def scorers(made_scorer: Callable[..., Scorer], rich_definition: str) -> dict[str, Scorer]:
    made = [made_scorer(rich_definition, LEVELS, seed=seed) for seed in (5, 6)]
    return {scorer.artifact.version: scorer for scorer in made}


@pytest.fixture
def given(scorers: dict[str, Scorer], tmp_path: Path) -> list[Receipt]:
    """Receipts of two versions, kept in tmp_path: two of the first, one of the second."""
    first, second = scorers.values()
    receipts = [*receipts_of(first, 2), answered(second, subjects_of(second, 1))[0][0]]
    Receipts(tmp_path, lambda: NOW).keep(receipts)
    return receipts


class Loaded:
    """Gives scorers, and remembers what it was asked for."""

    def __init__(self, scorers: dict[str, Scorer]) -> None:
        self.scorers, self.asked = scorers, list[str]()

    def __call__(self, version: str) -> Scorer:
        self.asked.append(version)
        return self.scorers[version]


def test_a_receipt_is_told_by_the_version_that_gave_it(
    scorers: dict[str, Scorer], given: list[Receipt], tmp_path: Path
) -> None:
    for one in given:
        told = telling.receipt(tmp_path, one.id[:8], None, Loaded(scorers))
        assert told.replays
        assert told.facts["model_version"] == one.version
        assert told.lines[0] == f"Receipt {one.id}"


def test_two_of_one_version_load_it_once_and_two_of_two_load_both(
    scorers: dict[str, Scorer], given: list[Receipt], tmp_path: Path
) -> None:
    one, two, other = given
    same, across = Loaded(scorers), Loaded(scorers)
    assert telling.receipt(tmp_path, one.id, two.id, same).facts["model"] == 0
    assert telling.receipt(tmp_path, one.id, other.id, across).facts["model"] != 0
    assert same.asked == [one.version]
    assert across.asked == [one.version, other.version]


def test_where_one_of_two_does_not_replay_the_whole_does_not(scorers: dict[str, Scorer], tmp_path: Path) -> None:
    one, two = receipts_of(next(iter(scorers.values())), 2)
    broken = replace(two, subject=replace(two.subject, account_id="other"))
    Receipts(tmp_path, lambda: NOW).keep([one, broken])
    assert telling.receipt(tmp_path, one.id, None, Loaded(scorers)).replays
    assert not telling.receipt(tmp_path, two.id, None, Loaded(scorers)).replays
    assert not telling.receipt(tmp_path, one.id, two.id, Loaded(scorers)).replays
    assert not telling.lead(tmp_path, two.subject.lead_id, 3, Loaded(scorers)).replays


def test_nothing_is_loaded_for_a_receipt_that_is_not_there(
    scorers: dict[str, Scorer], given: list[Receipt], tmp_path: Path
) -> None:
    loaded = Loaded(scorers)
    with pytest.raises(InvalidInput, match=r"there is no receipt"):
        telling.receipt(tmp_path, "0" * 20, None, loaded)
    with pytest.raises(InvalidInput, match=r"there is no receipt of lead"):
        telling.lead(tmp_path, "nobody", 3, loaded)
    assert loaded.asked == []


def test_a_lead_is_told_by_its_latest_receipt(scorers: dict[str, Scorer], tmp_path: Path) -> None:
    first = next(iter(scorers.values()))
    old, new = (answered(first, subjects_of(first, 1, as_of=NOW + shift))[0][0] for shift in (0, DAY))
    Receipts(tmp_path, lambda: NOW).keep([new, old])
    told = telling.lead(tmp_path, "u-0", 2, Loaded(scorers))
    assert told.facts["receipt_id"] == new.id
    assert len(told.facts["answer"]["reasons"]) <= 2
    assert told.lines[0].startswith("u-0 of account a-0 at 2026-03-02")


def test_what_was_pruned_is_told(given: list[Receipt], tmp_path: Path) -> None:
    assert telling.pruned(tmp_path, NOW).lines == ["Receipts of 0 days deleted."]
    told = telling.pruned(tmp_path, NOW + 5 * DAY)
    assert told.facts == {"deleted": ["2026-03-01"]}
    assert told.lines == ["Receipts of 1 day deleted: 2026-03-01 to 2026-03-01."]
    assert told.replays
