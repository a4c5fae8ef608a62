"""Signals and traits that tell the outcome because they were written once it was known: found, named, left out.

Looks at what was learned from only, never at the test part. How each fault shows is the business of `training.leakage`.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features.dataset import Dataset
from features.definition import Definition, Trait
from features.definition_rules import problems
from features.durations import DAY, SECOND
from features.errors import Refusal, listing
from features.leads import NEVER, Leads
from features.matrix import FeatureBuilder
from features.windows import Floats, Ints
from training.leakage.moments import Course, Moments, courses, moments, sampled, told_by_trials
from training.leakage.odds import SURE, Bools, Counts
from training.leakage.onset import FEWEST, Verdict
from training.leakage.timing import NEAR_ODDS, judge, unarrived
from training.leakage.values import judge_columns, judge_trait
from training.snapshots import Snapshots, evenly

TRIALS = "trials"
"""The name of a fault that lies in the trials table and in no signal or trait."""
KINDS = ("consequence", "back_dated", "identifier", "outcome_in_trait", "too_good", "starts_after_conversion")

MOST_WON, MOST_OTHERS = 1_500, 3_000
"""Leads whose values are looked at: what tells the outcome shows in far fewer."""
AT_ONCE = 10 * 60 * SECOND
MOST = 0.4
"""Of converters: that some of them are customers of sales, or come back after years, is no fault of the table."""

BEST_AUC = 0.97
BEST_ODDS = 150.0
"""Half of the converters may be this many times as likely among the best scores; a ranking of AUC 0.95 stays below."""


@dataclass(frozen=True)
class Leak:
    """Something that tells the outcome because it was written once that was known.

    Attributes
    ----------
    name : the signal or trait, or "trials" for a fault of the data as a whole
    kind : one of KINDS
    why : a sentence without its subject, with the numbers
    figures : the numbers said
    trusted : whether the definition says to keep it nevertheless
    """

    name: str
    kind: str
    why: str
    figures: Mapping[str, float]
    trusted: bool = False

    def __str__(self) -> str:
        kept = " (kept, because the definition trusts it)" if self.trusted else ""
        return f"{self.name}: {self.why}{kept}."


def find_leaks(
    data: Dataset, builder: FeatureBuilder, table: Snapshots, rows: Floats, learned: Ints
) -> tuple[Leak, ...]:
    """Return what tells the outcome, in the definition's order, a fault of the trials first.

    Parameters
    ----------
    rows : float64 array of shape (n_snapshots, n_columns), the features of every snapshot of `table`
    learned : the rows that are learned from; no other lead with a snapshot is looked at
    """
    definition = data.definition
    seen = moments(data.leads, _looked_at(data.leads, table, learned), data.until)
    found = courses(data, seen)
    told: dict[str, Verdict] = {}
    if faulty := judge_trials(seen, found, definition):
        # No signal can be judged by its times where the trials' own are wrong.
        told[TRIALS] = faulty
    else:
        told |= _by_times(definition, found, seen)
        told |= _by_columns(data, builder, table, rows, learned, told)
    told |= _by_traits(data, table, learned, told)
    trusted = {one.name for one in definition.signals if one.trusted}
    trusted |= {one.name for one in definition.traits if one.trusted}
    return tuple(
        Leak(name, told[name].kind, told[name].why, told[name].figures, name in trusted)
        for name in (TRIALS, *definition.signal_of, *definition.trait_of)
        if name in told
    )


def _looked_at(leads: Leads, table: Snapshots, learned: Ints) -> Ints:
    """Return the leads learned from, and those of their time that were gone before anybody would have scored them."""
    mine = np.unique(table.lead[learned])
    never_scored = np.ones(len(leads), bool)
    never_scored[table.lead] = False
    never_scored &= leads.started_at <= table.started_at[learned].max(initial=0)
    return sampled(leads, np.union1d(mine, np.flatnonzero(never_scored)))


def _by_times(definition: Definition, found: Mapping[str, Course], seen: Moments) -> dict[str, Verdict]:
    late = {name: unarrived(course, seen) for name, course in found.items() if name in definition.signal_of}
    verdicts = {}
    for name, course in found.items():
        signal = definition.signal_of.get(name)
        others = [counts for other, counts in late.items() if other != name]
        usually = sum(one for one, _ in others) / max(sum(dated for _, dated in others), 1)
        by_account = signal is not None and signal.scope == "account"
        if verdict := judge(course, seen, by_account=by_account, usually_unarrived=usually):
            verdicts[name] = verdict
    return verdicts


def _by_columns(
    data: Dataset, builder: FeatureBuilder, table: Snapshots, rows: Floats, learned: Ints, done: Container[str]
) -> dict[str, Verdict]:
    newest = _newest(data.leads, table, learned)
    won, half = _outcomes(data.leads, table.lead[newest])
    values, verdicts = rows[newest], {}
    for signal in data.definition.signals:
        if signal.name in done or told_by_trials(signal):
            continue
        places = builder.places_of[signal.name]
        if verdict := judge_columns(values, places, builder.columns, won, half):
            verdicts[signal.name] = verdict
    return verdicts


def _by_traits(data: Dataset, table: Snapshots, learned: Ints, done: Container[str]) -> dict[str, Verdict]:
    leads, newest = data.leads, _newest(data.leads, table, learned)
    which, as_of = table.lead[newest], table.as_of[newest]
    won, half = _outcomes(leads, which)
    verdicts = {}
    for trait in data.definition.traits:
        if trait.name in done:
            continue
        log = leads.traits[trait.name]
        known = [log.value_at(int(place)) for place in log.at(which, as_of)]
        told = [_standing(trait, one) for one in known] if trait.type == "email_domain" else known
        if verdict := judge_trait(trait, told, leads.started_at[which], won, half):
            verdicts[trait.name] = verdict
    return verdicts


def _outcomes(leads: Leads, which: Ints) -> tuple[Bools, Bools]:
    """Return whether each lead ever converted, and halves of whole accounts, in no order of time."""
    # What is written at a conversion is there whether or not it fell within the horizon.
    return leads.converted_at[which] < NEVER, (leads.accounts[which] * 2_654_435_761 >> 7) % 2 == 0


def _newest(leads: Leads, table: Snapshots, learned: Ints) -> Ints:
    """Return the newest of each lead's rows, of some converters and some others spread over time."""
    _, last = np.unique(table.lead[learned][::-1], return_index=True)
    newest = np.sort(learned[::-1][last])
    won = leads.converted_at[table.lead[newest]] < NEVER
    parts = [evenly(newest[won], MOST_WON), evenly(newest[~won], MOST_OTHERS)]
    return np.sort(np.concatenate(parts))


