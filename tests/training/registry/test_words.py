"""The list of versions as people read it on a terminal, and what a change of service says."""

from dataclasses import replace

import pytest

from training.registry.changeover import Change
from training.registry.words import NONE_YET, change, change_facts, facts, table
from training.tracking import Version

FIGURES = {"auc": 0.81234, "log_loss": 0.26, "pql_precision": 0.4, "cutoff": 0.2459}
OLD = Version(
    1, "0123456789ab", ("previous",), 1_767_225_600_000, "Promoted: the first version.", FIGURES, {"wins": "yes"}
)
LONG = "Not promoted: log loss +0.0123 against the champion, 95% interval +0.0010 to +0.0240, on the same 1,234 test trials."
NEW = Version(
    2, "ba9876543210", ("champion",), 1_767_312_000_000, LONG, {"auc": 0.8},
    {"wins": "no", "promoted_by": "promote", "promoted_at": "2026-01-03T10:11:12Z", "promoted_why": "sales asked"},
)  # fmt: skip


def test_without_versions_the_way_to_one_is_told() -> None:
    assert table([]) == [NONE_YET]


def test_the_newest_version_comes_first_and_a_star_marks_the_one_in_service() -> None:
    rows = [line for line in table([NEW, OLD]) if "2026-01-0" in line[:50]]
    assert [row[:20] for row in rows] == ["*    2  ba9876543210", "     1  0123456789ab"]
    assert rows[0].endswith("  champion")
    assert rows[1].endswith("  previous")


def test_figures_stand_under_their_names_and_a_dash_where_there_is_none() -> None:
    head, row = table([OLD])[:2]
    for label, value in {"AUC": "0.812", "log loss": "0.260", "PQL prec.": "0.400", "cutoff": "0.246"}.items():
        end = head.index(label) + len(label)
        assert row[end - len(value) : end] == value
    assert table([NEW])[1].count(" -") == 3


@pytest.mark.parametrize("verdict", [LONG, "x" * 1_000, "word " * 300])
def test_the_table_fits_into_100_columns(verdict: str) -> None:
    lines = table([replace(NEW, number=1234, aliases=("champion", "previous"), verdict=verdict), OLD])
    assert max(map(len, lines)) <= 100


def test_the_verdict_is_told_whole() -> None:
    assert LONG in " ".join(line.strip() for line in table([NEW]))


def test_a_version_put_into_service_by_hand_says_by_which_verb_when_and_why() -> None:
    assert "        Put into service by `pql promote` on 2026-01-03 10:11 UTC: sales asked" in table([NEW])


def test_a_version_that_training_promoted_says_its_verdict_only() -> None:
    tags = {"wins": "yes", "promoted_by": "train", "promoted_at": "2026-01-03T10:11:12Z", "promoted_why": "twice"}
    assert not any("twice" in line for line in table([replace(OLD, tags=tags)]))


def test_a_version_that_won_but_whose_run_ended_before_says_how_to_finish() -> None:
    assert any(line.endswith("To put it there: `pql promote 1`.") for line in table([replace(OLD, aliases=())]))


@pytest.mark.parametrize(
    "other", [NEW, replace(OLD, tags={"wins": "no"}), replace(OLD, tags={"wins": "yes", "promoted_at": "2026-01-03"})]
)
def test_no_other_version_says_that_it_never_got_there(other: Version) -> None:
    assert not any("never got into service" in line for line in table([other]))


def test_where_nothing_is_in_service_it_is_said() -> None:
    assert table([OLD])[-1] == "Nothing is in service. Put a version into service with `pql promote VERSION`."
    assert "Nothing is in service" not in table([NEW])[-1]


def test_a_change_says_what_is_in_service_what_was_and_how_to_undo_it() -> None:
    assert change(Change(NEW, OLD, changed=True)) == [
        "pql-scorer/2 (ba9876543210) is in service now; before it was pql-scorer/1 (0123456789ab).",
        "To undo it: `pql rollback`.",
    ]


def test_a_first_promotion_has_nothing_to_undo_and_a_warning_is_told() -> None:
    assert change(Change(NEW, None, changed=True, warning="IT HAS NO CUTOFF")) == [
        "pql-scorer/2 (ba9876543210) is in service now; nothing was before.", "IT HAS NO CUTOFF",
    ]  # fmt: skip


def test_where_nothing_changed_it_is_said() -> None:
    assert change(Change(NEW, NEW, changed=False)) == [
        "pql-scorer/2 (ba9876543210) is in service already; nothing was changed."
    ]


def test_machines_get_the_same() -> None:
    assert change_facts(Change(NEW, OLD, changed=True)) == {
        "changed": True, "champion": 2, "content": "ba9876543210", "before": 1, "warning": None,
    }  # fmt: skip
    told = facts(NEW)
    assert (told["number"], told["content"], told["in_service"], told["figures"]) == (
        2,
        "ba9876543210",
        True,
        {"auc": 0.8},
    )
    assert facts(OLD)["in_service"] is False
