"""Champion and challenger: whether a new version goes into service, judged on trials that it did not learn from.

A challenger is promoted where three things hold.

1. It found a signal: a version that ended in a refusal is never promoted.
2. It is not worse than the champion. Both score the same trials, the newest whose outcome is known; the difference in log
   loss has a 95 % interval over resampled accounts. Clearly better (all of the interval below 0) wins, clearly worse (all
   of it above 0) loses. Between the two chance decides, so something else must: a challenger that learned from newer data
   or was asked for something else by its definition wins the tie, unless it looks worse by more than a tenth of what the
   champion gains over the base rate. Without the first rule a champion could never be replaced by a newer one that is as
   good, and would grow old; without the limit a small test could put a much worse one into service. A challenger that
   has nothing new must be clearly better.
3. It is calibrated on those trials, or the champion is calibrated worse. Cox's test of intercept 0 and slope 1 must not
   reject at 0.1 %, which 999 of 1,000 perfect scores pass. It knows the luck of the test trials only, not that of the trials
   which calibrated the score, so at a usual level it would keep many honest versions of small products out. Where it does
   reject, the miscalibration must be too small to matter, for large tests reject what nobody would notice: a straight line
   through the log-odds would gain less than a twentieth of what the score gains over the base rate.

The champion may have learned from some of the test trials, where its own test began later than this one. They are left
out where enough others remain; where too few do, all count, which favours the champion, and the verdict says so.

Where there is no champion, or none that can be compared, the version must be better than the base rate with its whole
interval, and calibrated. A version without a cutoff may be promoted: it ranks. The verdict says so loudly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, logit

from features.dataset import Dataset
from features.errors import PQLError
from features.times import parse_instant
from features.windows import Floats
from serving.scoring.artifact import Artifact
from serving.scoring.scorer import Scorer
from training import evaluate
from training.cutoff_words import why_nobody
from training.judging.recalibration import cox_test, line
from training.pipeline import Trained

FEWEST: Final = 20
"""Leads of either outcome that the champion cannot know: where there are fewer, all test trials count."""
MOST_LOST: Final = 0.1
"""Of the champion's gain over the base rate: what a challenger may seem to lose where chance can explain it."""
LEVEL: Final = 0.001
LEAST_COST: Final = 0.05
"""Of a score's gain over the base rate: miscalibration that costs less does not keep a version out of service."""


@dataclass(frozen=True)
class Verdict:
    """Whether to promote, and why, in one sentence for people.

    `figures` are the numbers behind it, by name; `champion` is the content name of the version it was compared with.
    """

    promote: bool
    why: str
    figures: Mapping[str, float] = field(default_factory=dict)
    champion: str | None = None


@dataclass(frozen=True)
class Calibration:
    """How well probabilities fit outcomes: the p-value of Cox's test, and what its line would gain in log loss."""

    p_value: float
    cost: float
    observed_to_expected: float
    gain: float

    @property
    def good(self) -> bool:
        """Whether nothing speaks against it: a test that cannot be made does not."""
        return not self.p_value < LEVEL or self.cost <= LEAST_COST * self.gain


def judge(trained: Trained, champion: Artifact | None, data: Dataset, seed: int) -> Verdict:
    """Return whether a trained version should go into service; the module says by which rules."""
    if trained.refusal is not None:
        return Verdict(promote=False, why=f"Not promoted: {trained.refusal}")
    if champion is None:
        return _loud(_alone(trained, "the first version"), trained)
    if champion.version == trained.artifact.version:
        same = "the same data and definition made the version that is in service"
        return Verdict(promote=False, why=f"Not promoted: {same}.", champion=champion.version)
    theirs = _champion_probabilities(trained, champion, data)
    if isinstance(theirs, str):
        verdict = _alone(trained, theirs)
    else:
        verdict = _compared(trained, trained.predictions.assign(champion=theirs), champion, seed)
    return replace(_loud(verdict, trained), champion=champion.version)


def _champion_probabilities(trained: Trained, champion: Artifact, data: Dataset) -> Floats | str:
    """Return the champion's probabilities for the test snapshots, or why it has none that could be compared."""
    if champion.training.get("horizon_days") != trained.artifact.training["horizon_days"]:
        return "the definition asks for another horizon than the champion was made for"
    if champion.definition.lead != data.definition.lead:
        return f"the definition scores {data.definition.lead}s, and the champion {champion.definition.lead}s"
    test = trained.table.take(trained.split.test)
    try:
        scorer = Scorer(champion)
        return scorer.probabilities(data.under(champion.definition).rows(scorer.builder, test.lead, test.as_of))
    except PQLError as error:
        return f"the champion cannot score this data ({error})"


def _alone(trained: Trained, because: str) -> Verdict:
    gain, table = trained.against["base_rate"], trained.predictions
    found = calibration_of(table, "probability")
    figures = {**_sizes(table, table), **_told(found), "log_loss_minus_base_rate": gain.value}
    if not gain.high < 0:
        interval = f"95% interval {gain.low:+.4f} to {gain.high:+.4f}"
        why = f"Not promoted: log loss {gain.value:+.4f} against the base rate ({interval}) is no clear gain."
        return Verdict(promote=False, why=why, figures=figures)
    if not found.good:
        return Verdict(promote=False, why=f"Not promoted: {_off(found)}.", figures=figures)
    why = f"Promoted: {because}, and better than the base rate by {-gain.value:.4f} log loss."
    return Verdict(promote=True, why=why, figures=figures)


