"""Every figure in the report is found again from test_predictions.parquet and the artifact's decision, and from nothing else.

But those on reasons: they need the events, and tests/training/judging/test_fidelity.py finds them again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import chi2
from sklearn import metrics as sklearn_metrics
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from features.dataset import dataset
from features.definition import parse
from serving.scoring.artifact import load
from serving.scoring.decision import Cutoff, Line, NoCutoff, Segmented, overall, parts
from training import evaluate, record
from training.demo import simulate
from training.judging import evidence
from training.pipeline import Settings, train
from training.report import render
from training.reporting import reasons as report_reasons
from training.reporting import words as report_words

if TYPE_CHECKING:
    from serving.scoring.artifact import Artifact
    from training.pipeline import Trained

FORMS = (
    report_words.percent, report_words.number, report_words.count, report_words.out_of_hundred, report_words.days,
    report_words.signed, report_words.points, "{:.4f}".format, report_reasons.nearly, report_reasons.times,
)  # fmt: skip
MORE = """
cutoff: {policy: capacity, leads_per_week: 12, at_least: 0.12, segments: email}

rules:
  - {name: busy team, all: [{signal: teammates_joined, at_least: 1}, {signal: pricing_views, at_least: 1}]}

points:
  threshold: 4
  card:
    - {signal: limits_hit, at_least: 1, points: 3}
    - {signal: integrations, at_least: 1, points: 2}
"""


class Page(HTMLParser):
    """The figures of a page in order: name, value and how it is written; and the text that is no figure."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, float, str]] = []
        self.words: list[str] = []
        self._open: tuple[str, float] | None = None
        self._hidden = 0
        self.feed(page)

    @property
    def predicted(self) -> list[tuple[str, float, str]]:
        """The figures that are about predictions."""
        return [one for one in self.found if not one[0].startswith("reasons_")]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if key := given.get("data-figure"):
            self._open = key, float(given["data-value"] or "")
        self._hidden += tag in ("svg", "style", "pre")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("svg", "style", "pre")
        if tag == "span":
            self._open = None

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self.found.append((*self._open, data))
        elif not self._hidden:
            self.words.append(data)


# --- what was written -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained_twice(definition_text: str) -> list[tuple[Trained, str]]:
    """Versions and their pages: one as the repository has it, one with segments, points, rules and a limit on PQLs."""
    rich = re.sub(r"^cutoff:.*?(?=^playbooks:)", MORE + "\n", definition_text, flags=re.S | re.M)
    demo, found = simulate(900), []
    for text in (re.sub(r"at_least: [0-9.]+", "at_least: 0.2", definition_text), rich):
        data = dataset(demo.events, demo.trials, parse(text))
        trained = train(data, text, Settings())
        found.append((trained, render(trained, data, trained.artifact.version, "Promoted.")))
    assert isinstance(found[1][0].artifact.decision, Segmented)
    return found


