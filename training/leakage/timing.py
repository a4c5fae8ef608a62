"""What a signal's times say against other leads of the same age: dated back, arrived too late, or telling the outcome.

Judges first times seen from conversions; knows nothing of files, logs or definitions.
"""

from __future__ import annotations

import numpy as np

from features.windows import Floats
from training.leakage.moments import Course, Moments
from training.leakage.odds import Bools, Counts
from training.leakage.onset import FEWEST, MOSTLY, Verdict, around_conversion, onset

MOSTLY_OF_ACCOUNT = 0.65
"""Less than for a lead's own events: colleagues' conversions have consequences in the account too."""
NEAR_ODDS = 10.0
TELLING_ODDS, TELLING_TIMES, TELLING_SHARE = 20.0, 5.0, 0.45
"""A strong honest driver makes a conversion up to ten times as likely; what is beyond these, with caution, tells it."""
TELLING_TIMES_EVER = 8.0
"""Beyond this with other leads' whole histories against it too: most honest drivers happen to many sooner or later."""
UNARRIVED, USUALLY_UNARRIVED = 0.5, 0.2


def judge(course: Course, seen: Moments, *, by_account: bool, usually_unarrived: float) -> Verdict | None:
    """Return what is wrong with a signal by its times, None where nothing is.

    `usually_unarrived` is the share of what other signals' converters did that had not arrived by their conversion.
    """
    if verdict := _unarrived(course, seen, usually_unarrived):
        return verdict
    lead_time, case = course.lead_time, seen.case
    found = onset(lead_time[case], seen.age[case])
    verdict = around_conversion(found, MOSTLY_OF_ACCOUNT if by_account else MOSTLY)
    close = Counts.of((lead_time > 0) & (lead_time <= found.close), case)
    # What others do as often at the same age is a matter of age.
    if verdict and (found.after >= found.near or not close.others or close.odds() >= NEAR_ODDS):
        return verdict
    return _telling(lead_time, case, found.close)


def unarrived(course: Course, seen: Moments) -> tuple[int, int]:
    """Return how many converters' first times are dated before the conversion but arrived after it, and of how many."""
    dated = seen.case & (course.lead_time > 0)
    return int((dated & (course.known_for <= 0)).sum()), int(dated.sum())


def _unarrived(course: Course, seen: Moments, usually: float) -> Verdict | None:
    late, dated = unarrived(course, seen)
    if late < FEWEST or late < UNARRIVED * dated or usually > USUALLY_UNARRIVED:
        return None
    return Verdict(
        "back_dated",
        f"in {late / dated:.0%} of {dated:,} conversions it is dated before the conversion but arrived only after it "
        f"(for other signals that is so in {usually:.0%})",
        {"dated_before": dated, "arrived_after": late, "usually": usually},
    )


def _telling(lead_time: Floats, case: Bools, close: float) -> Verdict | None:
    """Return that nearly all who convert had done it and nearly nobody else, neither by the same age nor ever."""
    ever = Counts.of(np.where(case, lead_time > 0, ~np.isnan(lead_time)), case)
    if ever.times() < TELLING_TIMES_EVER:
        return None
    for having, when in ((lead_time > close, "in good time before"), (lead_time > 0, "before")):
        counts = Counts.of(having, case)
        if tells(counts):
            why = (
                f"{counts.share:.0%} of converters did it {when} converting, and of other leads {counts.share_of_others:.1%} "
                f"by the same age and {ever.share_of_others:.1%} ever: more than any behaviour brings about"
            )
            return Verdict("too_good", why, {"converters": counts.share, "others": counts.share_of_others})
    return None


def tells(counts: Counts, share: float = TELLING_SHARE, times: float = TELLING_TIMES) -> bool:
    """Whether something tells the outcome beyond what an honest driver can.

    `share` of converters must have it, and be surely more than `times` as many as of others.
    """
    enough = counts.won_with >= FEWEST and counts.share >= share
    return enough and counts.odds() >= TELLING_ODDS and counts.times() >= times
