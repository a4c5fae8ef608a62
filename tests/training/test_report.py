"""The report says what was found, loudly where it is bad, and never lets a text of others become markup."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from features.dataset import dataset
from features.definition import parse
from features.errors import Refusal
from features.rejections import Rejection
from serving.scoring.decision import Cutoff, Line, NoCutoff, Segmented
from training import evaluate, record
from training import leaks as leaks_module
from training.demo import simulate
from training.judging import evidence
from training.judging.backtest import Day, Later
from training.judging.breakdown import Part
from training.judging.choices import precision_curve
from training.judging.recalibration import CoxTest
from training.judging.reliability import Decomposition, reliability_of
from training.ladder import Step
from training.leaks import Leak
from training.pipeline import Settings, train
from training.report import render, render_refusal
from training.reporting import figures, figures_calibration, figures_flags, figures_model
from training.reporting import model as report_model
from training.reporting.words import number, percent

if TYPE_CHECKING:
    from features.dataset import Dataset
    from serving.scoring.decision import Decision
    from training.judging.evidence import Evidence
    from training.pipeline import Trained

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> \"' & {{ 7*7 }}"
NOT_KNOWN = evaluate.Interval(float("nan"), float("nan"), float("nan"))
ON_DAY_3 = Day(3.0, 5, NOT_KNOWN, NOT_KNOWN, 0, NOT_KNOWN, NOT_KNOWN)
WHY = "Promoted: better than version 3 on the same test trials."


@pytest.fixture(scope="module")
def small_text(definition_text: str) -> str:
    return re.sub(r"at_least: [0-9.]+", "at_least: 0.2", definition_text)


@pytest.fixture(scope="module")
def history(small_text: str) -> Dataset:
    """A world smaller than the other tests', since each page shows every picture of it."""
    demo = simulate(500)
    return dataset(demo.events, demo.trials, parse(small_text))


@pytest.fixture(scope="module")
def trained(history: Dataset, small_text: str) -> Trained:
    return train(history, small_text, Settings())


@pytest.fixture(scope="module")
def page(trained: Trained, history: Dataset) -> str:
    return render(trained, history, trained.artifact.version, WHY)


