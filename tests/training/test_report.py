"""The report says what was found, loudly where it is bad, and never lets a text of others become markup."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from features.dataset import dataset
from features.definition import parse
from features.errors import Refusal
from features.rejections import Rejection
from serving.scoring.decision import NoCutoff
from training import evaluate, figures, report
from training.demo import simulate
from training.pipeline import Settings, train
from training.report import number, percent, render, render_refusal

if TYPE_CHECKING:
    from features.dataset import Dataset
    from training.pipeline import Trained

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> \"' & {{ 7*7 }}"
NOT_KNOWN = evaluate.Interval(float("nan"), float("nan"), float("nan"))
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
    monkeypatch.setattr(figures, "_picture", lambda *_, **__: "<svg></svg>")
    monkeypatch.setattr(report, "_auc", lambda _: NOT_KNOWN)


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
    assert f"at least {100 * trained.promise.asked_for:.3g} convert" in headline[1]
    assert f"{100 * kept.value:.0f} of 100 did" in headline[1]


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
    predictions = trained.predictions.assign(is_pql=False)
    without = replace(
        trained,
        artifact=replace(trained.artifact, decision=decision),
        predictions=predictions,
        promise=evaluate.promise(predictions, decision),
    )
    page = render(without, history, None, "Promoted.")
    headline = re.search(r"<h1[^>]*>(.*?)</h1>", page, re.S)
    assert headline is not None
    assert "no cutoff" in headline[1]
    assert "Of the 30 highest-scored leads only 5 converted." in text_of_page(page)


@pytest.mark.usefixtures("words_only")
@pytest.mark.parametrize(
    ("curve", "says"), [([0.3, 0.2], "1 tree was worth keeping"), ([0.2, 0.3], "no tree made it better")]
)
def test_trees_that_do_not_help_are_not_praised(
    trained: Trained, history: Dataset, curve: list[float], says: str
) -> None:
    facts = {**trained.artifact.training, "trees": 1}
    fitted = replace(trained.fitted, curve=np.array(curve), rounds=1)
    flat = replace(trained, fitted=fitted, artifact=replace(trained.artifact, training=facts))
    assert says in text_of_page(render(flat, history, None, WHY))


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
    predictions = trained.predictions.assign(is_pql=flagged)
    promise = evaluate.promise(predictions, trained.artifact.decision)
    page = render(replace(trained, predictions=predictions, promise=promise), history, None, WHY)
    assert "nan" not in text_of_page(page).lower().split()


def test_pictures_hold_for_a_handful_of_leads(trained: Trained, history: Dataset) -> None:
    won = trained.predictions["converted"].to_numpy()
    few = np.concatenate([np.flatnonzero(won == 1)[:2], np.flatnonzero(won == 0)[:6]])
    some = trained.predictions.iloc[np.sort(few)].reset_index(drop=True)
    curve = figures.reliability_of(some)
    assert (np.diff(curve.observed) >= 0).all()
    assert 0 <= curve.inside <= 1
    flags = figures.precision_curve(some, history.definition.cutoff)
    assert flags.flagged[-1] == some["lead_id"].nunique()
    assert flags.caught[-1] == 1
    assert figures.reliability(curve).startswith("<svg")


def test_the_reliability_band_holds_a_score_that_is_right(trained: Trained) -> None:
    rng = np.random.default_rng(3)
    p = trained.predictions["probability"].to_numpy()
    right = trained.predictions.assign(converted=(rng.random(len(p)) < p).astype(int))
    wrong = trained.predictions.assign(converted=(rng.random(len(p)) < p**2).astype(int))
    assert figures.reliability_of(right).inside > 0.6
    assert figures.reliability_of(wrong).inside < 0.5


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
    flags = figures.precision_curve(trained.predictions, history.definition.cutoff)
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
        lambda: figures.bars([]),
        lambda: figures.bars([figures.Bar("$x^{", 0.0, "</svg><script>")]),
        lambda: figures.days([figures.Day(3.0, NOT_KNOWN, 0)]),
        lambda: figures.days([figures.Day(3.0, NOT_KNOWN, 0), figures.Day(7.0, evaluate.Interval(0.5, 0.5, 0.5), 4)]),
        lambda: figures.ahead(np.array([0.0]), 0.5),
        lambda: figures.learning(np.array([0.3, 0.2]), 1),
        lambda: figures.learning(np.array([0.3]), 1),
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
    same = trained.predictions.head(5).assign(converted=won)
    promise = evaluate.promise(same.assign(is_pql=True), trained.artifact.decision)
    assert figures.cutoff(figures.precision_curve(same, history.definition.cutoff), promise).startswith("<svg")
    assert figures.reliability(figures.reliability_of(same)).startswith("<svg")


def test_a_day_on_which_all_came_out_the_same_has_no_ranking_and_does_no_harm(
    trained: Trained, history: Dataset
) -> None:
    table = trained.predictions
    flat = table.assign(converted=table["converted"].where(table["trial_day"] != 10, 0))
    assert "<svg" in render(replace(trained, predictions=flat), history, None, WHY)


def test_pictures_need_no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    assert figures.bars([figures.Bar("logins", 0.5, "value")]).startswith("<svg")
