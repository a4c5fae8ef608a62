"""E-mail addresses -> domains, and what a domain says: free mail, a business, or an enterprise that the definition lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

# Providers that hand an address to anyone; any other domain is taken for an employer's.
FREE_MAIL = frozenset(
    "gmail.com googlemail.com yahoo.com yahoo.co.uk ymail.com hotmail.com hotmail.co.uk outlook.com live.com msn.com "
    "icloud.com me.com mac.com aol.com gmx.com gmx.de gmx.net web.de mail.com mail.ru yandex.ru yandex.com protonmail.com "
    "proton.me pm.me zoho.com fastmail.com hey.com tutanota.com qq.com 163.com 126.com naver.com orange.fr free.fr "
    "laposte.net libero.it t-online.de comcast.net verizon.net att.net".split()
)


class Standing(IntEnum):
    """What an address tells of who is behind it, the more the higher."""

    FREE = 1
    BUSINESS = 2
    ENTERPRISE = 3


def domain_of(address: object) -> str | None:
    """Return the domain of an e-mail address, or the text itself where it is a bare domain; None where it is neither."""
    if not isinstance(address, str):
        return None
    domain = address.rpartition("@")[2].strip().lower()
    return domain if "." in domain else None


@dataclass(frozen=True)
class Domains:
    """Which domains are whose: those of enterprises with all that lies under them, and those of free mail to the letter."""

    enterprise: frozenset[str]
    free_mail: frozenset[str]

    @classmethod
    def of(cls, enterprise: Iterable[str], free_mail: Iterable[str]) -> Domains:
        """Return the domains that a definition lists, beside the providers that everybody knows."""
        listed = frozenset(enterprise)
        return cls(listed, FREE_MAIL - listed | frozenset(free_mail))

    def standing(self, address: object) -> Standing | None:
        """Return what an address tells, None where it is none."""
        domain = domain_of(address)
        if domain is None:
            return None
        if self._listed(domain) is not None:
            return Standing.ENTERPRISE
        return Standing.FREE if domain in self.free_mail else Standing.BUSINESS

    def company(self, address: object) -> str | None:
        """Return the domain by which an address names a company: that of the enterprise above it, or its own.

        None for free mail and for what is no address.
        """
        standing, domain = self.standing(address), domain_of(address)
        if standing is None or domain is None or standing == Standing.FREE:
            return None
        return self._listed(domain) or domain

    def _listed(self, domain: str) -> str | None:
        """Return the enterprise that a domain is or lies under; the nearest of several."""
        return next((one for one in _upwards(domain) if one in self.enterprise), None)


def _upwards(domain: str) -> Iterator[str]:
    """Yield a domain and those it lies under, the nearest first."""
    while domain:
        yield domain
        domain = domain.partition(".")[2]


def real_domains(listed: tuple[str, ...]) -> tuple[str, ...]:
    """Return a list of domains; a ValueError where one of them is none."""
    for domain in listed:
        if domain_of(domain) != domain or "@" in domain:
            raise ValueError(f"must list domains such as acme.example, not {domain!r}")
    return listed