def _standing(trait: Trait, address: object) -> str | None:
    standing = trait.domains.standing(address)
    return None if standing is None else standing.name.lower()


def written_starts(leads: Leads) -> Leak | None:
    """Return the fault of trials most of which begin when they convert, None where they do not.

    Such leads are never scored before they convert, so that too few conversions may be left to learn from: this says why.
    """
    took = (leads.converted_at - leads.started_at)[leads.converted_at < NEVER]
    verdict = _at_once(took / DAY)
    return None if verdict is None else Leak(TRIALS, verdict.kind, verdict.why, verdict.figures)


def _at_once(took: Floats) -> Verdict | None:
    at_once = int((took * DAY <= AT_ONCE).sum())
    if at_once < FEWEST or at_once < MOST * len(took):
        return None
    return _starts(f"{at_once / len(took):.0%} of trials that converted began within ten minutes of converting", took)


def judge_trials(seen: Moments, found: Mapping[str, Course], definition: Definition) -> Verdict | None:
    """Return what is wrong with the trials as a whole: starts written at the conversion, or events that begin after it."""
    took = seen.age[seen.case]
    if verdict := _at_once(took):
        return verdict
    own = [found[name].lead_time for name in found if _of_lead(definition, name)]
    if not own:
        return None
    # Days since the first thing of any kind; fmax passes over what never was.
    first: Floats = np.fmax.reduce(own)
    did = ~np.isnan(first)
    after = Counts.of((first <= 0)[did], seen.case[did])
    if _sets_apart(after):
        why = f"{after.share:.0%} of converters do nothing at all before they convert and begin right then"
        return _starts(f"{why}, as against {after.share_of_others:.1%} of open leads of the same age", took)
    earlier = Counts.of((first > seen.age + 1.0)[did], seen.case[did])
    if _sets_apart(earlier):
        why = f"{earlier.share:.0%} of converters were active more than a day before their trial began"
        return _starts(f"{why}, as against {earlier.share_of_others:.1%} of open leads of the same age", took)
    return None


