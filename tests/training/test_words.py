"""The terminal says of every kind of decision who is a PQL, what that promises, and which limit made it so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from features.errors import NotEnoughData
from serving.scoring.decision import Cutoff, Decision, Line, NoCutoff, Segmented
from training.evaluate import Interval, Promise
from training.leaks import Leak
from training.promote import Verdict
from training.run import Outcome
from training.words import cutoff_lines, facts, leak_lines

PRECISION = Cutoff(0.254, 0.3, 0.9, 900, 300, 0.31, "2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z", 12.34)
CAPACITY = replace(PRECISION, at_least=None, policy="capacity", binds="capacity")
VALUE = replace(CAPACITY, policy="value", binds="value")
NONE = NoCutoff(0.3, 0.9, "only 12 held-out leads.")
KEPT = Promise(1_200, 400, Interval(1 / 3, 0.3, 0.4), 0.3, 0.5)
NOBODY = Promise(0, 0, None, 0.3, 0.0)
LATER = "         on later trials 400 of 1,200 PQLs converted (33%)"
PROMISED = "at least 30% of PQLs convert, with 90% confidence"
MEASURED = "12.3 PQLs a week; 300 of 900 held-out ones converted, at least 31% with 90% confidence"


def line(name: str, probability: float) -> Line:
    return Line(name, probability, 900, 300, 0.31, 12.3)  # type: ignore[arg-type]


BOTH = (line("promise", 0.2), line("capacity", 0.254), line("value", 0.05))


@pytest.mark.parametrize(
    ("decision", "said"),
    [
        (PRECISION, f"0.254: {PROMISED}"),
        (CAPACITY, f"0.254: {MEASURED}"),
        (VALUE, f"0.254: {MEASURED}"),
        (replace(VALUE, leads_per_week=None), "0.254: 300 of 900 held-out ones converted, at least 31% with 90% confidence"),
        (replace(PRECISION, lines=BOTH[:1]), f"0.254: {PROMISED}"),
        (replace(PRECISION, lines=BOTH, binds="capacity"),
         f"0.254: {PROMISED}; the promise from 0.200 on, capacity from 0.254 on, value from 0.050 on: capacity binds"),
        (replace(PRECISION, expires="2026-04-30T00:00:00Z"),
         f"0.254: {PROMISED}; its evidence counts until 2026-04-30"),
    ],
)  # fmt: skip
def test_a_cutoff_is_told_with_what_it_means(decision: Decision, said: str) -> None:
    assert cutoff_lines(decision, KEPT) == [f"Cutoff   {said}", LATER]


def test_where_there_is_no_cutoff_the_reason_is_told_and_nothing_of_later_trials() -> None:
    told = "Cutoff   NONE, so nobody is called a PQL: only 12 held-out leads."
    assert cutoff_lines(NONE, NOBODY) == [told]


def test_a_cutoff_that_nobody_reached_later_says_so() -> None:
    assert cutoff_lines(PRECISION, NOBODY)[1] == "         none of the later leads reached it"


def test_each_segment_has_a_line() -> None:
    decision = Segmented("plan", ("pro", "team", "free"), (PRECISION, None, NONE), CAPACITY)
    assert cutoff_lines(decision, KEPT) == [
        f"Cutoff   0.254: {MEASURED}",
        f"         plan pro: 0.254: {PROMISED}",
        "         plan team: as all leads, for it has too few of its own",
        "         plan free: NONE, so nobody is called a PQL: only 12 held-out leads.",
        LATER,
    ]


def test_later_trials_are_told_where_only_a_segment_has_a_cutoff() -> None:
    assert cutoff_lines(Segmented("plan", ("pro",), (PRECISION,), NONE), KEPT)[-1] == LATER
    assert cutoff_lines(Segmented("plan", ("pro",), (None,), NONE), KEPT)[-1] != LATER


def test_what_told_the_outcome_is_named_with_its_reason() -> None:
    leaks = [
        Leak("bills", "consequence", "half of them came after", {}),
        Leak("plan", "value", "it tells", {}, trusted=True),
    ]
    assert leak_lines(leaks) == [
        "Left out bills: half of them came after.",
        "Mind     plan: it tells (kept, because the definition trusts it).",
    ]
    assert leak_lines([]) == []


def test_machines_are_told_of_a_refusal_that_left_no_model() -> None:
    refusal = NotEnoughData.conversions("history", 40, 2, 10)
    told = facts(Outcome(Path("out"), None, None, Verdict(False, "no model."), (), {"rows": 3}, refusal, {}))
    assert told == {
        "folder": "out", "report": "out/report.html", "registered": None, "version": None, "promoted": False,
        "why": "no model.", "left_out": [], "figures": {}, "rejections": [], "set_right": {"rows": 3},
    }  # fmt: skip