@pytest.fixture(scope="module", params=[0, 1], ids=["plain", "rich"])
def written(
    request: pytest.FixtureRequest, trained_twice: list[tuple[Trained, str]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Page]:
    trained, page = trained_twice[request.param]
    folder = tmp_path_factory.mktemp("out")
    trained.artifact.save(folder / "artifact")
    record.write_predictions(trained.daily, folder)
    figures = {name: value if np.isfinite(value) else None for name, value in record.figures(trained).items()}
    (folder / "metrics.json").write_text(json.dumps(figures), encoding="utf-8")
    return folder, Page(page)


@pytest.fixture(scope="module")
def again(written: tuple[Path, Page]) -> tuple[dict[str, float], dict[str, float]]:
    """The figures found anew by other means, and the ends of their intervals."""
    folder, _ = written
    stored = pl.read_parquet(folder / record.PREDICTIONS)
    table = pd.DataFrame({name: stored[name].to_list() for name in stored.columns})
    artifact = load(folder / "artifact")
    return dict(anew(table, artifact)), dict(ends(table, artifact))


# --- by other means ---------------------------------------------------------------------------


def anew(table: pd.DataFrame, artifact: Artifact) -> Iterator[tuple[str, float]]:
    judged = table[table["at_age"]].reset_index(drop=True)
    yield from headline(judged)
    yield from calibration(judged)
    yield from flags(table)
    yield from by_part(judged, table)
    yield from rivals(table)
    yield from afterwards(table, pd.Timestamp(artifact.training["data_until"]))
    yield from decided(artifact)


def scored(table: pd.DataFrame, column: str) -> dict[str, float]:
    y, p = table["converted"], table[column]
    return {
        "auc": sklearn_metrics.roc_auc_score(y, p), "average_precision": sklearn_metrics.average_precision_score(y, p),
        "log_loss": sklearn_metrics.log_loss(y, p), "brier": sklearn_metrics.brier_score_loss(y, p),
    }  # fmt: skip


def headline(table: pd.DataFrame) -> Iterator[tuple[str, float]]:
    ours = scored(table, "probability")
    yield from ours.items()
    for way in ("logistic", "base_rate"):
        theirs = scored(table, way)
        yield from ((f"{way}_{name}", theirs[name]) for name in ("auc", "average_precision", "log_loss"))
        yield f"log_loss_minus_{way}", ours["log_loss"] - theirs["log_loss"]
    yield from (("judged_snapshots", len(table)), ("judged_leads", table["lead_id"].nunique()))
    yield "judged_converted", table.loc[table["converted"] == 1, "lead_id"].nunique()


def calibration(table: pd.DataFrame) -> Iterator[tuple[str, float]]:
    y, p = table["converted"].to_numpy(), table["probability"].to_numpy()
    z = logit(p)
    line = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1_000).fit(z[:, None], y)
    yield "observed_to_expected", y.sum() / p.sum()
    yield "calibration_intercept", brentq(lambda shift: float((y - expit(z + shift)).sum()), -9, 9)
    yield "calibration_slope", line.coef_[0, 0]
    right = IsotonicRegression().fit_transform(p, y).clip(1e-16, 1 - 1e-16)
    told, could, least = (sklearn_metrics.log_loss(y, one) for one in (p, right, np.full(len(y), y.mean())))
    yield from (("miscalibration", told - could), ("discrimination", least - could), ("uncertainty", least))
    # The sandwich by hand: how far (intercept, slope) is from (0, 1), accounts being independent and their rows not.
    q, design = line.predict_proba(z[:, None])[:, 1], np.column_stack([np.ones_like(z), z])
    bread = np.linalg.inv(design.T @ (design * (q * (1 - q))[:, None]))
    sums = pd.DataFrame(design * (y - q)[:, None]).groupby(table["account"].to_numpy()).sum().to_numpy()
    spread = bread @ sums.T @ sums @ bread * len(sums) / (len(sums) - 1)
    off = np.array([line.intercept_[0], line.coef_[0, 0] - 1])
    yield "cox_p_value", float(chi2.sf(off @ np.linalg.inv(spread) @ off, 2))


def first(table: pd.DataFrame, flagged: pd.Series) -> pd.DataFrame:
    return table[flagged].sort_values("as_of", kind="stable").groupby("lead_id", sort=False).first().reset_index()


def caught(table: pd.DataFrame, leads: pd.Series) -> float:
    converters = set(table.loc[table["converted"] == 1, "lead_id"])
    return len(converters & set(leads)) / len(converters)


def flags(table: pd.DataFrame) -> Iterator[tuple[str, float]]:
    pqls = first(table, table["is_pql"])
    yield from (("pql_leads", len(pqls)), ("pql_converted", pqls["converted"].sum()))
    yield from (("pql_precision", pqls["converted"].mean()), ("pql_caught", caught(table, pqls["lead_id"])))
    for day, rows in table.groupby("trial_day"):
        new, key = pqls[pqls["trial_day"] == day], f"day_{day:g}"
        yield from ((f"{key}_open", rows["lead_id"].nunique()), (f"{key}_base_rate", rows["converted"].mean()))
        yield f"{key}_auc", sklearn_metrics.roc_auc_score(rows["converted"], rows["probability"])
        yield from ((f"{key}_pqls", len(new)), (f"{key}_precision", new["converted"].mean()))
        yield f"{key}_caught", caught(table, pqls.loc[pqls["trial_day"] <= day, "lead_id"])
    days = pqls.loc[pqls["converted"] == 1, "converted_in_days"].dropna()
    yield from (("pql_ahead_count", len(days)), ("pql_ahead_days", days.median()))
    quarter, three = np.quantile(days, [0.25, 0.75]).tolist()
    yield from (("pql_ahead_days_quarter", quarter), ("pql_ahead_days_three_quarters", three))
    yield "pql_buying", float((days <= 1).mean())


