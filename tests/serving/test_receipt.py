"""A receipt leads to the same answer bit for bit, a damaged one does not, and none holds more of a person than is read."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.dataset import Dataset
from features.leads import open_leads
from features.traits import trait_number
from serving.scoring.answers import NAMED_BY_INPUT, Answer, Asked, Subject, answers_of, subjects
from serving.scoring.facts import trait_fact, traits_read
from serving.scoring.receipt import PARTS, OtherVersion, Receipt, digest_of, explained, receipt_of, replay
from serving.scoring.scorer import Scorer
from tests.serving.answered import LEVELS, NOW, answered, receipts_of, row_of, subjects_of

EXPLAINED = 20
"""Leads of each case that are answered together."""


@pytest.fixture(scope="module")
def made(made_scorer: Callable[..., Scorer], rich_definition: str) -> Scorer:
    return made_scorer(rich_definition, LEVELS)


# --- the same again ---------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32 - 1), reasons=st.integers(0, 20), whom=st.sampled_from(["all", "likely"]))
@settings(max_examples=30)
def test_what_many_leads_were_told_together_replays_alone_bit_for_bit(
    made: Scorer, seed: int, reasons: int, whom: str
) -> None:
    for receipt, answer in answered(made, subjects_of(made, EXPLAINED, seed), reasons, whom):  # type: ignore[arg-type]
        again = replay(made, receipt)
        assert again.same
        assert again.differs == ()
        assert again.answer == answer
        assert math.copysign(1, again.answer.probability - answer.probability) == 1


@pytest.mark.parametrize("whom", ["all", "likely"])
def test_every_answer_of_a_batch_replays_bit_for_bit(
    scorer: Scorer, history: Dataset, moments: list[int], whom: str
) -> None:
    told: list[Subject] = []
    for moment in moments:
        for part in history.parts(open_leads(history.leads, moment)):
            every, when = np.arange(len(part.numbers)), np.full(len(part.numbers), moment)
            told += subjects(scorer, part.leads, part.logs, every, when)
    given = answered(scorer, told, 3, whom)  # type: ignore[arg-type]
    assert len(given) > 100
    assert [receipt.id for receipt, _ in given if not replay(scorer, receipt).same] == []


values = st.sampled_from([-0.0, 0.0, 1.0, 0.1, 1e-308, 5e-324, 1e17, 1e300, float("inf"), float("nan")])


@given(drawn=st.data())
@settings(max_examples=40)
def test_numbers_at_the_edge_of_what_there_is_replay(made: Scorer, drawn: st.DataObject) -> None:
    row = row_of(made, np.random.default_rng(1))
    sums = [
        place for place, column in enumerate(made.builder.columns) if column.measure and column.measure.how == "sum"
    ]
    unknown = [place for place in range(1, len(row)) if np.isnan(row[place])]
    for place in sums:
        row[place] = drawn.draw(values.filter(lambda value: not math.isnan(value)))
    for place in unknown:
        row[place] = drawn.draw(st.sampled_from([-0.0, float("nan"), 5e-324, 1e9]))
    [(receipt, _)] = answered(made, [Subject("u", None, NOW, None, {}, row)])
    assert replay(made, receipt).same


def test_the_same_lead_asked_otherwise_is_another_answer_whose_name_begins_alike(made: Scorer) -> None:
    [subject] = subjects_of(made, 1)
    [(three, _)], [(none, _)] = answered(made, [subject], 3), answered(made, [subject], 0)
    assert three.id[:NAMED_BY_INPUT] == none.id[:NAMED_BY_INPUT]
    assert three.id != none.id
    assert replay(made, three).same
    assert three.digest.whole != none.digest.whole
    assert replay(made, none).same


def test_a_lead_that_nobody_asked_about_can_be_explained_from_its_receipt(made: Scorer) -> None:
    subject = subjects_of(made, 1)[0]
    [(silent, _)], [(_, told)] = answered(made, [subject], 0), answered(made, [subject], 2)
    assert replay(made, silent).answer.reasons == []
    assert explained(made, silent, 2) == told
    assert told.reasons
    assert told.against


# --- not the same -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def receipt(made: Scorer) -> Receipt:
    return receipts_of(made, 1)[0]


def damaged(receipt: Receipt, **changes: Any) -> Receipt:
    return replace(receipt, subject=replace(receipt.subject, **changes))


def test_a_row_changed_in_its_last_bit_does_not_replay(made: Scorer, receipt: Receipt) -> None:
    row = receipt.subject.row.copy()
    row[3] = np.nextafter(row[3], np.inf)
    again = replay(made, damaged(receipt, row=row))
    assert not again.same_input
    assert not again.same


@pytest.mark.parametrize("change", [{"lead_id": "u-2"}, {"as_of": NOW + 99}])
def test_another_lead_or_moment_does_not_replay(made: Scorer, receipt: Receipt, change: dict[str, Any]) -> None:
    again = replay(made, damaged(receipt, **change))
    assert not again.same_input
    assert "figures" in again.differs


def test_another_account_does_not_replay_though_it_is_no_part_of_the_name(made: Scorer, receipt: Receipt) -> None:
    again = replay(made, damaged(receipt, account_id="a-99"))
    assert again.same_input
    assert not again.same
    assert again.differs == ("figures",)


def test_what_differs_is_named(made: Scorer, receipt: Receipt) -> None:
    again = replay(made, replace(receipt, asked=Asked(1, "all")))
    assert "figures" not in again.differs
    assert {"reasons", "against"} & set(again.differs)
    assert set(again.differs) <= set(PARTS)


def test_a_damaged_digest_is_noticed(made: Scorer, receipt: Receipt) -> None:
    whole = receipt.digest.whole
    flipped = replace(receipt.digest, whole=whole[:-1] + ("0" if whole[-1] != "0" else "1"))
    assert not replay(made, replace(receipt, digest=flipped)).same


def test_another_version_is_refused_with_both_names(
    made: Scorer, receipt: Receipt, made_scorer: Callable[..., Scorer], rich_definition: str
) -> None:
    other = made_scorer(rich_definition, LEVELS, seed=6)
    with pytest.raises(
        OtherVersion, match=rf"{receipt.id}.*by version {receipt.version}.*got version {other.artifact.version}"
    ):
        replay(other, receipt)
    with pytest.raises(OtherVersion, match=r"--model"):
        explained(other, receipt, 3)


def test_a_row_of_another_length_is_refused(made: Scorer, receipt: Receipt) -> None:
    width = len(made.builder.columns)
    with pytest.raises(Exception, match=rf"must hold {width} feature values.*got {width - 1}.*damaged"):
        replay(made, damaged(receipt, row=receipt.subject.row[:-1]))


# --- digests ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answer(made: Scorer) -> Answer:
    return next(answers_of(made, subjects_of(made, 1), Asked()))


def test_a_probability_that_differs_in_its_last_bit_has_another_digest(answer: Answer) -> None:
    nudged = replace(answer, probability=float(np.nextafter(answer.probability, 1)))
    assert digest_of(nudged) != digest_of(answer)
    assert digest_of(replace(answer)) == digest_of(answer)


def test_each_part_of_an_answer_has_its_place_in_the_digest(answer: Answer) -> None:
    changes: dict[str, dict[str, Any]] = {
        "figures": {"account_id": "other"}, "reasons": {"reasons": []}, "against": {"against": []}, "missing": {"missing": []},
    }  # fmt: skip
    assert answer.reasons
    assert answer.against
    assert answer.missing
    old = digest_of(answer).parts
    for place, part in enumerate(PARTS[:4]):
        new = digest_of(replace(answer, **changes[part])).parts
        assert [i // 8 for i in range(len(old)) if old[i] != new[i]]
        assert {i // 8 for i in range(len(old)) if old[i] != new[i]} == {place}


# --- what of a person is kept -----------------------------------------------------------------


@pytest.fixture(scope="module")
def flagged(made_scorer: Callable[..., Scorer], rich_definition: str) -> Scorer:
    """Return a scorer with a trait of every type."""
    flag = "traits:\n  - {name: agreed, type: flag, speakable: true, text: 'agreed: {value}'}\n"
    return made_scorer(rich_definition.replace("traits:\n", flag), LEVELS, seed=6)


def test_of_an_address_only_the_domain_is_kept(made: Scorer) -> None:
    subject = subjects_of(made, 1)[0]
    receipt = receipt_of(made, subject, Asked(), next(answers_of(made, [subject], Asked())))
    assert subject.traits["email"] == "Ada.Lovelace@Acme.io"
    assert receipt.subject.traits["email"] == "@acme.io"
    assert "lovelace" not in repr(receipt).lower()
    assert replay(made, receipt).same


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"source": "ads"}, {"source": "ads"}),
        ({"source": "told by ada@acme.io"}, {"source": None}),
        ({"source": None}, {"source": None}),
        ({"email": "no address"}, {"email": None}),
        ({"email": 7}, {"email": None}),
        ({"email": "Zoë@Müller.example"}, {"email": "@müller.example"}),
        ({"company_size": 12.5}, {"company_size": 12.5}),
        ({"company_size": "250"}, {"company_size": "250"}),
        ({"company_size": True}, {"company_size": True}),
        ({"company_size": float("nan")}, {"company_size": None}),
        ({"company_size": 10**30}, {"company_size": None}),
        ({"company_size": ["a", 1]}, {"company_size": None}),
        ({"agreed": "Yes"}, {"agreed": "Yes"}),
        ({"agreed": False}, {"agreed": False}),
        ({"agreed": 7}, {"agreed": None}),
        ({"phone": "+43 1 000"}, {}),
    ],
)
def test_what_the_version_does_not_read_is_not_kept(
    flagged: Scorer, given: dict[str, object], kept: dict[str, object]
) -> None:
    assert traits_read(flagged.builder, given) == kept


EVIL: list[object] = [
    "Ada Lovelace ada@acme.io", "Dr. Ada Lovelace", "Ada.Lovelace", "ada%40acme.io", "ada@acme.io>", "<ada@acme.io>",
    "Ada Lovelace", "ada@lovelace", "ada@acme.io, lovelace", "ada@Ada Lovelace.io", "ada@<b>lovelace.io</b>", "acme.io/ada",
    "yes, ada", "1, Lovelace", "ads by ada", ["ada@acme.io"], {"name": "Ada"}, b"ada@acme.io", "ada@acme.io\nlovelace",
    "lovelace@@", "@", "ada@" + "lovelace." * 40 + "io",
]  # fmt: skip
"""What people and forms put into any field: names and addresses, of which at most the address's own domain may stay."""