def _compared(trained: Trained, table: pd.DataFrame, champion: Artifact, seed: int) -> Verdict:
    new = _new_to(champion, trained)
    judged, enough = table[new], _enough(table[new])
    if not enough:
        judged = table
    ours, theirs = (calibration_of(judged, name) for name in ("probability", "champion"))
    difference = evaluate.compare(judged, "probability", "champion", evaluate.log_loss, seed)
    limit = MOST_LOST * max(0.0, theirs.gain)
    wins, because = _tied(difference, limit, _what_is_new(trained, champion))
    if wins and not ours.good and theirs.cost < ours.cost:
        wins, because = False, f"and {_off(ours)}, and the champion is calibrated better"
    figures = {
        **_sizes(judged, table), **_told(ours), **{f"champion_{name}": value for name, value in _told(theirs).items()},
        "log_loss_minus_champion": difference.value, "log_loss_minus_champion_low": difference.low,
        "log_loss_minus_champion_high": difference.high, "most_that_may_be_lost": limit,
    }  # fmt: skip
    why = (
        f"{'Promoted' if wins else 'Not promoted'}: log loss {difference.value:+.4f} against the champion, "
        f"95% interval {difference.low:+.4f} to {difference.high:+.4f}, on the same {_leads(judged):,} test trials: "
        f"{because}.{_overlap(table, new, left_out=enough)}"
    )
    return Verdict(promote=wins, why=why, figures=figures)


def _tied(difference: evaluate.Interval, limit: float, news: str | None) -> tuple[bool, str]:
    """Return whether a difference in log loss lets the challenger win, and why."""
    if difference.high < 0:
        return True, "it is better"
    if difference.low > 0:
        return False, "it is worse"
    alike = "both score alike" if difference.low == difference.high else "chance can explain the difference"
    if news is None:
        return False, f"{alike}, and it has learned nothing that the champion did not know"
    if difference.value > limit:
        return False, f"{alike}, but it is more than a tenth of the champion's gain"
    return True, f"{alike}, and {news}"


def _what_is_new(trained: Trained, champion: Artifact) -> str | None:
    """Return what speaks for the challenger where both are as good; None where nothing does."""
    ours, theirs = (_moment(one.training.get("data_until")) for one in (trained.artifact, champion))
    if theirs is None or (ours is not None and ours > theirs):
        return "it learned from newer data"
    if ours == theirs and trained.artifact.definition != champion.definition:
        return "its definition asks for something else"
    return None


def _moment(text: str | None) -> int | None:
    return None if text is None else parse_instant(text, "the time in a version")


def _new_to(champion: Artifact, trained: Trained) -> npt.NDArray[np.bool_]:
    """Return which test snapshots are of trials that began when the champion learned no more: from its own test on."""
    started, stopped = trained.table.started_at[trained.split.test], _moment(champion.training.get("test_from"))
    return started >= (int(started.min()) if stopped is None else stopped)


def _enough(table: pd.DataFrame) -> bool:
    won = table.loc[table["converted"] == 1, "lead_id"].nunique()
    return bool(min(won, _leads(table) - won) >= FEWEST)


def _overlap(table: pd.DataFrame, new: npt.NDArray[np.bool_], *, left_out: bool) -> str:
    known = _leads(table[~new])
    if not known:
        return ""
    fate = "they are left out" if left_out else "too few others converted, so they count, in its favour"
    return f" The champion may have learned from {known:,} of the test trials; {fate}."


def calibration_of(table: pd.DataFrame, column: str) -> Calibration:
    """Return how well the probabilities of a column fit the outcomes of test snapshots."""
    outcomes, weight = table["converted"].to_numpy(), evaluate.row_weights(table)
    probabilities, usual = table[column].to_numpy(np.float64), table["base_rate"].to_numpy(np.float64)
    test = cox_test(outcomes, probabilities, table["account"])
    cost = 0.0
    loss = evaluate.log_loss(outcomes, probabilities, weight)
    if not np.isnan(test.p_value):
        intercept, slope = line(outcomes, probabilities, weight, slope_too=True)
        straight = expit(intercept + slope * logit(probabilities))
        cost = loss - evaluate.log_loss(outcomes, straight, weight)
    gain = evaluate.log_loss(outcomes, usual, weight) - loss
    return Calibration(test.p_value, cost, evaluate.observed_to_expected(outcomes, probabilities, weight), gain)


def _told(found: Calibration) -> dict[str, float]:
    return {
        "calibration_p": found.p_value, "calibration_cost": found.cost, "gain_over_base_rate": found.gain,
        "observed_to_expected": found.observed_to_expected,
    }  # fmt: skip


def _off(found: Calibration) -> str:
    seen = f"{found.observed_to_expected:.2f} conversions for each one that was predicted"
    return f"it is not calibrated: {seen}, and chance explains its intercept and slope with p = {found.p_value:.1g}"


def _sizes(judged: pd.DataFrame, table: pd.DataFrame) -> dict[str, float]:
    won = judged.loc[judged["converted"] == 1, "lead_id"].nunique()
    leads = _leads(judged)
    return {"judged_leads": leads, "judged_converted": won, "left_out_leads": _leads(table) - leads}


def _leads(table: pd.DataFrame) -> int:
    return int(table["lead_id"].nunique())


def _loud(verdict: Verdict, trained: Trained) -> Verdict:
    nobody = why_nobody(trained.artifact.decision)
    if not verdict.promote or nobody is None:
        return verdict
    return replace(verdict, why=f"{verdict.why} BUT IT HAS NO CUTOFF, so nobody is called a PQL: {nobody}")
