"""What a domain tells: free mail, a business or a listed enterprise with all that lies under it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.domains import FREE_MAIL, Domains, Standing, domain_of, real_domains

LISTED = Domains.of(("bigco.example", "eu.bigco.example", "att.net"), ("students.example",))


@pytest.mark.parametrize(
    ("address", "standing", "company"),
    [
        ("ann@bigco.example", Standing.ENTERPRISE, "bigco.example"),
        ("ann@Mail.BigCo.example ", Standing.ENTERPRISE, "bigco.example"),
        ("ann@lab.eu.bigco.example", Standing.ENTERPRISE, "eu.bigco.example"),
        ("bigco.example", Standing.ENTERPRISE, "bigco.example"),
        ("ann@notbigco.example", Standing.BUSINESS, "notbigco.example"),
        ("ann@bigco.example.org", Standing.BUSINESS, "bigco.example.org"),
        ("ann@small.example", Standing.BUSINESS, "small.example"),
        ("ann@example", None, None),
        ("ann@gmail.com", Standing.FREE, None),
        ("ann@students.example", Standing.FREE, None),
        # Providers are known to the letter: what lies under one may be anybody's.
        ("ann@lab.students.example", Standing.BUSINESS, "lab.students.example"),
        ("ann@corp.mail.ru", Standing.BUSINESS, "corp.mail.ru"),
        # Who lists a provider as a customer means the company.
        ("ann@att.net", Standing.ENTERPRISE, "att.net"),
        ("", None, None),
        (None, None, None),
        (7, None, None),
    ],
)
def test_an_address_tells_its_standing_and_its_company(
    address: object, standing: Standing | None, company: str | None
) -> None:
    assert LISTED.standing(address) == standing
    assert LISTED.company(address) == company


def test_without_lists_there_is_no_enterprise_and_free_mail_is_that_of_known_providers() -> None:
    plain = Domains.of((), ())
    assert plain.free_mail == FREE_MAIL
    assert plain.standing("a@bigco.example") == Standing.BUSINESS


LABELS = st.lists(st.sampled_from(["a", "b", "c", "co"]), min_size=2, max_size=5).map(".".join)


@given(st.lists(LABELS, max_size=4), LABELS)
def test_an_enterprise_is_the_listed_domain_that_is_nearest_above(listed: list[str], domain: str) -> None:
    above = [one for one in listed if domain == one or domain.endswith("." + one)]
    found = Domains.of(listed, ())
    assert (found.standing(f"x@{domain}") == Standing.ENTERPRISE) == bool(above)
    assert found.company(f"x@{domain}") == max(above, key=len, default=domain)


@given(st.text())
def test_any_text_is_an_address_or_none_alike_for_standing_and_company(text: str) -> None:
    domain = domain_of(text)
    assert (LISTED.standing(text) is None) == (domain is None)
    if LISTED.company(text) is not None:
        assert domain is not None


@pytest.mark.parametrize("text", ["bigco", "x@a.example", "", "A.example"])
def test_a_list_of_what_are_no_domains_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^must list domains such as acme.example, not {text!r}$"):
        real_domains(("b.example", text))


def test_a_list_of_domains_is_taken_as_it_is() -> None:
    assert real_domains(("b.example", "a.b.example")) == ("b.example", "a.b.example")
