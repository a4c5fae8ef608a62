"""What may be said of any lead, and how an error names its place."""

from __future__ import annotations

import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.definition import Definition, parse
from features.errors import InvalidInput
from serving.asking import (
    MOST_LEAD_BYTES,
    Excluded,
    check_customer,
    check_id,
    check_traits,
    decode,
    end_of_trial,
    id_of,
    lead_of,
    moment_of_scoring,
    wrong,
)

DEFINITION = """
product: Tested
conversion: {event: paid, horizon: 30d}
trial: {length: 14d}
score_at: [7d]
windows: [7d]
cutoff: {at_least: 0.3}
traits:
  - {name: size, type: number}
  - {name: sector, type: category}
  - {name: mail, type: email_domain}
  - {name: invited, type: flag}
exclude: {accounts: [ours], email_domains: [us.example]}
"""
USERS = parse(DEFINITION)
ACCOUNTS = parse("lead: account\n" + DEFINITION)


@pytest.mark.parametrize(
    "body",
    [
        b'{"leads": [{}], "leads": [{}]}',
        b'{"leads": [{"user_id": "a"}], "leads": [{"user_id": "a"}]}',
        b'{"leads": [{}], "reasons": 1, "reasons": 2}',
        b'{"reasons": 1, "leads": [{}], "r\\u0065asons": 2}',
        b'{"leads": [1], "leads": [{}]}',
    ],
)
def test_a_key_that_is_there_twice_around_the_leads_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"^body: .*duplicate key"):
        decode(body)


