"""What was known of each trait when: columns of the trials table, and facts that events told one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter

import msgspec
import numpy as np
import polars as pl

from features.definition import Definition, Trait
from features.domains import Domains
from features.leads import TraitLog
from features.survey import Survey

Said = tuple[int, str, int, object]
"""Of which lead and of whom in it something was known, since when (microseconds since 1970 UTC), and what."""


def trait_logs(
    trials: pl.DataFrame, members: pl.DataFrame, survey: Survey, definition: Definition, clock: str | None = None
) -> dict[str, TraitLog]:
    """Return the log of each trait, for the leads of a trials table in their order.

    A trait is what its column of the table says, and what events told of it where the table has no such column (or an empty
    one). Which of the two is read must not depend on what was told: that would say of a lead what is still to come. The
    address of an account is the best one known of its users, see `best_known`.

    Parameters
    ----------
    clock : what counts as known, see `Definition`; by default the definition says it
    members : columns user_id, account_id and lead (its number): whose facts are facts about which lead; with accounts as leads
        also started_at, and the addresses that the table has
    """
    clock = clock or definition.clock
    logs = {}
    for trait in definition.traits:
        column = trials[trait.source]
        if definition.lead == "account" and trait.type == "email_domain":
            said = _given(trait, members) if column.count() else _said(trait, members, survey, clock)
            logs[trait.name] = best_known(said, len(column), trait.domains)
        elif column.count():
            logs[trait.name] = TraitLog.constant(column.to_list())
        else:
            facts = _told(trait, members, survey, clock, within=["lead"])
            offsets = facts["lead"].search_sorted(np.arange(len(column) + 1)).cast(pl.Int64).to_numpy()
            logs[trait.name] = TraitLog(offsets, facts["since"].to_numpy(), _decoded(facts["value"]))
    return logs


def _told(trait: Trait, members: pl.DataFrame, survey: Survey, clock: str, within: list[str]) -> pl.DataFrame:
    """Return what events told of leads: columns lead, who, since and value (JSON), in order of lead and time.

    `within` says of what a newer fact makes an older one void: of the lead, or of who in it.
    """
    told = [
        survey.facts(key, trait.source).join(members.select("lead", id=key).drop_nulls().unique(), on="id")
        for key in ("user_id", "account_id")
    ]
    # A user may be called like an account.
    facts = pl.concat(
        [one.with_columns(who=pl.concat_str(pl.lit(kind), "id")) for kind, one in zip("ua", told, strict=True)]
    )
    if clock == "received_at":
        # What arrives when something newer is known already changes nothing.
        facts = facts.with_columns(arrived=pl.max_horizontal("since", "arrived")).sort(
            "lead", "arrived", "since", "value", "who"
        )
        news = pl.col("since") >= pl.col("since").cum_max().over(within)
        facts = facts.filter(news).with_columns(since="arrived")
    else:
        facts = facts.sort("lead", "since", "arrived", "value", "who")
    return facts.select("lead", "who", "since", "value")


def _decoded(values: pl.Series) -> list[object]:
    return [msgspec.json.decode(text) for text in values]


def _said(trait: Trait, members: pl.DataFrame, survey: Survey, clock: str) -> Iterator[Said]:
    """Yield what events told of each user's and each account's address."""
    facts = _told(trait, members, survey, clock, within=["lead", "who"])
    values = _decoded(facts["value"])
    yield from zip(facts["lead"], facts["who"], facts["since"], values, strict=True)


def _given(trait: Trait, members: pl.DataFrame) -> Iterator[Said]:
    """Yield the addresses of a table: of the account's first users known from its start, of others from their own."""
    since = pl.col("started_at").dt.epoch("us")
    known = members.select("lead", "user_id", since=since - (since == since.min().over("lead")), address=trait.source)
    yield from known.drop_nulls("address").sort("lead", "since", "user_id").iter_rows()


def best_known(said: Iterable[Said], n_leads: int, domains: Domains) -> TraitLog:
    """Return the log of each account's best address: an enterprise's before a business's before free mail.

    Of equals the one known first stays, so that an account does not change its company with each new colleague.

    Parameters
    ----------
    said : in order of lead and time; what is said of somebody replaces what was said of it before, None as well
    """
    sizes, since, values = np.zeros(n_leads, np.int64), [], []
    for lead, facts in groupby(said, itemgetter(0)):
        for moment, best in _bests(facts, domains):
            sizes[lead] += 1
            since.append(moment)
            values.append(best)
    return TraitLog(np.concatenate([[0], np.cumsum(sizes)]), np.array(since, np.int64), values)


def _bests(facts: Iterable[Said], domains: Domains) -> Iterator[tuple[int, object]]:
    """Yield since when which address was the best that was known of one account."""
    known: dict[str, tuple[int, object]] = {}
    leading = ""
    for _, who, moment, address in facts:
        said = (_worth(address, domains), address)
        if known.get(who) == said:
            continue
        known.pop(who, None)
        # In order of being known, so that of equals the first one leads.
        known[who] = said
        if leading not in known or said[0] > known[leading][0]:
            leading = who
        elif who == leading:
            leading = max(known, key=lambda one: known[one][0])
        else:
            continue
        yield moment, known[leading][1]


def _worth(address: object, domains: Domains) -> int:
    """Return how much an address tells: nothing is less than something that is no address."""
    return -1 if address is None else int(domains.standing(address) or 0)