def by_part(judged: pd.DataFrame, table: pd.DataFrame) -> Iterator[tuple[str, float]]:
    pqls = first(table, table["is_pql"])
    named = [(f"day_{day:g}", rows) for day, rows in judged.groupby("trial_day")]
    for place, (name, rows) in enumerate(judged.dropna(subset="segment").groupby("segment"), 1):
        named.append((f"segment_{place}", rows))
        mine = pqls[pqls["segment"] == name]
        yield from (
            (f"segment_{place}_pql_leads", len(mine)),
            (f"segment_{place}_pql_precision", mine["converted"].mean()),
        )
    # An interval leaves 1 out or not; its ends are looked at elsewhere.
    yield "parts", len(named)
    for key, rows in named:
        seen, told = rows["converted"].sum(), rows["probability"].sum()
        yield from ((f"{key}_leads", rows["lead_id"].nunique()), (f"{key}_observed", seen), (f"{key}_expected", told))
        yield f"{key}_observed_to_expected", seen / told


def highest(table: pd.DataFrame, column: str, n: int) -> tuple[float, float]:
    """The precision and the share of converters of the n leads with the highest score, ties for the last places shared."""
    peaks = table.groupby("lead_id")[column].max()
    least = peaks.sort_values(ascending=False).iloc[n - 1]
    rows = first(table, table[column] >= least)
    much = np.where(peaks[rows["lead_id"]] > least, 1.0, (n - (peaks > least).sum()) / (peaks == least).sum())
    won = rows["lead_id"].isin(table.loc[table["converted"] == 1, "lead_id"])
    converters = table.loc[table["converted"] == 1, "lead_id"].nunique()
    return float((much * rows["converted"]).sum() / n), float((much * won).sum() / converters)


def rivals(table: pd.DataFrame) -> Iterator[tuple[str, float]]:
    pqls, leads = first(table, table["is_pql"]), table["lead_id"].nunique()
    for share in (5, 10, 20):
        n = max(1, round(share / 100 * leads))
        yield f"capacity_{share}_leads", n
        precision, found = highest(table, "probability", n)
        yield from ((f"capacity_{share}_precision", precision), (f"capacity_{share}_caught", found))
    own = pqls["converted"].mean(), caught(table, pqls["lead_id"])
    for way in ("logistic", "points", "base_rate", "rule"):
        key, ours = f"backtest_{way}", own
        theirs: tuple[float, float]
        if way == "rule":
            rows = first(table, table["rule"])
            theirs, n = (rows["converted"].mean(), caught(table, rows["lead_id"])), len(rows)
            ours = highest(table, "probability", n) if n else own
        else:
            n = len(pqls)
            theirs = highest(table, way, n) if table[way].notna().all() else (np.nan, np.nan)
        yield from ((f"{key}_leads", n), (f"{key}_precision", theirs[0]), (f"{key}_caught", theirs[1]))
        yield from ((f"{key}_ours_precision", ours[0]), (f"{key}_ours_caught", ours[1]))
        yield f"{key}_gain", ours[0] - theirs[0]


def afterwards(table: pd.DataFrame, until: pd.Timestamp) -> Iterator[tuple[str, float]]:
    if table["later"].isna().all():
        return
    days = table["later_days"].iloc[0]
    old = table["as_of"] + pd.Timedelta(days=days) <= until
    won = table["converted_in_days"] < days
    yield from (("later_days", days), ("later_old", old.sum()))
    yield "later_observed_to_expected", won[old].sum() / table.loc[old, "later"].sum()
    pqls = set(table.loc[table["is_pql"], "lead_id"])
    rows = first(table.assign(won=won, old=old), table["is_nurture"] & ~table["lead_id"].isin(pqls))
    yield from (("later_leads", len(rows)), ("later_expected", rows["later"].mean()))
    yield from (("later_known", rows["old"].sum()), ("later_share", rows.loc[rows["old"].astype(bool), "won"].mean()))


def decided(artifact: Artifact) -> Iterator[tuple[str, float]]:
    decision = artifact.decision
    whole = overall(decision)
    named: list[tuple[str, Cutoff | Line]] = []
    if isinstance(whole, Cutoff):
        named += [("cutoff", whole), *((f"cutoff_by_{line.name}", line) for line in whole.lines)]
    own = decision.each if isinstance(decision, Segmented) else ()
    named += [(f"cutoff_segment_{i}", one) for i, one in enumerate(own, 1) if isinstance(one, Cutoff)]
    for key, one in named:
        yield from ((key, one.probability), (f"{key}_leads", one.leads), (f"{key}_converted", one.converted))
        yield f"{key}_precision_low", one.precision_low
        if one.leads_per_week is not None:
            yield f"{key}_leads_per_week", one.leads_per_week