@pytest.mark.parametrize("value", EVIL, ids=repr)
def test_a_name_or_an_address_is_kept_in_no_field(flagged: Scorer, value: object) -> None:
    known = flagged.builder.definition.trait_of
    assert {trait.type for trait in known.values()} == {"number", "category", "flag", "email_domain"}
    kept = traits_read(flagged.builder, dict.fromkeys(known, value))
    assert kept == {**dict.fromkeys(known), "email": "@acme.io" if value == EVIL[0] else None}


@given(value=st.text() | st.from_regex(r"[ -~]*@[ -~]*\.[a-z]{2,3}.?"))
def test_of_any_text_at_most_a_plain_domain_a_number_a_flag_or_a_level_is_kept(flagged: Scorer, value: str) -> None:
    kept = traits_read(flagged.builder, dict.fromkeys(flagged.builder.definition.trait_of, value))
    assert kept["source"] in (None, *LEVELS["source"])
    assert kept["company_size"] is None or abs(float(value)) <= 1e15
    assert kept["agreed"] is None or value.lower() in ("true", "yes", "1", "false", "no", "0")
    assert kept["email"] is None or re.fullmatch(r"@[\w.-]{2,80}", str(kept["email"]))
    assert traits_read(flagged.builder, kept) == kept


@pytest.mark.parametrize(
    "value",
    [*EVIL, "ads", "told by a friend", 3.0, " Ada@ACME.io ", "acme.io", "@acme.io", "ada@gmail.com", True, 12, "12", "1",
     "Yes", "no", 0.0, float("nan"), 10**30, None],
    ids=repr,
)  # fmt: skip
def test_whatever_a_trait_is_the_answer_does_not_depend_on_what_was_left_out(flagged: Scorer, value: object) -> None:
    traits = dict.fromkeys(flagged.builder.definition.trait_of, value)
    told = [understood(flagged, replace(one, traits=traits)) for one in subjects_of(flagged, 12)]
    for receipt, answer in answered(flagged, told, 20):
        again = replay(flagged, receipt)
        assert again.same
        assert again.answer == answer


