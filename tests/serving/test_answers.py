"""An answer is made of one subject and the version, and of nobody else; who is explained, and what names the receipt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from features.dataset import Dataset
from features.durations import DAY
from features.leads import NEVER, open_leads
from features.windows import Floats
from serving.scoring.answers import (
    HIGHEST,
    NAMED_BY_INPUT,
    NEAR,
    Answer,
    Asked,
    Subject,
    answers_of,
    receipt_id,
    subjects,
)
from serving.scoring.calibration import odds_of
from serving.scoring.decision import Cutoff, Decision, NoCutoff, Segmented
from serving.scoring.playbooks import LEADING
from serving.scoring.reasons import Explainer
from serving.scoring.scorer import Scorer

ALL, LIKELY = Asked(), Asked(whom="likely")


@pytest.fixture(scope="module")
def people(scorer: Scorer, history: Dataset, moments: list[int]) -> list[Subject]:
    """Every lead that is open at one moment."""
    which = open_leads(history.leads, moments[3])
    (part,) = history.parts(which)
    everyone = np.arange(len(part.numbers))
    return subjects(scorer, part.leads, part.logs, everyone, np.full(len(everyone), moments[3]))


def told(scorer: Scorer, people: Sequence[Subject], asked: Asked = ALL) -> list[Answer]:
    return list(answers_of(scorer, people, asked))


# --- what a subject is ------------------------------------------------------------------------


def test_a_subject_is_the_lead_as_it_was_known_at_the_moment(
    people: list[Subject], scorer: Scorer, history: Dataset, moments: list[int]
) -> None:
    which = open_leads(history.leads, moments[3])
    rows = history.rows(scorer.builder, which, np.full(len(which), moments[3]))
    assert [one.lead_id for one in people] == [history.leads.ids[lead] for lead in which]
    assert np.stack([one.row for one in people]).tobytes() == rows.tobytes()
    for one, lead in zip(people, which.tolist(), strict=True):
        assert (one.as_of, one.account_id) == (moments[3], history.leads.account_ids[lead])
        assert one.ends_at == history.leads.ends_at[lead]
        known = {name: log.value(lead, moments[3]) for name, log in history.leads.traits.items()}
        assert one.traits == known


def test_a_trial_without_an_end_has_none(scorer: Scorer, history: Dataset, moments: list[int]) -> None:
    (part,) = history.parts(open_leads(history.leads, moments[3])[:3])
    endless = replace(part.leads, ends_at=np.array([NEVER, moments[3] + 5, NEVER]))
    found = subjects(scorer, endless, part.logs, np.arange(3), np.full(3, moments[3]))
    assert [one.ends_at for one in found] == [None, moments[3] + 5, None]


def test_nobody_gets_no_answers(scorer: Scorer) -> None:
    assert told(scorer, []) == []


# --- nobody else matters ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(scorer: Scorer, people: list[Subject]) -> list[Answer]:
    return told(scorer, people)


def test_a_lead_alone_is_told_what_it_is_told_among_others_to_the_last_bit(
    scorer: Scorer, people: list[Subject], whole: list[Answer]
) -> None:
    for one, answer in list(zip(people, whole, strict=True))[::5]:
        assert told(scorer, [one]) == [answer]
    assert told(scorer, people[::-1]) == whole[::-1]


@pytest.mark.parametrize("asked", [ALL, LIKELY], ids=["all", "likely"])
@pytest.mark.parametrize("at_once", [1, 7, 64])
def test_how_many_are_explained_together_changes_nothing(
    scorer: Scorer, people: list[Subject], monkeypatch: pytest.MonkeyPatch, at_once: int, asked: Asked
) -> None:
    expected = told(scorer, people, asked)
    monkeypatch.setattr("serving.scoring.answers.ANSWERED_AT_ONCE", at_once)
    assert told(scorer, people, asked) == expected


# --- what is said -----------------------------------------------------------------------------


def test_the_typical_trial_and_all_signals_and_traits_add_up_to_the_log_odds(
    scorer: Scorer, people: list[Subject], whole: list[Answer]
) -> None:
    explainer = Explainer(scorer.builder, scorer.artifact.reference)
    owners = [column.owner for column in scorer.builder.columns]
    for one, answer in zip(people, whole, strict=True):
        contributions = scorer.contributions(one.row[None, :])
        base = contributions[0, -1] + explainer.reference.typical_at(one.row[:1])[0].sum()
        relative = explainer.relative(one.row[None, :], contributions)[0]
        sums = dict.fromkeys(owners, 0.0)
        for owner, pull in zip(owners, relative.tolist(), strict=True):
            sums[owner] += pull
        total = base + sum(sums.values())
        assert total == pytest.approx(float(odds_of(np.array([answer.probability]))[0]), abs=1e-9)
        assert explainer.by_owner(relative).tolist() == pytest.approx(
            [sums[owner] for owner in explainer.owners], abs=1e-12
        )
        for reason in [*answer.reasons, *answer.against]:
            assert reason.contribution == pytest.approx(sums[reason.signal], abs=1e-12)


@pytest.mark.parametrize("most", [1, 2, 3, 7, 20])
def test_the_playbook_is_the_same_however_many_reasons_are_asked_for(
    scorer: Scorer, people: list[Subject], whole: list[Answer], most: int
) -> None:
    found = told(scorer, people, Asked(most))
    assert [one.playbook for one in found] == [one.playbook for one in whole]
    assert sum(one.playbook is not None for one in found) > 10
    assert all(len(one.reasons) <= most and len(one.against) <= most for one in found)
    kept = min(most, LEADING)
    assert [one.reasons[:kept] for one in found] == [one.reasons[:kept] for one in whole]
    assert [one.missing for one in found] == [one.missing for one in whole]


def test_without_reasons_nothing_is_said_at_all(scorer: Scorer, people: list[Subject], whole: list[Answer]) -> None:
    silent = told(scorer, people, Asked(0))
    blank: dict[str, Any] = {"reasons": [], "against": [], "missing": [], "playbook": None}
    assert [replace(one, receipt_id="") for one in silent] == [replace(one, **blank, receipt_id="") for one in whole]


def test_nothing_is_said_to_be_missing_and_to_speak_against_at_once(whole: list[Answer]) -> None:
    assert any(one.missing and one.against for one in whole)
    for one in whole:
        assert not {reason.signal for reason in one.against} & {missing.signal for missing in one.missing}
        assert not {reason.signal for reason in one.against} & {reason.signal for reason in one.reasons}


@pytest.mark.parametrize(
    ("left", "expected"), [(2 * DAY, True), (2 * DAY + 1, False), (1, True), (0, False), (-DAY, False)]
)
def test_a_trial_that_ends_soon_gets_the_playbook_for_it(
    scorer: Scorer, people: list[Subject], whole: list[Answer], left: int, expected: bool
) -> None:
    now = [one for one, answer in zip(people, whole, strict=True) if answer.track == "now"]
    ending = told(scorer, [replace(one, ends_at=one.as_of + left) for one in now])
    mentioned = [one for one in ending if any(reason.mention for reason in one.reasons[:LEADING])]
    assert mentioned
    for one in mentioned:
        assert one.playbook is not None
        assert (one.playbook.id == "trial_ending") == expected
        if expected:
            days = "2 days" if left > DAY else "1 day"
            assert f"ends in {days}, and " in one.playbook.message


def test_a_trial_without_an_end_never_ends_soon(scorer: Scorer, people: list[Subject]) -> None:
    endless = told(scorer, [replace(one, ends_at=None) for one in people])
    assert all(one.playbook is None or one.playbook.id != "trial_ending" for one in endless)


def test_who_is_worth_nurturing_gets_the_playbook_for_it(scorer: Scorer, people: list[Subject]) -> None:
    nobody = replace(scorer.artifact, decision=Cutoff(0.999, 0.3, 0.9, 900, 300, 0.31, "a", "b"))
    later = nobody.course.later
    assert later is not None
    everybody = replace(later, decision=Cutoff(1e-6, 0.1, 0.9, 900, 300, 0.1, "a", "b"))
    patient = Scorer(replace(nobody, course=replace(nobody.course, later=everybody)))
    found = [one for one in told(patient, people) if one.track == "nurture"]
    assert len(found) > 50
    assert {one.playbook.id if one.playbook else None for one in found} == {"slow_burner"}


# --- who is explained -------------------------------------------------------------------------


def is_explained(answer: Answer) -> bool:
    return bool(answer.reasons or answer.against or answer.missing or answer.playbook)


def with_decision(scorer: Scorer, decision: Decision) -> Scorer:
    return Scorer(replace(scorer.artifact, decision=decision))


def cut_at(probability: float) -> Cutoff:
    return Cutoff(probability, 0.3, 0.9, 900, 300, 0.31, "a", "b")


@pytest.mark.parametrize("share", [0.2, 0.6, 0.9])
def test_pqls_and_those_to_nurture_and_near_ones_are_likely_and_nobody_else(
    scorer: Scorer, people: list[Subject], share: float
) -> None:
    cutoff = float(np.quantile([one.probability for one in told(scorer, people, Asked(0))], share))
    moved = with_decision(scorer, cut_at(cutoff))
    everybody, found = told(moved, people), told(moved, people, LIKELY)
    assert any(one.probability < cutoff <= one.probability / NEAR for one in found)
    for all_of_it, one in zip(everybody, found, strict=True):
        if one.is_pql or one.track == "nurture" or one.probability / NEAR >= cutoff:
            assert one == all_of_it
        else:
            assert not is_explained(one)
            assert (one.reasons, one.against, one.missing, one.playbook) == ([], [], [], None)
        assert (one.probability, one.receipt_id[:NAMED_BY_INPUT], one.track) == (
            all_of_it.probability, all_of_it.receipt_id[:NAMED_BY_INPUT], all_of_it.track,
        )  # fmt: skip


def test_near_is_from_four_fifths_of_the_cutoff_on(scorer: Scorer, people: list[Subject]) -> None:
    one = max(told(scorer, people), key=lambda answer: answer.probability)
    subject = [person for person in people if person.lead_id == one.lead_id]
    for cutoff, expected in (
        (one.probability / NEAR, True), (np.nextafter(one.probability / NEAR, np.inf), False),
    ):  # fmt: skip
        (found,) = told(without_later(with_decision(scorer, cut_at(float(cutoff)))), subject, LIKELY)
        assert is_explained(found) == expected


def without_later(scorer: Scorer) -> Scorer:
    return Scorer(replace(scorer.artifact, course=replace(scorer.artifact.course, later=None)))


def test_without_any_cutoff_the_highest_and_those_to_nurture_are_likely(scorer: Scorer, people: list[Subject]) -> None:
    for undecided in (
        with_decision(scorer, NoCutoff(0.3, 0.9, "too few")),
        without_later(with_decision(scorer, NoCutoff(0.3, 0.9, "too few"))),
    ):
        ranks = undecided.score(np.stack([one.row for one in people])).percentiles
        everybody, found = told(undecided, people), told(undecided, people, LIKELY)
        assert (ranks >= HIGHEST).sum() > 3
        for rank, all_of_it, one in zip(ranks, everybody, found, strict=True):
            expected = rank >= HIGHEST or one.track == "nurture"
            assert is_explained(one) == (expected and is_explained(all_of_it))


def test_where_one_segment_has_a_cutoff_only_its_leads_can_be_near(scorer: Scorer, people: list[Subject]) -> None:
    none = NoCutoff(0.3, 0.9, "too few")
    split = Segmented("email", ("free mail", "business"), (None, cut_at(1e-4)), none)
    found = told(without_later(with_decision(scorer, split)), people, LIKELY)
    place = [column.name for column in scorer.builder.columns].index("email_is_business")
    assert {is_explained(one) for one in found} == {True, False}
    for one, answer in zip(people, found, strict=True):
        # Of a lead in its first hours there may be nothing to say.
        if is_explained(answer) or one.row[0] >= scorer.artifact.reference.ages[0]:
            assert is_explained(answer) == (one.row[place] == 1)


# --- the receipt's name -----------------------------------------------------------------------

BARE = Subject("ann", "acme", 1_700_000_000_000_000, 1_700_000_900_000_000, {"size": 5}, np.array([1.0, np.nan, -0.0]))
values = st.floats(allow_nan=True, allow_infinity=False) | st.sampled_from([0.0, -0.0, float("nan"), 1.0])
bare_rows = st.lists(values, min_size=3, max_size=3).map(np.array)


@given(st.text(max_size=12), st.integers(0, 2**62), bare_rows, st.text(max_size=12), st.integers(0, 2**62), bare_rows)
def test_receipts_of_one_name_are_of_one_lead_moment_and_row(
    lead: str, as_of: int, row: Floats, other_lead: str, other_as_of: int, other_row: Floats
) -> None:
    one = replace(BARE, lead_id=lead, as_of=as_of, row=row)
    for other in (
        replace(one, lead_id=other_lead), replace(one, as_of=other_as_of), replace(one, row=other_row),
        replace(BARE, lead_id=other_lead, as_of=other_as_of, row=other_row),
    ):  # fmt: skip
        alike = (
            (one.lead_id, one.as_of) == (other.lead_id, other.as_of)
            and np.array_equal(one.row, other.row, equal_nan=True)
        )  # fmt: skip
        assert (receipt_id("v", one) == receipt_id("v", other)) == alike


@given(st.text(max_size=6), st.text(max_size=6))
def test_another_version_has_another_receipt(version: str, other: str) -> None:
    assume(":" not in version + other)
    assert (receipt_id(version, BARE) == receipt_id(other, BARE)) == (version == other)


def test_what_does_not_make_the_score_does_not_make_the_name() -> None:
    usual = receipt_id("v", BARE)
    assert receipt_id("v", replace(BARE, account_id=None)) == usual
    assert receipt_id("v", replace(BARE, ends_at=None)) == usual
    assert receipt_id("v", replace(BARE, traits={})) == usual
    assert receipt_id("v", replace(BARE, row=np.array([1.0, -np.nan, 0.0]))) == usual
    assert receipt_id("v", replace(BARE, row=np.array([1.0, 0.0, 0.0]))) != usual


def test_a_name_that_is_no_text_of_any_script_has_a_receipt_as_well() -> None:
    assert len(receipt_id("v", replace(BARE, lead_id="\ud800"))) == NAMED_BY_INPUT
    assert receipt_id("v", replace(BARE, lead_id="a:1")) != receipt_id("v", replace(BARE, lead_id="a"))


def test_names_begin_with_what_made_the_score_and_end_with_what_was_said(
    scorer: Scorer, people: list[Subject], made_scorer: Callable[..., Scorer]
) -> None:
    expected = [receipt_id(scorer.artifact.version, one) for one in people]
    assert len(set(expected)) == len(people)
    for asked in (Asked(0), ALL, Asked(20), LIKELY):
        assert [one.receipt_id[:NAMED_BY_INPUT] for one in told(scorer, people, asked)] == expected
    three, twenty = ({one.receipt_id: one for one in told(scorer, people, asked)} for asked in (ALL, Asked(20)))
    for name in three.keys() & twenty.keys():
        assert three[name] == twenty[name]
    assert three.keys() - twenty.keys()
    other = made_scorer(scorer.artifact.definition_text, scorer.artifact.levels)
    assert not {one.receipt_id[:NAMED_BY_INPUT] for one in told(other, people, Asked(0))} & set(expected)


def test_another_end_of_the_trial_has_another_name_where_something_else_is_said(
    scorer: Scorer, people: list[Subject]
) -> None:
    ends = [replace(one, ends_at=one.as_of + DAY) for one in people]
    pairs = list(zip(told(scorer, people), told(scorer, ends), strict=True))
    assert any(one.playbook != other.playbook for one, other in pairs)
    for one, other in pairs:
        assert (one.receipt_id == other.receipt_id) == (one == other)