def ends(table: pd.DataFrame, artifact: Artifact) -> Iterator[tuple[str, float]]:
    """The ends of intervals, from the same resampled accounts: chance has no other means."""
    seed, judged = Settings().fit.seed, table[table["at_age"]].reset_index(drop=True)
    found = evaluate.evaluate(judged, seed)
    found |= {
        f"log_loss_minus_{way}": evaluate.compare(judged, "probability", way, evaluate.log_loss, seed)
        for way in ("logistic", "base_rate")
    }
    precision = evaluate.promise(table, artifact.decision).precision
    assert precision is not None
    for key, one in {**found, "pql_precision": precision}.items():
        yield from ((f"{key}_low", one.low), (f"{key}_high", one.high))
    told = evidence.figures(evidence.evidence(table, pd.Timestamp(artifact.training["data_until"])))
    yield from (
        (key, value)
        for key, value in told.items()
        if key.endswith(("_low", "_high", "reliability_inside", "parts_off"))
    )


# --- the page ---------------------------------------------------------------------------------


def test_every_figure_on_the_page_is_found_again(
    written: tuple[Path, Page], again: tuple[dict[str, float], dict[str, float]]
) -> None:
    found, interval_ends = again
    known = {**interval_ends, **found}
    _, page = written
    assert len(page.predicted) > 100
    assert {key for key, _, _ in page.predicted} - set(known) == set()
    wrong = {
        key: (value, known[key])
        for key, value, _ in page.predicted
        if value != pytest.approx(known[key], rel=1e-3, abs=1e-6, nan_ok=True)
    }
    assert wrong == {}


def test_figures_are_found_again_by_other_means_and_only_ends_of_intervals_by_the_same(
    written: tuple[Path, Page], again: tuple[dict[str, float], dict[str, float]]
) -> None:
    _, page = written
    by_the_same = {key for key, _, _ in page.predicted} - set(again[0])
    assert all(key.endswith(("_low", "_high")) for key in by_the_same - {"reliability_inside", "parts_off"})


def test_a_figure_is_written_as_what_it_is(written: tuple[Path, Page]) -> None:
    _, page = written
    assert [one for one in page.found if not any(form(one[1]) == one[2] for form in FORMS)] == []


def test_a_figure_on_the_page_is_that_of_metrics_json(written: tuple[Path, Page]) -> None:
    folder, page = written
    figures = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert [key for key, value, _ in page.found if value != pytest.approx(_number(figures[key]), nan_ok=True)] == []


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


CONSTANTS = (
    r"95% interval|100 PQLs|90 of 100|20%, then 20 of 100|about 90%|a coin: 50%|best (5|10|20)%|contains? [01]\b|\b1 is right|"
    r"of 20 parts|at least (12|20|30)%|9[057]% confidence|95 of 100|\((90|95|97|98)% sure\)| ([3-9]|1[0-3]) (?= +to )|"
    r"counts until [0-9-]+"
)


def reasons(artifact: Artifact) -> Iterator[str]:
    """What a decision says in its own words."""
    later = artifact.course.later
    for decision in (artifact.decision, later.decision if later else artifact.decision):
        for part in parts(decision):
            yield from [part.reason] if isinstance(part, NoCutoff) else [line.why for line in part.lines if line.why]


def test_no_number_about_later_trials_stands_there_without_its_name(written: tuple[Path, Page]) -> None:
    folder, page = written
    text = " ".join(re.sub(r"\s+", " ", words) for words in page.words)
    for told in reasons(load(folder / "artifact")):
        text = text.replace(told, "")
    section = text[text.index("Can you trust the number?") : text.index("How it was chosen")]
    loose = re.findall(r"[^.;]{0,40}\d[\d.,]*[^.;]{0,30}", re.sub(CONSTANTS, " ", section))
    assert not loose, "\n".join(loose)


def test_labels_in_pictures_are_figures_too(trained_twice: list[tuple[Trained, str]]) -> None:
    for trained, page in trained_twice:
        figures = record.figures(trained)
        drawn = {
            match for svg in re.findall(r"<svg.*?</svg>", page, re.S) for match in re.findall(r">([^<>]+)</text>", svg)
        }
        for key in ("day_3_auc", "backtest_logistic_precision", "backtest_base_rate_caught"):
            assert report_words.percent(figures[key]) in drawn or f"{figures[key]:.0%}" in drawn
        for key in ("auc", "log_loss", "logistic_average_precision"):
            assert report_words.number(figures[key]) in drawn
        came = f"{figures['day_3_observed']:,.0f} came, {figures['day_3_expected']:,.0f} predicted"
        assert came in drawn
