"""Leads that are nobody's customers: own staff, competitors, students, as the definition lists them."""

from __future__ import annotations

from collections.abc import Mapping

from features.definition import Definition
from features.domains import domain_of


def is_excluded(definition: Definition, user: str, account: str | None, traits: Mapping[str, object]) -> bool:
    """Whether a lead is on one of the lists; `traits` holds its trait values by name."""
    lists = definition.exclude
    if user in lists.users or (account is not None and account in lists.accounts):
        return True
    if not lists.email_domains:
        return False
    addresses = (traits.get(trait.name) for trait in definition.traits if trait.type == "email_domain")
    return any(domain_of(address) in lists.email_domains for address in addresses)