@given(
    st.lists(
        st.sampled_from([b"{}", b'{"a":1}', b'{"a":{"a":[{}]}}', b"1", b'"{}"', b"[{}]", b"{ }"]),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(["", "{}", '{"a":1}', "0"]),
)
def test_what_is_around_the_leads_is_found_whatever_they_hold(leads: list[bytes], said: str) -> None:
    body = b'{"as_of": ' + msgspec.json.encode(said) + b', "leads": [' + b" , ".join(leads) + b'], "reasons": 2}'
    assert [bytes(lead) for lead in decode(body).leads] == leads


LEAD = msgspec.json.Decoder(dict[str, object])


@pytest.mark.parametrize(
    "lead", [b'{"a": 1, "a": 2}', b'{"x": {"b": [{"c": 1, "c": 1}]}}', b'{"a": NaN}', b'{"a": 1e999}']
)
def test_a_lead_that_parsers_read_differently_is_refused_with_its_place(lead: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        lead_of(LEAD, msgspec.Raw(lead), "leads[3]")
    assert refused.value.message.startswith("leads[3]")


def test_a_lead_may_be_so_long_and_not_longer() -> None:
    lead = b'{"a":"%s"}' % (b"x" * (MOST_LEAD_BYTES - 8))
    assert len(lead) == MOST_LEAD_BYTES
    assert lead_of(LEAD, msgspec.Raw(lead), "leads[3]")
    with pytest.raises(InvalidInput, match=r"^leads\[3\] must be at most 1,048,576 bytes, got 1,048,577\."):
        lead_of(LEAD, msgspec.Raw(lead + b" "), "leads[3]")


@pytest.mark.parametrize(
    "traits",
    [
        {"size": 3, "sector": "retail", "mail": "a@b.example", "invited": True},
        {"size": "3", "sector": 3, "mail": "b.example", "invited": "yes"},
        {"size": None, "sector": None, "mail": None, "invited": None},
        {"size": "", "sector": " ", "mail": "", "invited": " "},
        {"sector": "never seen before"},
        {},
    ],
)
def test_traits_are_read_as_leniently_as_tables(traits: dict[str, str | int | float | bool | None]) -> None:
    check_traits(traits, USERS, "leads[4]")


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [("size", "ten", "a number"), ("invited", "maybe", "true or false"), ("mail", 5, "an e-mail address or a domain")],
)
def test_a_value_that_is_none_of_its_trait_is_refused_with_its_place(name: str, value: str | int, wanted: str) -> None:
    with pytest.raises(InvalidInput, match=rf"must be {wanted}, got '{value}'") as raised:
        check_traits({name: value}, USERS, "leads[4]")
    assert raised.value.field == f"leads[4].traits.{name}"
    assert raised.value.hint == "Send null where it is not known."


def test_a_trait_that_the_model_does_not_know_is_refused_with_a_guess() -> None:
    with pytest.raises(InvalidInput, match=r"unknown trait 'sise'; this model knows size, sector") as raised:
        check_traits({"sise": 3}, USERS, "leads[0]")
    assert raised.value.hint == "Did you mean 'size'?"


def test_what_a_message_quotes_is_cut_off() -> None:
    with pytest.raises(InvalidInput) as raised:
        check_traits({"x" * 10_000: 3}, USERS, "leads[0]")
    assert len(raised.value.message) < 300
    with pytest.raises(InvalidInput) as raised:
        check_traits({"size": "x" * 10_000}, USERS, "leads[0]")
    assert len(raised.value.message) < 300


@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
def test_an_id_must_not_be_blank(blank: str) -> None:
    with pytest.raises(InvalidInput, match=r"leads\[0\]\.lead_id must not be empty"):
        check_id(blank, "leads[0].lead_id")
    assert check_id(" a ", "lead_id") == " a "


@pytest.mark.parametrize(("account", "mail"), [("ours", None), (None, "me@us.example")])
def test_leads_on_the_lists_are_excluded(account: str | None, mail: str | None) -> None:
    with pytest.raises(Excluded, match=r"'u' is on the definition's list"):
        check_customer(USERS, "u", account, {"mail": mail}, "leads[0]")
    check_customer(USERS, "u", "theirs", {"mail": "me@them.example"}, "leads[0]")


def test_the_default_moment_stands_where_none_is_given() -> None:
    assert moment_of_scoring(None, 5, "as_of", USERS) == 5
    assert moment_of_scoring("1970-01-01T00:00:00Z", 5, "as_of", USERS) == 0


@pytest.mark.parametrize(("definition", "end"), [(USERS, 14 * 86_400_000_000), (ACCOUNTS, None)])
def test_a_trial_ends_when_the_lead_says_or_else_when_the_definition_does(
    definition: Definition, end: int | None
) -> None:
    assert end_of_trial(None, 0, definition, "leads[0]") == end
    assert end_of_trial("1970-01-01T00:00:01Z", 0, definition, "leads[0]") == 1_000_000


@pytest.mark.parametrize(
    ("raw", "found"),
    [(b'{"a": "x", "b": "y"}', "x"), (b'{"a": 5, "b": "y"}', "y"), (b'{"c": "z"}', None), (b"5", None), (b"{", None)],
)
def test_the_first_name_that_a_broken_lead_tells_is_its_id(raw: bytes, found: str | None) -> None:
    assert id_of(msgspec.Raw(raw), ("a", "b")) == found


def test_an_error_of_the_decoder_is_told_with_its_place() -> None:
    found = wrong(msgspec.ValidationError("Expected `int`, got `str` - at `$.events[3].x`"), "leads[2]")
    assert found.field == "leads[2].events[3].x"
    assert found.message == "leads[2].events[3].x: Expected `int`, got `str`."
    assert wrong(RecursionError(), "").message == "body: nested too deeply."


@pytest.mark.parametrize("lead", [b"0", b'""', b"[]", b"{}"])
def test_more_leads_than_are_taken_are_not_held_to_be_counted(lead: bytes) -> None:
    body = b'{"leads":[' + b",".join([lead] * 1_000_000) + b"]}"
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match="leads must be 1 to 1000 leads, got more"):
            decode(body)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_large_body_with_as_many_leads_as_are_taken_is_read() -> None:
    lead = b'{"a":"' + b"x" * 100 + b'"}'
    assert len(decode(b'{"leads":[' + b",".join([lead] * 1_000) + b"]}").leads) == 1_000
    with pytest.raises(InvalidInput, match="leads must be 1 to 1000 leads"):
        decode(b'{"leads":[' + b",".join([lead] * 1_001) + b"]}")


@pytest.mark.parametrize("key", ["x" * 100_000, "x - at `$" + "y" * 100_000])
def test_a_key_of_any_length_is_not_told_back(key: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        decode(msgspec.json.encode({"leads": [{}], key: 1}))
    assert len(str(refused.value)) < 600
    with pytest.raises(InvalidInput) as refused:
        lead_of(LEAD, msgspec.Raw(f'{{"{key}":1,"{key}":2}}'.encode()), "leads[0]")
    assert len(str(refused.value)) < 600
