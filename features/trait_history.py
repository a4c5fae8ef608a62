"""What was known of each trait when: columns of the trials table, and facts that events told one after the other."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl

from features.definition import Definition, Trait
from features.leads import TraitLog
from features.survey import Survey


def trait_logs(
    trials: pl.DataFrame, members: pl.DataFrame, survey: Survey, definition: Definition, clock: str | None = None
) -> dict[str, TraitLog]:
    """Return the log of each trait, for the leads of a trials table in their order.

    A trait is what its column of the table says, and what events told of it where the table has no such column (or an empty
    one). Which of the two is read must not depend on what was told: that would say of a lead what is still to come.

    Parameters
    ----------
    clock : what counts as known, see `Definition`; by default the definition says it
    members : columns user_id, account_id and lead (its number): whose facts are facts about which lead
    """
    return {
        trait.name: _log(trials[trait.source], trait, members, survey, clock or definition.clock)
        for trait in definition.traits
    }


def _log(static: pl.Series, trait: Trait, members: pl.DataFrame, survey: Survey, clock: str) -> TraitLog:
    if static.count():
        return TraitLog.constant(static.to_list())
    told = [
        survey.facts(key, trait.source).join(members.select("lead", id=key).drop_nulls().unique(), on="id")
        for key in ("user_id", "account_id")
    ]
    facts = pl.concat(told).select("lead", "since", "arrived", "value")
    if clock == "received_at":
        # What arrives when something newer is known already changes nothing.
        facts = facts.with_columns(arrived=pl.max_horizontal("since", "arrived")).sort(
            "lead", "arrived", "since", "value"
        )
        news = pl.col("since") >= pl.col("since").cum_max().over("lead")
        facts = facts.filter(news).with_columns(since="arrived")
    else:
        facts = facts.sort("lead", "since", "arrived", "value")
    offsets = facts["lead"].search_sorted(np.arange(len(static) + 1)).cast(pl.Int64).to_numpy()
    values = [msgspec.json.decode(text) for text in facts["value"]]
    return TraitLog(offsets, facts["since"].to_numpy(), values)
