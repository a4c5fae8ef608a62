"""What reps and customers read, kept as it was read aloud: any change of a sentence shows here.

`python -m tests.golden.renew` writes the pages anew; read what has changed before you keep it.
"""

import difflib
import re

import pytest

from tests.golden.renew import EXAMPLES, PQLS, kept, page

EVERY = pytest.mark.parametrize("name", EXAMPLES)
MOST_SHOWN = 60
WATCHED = re.compile(r"\b(?:today|yesterday|ago|in the last|clicked|visited|viewed|opened|looked at|we saw|noticed)\b")


def leads(name: str) -> list[str]:
    """The leads of a kept page, without its first line."""
    return kept(name).read_text(encoding="utf-8").rstrip("\n").split("\n\n")[1:]


def difference(before: str, now: str, name: str) -> str:
    """What a person has to read, and how to keep it."""
    lines = list(difflib.unified_diff(before.splitlines(), now.splitlines(), "kept", "made now", lineterm="", n=1))
    more = [f"... and {len(lines) - MOST_SHOWN} lines more"] if len(lines) > MOST_SHOWN else []
    how = f"Read it aloud; if it is right, keep it: python -m tests.golden.renew --only {name}"
    return "\n".join([f"What is said of {name} leads has changed.", *lines[:MOST_SHOWN], *more, how])


@pytest.mark.slow
@EVERY
def test_what_is_said_is_what_was_read_aloud(name: str) -> None:
    before, now = kept(name).read_text(encoding="utf-8"), page(name)
    if before != now:
        pytest.fail(difference(before, now, name), pytrace=False)


def test_a_change_is_shown_line_by_line_with_the_way_to_keep_it() -> None:
    shown = difference("1. 40%\n   for: sent 1 file\n", "1. 40%\n   for: sent 2 files\n", "design")
    assert "-   for: sent 1 file\n+   for: sent 2 files\n" in shown
    assert shown.endswith("python -m tests.golden.renew --only design")


def test_a_long_change_is_cut() -> None:
    shown = difference("", "\n".join(str(i) for i in range(200)), "api")
    assert len(shown.splitlines()) == MOST_SHOWN + 3
    assert "lines more" in shown


@EVERY
def test_each_page_has_fifty_leads_and_says_what_it_is(name: str) -> None:
    first = kept(name).read_text(encoding="utf-8").splitlines()[0]
    assert f"{PQLS} PQLs" in first
    assert "read aloud" in first
    assert [lead.split(".", 1)[0] for lead in leads(name)] == [str(number) for number in range(1, PQLS + 1)]


@EVERY
def test_each_lead_has_a_reason_a_playbook_and_a_message(name: str) -> None:
    for lead in leads(name):
        heads = [line.strip().split(":", 1)[0] for line in lead.splitlines()[1:]]
        assert heads[0] == "for", lead
        assert heads[-2:] == ["do", "write"], lead
        assert 1 <= heads.count("for") <= 3, lead


@EVERY
def test_no_behaviour_is_told_twice_of_one_lead(name: str) -> None:
    for lead in leads(name):
        told = [line.strip().split(": ", 1)[1] for line in lead.splitlines()[1:]]
        # Without numbers, and up to the window.
        about = [re.sub(r"\d[\d,.]*", "", re.split(r" since | in the last |, |; ", text)[0]) for text in told]
        assert len(set(about)) == len(about), lead


@EVERY
def test_no_customer_reads_of_having_been_watched(name: str) -> None:
    for lead in leads(name):
        mentions = re.findall(r'\[you may say: "([^"]+)"\]', lead)
        for text in (*mentions, lead.rpartition("write: ")[2]):
            assert not WATCHED.search(text), text


@EVERY
def test_pages_name_no_lead_and_no_version(name: str) -> None:
    text = kept(name).read_text(encoding="utf-8")
    assert not re.search(r"\b(?:user|account|u|a)[-_]\d+|[0-9a-f]{20}|@", text)
