"""What the values of columns and traits say: that they were written once the outcome was known.

Judges values at snapshots against whether a lead ever converted; times are the business of `timing`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from features.columns import Column
from features.definition import Trait
from features.traits import level_of
from features.vocabulary import number
from features.windows import Floats, Ints
from training.leakage.odds import Bools, Counts, best_classes, classes
from training.leakage.onset import FEWEST, Verdict
from training.leakage.timing import TELLING_TIMES_EVER, tells

FEWEST_OF_A_LEVEL = 3
MANY_LEVELS = 50
FEWEST_TO_NUMBER = 20
UNIQUE = 0.95
USUAL = 0.4
COLUMN_SHARE = 0.3
"""Of converters; at the last snapshot many have yet to do what will be marked."""
RUNNING = 0.98
SURE_OF_ORDER = 2.5


def judge_columns(
    rows: Floats, places: Sequence[int], columns: Sequence[Column], won: Bools, half: Bools
) -> Verdict | None:
    """Return what is wrong with a signal by the values of its columns, which stand at `places`; None where nothing is."""
    for place in places:
        of, measure = classes(rows[:, place]), columns[place].measure
        # The tail of an honest count marks converters too; that it happened at all must not. A mean says nothing by being there.
        counts = best_classes(of if measure and measure.how == "mean" else np.minimum(of, 2), won, half)
        if tells(counts, COLUMN_SHARE, TELLING_TIMES_EVER):
            why = f"{columns[place].name} marks {_words(counts)}: no behaviour tells that much"
            return Verdict("too_good", why, _figures(counts))
    return None


def judge_trait(trait: Trait, values: Sequence[object], started_at: Ints, won: Bools, half: Bools) -> Verdict | None:
    """Return what is wrong with a trait by its values, one per lead, None where nothing is."""
    spelled = [level_of(value) for value in values]
    numbers = np.array([number(value) for value in values]) if trait.type == "number" else None
    named = _is_identifier(trait, numbers, spelled)
    usual = None if trait.type == "flag" else _usual(spelled)
    filled = np.array([one is not None and one != usual for one in spelled])
    presence = best_classes(filled.astype(np.int64), won, half)
    if tells(presence):
        says = "is" if filled[won].mean() < filled[~won].mean() else "is not"
        what = "empty" if usual is None else repr(usual)
        why = f"it {says} {what} for {_words(presence)}: it is written once the outcome is known"
        return Verdict("identifier" if named else "outcome_in_trait", why, _figures(presence))
    counts = best_classes(classes(numbers) if numbers is not None else _levels(spelled), won, half)
    if tells(counts):
        if named:
            return Verdict("identifier", f"it is an identifier whose values mark {_words(counts)}", _figures(counts))
        why = f"its values mark {_words(counts)}: it holds the outcome, or was written once that was known"
        return Verdict("outcome_in_trait", why, _figures(counts))
    if numbers is not None and named:
        return _running_number(numbers, started_at, won)
    return None


def _usual(spelled: Sequence[str | None]) -> str | None:
    """Return the value that two in five leads share, which is as good as none, such as 0 seats or no plan."""
    there = Counter(one for one in spelled if one is not None)
    value, count = there.most_common(1)[0] if there else (None, 0)
    return value if count >= USUAL * len(spelled) else None


def _levels(spelled: Sequence[str | None]) -> Ints:
    """Return the class of each category: 0 for none, 1 for those that hardly anybody has, one each for the others."""
    names, of, counts = np.unique([one or "" for one in spelled], return_inverse=True, return_counts=True)
    number_of = np.arange(2, len(names) + 2)
    number_of[counts < FEWEST_OF_A_LEVEL] = 1
    number_of[names == ""] = 0
    return np.asarray(number_of[of], np.int64)


def _is_identifier(trait: Trait, numbers: Floats | None, spelled: Sequence[str | None]) -> bool:
    there = [one for one in spelled if one is not None]
    levels = len(set(there))
    if len(there) < FEWEST_TO_NUMBER:
        return False
    if numbers is None:
        return trait.type == "category" and levels >= MANY_LEVELS
    whole = numbers[~np.isnan(numbers)]
    return levels >= UNIQUE * len(there) and bool((whole == np.round(whole)).all())


def _running_number(numbers: Floats, started_at: Ints, won: Bools) -> Verdict | None:
    """Return a verdict where a number that nobody shares counts leads in the order of their starts, and predicts."""
    known = ~np.isnan(numbers)
    value, start, mine = _ranks(numbers[known]), _ranks(started_at[known].astype(np.float64)), won[known]
    order = float(np.corrcoef(value, start)[0, 1])
    if abs(order) < RUNNING or min(mine.sum(), (~mine).sum()) < FEWEST:
        return None
    n, m = int(mine.sum()), int((~mine).sum())
    area = (value[mine].sum() - n * (n - 1) / 2) / (n * m)
    if abs(area - 0.5) < SURE_OF_ORDER * np.sqrt((n + m + 1) / (12.0 * n * m)):
        return None
    why = "it is a running number: it follows the order in which trials began, so all it tells is when that was"
    return Verdict("identifier", why, {"order": order, "auc": float(area)})


def _ranks(values: Floats) -> Floats:
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks


def _words(counts: Counts) -> str:
    return f"{counts.share:.0%} of those who convert and {counts.share_of_others:.1%} of others"


def _figures(counts: Counts) -> dict[str, float]:
    return {"converters": counts.share, "others": counts.share_of_others}