@pytest.mark.parametrize(
    ("name", "value", "quoted"),
    [
        ("email", "Ada@Acme.io", "acme.io"), ("email", "acme.io", None), ("agreed", "Yes", "Yes"), ("agreed", True, "True"),
        ("source", "ads", "ads"), ("company_size", "12", 12), ("company_size", 2.5, 2.5),
    ],
)  # fmt: skip
def test_what_was_quoted_of_a_lead_can_be_quoted_again(
    flagged: Scorer, name: str, value: object, quoted: object
) -> None:
    trait, levels = flagged.builder.definition.trait_of[name], flagged.builder.levels.get(name, ())
    columns = [column for column in flagged.builder.columns if column.owner == name]
    numbers = np.array([trait_number(column, trait, value) for column in columns])
    kept = traits_read(flagged.builder, {name: value})[name]
    assert trait_fact(trait, value, numbers, levels) == quoted
    assert trait_fact(trait, kept, numbers, levels) == quoted


def understood(scorer: Scorer, subject: Subject) -> Subject:
    """Return a subject whose row has what its traits mean, as all rows have that are not made up."""
    row, definition = subject.row.copy(), scorer.builder.definition
    for place, column in enumerate(scorer.builder.columns):
        if column.scope == "trait":
            row[place] = trait_number(column, definition.trait_of[column.owner], subject.traits[column.owner])
    return replace(subject, row=row)
