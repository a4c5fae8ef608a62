"""The sections on what would have happened: how early, for whom sales is still needed, and against other ways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from features.phrases import number_words
from serving.scoring.decision import Decision, NoCutoff
from training.judging.backtest import Later
from training.judging.choices import CAPACITIES, Rival
from training.judging.evidence import COMPARED, SIMPLER, Evidence
from training.reporting import figures_flags as pictures
from training.reporting.figures_flags import Way
from training.reporting.words import Facts, Said, count, days, number, percent, points, say, signed

NAMES: Final = {
    "logistic": "logistic regression",
    "points": "the point card",
    "rule": "the hand rules",
    "base_rate": "chance",
}
SCORED_BY: Final = {"logistic": "logistic regression", "base_rate": "giving everybody the base rate"}
_PANELS: Final = {
    "auc": "AUC (higher is better)",
    "average_precision": "Average precision (higher)",
    "log_loss": "Log loss (lower)",
}

MOST_ROWS: Final = 15
"""Days of the trial in the table; where there are more, some are left out."""


def section(found: Evidence, facts: Facts, horizon: float, nurture: Decision | None) -> dict[str, Any]:
    """Return the pictures, sentences and tables of the sections; `horizon` in days, `nurture` who is worth nurturing."""
    several = len(found.days) > 1
    return {
        "days": pictures.days(found.days) if several else None, "only_day": _moment(found.days[0].day),
        "day_rows": [_day_row(f"day_{day.day:g}", day.day, facts) for day in found.days[:: 1 + len(found.days) // MOST_ROWS]],
        "ahead": pictures.ahead(found.ahead.days, horizon) if found.ahead else None,
        "ahead_words": _ahead(facts) if found.ahead else None,
        "later": _later(found, facts, nurture), "ways": pictures.ways("ways", _panels(found, facts), number),
        "comparisons": [_comparison(way, facts) for way in SIMPLER if f"log_loss_minus_{way}" in facts],
        "rivals": _rivals_picture(found) if found.rivals else None,
        "rival_words": [_rival(one, facts) for one in found.rivals],
        "capacity": list(_capacity(facts)),
    }  # fmt: skip


def _moment(day: float) -> str:
    return f"{number_words(day)} days after they began" if day else "when they begin"


def _day_row(key: str, day: float, facts: Facts) -> dict[str, object]:
    shares = {name: facts.show(f"{key}_{name}", percent) for name in ("base_rate", "precision", "caught")}
    return {
        "day": f"{day:g}", "open": facts.show(f"{key}_open", count), "pqls": facts.show(f"{key}_pqls", count), **shares,
        "auc": facts.show(f"{key}_auc"), "auc_interval": facts.spread(f"{key}_auc"),
        "precision_interval": facts.spread(f"{key}_precision", percent),
        "caught_interval": facts.spread(f"{key}_caught", percent),
    }  # fmt: skip


def _ahead(facts: Facts) -> Said:
    return say(
        "How much time sales had: of the {n} PQLs that converted, half did so within {median} days of becoming one, and the "
        "middle half between {quarter} and {three} days. {buying} converted within a day (95% interval {interval}): they "
        "were already buying, and a call could hardly have helped.",
        n=facts.show("pql_ahead_count", count), median=facts.show("pql_ahead_days", days),
        quarter=facts.show("pql_ahead_days_quarter", days), three=facts.show("pql_ahead_days_three_quarters", days),
        buying=facts.show("pql_buying", percent), interval=facts.spread("pql_buying", percent),
    )  # fmt: skip


def _later(found: Evidence, facts: Facts, nurture: Decision | None) -> list[Said]:
    if found.later is None:
        return []
    told = [_right(facts)] if found.later.old else []
    if found.later.leads:
        return [*told, _nurtured(found.later, facts)]
    if isinstance(nurture, NoCutoff):
        return [*told, say("Nobody is called worth nurturing: {reason}", reason=nurture.reason)]
    return told


def _right(facts: Facts) -> Said:
    return say(
        "The score also tells who converts within {days} days. Over the {n} scores that are old enough to know, conversions "
        "that came over those predicted are {ratio} (95% interval {interval}; 1 is right).",
        days=facts.show("later_days", count), n=facts.show("later_old", count),
        ratio=facts.show("later_observed_to_expected"), interval=facts.spread("later_observed_to_expected"),
    )  # fmt: skip


def _nurtured(found: Later, facts: Facts) -> Said:
    who = say(
        "{n} more leads are worth nurturing: they are no PQLs, and by the score {told} of them convert within {days} days",
        n=facts.show("later_leads", count), told=facts.show("later_expected", percent), days=facts.show("later_days", count),
    )  # fmt: skip
    if not found.known:
        return say("{who}. None of them was flagged long enough ago to know what became of it.", who=who)
    return say(
        "{who}. Of the {known} that were flagged long enough ago to know, {share} did (95% interval {interval}).",
        who=who, known=facts.show("later_known", count), share=facts.show("later_share", percent),
        interval=facts.spread("later_share", percent),
    )  # fmt: skip


def _panels(found: Evidence, facts: Facts) -> list[tuple[str, list[Way]]]:
    labels = {"logistic": "Logistic regression", "base_rate": "Base rate"}
    return [
        (
            _PANELS[name],
            [
                Way("This version", facts.value(name), facts.interval(name)),
                *(Way(labels[way], found.simpler[way][name]) for way in SIMPLER),
            ],
        )
        for name in COMPARED
    ]


def _comparison(way: str, facts: Facts) -> Said:
    """Return whether the version beats a simpler way in log loss."""
    key = f"log_loss_minus_{way}"
    told = say(
        "log loss {gain}, 95% interval {interval}", gain=facts.show(key, signed), interval=facts.spread(key, signed)
    )
    if facts.value(f"{key}_high") < 0:
        template = "Better than {way}, and chance does not explain it: {told}."
    elif facts.value(f"{key}_low") > 0:
        template = "Worse than {way}, and chance does not explain it: {told}."
    else:
        template = "Not clearly better or worse than {way}: {told}, which contains 0."
    return say(template, way=SCORED_BY[way], told=told)


def _rivals_picture(found: Evidence) -> str:
    ours = found.rivals[0].ours
    choices = [("This version", ours)] + [(_label(one), one.other) for one in found.rivals]
    panels = {"Share of the chosen leads that converted": "precision", "Share of all converters chosen": "caught"}
    rows = [
        (title, [Way(label, getattr(one, what).value, getattr(one, what)) for label, one in choices])
        for title, what in panels.items()
    ]
    return pictures.ways("rivals", rows, percent, shares=True)


def _label(rival: Rival) -> str:
    name = NAMES[rival.other.way].removeprefix("the ").capitalize()
    return f"{name} ({rival.other.leads:,} leads)" if rival.other.way == "rule" else name


def _rival(rival: Rival, facts: Facts) -> Said:
    key = f"backtest_{rival.other.way}"
    low, high = facts.value(f"{key}_gain_low"), facts.value(f"{key}_gain_high")
    verdict = (
        "the score is better" if low > 0 else "the score is worse" if high < 0 else "luck can explain the difference"
    )
    how = "The {n} leads that {way} flag" if rival.other.way == "rule" else "{n} leads chosen by {way}"
    return say(
        how + " convert at {theirs} and hold {caught} of the converters; as many chosen by this version convert at {ours} "
        "and hold {own}. Difference {gain} points, 95% interval {interval}: {verdict}.",
        n=facts.show(f"{key}_leads", count), way=NAMES[rival.other.way], theirs=facts.show(f"{key}_precision", percent),
        caught=facts.show(f"{key}_caught", percent), ours=facts.show(f"{key}_ours_precision", percent),
        own=facts.show(f"{key}_ours_caught", percent), gain=facts.show(f"{key}_gain", points),
        interval=facts.spread(f"{key}_gain", points), verdict=verdict,
    )  # fmt: skip


def _capacity(facts: Facts) -> Iterator[dict[str, object]]:
    for share in CAPACITIES:
        key = f"capacity_{100 * share:.0f}"
        yield {
            "share": f"{share:.0%}", "leads": facts.show(f"{key}_leads", count),
            "precision": facts.show(f"{key}_precision", percent), "caught": facts.show(f"{key}_caught", percent),
            "precision_interval": facts.spread(f"{key}_precision", percent),
            "caught_interval": facts.spread(f"{key}_caught", percent),
        }  # fmt: skip