def _of_lead(definition: Definition, name: str) -> bool:
    return name in definition.signal_of and definition.signal_of[name].scope == "lead"


def _sets_apart(counts: Counts) -> bool:
    return counts.won_with >= FEWEST and counts.share >= MOST and counts.odds() >= NEAR_ODDS


def _starts(what: str, took: Floats) -> Verdict:
    why = f"{what}: started_at is written when they convert, not when the trial begins"
    return Verdict("starts_after_conversion", why, {"converters": len(took), "median_days": float(np.median(took))})


def without(definition: Definition, leaks: Sequence[Leak]) -> Definition:
    """Return the definition without its leaky signals and traits, and without the rules and points that rest on them.

    What the definition trusts is kept. A fault of the trials takes nothing out: see `faulty_trials`.

    Raises
    ------
    Refusal
        Where too little would be left.
    """
    names = {leak.name for leak in leaks if not leak.trusted} & {*definition.signal_of, *definition.trait_of}
    if not names:
        return definition
    fields = {name: getattr(definition, name) for name in type(definition).model_fields}
    for part in ("signals", "traits"):
        fields[part] = tuple(one for one in fields[part] if one.name not in names)
    if fields.get("rules"):
        fields["rules"] = tuple(rule for rule in fields["rules"] if not any(one.owner in names for one in rule.all))
    if card := fields.get("points"):
        left = tuple(item for item in card.card if item.owner not in names)
        fields["points"] = card.model_copy(update={"card": left}) if left else None
    if getattr(definition.cutoff, "segments", None) in names:
        fields["cutoff"] = definition.cutoff.model_copy(update={"segments": None})
    rest = Definition.model_construct(definition.model_fields_set, **fields)
    for problem in problems(rest):
        raise Refusal(
            f"without what tells the outcome ({listing(sorted(names))}) the definition does not hold: {problem} "
            + _advice([leak for leak in leaks if leak.name in names])
        )
    return rest


def _advice(leaks: Sequence[Leak]) -> str:
    return f"{' '.join(map(str, leaks))} Add signals that precede conversion, or set `trusted: true` where you know better."


def faulty_trials(leaks: Sequence[Leak]) -> Refusal | None:
    """Return a refusal where the trials themselves were written once the outcome was known, None where they were not."""
    for leak in leaks:
        if leak.name == TRIALS:
            return Refusal(f"{leak} Export the moment at which each trial really began, and train again.")
    return None


def too_good(margins: Floats, converted: Ints) -> Refusal | None:
    """Return a refusal where leads that were not learned from are ranked better than honest signals can, else None.

    Catches what no single signal or trait shows, such as two that give the outcome only together.

    Parameters
    ----------
    margins : float64 array of shape (n,), scores of rows that were not learned from; only their order counts
    converted : int64 array of shape (n,), 0 or 1
    """
    won = converted == 1
    n, m = int(won.sum()), int((~won).sum())
    if min(n, m) < FEWEST:
        return None
    area = _auc(margins, won)
    spread = _spread_of(area, n, m)
    best = Counts.of(margins >= np.quantile(margins[won], 0.5), won)
    if area - SURE * spread < BEST_AUC and best.odds() < BEST_ODDS:
        return None
    return Refusal(
        f"too good to be true: leads that the model had not seen are ranked with an AUC of {area:.3f}; of the best half of "
        f"converters' scores, only {best.share_of_others:.2%} of other leads have as good a one. Honest behaviour does not "
        "tell that much, so signals or traits were written once the outcome was known, and give it only together. "
        "Look at the heaviest of them, and leave out what is written at or after the conversion."
    )


def _auc(margins: Floats, won: Bools) -> float:
    values, place, counts = np.unique(margins, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2
    n, m = int(won.sum()), int((~won).sum())
    return float((rank[place][won].sum() - n * (n + 1) / 2) / (n * m)) if len(values) else 0.5


def _spread_of(area: float, n: int, m: int) -> float:
    """Return the standard error of an AUC, after Hanley and McNeil (1982)."""
    both, apart = area / (2 - area), 2 * area * area / (1 + area)
    variance = area * (1 - area) + (n - 1) * (both - area * area) + (m - 1) * (apart - area * area)
    return float(np.sqrt(max(variance, 0.0) / (n * m)))
