"""What people read of receipts: the verdict, what moved the score, the cutoff and what was said, and no hidden commands."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features.durations import DAY
from serving.receipt_page import WIDEST, bar, difference_lines, lead_lines, printable, receipt_lines, verdict
from serving.receipt_search import Kept
from serving.scoring.answers import Answer
from serving.scoring.decision import Cutoff, NoCutoff
from serving.scoring.difference import difference
from serving.scoring.receipt import Receipt, replay
from serving.scoring.scorer import Scorer
from serving.scoring.statement import Explanation, Statement, explanation, statement
from tests.serving.answered import LEVELS, NOW, answered, receipts_of, subjects_of


@pytest.fixture(scope="module")
def made(made_scorer: Callable[..., Scorer], rich_definition: str) -> Scorer:
    return made_scorer(rich_definition, LEVELS)


@pytest.fixture(scope="module")
def receipt(made: Scorer) -> Receipt:
    return answered(made, subjects_of(made, 1), reasons=20)[0][0]


@pytest.fixture(scope="module")
def told(made: Scorer, receipt: Receipt) -> Statement:
    return statement(made, receipt)


def page(told: Statement) -> str:
    return "\n".join(receipt_lines(told, Kept(told.replayed.receipt, NOW, Path("kept/2026-03-01/1-1.jsonl"))))


# --- one receipt ------------------------------------------------------------------------------


def test_the_head_says_whose_score_it_is_and_what_made_it(told: Statement, receipt: Receipt, made: Scorer) -> None:
    head = page(told).split("\n\n")[0]
    assert head.startswith(f"Receipt {receipt.id}\n")
    for text in (
        "u-0 of account a-0", "2026-03-01T00:00:00Z, day ", receipt.version, told.definition_sha256,
        "20 reasons each way, for all leads", "company_size 12, source ads, email @acme.io", "in kept/2026-03-01/1-1.jsonl",
    ):  # fmt: skip
        assert text in head


def test_a_receipt_that_replays_says_so_with_the_sums(told: Statement) -> None:
    assert f"REPLAYS BIT FOR BIT (sha256 of the answer {told.replayed.digest.whole})" in page(told)
    assert f"base {told.weighed.base:+.6f} and contributions" in page(told)
    assert repr(told.replayed.answer.probability) in page(told)


def test_every_column_is_there_with_its_value(told: Statement) -> None:
    columns = page(told).split("Columns\n")[1].split("\n\n")[0].splitlines()[1:]
    assert [line.split()[0] for line in columns] == [column.name for column in told.weighed.columns]
    for line, value in zip(columns, told.weighed.row, strict=True):
        assert ("not known" in line) == bool(np.isnan(value))
        assert np.isnan(value) or float(line.split()[1]) == value


def test_signals_are_listed_from_the_heaviest_with_bars_as_long_as_they_weigh(told: Statement) -> None:
    lines = page(told).split("same age\n")[1].split("\n\n")[0].splitlines()
    assert lines[0].split() == ["a", "typical", "trial", f"{told.weighed.base_of_age:+.4f}"]
    for line, (owner, total) in zip(lines[1:], told.totals, strict=False):
        assert line.split()[0] == owner
        assert line.split()[2] == f"{total:+.4f}"
    assert lines[1].split()[-1].strip("+-") == ""
    assert len(lines[1].split()[-1]) == WIDEST


def test_all_that_was_said_is_there_to_the_letter(told: Statement) -> None:
    answer, text = told.replayed.answer, page(told)
    assert answer.reasons
    assert answer.missing
    for said in (*answer.reasons, *answer.against):
        assert said.text in text
    assert all(one.text in text for one in answer.missing)
    assert answer.playbook is None or answer.playbook.message in text


def test_an_answer_without_words_says_nothing(made: Scorer) -> None:
    receipt = answered(made, subjects_of(made, 1), reasons=0)[0][0]
    assert page(statement(made, receipt)).endswith("Said\n  nothing")


def test_the_cutoff_is_told_with_its_evidence(told: Statement) -> None:
    cutoff = Cutoff(0.25, 0.3, 0.9, 900, 300, 0.31, "2025-10-01", "2026-01-01", expires="2026-04-01")
    text = page(replace(told, decision=cutoff))
    assert re.search(r"from 25\.00% on a lead is a PQL: it is (one|none)", text)
    assert "at least 30.0% convert, with 90% confidence; of 900 held-out leads 300 did (lower bound 31.0%)" in text
    assert "2025-10-01 to 2026-01-01; the evidence expires 2026-04-01" in text
    assert "nothing is promised" in page(replace(told, decision=replace(cutoff, at_least=None)))


def test_a_lead_over_the_cutoff_that_is_no_pql_has_its_age_told(told: Statement) -> None:
    answer = replace(told.replayed.answer, is_pql=False, probability=0.5, trial_day=1.9)
    over = replace(told, replayed=replace(told.replayed, answer=answer))
    assert "it is none, for nothing is promised at day 1.9 of the trial" in page(over)
    under = replace(over, replayed=replace(told.replayed, answer=replace(answer, probability=0.1)))
    assert "is a PQL: it is none\n" in page(under)
    lead = explanation_of(answer, told)
    assert "50.0%: not a PQL (from 40.0% on, for nothing is promised at day 1.9 of the trial)" in lead_lines(lead)[1]


def explanation_of(answer: Answer, told: Statement) -> Explanation:
    return Explanation(told.replayed, replace(answer, track=None), told.decision, told.whose)


def test_without_a_cutoff_the_reason_is_told(told: Statement) -> None:
    assert "nobody is a PQL: too few" in page(replace(told, decision=NoCutoff(0.3, 0.9, "too few")))


def test_a_sum_that_is_none_is_shouted(told: Statement) -> None:
    wrong = replace(told, weighed=replace(told.weighed, base=told.weighed.base + 0.5))
    assert "BASE AND CONTRIBUTIONS ARE NOT THE LOG-ODDS: -0.5 is left over" in page(wrong)


# --- whose score it is ------------------------------------------------------------------------


def pages_of(scorer: Scorer, ends_at: int | None = NOW + DAY) -> str:
    """Return all that is told of two receipts of a scorer."""
    one, other = (
        receipt for receipt, _ in answered(scorer, [replace(one, ends_at=ends_at) for one in subjects_of(scorer, 2)])
    )
    lead, moved = lead_lines(explanation(scorer, one, 3)), difference_lines(difference(scorer, one, scorer, other))
    return "\n".join([page(statement(scorer, one)), lead[0], *moved])


def freemium(definition: str) -> str:
    return definition.replace("trial: {length: 14d}", "trial: {length: null}")


def test_a_trial_is_called_one(made: Scorer) -> None:
    text = pages_of(made)
    assert len(re.findall(r"day [\d.]+ of the trial", text)) == 2
    assert "; the trial ends 2026-03-02T00:00:00Z" in text
    assert "the trial's age" in text
    assert "; no known end" in pages_of(made, None)


@pytest.mark.parametrize("lead", ["user", "account"])
def test_where_no_trial_ends_nobody_hears_of_one(
    made_scorer: Callable[..., Scorer], rich_definition: str, rich_account_definition: str, lead: str
) -> None:
    text = {"user": rich_definition, "account": rich_account_definition}[lead]
    told = pages_of(made_scorer(freemium(text), LEVELS), None)
    assert len(re.findall(r"day [\d.]+ since signing up\n", told)) == 2
    assert f"against a typical {lead} of the same age\n  a typical {lead} " in told
    assert f"the {lead}'s age" in told
    assert not re.search(r"of the trial\b|typical trial|trial's age|the trial ends|known end", told)


def test_an_account_in_trial_is_compared_with_accounts(
    made_scorer: Callable[..., Scorer], rich_account_definition: str
) -> None:
    text = pages_of(made_scorer(rich_account_definition, LEVELS))
    assert "against a typical account of the same age" in text
    assert re.search(r"day [\d.]+ of the trial; the trial ends", text)


# --- verdicts ---------------------------------------------------------------------------------


def test_a_damaged_receipt_is_told_by_the_name_that_it_would_have(made: Scorer, receipt: Receipt) -> None:
    again = replay(made, replace(receipt, subject=replace(receipt.subject, lead_id="other")))
    assert verdict(again).startswith("DOES NOT REPLAY: the receipt is damaged.")
    assert f"{again.answer.receipt_id}, not {receipt.id}" in verdict(again)


def test_another_answer_is_told_by_what_differs(made: Scorer, receipt: Receipt) -> None:
    again = replay(made, replace(receipt, subject=replace(receipt.subject, account_id="other")))
    assert verdict(again).startswith("DOES NOT REPLAY: other figures; the probability is the same.")
    given = replace(again.receipt, probability=0.125)
    assert f"the probability was 0.125 and is {again.answer.probability!r}" in verdict(replace(again, receipt=given))


# --- two receipts -----------------------------------------------------------------------------


def test_a_difference_says_what_moved_the_score_and_adds_up(made: Scorer) -> None:
    before, after = receipts_of(made, 2)
    found = difference(made, before, made, after)
    text = "\n".join(difference_lines(found))
    assert text.count("REPLAYS BIT FOR BIT") == 2
    assert "These are two different leads." in text
    steps = text.split("in log-odds\n")[1].split("\n\n")[0].splitlines()
    assert steps[0].split()[0] == found.moves[0].owner
    assert "the trial's age" in steps[-2]
    assert steps[-1].split() == ["in", "all", f"{found.total:+.4f}"]
    numbers = [float(re.findall(r"[+-]\d+\.\d{4}", line)[0]) for line in steps]
    assert sum(numbers[:-1]) == pytest.approx(numbers[-1], abs=0.002)
    fact = found.moves[0].facts[0]
    assert re.search(rf"{re.escape(fact.column)}: \S+( known)? -> ", text)


def test_another_version_is_a_line_of_its_own(
    made: Scorer, made_scorer: Callable[..., Scorer], rich_definition: str
) -> None:
    subject = subjects_of(made, 1)[0]
    one = answered(made, [subject])[0][0]
    newer = made_scorer(rich_definition, LEVELS, seed=6)
    wider = made_scorer(rich_definition, {"source": ["ads", "web", "fair"]}, seed=7)
    text = "\n".join(difference_lines(difference(made, one, newer, answered(newer, [subject])[0][0])))
    assert "the other version" in text
    assert "measure other things" not in text
    other = answered(wider, [replace(subject, row=np.append(subject.row, 0.0))])[0][0]
    text = "\n".join(difference_lines(difference(made, one, wider, other)))
    assert "The versions measure other things" in text
    assert "the trial's age" not in text


# --- one lead ---------------------------------------------------------------------------------


def test_a_rep_reads_how_likely_why_why_not_and_what_to_do(made: Scorer, receipt: Receipt) -> None:
    told = explanation(made, receipt, 3)
    text = "\n".join(lead_lines(told))
    assert text.startswith("u-0 of account a-0 at 2026-03-01T00:00:00Z, day ")
    assert f"{told.answer.probability:.1%}: " in text
    assert "(from 40.0% on)" in text
    assert all(one.text in text for one in (*told.answer.reasons, *told.answer.against))
    assert f"receipt {receipt.id} of version {receipt.version}" in text
    assert "REPLAY" not in text
    assert "log-odds" not in text


@pytest.mark.parametrize(
    ("is_pql", "track", "called"),
    [(True, "now", "PQL"), (False, "nurture", "not a PQL, worth nurturing"), (False, None, "not a PQL")],
)
def test_what_a_lead_is_for_is_said(
    made: Scorer, receipt: Receipt, is_pql: bool, track: str | None, called: str
) -> None:
    told = explanation(made, receipt, 3)
    shown = lead_lines(replace(told, answer=replace(told.answer, is_pql=is_pql, track=track)))  # type: ignore[arg-type]
    assert re.fullmatch(rf"[\d.]+%: {called} \(from 40\.0% on\); higher than .*", shown[1])


def test_a_rep_is_told_where_the_answer_cannot_be_trusted(made: Scorer, receipt: Receipt) -> None:
    told = explanation(made, replace(receipt, subject=replace(receipt.subject, lead_id="other")), 3)
    assert lead_lines(told)[-1].startswith("DOES NOT REPLAY")
    nobody = replace(told, decision=NoCutoff(0.3, 0.9, "too few"))
    assert "nobody is one: no cutoff" in lead_lines(nobody)[1]


# --- text -------------------------------------------------------------------------------------


@pytest.mark.parametrize("nasty", ["\x1b[2J", "\r", "\n", "\x07", "\u202e", "\x9b31m"])
def test_nothing_that_steers_a_terminal_is_printed(made: Scorer, nasty: str) -> None:
    subject = replace(subjects_of(made, 1)[0], lead_id=f"u{nasty}", account_id=f"a{nasty}")
    receipt = answered(made, [subject], reasons=20)[0][0]
    text = "".join(receipt_lines(statement(made, receipt), Kept(receipt, NOW, Path(f"x{nasty}"))))
    text += "".join(lead_lines(explanation(made, receipt, 20)))
    assert nasty not in text
    assert printable(nasty) in text


def test_letters_of_all_languages_are_printed_as_they_are() -> None:
    assert printable("Zoë Müller 東京 лид 🙂") == "Zoë Müller 東京 лид 🙂"


def test_a_bar_of_nothing_is_still_a_bar() -> None:
    assert bar(0.0, 0.0) == "-"
    assert bar(2.0, 2.0) == "+" * WIDEST
