"""Drafted playbooks are those that the drafted signals can lead to, and say nothing that a customer should not read."""

from __future__ import annotations

import re

import pytest
import yaml

from features.definition import KINDS, parse
from training.drafting.playbooks import SEEDS, playbook_lines

HEAD = """
product: Tiny
conversion: {event: paid, horizon: 30d}
trial: {length: 14d}
score_at: [3d]
windows: [trial]
signals:
  - {name: views, kind: value, events: [view], text: "{count:view|views} {window}"}
cutoff: {policy: precision, at_least: 0.3}
"""


def ids(kinds: set[str], *, trials_end: bool = True) -> list[str]:
    return [book["id"] for book in yaml.safe_load("\n".join(playbook_lines(kinds, trials_end=trials_end)))["playbooks"]]


@pytest.mark.parametrize("kind", sorted({kind for seed in SEEDS for kind in seed.kinds}))
def test_a_kind_brings_its_playbook_and_no_other(kind: str) -> None:
    (expected,) = [seed.id for seed in SEEDS if kind in seed.kinds]
    assert ids({kind}) == ["trial_ending", "slow_burner", expected]


def test_trials_that_never_end_have_no_playbook_for_their_end() -> None:
    assert ids({"value"}, trials_end=False) == ["slow_burner", "high_activation"]


def test_all_of_them_fit_a_definition() -> None:
    definition = parse(HEAD + "\n".join(playbook_lines(set(KINDS), trials_end=True)))
    assert [book.id for book in definition.playbooks] == [seed.id for seed in SEEDS]


def test_no_message_says_what_was_seen_of_the_customer() -> None:
    for seed in SEEDS:
        assert set(re.findall(r"{(\w+)", seed.message)) <= {"product", "days_left"}, seed.id