@pytest.fixture
def words_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes long: most tests read words, and look at no picture."""
    monkeypatch.setattr(figures, "picture", lambda *_, **__: "<svg></svg>")
    monkeypatch.setattr(record, "evidence_of", _evidence)


KNOWN: dict[int, tuple[object, Evidence]] = {}


def _evidence(trained: Trained) -> Evidence:
    """The evidence of each table of predictions found once; the table is kept so that its number stays its own."""
    table = trained.daily
    if id(table) not in KNOWN:
        KNOWN[id(table)] = table, evidence.evidence(table, pd.Timestamp(trained.artifact.training["data_until"]))
    return KNOWN[id(table)][1]


def text_of_page(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<(style|svg).*?</\1>", " ", page, flags=re.S)))


def test_every_figure_stands_in_the_page_with_its_interval(page: str, trained: Trained) -> None:
    words = text_of_page(page)
    for figure in trained.figures.values():
        assert number(figure.value) in words
        assert f"{number(figure.low)} to {number(figure.high)}" in words


def test_the_headline_says_the_promise_and_what_became_of_it(page: str, trained: Trained) -> None:
    kept = trained.promise.precision
    assert kept is not None
    headline = re.search(r"<h1[^>]*>(.*?)</h1>", page, re.S)
    assert headline is not None
    assert trained.promise.asked_for is not None
    assert f"at least {100 * trained.promise.asked_for:.3g} convert" in headline[1]
    assert f"{100 * kept.value:.0f} of 100 did" in re.sub(r"<[^>]+>", "", headline[1])


def test_the_page_loads_nothing_and_runs_nothing(page: str) -> None:
    assert "<script" not in page
    assert not re.search(r"(src|href)\s*=\s*[\"']?\s*(https?:)?//", page)
    assert not re.search(r"url\((?!#)", page)
    assert "@import" not in page
    assert page.count("<style") == 1, "a picture's own style would be the whole page's"


def test_every_picture_has_a_caption_and_ids_of_its_own(page: str) -> None:
    figures_shown = re.findall(r"<figure.*?</figure>", page, re.S)
    assert len(figures_shown) >= 6
    assert all(re.search(r"<figcaption[^>]*>\s*\S", one) for one in figures_shown)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_the_same_version_gives_the_same_bytes(page: str, trained: Trained, history: Dataset) -> None:
    assert render(trained, history, trained.artifact.version, WHY) == page


def test_hostile_words_stay_words(trained: Trained, history: Dataset) -> None:
    refused = Rejection("events", HOSTILE, 3, (HOSTILE,))
    artifact = replace(
        trained.artifact, definition_text=trained.artifact.definition_text.replace("Corkboard", "X" + "</h1>")
    )
    tricked = replace(trained, artifact=artifact, weights=[(HOSTILE, 2.0), *trained.weights])
    page = render(tricked, replace(history, rejections=(refused,)), HOSTILE, HOSTILE)
    assert "<script" not in page
    assert "<img" not in page
    assert "X</h1>" not in page
    assert "{{ 7*7 }}" in page.replace("&#34;", '"')
    assert "&lt;script&gt;" in page


@pytest.mark.usefixtures("words_only")
def test_no_cutoff_is_said_first_and_why(trained: Trained, history: Dataset) -> None:
    decision = NoCutoff(0.3, 0.9, "of the 30 highest-scored leads only 5 converted.")
    predictions = trained.daily.assign(is_pql=False)
    without = replace(
        trained,
        artifact=replace(trained.artifact, decision=decision),
        daily=predictions,
        promise=evaluate.promise(predictions, decision),
    )
    page = render(without, history, None, "Promoted.")
    headline = re.search(r"<h1[^>]*>(.*?)</h1>", page, re.S)
    assert headline is not None
    assert "no cutoff" in headline[1]
    assert "Of the 30 highest-scored leads only 5 converted." in text_of_page(page)


@pytest.mark.usefixtures("words_only")
@pytest.mark.parametrize("rung", ["scorecard", "lightgbm"])
def test_trees_are_spoken_of_only_where_they_were_taken(trained: Trained, history: Dataset, rung: str) -> None:
    artifact = replace(trained.artifact, rung=rung, training={**trained.artifact.training, "trees": 1})
    words = text_of_page(render(replace(trained, artifact=artifact), history, None, WHY))
    assert ("1 tree was worth keeping" in words) == (rung == "lightgbm")


@pytest.mark.usefixtures("words_only")
def test_no_signal_is_said_first(trained: Trained, history: Dataset) -> None:
    page = render(replace(trained, refusal=Refusal("no signal: chance explains it.")), history, None, "Not promoted.")
    headline = re.search(r"<h1[^>]*>(.*?)</h1>", page, re.S)
    assert headline is not None
    assert "No signal" in headline[1]


@pytest.mark.usefixtures("words_only")
def test_a_broken_promise_is_not_called_kept(trained: Trained, history: Dataset) -> None:
    broken = replace(trained.promise, precision=evaluate.Interval(0.1, 0.05, 0.15))
    page = render(replace(trained, promise=broken), history, None, WHY)
    assert "The promise was not kept" in page


def test_a_refusal_says_why_and_what_was_seen(history: Dataset) -> None:
    page = render_refusal(Refusal("12 mature leads with 0 conversions. Wait for more history."), history)
    words = text_of_page(page)
    assert "12 mature leads with 0 conversions" in words
    assert f"{history.n_events:,}" in words
    assert f"{len(history.trials):,}" in words


def test_a_refusal_without_data_still_says_why() -> None:
    assert "nothing to learn from" in render_refusal(Refusal("nothing to learn from."), None)


def test_what_became_of_the_leads_adds_up(page: str, history: Dataset) -> None:
    table = re.search(r"What became of each lead.*?</table>", page, re.S)
    assert table is not None
    counts = [int(one.replace(",", "")) for one in re.findall(r"<td[^>]*>\s*([\d,]+)\s*</td>", table[0])]
    assert sum(counts[:-1]) == counts[-1] == len(history.trials)


@pytest.mark.parametrize("flagged", [True, False], ids=["all PQL", "none PQL"])
def test_pictures_hold_for_the_extremes(trained: Trained, history: Dataset, *, flagged: bool) -> None:
    predictions = trained.daily.assign(is_pql=flagged)
    promise = evaluate.promise(predictions, trained.artifact.decision)
    page = render(replace(trained, daily=predictions, promise=promise), history, None, WHY)
    assert "nan" not in text_of_page(page).lower().split()


def test_pictures_hold_for_a_handful_of_leads(trained: Trained, history: Dataset) -> None:
    won = trained.daily["converted"].to_numpy()
    few = np.concatenate([np.flatnonzero(won == 1)[:2], np.flatnonzero(won == 0)[:6]])
    some = trained.daily.iloc[np.sort(few)].reset_index(drop=True)
    curve = reliability_of(some)
    assert (np.diff(curve.observed) >= 0).all()
    assert 0 <= curve.inside <= 1
    flags = precision_curve(some, history.definition.cutoff.confidence)
    assert flags.flagged[-1] == some["lead_id"].nunique()
    assert flags.caught[-1] == 1
    assert figures_calibration.reliability(curve).startswith("<svg")


def test_the_reliability_band_holds_a_score_that_is_right(trained: Trained) -> None:
    rng = np.random.default_rng(3)
    p = trained.daily["probability"].to_numpy()
    right = trained.daily.assign(converted=(rng.random(len(p)) < p).astype(int))
    wrong = trained.daily.assign(converted=(rng.random(len(p)) < p**2).astype(int))
    assert reliability_of(right).inside > 0.6
    assert reliability_of(wrong).inside < 0.5


def test_percentages_are_said_as_people_say_them() -> None:
    assert [percent(share) for share in (0.0, 0.0034, 0.0996, 0.5, 1.0)] == ["0%", "0.3%", "10%", "50%", "100%"]
    assert [number(value) for value in (0.12345, -0.0621, 1.0, float("nan"))] == ["0.123", "-0.062", "1.000", "-"]


def test_the_caught_and_the_promised_stand_beside_the_precision(page: str, trained: Trained) -> None:
    words, kept = text_of_page(page), trained.promise
    assert kept.precision is not None
    assert f"{percent(kept.precision.value)} of PQLs converted" in words
    assert f"{percent(kept.caught)} of converters were PQLs" in words
    assert f"{kept.leads:,} PQLs in all" in words


def test_the_curve_goes_through_the_cutoff_that_was_chosen(trained: Trained, history: Dataset) -> None:
    flags = precision_curve(trained.daily, history.definition.cutoff.confidence)
    kept = trained.promise
    assert kept.precision is not None
    assert np.interp(kept.leads, flags.flagged, flags.precision) == pytest.approx(kept.precision.value, abs=0.05)
    assert np.interp(kept.leads, flags.flagged, flags.caught) == pytest.approx(kept.caught, abs=0.05)
    assert (flags.low <= flags.precision).all()
    assert (np.diff(flags.caught) >= 0).all()


@pytest.mark.parametrize(("found", "says"), [((-0.02, -0.03, -0.01), "Better than"), ((0.02, 0.01, 0.03), "Worse than"),
                                             ((0.0, -0.01, 0.01), "Not clearly better or worse than")])  # fmt: skip
@pytest.mark.usefixtures("words_only")
def test_a_comparison_says_what_its_interval_says(
    trained: Trained, history: Dataset, found: tuple[float, float, float], says: str
) -> None:
    page = render(replace(trained, against={"logistic": evaluate.Interval(*found)}), history, None, WHY)
    assert f"{says} logistic regression" in text_of_page(page)


@pytest.mark.parametrize(
    ("low", "high", "says"), [(0.9, 1.1, "look right"), (0.7, 0.9, "too high"), (1.1, 1.3, "too low")]
)
@pytest.mark.usefixtures("words_only")
def test_calibration_is_judged_by_its_interval(
    trained: Trained, history: Dataset, low: float, high: float, says: str
) -> None:
    found = {**trained.figures, "observed_to_expected": evaluate.Interval((low + high) / 2, low, high)}
    words = text_of_page(render(replace(trained, figures=found), history, None, WHY))
    assert f"On average they {'' if says == 'look right' else 'are '}{says} (observed / expected" in words


@pytest.mark.usefixtures("words_only")
def test_one_signal_that_is_nearly_all_of_the_score_is_doubted(page: str, trained: Trained, history: Dataset) -> None:
    assert "Too good to be true?" not in page
    heavy = replace(trained, weights=[("invoices_paid", 9.0), ("logins", 1.0)])
    assert "“Invoices paid” alone makes 90% of the score" in text_of_page(render(heavy, history, None, WHY))


def test_signals_of_hardly_any_weight_are_counted_and_not_drawn(trained: Trained, history: Dataset) -> None:
    three = replace(trained, weights=[("logins", 1.0), ("exports", 0.02), ("themes", 0.001)])
    page = render(three, history, None, WHY)
    assert "Exports" in page
    assert "Themes" not in page
    assert "1 more signal moves it hardly or not at all" in text_of_page(page)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures_model.bars([]),
        lambda: figures_model.bars([figures_model.Bar("$x^{", 0.0, "</svg><script>")]),
        lambda: figures_flags.days([ON_DAY_3]),
        lambda: figures_flags.days(
            [ON_DAY_3, replace(ON_DAY_3, day=7.0, auc=evaluate.Interval(0.5, 0.5, 0.5), pqls=4)]
        ),
        lambda: figures_flags.ahead(np.array([0.0]), 0.5),
        lambda: figures_model.learning(np.array([0.3, 0.2]), 1),
        lambda: figures_model.learning(np.array([0.3]), 1),
    ],
    ids=["no signal", "hostile signal", "one day, one outcome", "nobody on a day", "one PQL", "one tree", "no tree"],
)
def test_a_picture_of_next_to_nothing_is_still_a_picture(draw: Callable[[], str]) -> None:
    found = draw()
    assert found.startswith("<svg")
    assert found.count("</svg>") == 1
    assert "<script" not in found
    assert "nan" not in found


@pytest.mark.parametrize("won", [0, 1], ids=["none converted", "all converted"])
def test_curves_hold_where_all_came_out_the_same(trained: Trained, history: Dataset, won: int) -> None:
    same = trained.daily.head(5).assign(converted=won)
    promise = evaluate.promise(same.assign(is_pql=True), trained.artifact.decision)
    assert figures_flags.cutoff(precision_curve(same, history.definition.cutoff.confidence), promise).startswith("<svg")
    assert figures_calibration.reliability(reliability_of(same)).startswith("<svg")


def test_a_day_on_which_all_came_out_the_same_has_no_ranking_and_does_no_harm(
    trained: Trained, history: Dataset
) -> None:
    table = trained.daily
    flat = table.assign(converted=table["converted"].where(table["trial_day"] != 10, 0))
    assert "<svg" in render(replace(trained, daily=flat), history, None, WHY)


def test_pictures_need_no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    assert figures_model.bars([figures_model.Bar("logins", 0.5, "value")]).startswith("<svg")


# --- what was left out, and how it was chosen -------------------------------------------------


@pytest.mark.usefixtures("words_only")
def test_what_leaks_is_named_with_its_reason_and_what_is_trusted_with_a_warning(
    trained: Trained, history: Dataset
) -> None:
    leaks = (
        Leak("invoices_paid", "consequence", "follows 96% of conversions", {}),
        Leak("company_size", "outcome_in_trait", "is known of converters only", {}, trusted=True),
    )
    words = text_of_page(render(replace(trained, leaks=leaks), history, None, WHY))
    left, kept = words.index("so they were left out"), words.index("so it was kept")
    assert left < words.index("Invoices paid") < kept
    assert kept < words.index("is known of converters only")
    assert "follows 96% of conversions." in words


@pytest.mark.usefixtures("words_only")
def test_without_leaks_nothing_is_said_of_them(trained: Trained, history: Dataset) -> None:
    assert "gave the answer away" not in render(replace(trained, leaks=()), history, None, WHY)


def test_every_kind_of_leak_has_words() -> None:
    assert set(report_model._KINDS) >= set(leaks_module.KINDS)


@pytest.mark.usefixtures("words_only")
def test_each_step_of_the_ladder_says_whether_it_was_taken_and_why(trained: Trained, history: Dataset) -> None:
    step = Step("lightgbm", "scorecard", evaluate.Interval(0.001, -0.002, 0.004), False, "lightGBM is no better.")
    words = text_of_page(render(replace(trained, ladder=(step,)), history, None, WHY))
    assert "The scorecard with LightGBM: not taken. LightGBM is no better." in words
    assert "In use:" not in text_of_page(render(replace(trained, ladder=()), history, None, WHY))


@pytest.mark.usefixtures("words_only")
def test_what_tuning_tried_is_shown_where_it_tried_something(trained: Trained, history: Dataset) -> None:
    tried = {"candidates": 40, "chosen": {"ridge": 12.5, "names": ["a", "b"]}, "held_out_log_loss": 0.24312}
    words = text_of_page(render(replace(trained, tried=tried), history, None, WHY))
    assert "Candidates 40 Chosen ridge 12.5, names a; b Held out log loss 0.2431" in words
    assert "Settings were tuned" not in render(replace(trained, tried=None), history, None, WHY)


# --- calibration ------------------------------------------------------------------------------


def with_evidence(monkeypatch: pytest.MonkeyPatch, trained: Trained, **changes: Any) -> None:
    found = replace(_evidence(trained), **changes)
    monkeypatch.setattr(record, "evidence_of", lambda _: found)


@pytest.mark.usefixtures("words_only")
@pytest.mark.parametrize(
    ("found", "says"),
    [
        (0.006, "so nothing speaks against this one"),
        (0.02, "and 95 of 100 would show less than this one"),
        (0.001, "so nothing"),
    ],
)
def test_miscalibration_is_judged_by_what_a_perfect_score_would_show(
    trained: Trained, history: Dataset, monkeypatch: pytest.MonkeyPatch, found: float, says: str
) -> None:
    with_evidence(monkeypatch, trained, decomposition=Decomposition(found, 0.004, 0.011, 0.1, 0.3))
    words = text_of_page(render(trained, history, None, WHY))
    assert f"its miscalibration is {found:.4f} . A perfect score of this size would show 0.0040 to 0.0110" in words
    assert says in words


@pytest.mark.usefixtures("words_only")
@pytest.mark.parametrize(
    ("chance", "says"),
    [
        (0.24, "24% of perfect scores"),
        (0.0001, "fewer than 1 in 1,000 of perfect scores"),
        (float("nan"), "cannot be tested"),
    ],
)
def test_the_cox_test_is_said_in_words(
    trained: Trained, history: Dataset, monkeypatch: pytest.MonkeyPatch, chance: float, says: str
) -> None:
    with_evidence(monkeypatch, trained, cox=CoxTest(2.0, chance, clustered=True))
    assert says in text_of_page(render(trained, history, None, WHY))


@pytest.mark.usefixtures("words_only")
@pytest.mark.parametrize("off", [False, True])
def test_parts_in_which_the_score_is_off_are_counted(
    trained: Trained, history: Dataset, monkeypatch: pytest.MonkeyPatch, *, off: bool
) -> None:
    right = Part("3", 9, 9, 3, 3.0, evaluate.Interval(1, 0.5, 1.5))
    wrong = Part(HOSTILE, 9, 9, 9, 3.0, evaluate.Interval(3, 2, 4))
    with_evidence(monkeypatch, trained, by_day=(right,), by_segment=(wrong if off else right,), segment_pqls=())
    page = render(trained, history, None, WHY)
    assert ("In 1 of these 2 parts" if off else "In none of these 2 parts") in text_of_page(page)
    assert "<script" not in page


# --- the cutoff -------------------------------------------------------------------------------

EARLIER = Cutoff(
    0.3, None, 0.9, 400, 190, 0.44, "2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z", 13.0, "2026-05-01T00:00:00Z", "capacity",
    "capacity", (Line("promise", 0.2, 800, 270, 0.31, 26.0, "at least 30% convert"),
                 Line("capacity", 0.3, 400, 190, 0.44, 13.0, "at most 14 a week")),
)  # fmt: skip


def decided(trained: Trained, decision: Decision, precision: evaluate.Interval | None) -> Trained:
    promise = replace(trained.promise, precision=precision, asked_for=decision.at_least)
    return replace(trained, artifact=replace(trained.artifact, decision=decision), promise=promise)


def headline_of(page: str) -> str:
    found = re.search(r"<h1[^>]*>(.*?)</h1>", page, re.S)
    assert found is not None
    return re.sub(r"<[^>]+>", "", found[1])


@pytest.mark.usefixtures("words_only")
def test_the_section_on_the_cutoff_says_which_limit_binds_and_until_when(trained: Trained, history: Dataset) -> None:
    bound = replace(EARLIER, at_least=0.3)
    words = text_of_page(render(decided(trained, bound, evaluate.Interval(0.5, 0.4, 0.6)), history, None, WHY))
    assert "The strictest limit sets the cutoff, and here that is what sales can take." in words
    assert "What sales can take (binds)" in words
    assert "Expect about 13 new PQLs a week." in words
    assert "The evidence counts until 2026-05-01" in words


@pytest.mark.usefixtures("words_only")
@pytest.mark.parametrize(
    ("found", "tone"), [((0.5, 0.4, 0.6), "good"), ((0.4, 0.3, 0.5), "good"), ((0.2, 0.15, 0.3), "bad")]
)
def test_a_cutoff_without_a_promise_is_held_against_its_own_evidence(
    trained: Trained, history: Dataset, found: tuple[float, float, float], tone: str
) -> None:
    page = render(decided(trained, EARLIER, evaluate.Interval(*found)), history, None, WHY)
    assert headline_of(page) == f"Of 100 PQLs on later trials {100 * found[0]:.0f} converted within 30 days"
    assert f'<div class="finding {tone}">' in page
    assert "asked for: nothing" in text_of_page(page)
    assert "No share of conversions is promised; of such leads at least 44% convert" in text_of_page(page)


@pytest.mark.usefixtures("words_only")
@pytest.mark.parametrize("at_least", [None, 0.3])
def test_nobody_flagged_is_a_doubt_under_every_policy(
    trained: Trained, history: Dataset, at_least: float | None
) -> None:
    page = render(decided(trained, replace(EARLIER, at_least=at_least), None), history, None, WHY)
    assert "on later trials nobody became a pql" in headline_of(page).lower()


@pytest.mark.usefixtures("words_only")
def test_segments_are_told_with_their_own_cutoffs_or_the_overall_one(trained: Trained, history: Dataset) -> None:
    none = NoCutoff(0.3, 0.95, "too few")
    decision = Segmented("source", ("ads", HOSTILE, "web"), (EARLIER, None, none), EARLIER)
    page = render(decided(trained, decision, evaluate.Interval(0.5, 0.4, 0.6)), history, None, WHY)
    words = text_of_page(page)
    assert "reaches the cutoff of its source" in words
    assert "ads 0.300 400 44% (90% sure) 0 - -" in words
    assert "the overall cutoff - - 0 - -" in words
    assert "web none - - 0 - -" in words
    assert "new PQLs a week" not in words
    assert "<script" not in page


@pytest.mark.usefixtures("words_only")
def test_a_cutoff_for_some_segments_is_not_said_to_be_none(trained: Trained, history: Dataset) -> None:
    decision = Segmented("source", ("ads",), (replace(EARLIER, at_least=0.3),), NoCutoff(0.3, 0.9, "too few leads."))
    page = render(decided(trained, decision, evaluate.Interval(0.5, 0.4, 0.6)), history, None, WHY)
    assert "no cutoff" not in headline_of(page)
    assert "Too few leads." in text_of_page(page)


# --- later ------------------------------------------------------------------------------------

SLOW = Later(90.0, 50, evaluate.Interval(1.1, 0.8, 1.4), 40, 0.2, 12, evaluate.Interval(0.25, 0.1, 0.5))


@pytest.mark.usefixtures("words_only")
@pytest.mark.parametrize(
    ("found", "says"),
    [
        (SLOW, "Of the 12 that were flagged long enough ago to know, 25% did"),
        (replace(SLOW, known=0), "None of them was flagged long enough ago"),
        (replace(SLOW, old=0), "40 more leads are worth nurturing"),
    ],
)
def test_leads_to_nurture_are_counted_and_only_what_is_known_is_claimed(
    trained: Trained, history: Dataset, monkeypatch: pytest.MonkeyPatch, found: Later, says: str
) -> None:
    with_evidence(monkeypatch, trained, later=found)
    words = text_of_page(render(trained, history, None, WHY))
    assert says in words
    assert ("The score also tells who converts within 90 days" in words) == (found.old > 0)


@pytest.mark.usefixtures("words_only")
def test_without_a_later_horizon_there_is_no_section_on_it(
    trained: Trained, history: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_evidence(monkeypatch, trained, later=None)
    assert "And those that take longer?" not in render(trained, history, None, WHY)


# --- pictures ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures_calibration.parts([("Day 3", Part("3", 1, 1, 0, 0.1, evaluate.Interval(0, 0, 37)))]),
        lambda: figures_calibration.parts([(HOSTILE, Part("x", 9, 9, 9, 0.1, evaluate.Interval(90, 40, 180)))]),
        lambda: figures_model.ladder([("scorecard", evaluate.Interval(0, 0, 0), True)]),
        lambda: figures_flags.ways("ways", [("AUC", [figures_flags.Way(HOSTILE, 0.5)])], number),
    ],
    ids=["nobody converted", "far beyond", "no difference", "hostile way"],
)
def test_a_picture_of_extremes_is_still_a_picture(draw: Callable[[], str]) -> None:
    found = draw()
    assert found.startswith("<svg")
    assert "<script" not in found
    assert "nan" not in found


# --- extremes ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("words_only")
def test_where_trials_are_scored_once_nothing_is_compared_by_day(trained: Trained, history: Dataset) -> None:
    table = trained.daily
    once = replace(trained, daily=table[table["trial_day"] == 7].reset_index(drop=True))
    words = text_of_page(render(once, history, None, WHY))
    assert "Trials are scored once, 7 days after they began" in words
    assert "right on average and wrong for some" not in words


@pytest.mark.usefixtures("words_only")
@pytest.mark.parametrize("won", [0, 1], ids=["none converted", "all converted"])
def test_a_page_holds_where_all_came_out_the_same(trained: Trained, history: Dataset, won: int) -> None:
    same = trained.daily.assign(converted=won)
    page = render(replace(trained, daily=same), history, None, WHY)
    assert "nan" not in text_of_page(page).lower().split()
    assert "cannot be tested" in page
