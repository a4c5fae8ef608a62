"""The section on what reps are told says what was found, loudly where a bar is broken, and nothing where there is nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from training import record
from training.judging.fidelity import Named, Spoken
from training.report import render
from training.reporting import figures, figures_reasons
from training.reporting.reasons import section, unfaithful
from training.reporting.words import Facts

if TYPE_CHECKING:
    from features.dataset import Dataset
    from training.pipeline import Trained

MADE = Spoken(
    1_000, 990, 960, 999, 4_000, 0, 0.7, 1.1, 0.1, (Named("limits_hit", 600, 900), Named("email", 0, 100)),
    (("limit_hit", 800), ("team_growth", 150)),
)  # fmt: skip


def of(trained: Trained, **change: Any) -> tuple[Trained, Facts]:
    told = replace(trained, spoken=replace(MADE, **change))
    return told, Facts(record.figures(told))


def test_each_sentence_has_its_shares_with_their_counts(trained: Trained) -> None:
    assert [str(one) for one in section(*of(trained))["spoken_words"]] == [
        "Without what the first reason names, the score falls for 990 of 1,000 PQLs (99%; asked for: at least 97%). The odds of "
        "converting are then 2.0 times smaller on average.",
        "Without the three leading reasons it falls by more than without three other things that the lead did, drawn by lot, for "
        "960 of 1,000 PQLs (96%; asked for: at least 95%). The odds are 3.0 times smaller without the reasons, and 1.1 times "
        "without the others.",
        "999 of 1,000 PQLs (99.9%; asked for: at least 95%) have three reasons to be told.",
        "None of the 4,000 reasons for and against contradicts the direction of what it names.",
    ]


def test_what_is_named_after_the_others_is_told(trained: Trained) -> None:
    told, facts = of(trained)
    some = frozenset((*told.artifact.definition.signal_of, *told.artifact.definition.trait_of)) - {
        "exports",
        "support_tickets",
        "boards_created",
    }
    version = replace(told.artifact, reference=replace(told.artifact.reference, proven=some))
    # Support tickets are not to be spoken of, so nobody can miss them among reasons.
    assert str(section(replace(told, artifact=version), facts)["spoken_words"][-1]) == (
        "Named after the others, because older leads do not show that they matter by themselves: Boards created, Exports."
    )


def test_where_every_bar_is_kept_nothing_is_doubted(trained: Trained) -> None:
    assert section(*of(trained, first_lowers=970, three_lower_more=950, covered=950))["unfaithful"] == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"first_lowers": 969}, "the score falls for only 969 of 1,000 PQLs (96.9%; asked for: at least 97%)."),
        ({"three_lower_more": 949}, "matter more than other things that the lead did for only 949 of 1,000 PQLs"),
        ({"covered": 949}, "Only 949 of 1,000 PQLs (94.9%; asked for: at least 95%) have three reasons to be told."),
        ({"contradicting": 1}, "1 of 4,000 reasons for and against contradicts the direction of what it names."),
        ({"contradicting": 2}, "2 of 4,000 reasons for and against contradict the direction of what they name."),
    ],
)
def test_a_broken_bar_is_doubted(trained: Trained, change: dict[str, Any], says: str) -> None:
    told, facts = of(trained, **change)
    assert told.spoken is not None
    [doubt] = unfaithful(told.spoken, facts)
    assert says in str(doubt)


def test_playbooks_add_up_to_the_pqls(trained: Trained) -> None:
    rows = section(*of(trained))["playbooks"]
    assert [(row["title"], row["pqls"], row["share"]) for row in rows] == [
        ("Lift the limit for a week", "800", "80%"), ("Offer the team a guided setup", "150", "15%"), ("none", "50", "5.0%"),
    ]  # fmt: skip


def test_of_a_playbook_for_everybody_no_rest_is_told(trained: Trained) -> None:
    rows = section(*of(trained, playbooks=(("limit_hit", 1_000),)))["playbooks"]
    assert [row["title"] for row in rows] == ["Lift the limit for a week"]


def test_the_picture_names_every_signal_with_both_shares(trained: Trained) -> None:
    texts = re.findall(r">([^<>]+)</text>", section(*of(trained))["spoken"])
    assert texts == ["Limits hit", "Email", "90% · first for 60%", "10%"]


@pytest.mark.parametrize(
    "rows", [[], [figures_reasons.Told("</svg><script>$x^{", 0.0, 0.0)]], ids=["nothing told", "hostile signal"]
)
def test_a_picture_of_next_to_nothing_is_still_a_picture(rows: list[figures_reasons.Told]) -> None:
    found = figures_reasons.told(rows)
    assert found.startswith("<svg")
    assert found.count("</svg>") == 1
    assert "<script" not in found


@pytest.fixture
def words_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "picture", lambda *_, **__: "<svg></svg>")


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page)


@pytest.mark.usefixtures("words_only")
def test_the_page_doubts_reasons_above_all_figures_and_only_where_a_bar_is_broken(
    trained: Trained, history: Dataset
) -> None:
    kept, broken = (render(of(trained, **change)[0], history, None, "Promoted.") for change in ({}, {"covered": 1}))
    assert "Reasons may mislead." not in kept
    assert 0 < broken.index("Reasons may mislead.") < broken.index('<ul class="tiles">')
    assert "Are the reasons true?" in headings(kept)


@pytest.mark.usefixtures("words_only")
def test_the_page_of_a_version_without_pqls_has_no_such_section(trained: Trained, history: Dataset) -> None:
    page = render(replace(trained, spoken=None), history, None, "Promoted.")
    assert "Are the reasons true?" not in headings(page)
    assert "Can you trust the number?" in headings(page)
