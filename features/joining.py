"""Users without an account -> the account to which the domain of their e-mail address says that they belong."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import polars as pl

from features.definition import Definition, Trait
from features.events import as_texts, need, or_null
from features.survey import Survey

NOBODY = {"user_id": pl.String, "account_id": pl.String}
JOINED = "users joined to an account by their e-mail's domain"
_WHO = ("user_id", "account_id")


def joined(trials: pl.DataFrame, survey: Survey, definition: Definition) -> pl.DataFrame:
    """Return who belongs to an account by their address alone: columns user_id and account_id, each user once.

    - asked for by `accounts.by_domain`, whose trait the table has, or else events tell -> else nobody
    - a business domain; free mail joins nobody
    - the account most of whose users with a business address have that domain; of several that with the most of them, of
      equals the first by name -> else an account that is called like the domain

    Parameters
    ----------
    trials : a raw table of trials, or one that events told
    """
    name = definition.accounts.by_domain
    if name is None:
        return pl.DataFrame(schema=NOBODY)
    need("trials", trials, ("user_id",))
    people = _identified(trials).select(_WHO).with_row_index("row")
    domains = _domains(trials, survey, definition.trait_of[name])
    known = people.join(domains, on=domains.columns[0], how="inner").drop_nulls("user_id")
    housed = known.drop_nulls("account_id")
    lost = known.join(people.drop_nulls("account_id"), on="user_id", how="anti")
    homes = lost.group_by("user_id").agg(pl.col("domain").min()).join(_homes(housed), on="domain", how="left")
    return homes.select("user_id", account_id=pl.coalesce("account_id", "domain")).sort("user_id")


def with_accounts(trials: pl.DataFrame, homes: pl.DataFrame) -> pl.DataFrame:
    """Return a raw table of trials with the accounts of those whom `joined` found one for."""
    if not len(homes):
        return trials
    found = homes.rename({"account_id": " joined"})
    placed = _identified(trials).join(found, on="user_id", how="left", maintain_order="left")
    return placed.with_columns(account_id=pl.coalesce("account_id", " joined")).drop(" joined")


def _identified(trials: pl.DataFrame) -> pl.DataFrame:
    """Return the table with its identifiers as texts, null where they are blank."""
    frame = trials if "account_id" in trials.columns else trials.with_columns(account_id=pl.lit(None, pl.String))
    return as_texts("trials", frame, _WHO).with_columns(map(or_null, _WHO))


def _domains(trials: pl.DataFrame, survey: Survey, trait: Trait) -> pl.DataFrame:
    """Return the business domains known: of rows by their number, or of users where events tell; the key comes first."""
    if trait.source in trials.columns and trials[trait.source].count():
        found = _companies(trait, trials[trait.source].to_list())
        return pl.DataFrame({"row": range(len(trials)), "domain": found}, schema=_BY_ROW).drop_nulls()
    told = survey.facts("user_id", trait.source).sort("since", "arrived", "value")
    found = _companies(trait, (msgspec.json.decode(text) for text in told["value"]))
    dated = told.select(user_id="id").with_columns(pl.Series("domain", found, pl.String)).drop_nulls()
    # Somebody who changes employers stays where the first business address led.
    return dated.unique("user_id", keep="first", maintain_order=True)


_BY_ROW = {"row": pl.UInt32, "domain": pl.String}


def _companies(trait: Trait, addresses: Iterable[object]) -> list[str | None]:
    return [trait.domains.company(address) for address in addresses]


def _homes(housed: pl.DataFrame) -> pl.DataFrame:
    """Return the account of each domain: columns domain and account_id.

    Parameters
    ----------
    housed : users with an account and a business domain: columns user_id, account_id, domain
    """
    counted = housed.group_by("domain", "account_id").agg(users=pl.col("user_id").n_unique())
    # An agency's one user in a customer's account must not draw all of the agency there.
    mostly = counted.filter(2 * pl.col("users") >= pl.col("users").sum().over("account_id"))
    first = mostly.sort("users", "account_id", descending=[True, False]).unique(
        "domain", keep="first", maintain_order=True
    )
    return first.select("domain", "account_id")
