"""Nobody's customers are known by user, account or domain, and by nothing else."""

import pytest

from features.definition import parse
from features.exclusions import is_excluded

TEXT = """
product: Tested
conversion: {event: paid, horizon: 30d}
score_at: [7d]
windows: [7d]
cutoff: {at_least: 0.3}
traits: [{name: mail, type: email_domain}, {name: owner, type: email_domain}, {name: note, type: category}]
exclude: {EXCLUDE}
"""
LISTS = parse(TEXT.replace("EXCLUDE", "users: [bot], accounts: [us], email_domains: [Own.example, '@rival.example']"))
NOBODY = parse(TEXT.replace("EXCLUDE", ""))


@pytest.mark.parametrize(
    ("user", "account", "traits", "excluded"),
    [
        ("bot", None, {}, True),
        ("bot ", None, {}, False),
        ("us", "bot", {}, False),
        ("u", "us", {}, True),
        ("u", "US", {}, False),
        ("u", None, {"mail": "a@own.example"}, True),
        ("u", None, {"mail": "A@OWN.EXAMPLE"}, True),
        ("u", None, {"owner": "a@rival.example"}, True),
        ("u", None, {"mail": None, "owner": "rival.example"}, True),
        ("u", None, {"mail": "a@sub.own.example"}, False),
        ("u", None, {"mail": "a@notown.example"}, False),
        ("u", None, {"note": "a@own.example"}, False),
        ("u", None, {"mail": None}, False),
        ("u", None, {"mail": "nobody"}, False),
        ("u", None, {"mail": 7}, False),
        ("u", None, {}, False),
    ],
)
def test_a_lead_is_excluded_by_one_of_the_lists(
    user: str, account: str | None, traits: dict[str, object], excluded: bool
) -> None:
    assert is_excluded(LISTS, user, account, traits) is excluded
    assert not is_excluded(NOBODY, user, account, traits)
