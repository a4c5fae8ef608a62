"""The build's gate on reasons: without what they name the score falls; and each figure found again from the raw tables."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from features.dataset import Dataset, dataset
from features.durations import DAY
from features.errors import Refusal
from features.times import micros
from serving.scoring.answers import Asked, answers_of, subjects
from serving.scoring.calibration import odds_of
from serving.scoring.scorer import Scorer
from training import pipeline, record
from training.judging import fidelity
from training.judging.fidelity import LEAST_COVERED, LEAST_FIRST, LEAST_THREE, Named, Spoken, met_as_pqls, spoken
from training.pipeline import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.windows import Floats, Ints
    from serving.scoring.answers import Answer
    from training.demo import Demo
    from training.pipeline import Trained

SEED = Settings().fit.seed


# --- the gate ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found(trained: Trained) -> Spoken:
    assert trained.spoken is not None
    return trained.spoken


def test_without_what_the_first_reason_names_the_score_falls(found: Spoken) -> None:
    assert found.pqls >= 100
    assert found.share(found.first_lowers) >= LEAST_FIRST == 0.97


def test_the_leading_reasons_matter_more_than_what_is_drawn_by_lot(found: Spoken) -> None:
    assert found.share(found.three_lower_more) >= LEAST_THREE == 0.95
    assert found.fall_three > 2 * found.fall_lot


def test_pqls_have_three_reasons_to_be_told(found: Spoken) -> None:
    assert found.share(found.covered) >= LEAST_COVERED == 0.95


def test_no_reason_contradicts_its_direction(found: Spoken) -> None:
    assert found.told >= 3 * found.pqls
    assert found.contradicting == 0
    assert found.holds


@pytest.mark.parametrize("seed", range(3))
def test_the_gate_is_no_matter_of_the_lot(trained: Trained, history: Dataset, seed: int) -> None:
    again = spoken(Scorer(trained.artifact), history, *met_as_pqls(trained.daily, history.leads.ids), seed)
    assert again is not None
    assert again.holds


# --- by other means ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pqls(trained: Trained, history: Dataset) -> tuple[Ints, Ints]:
    return met_as_pqls(trained.daily, history.leads.ids)


@pytest.fixture(scope="module")
def told(trained: Trained, history: Dataset, pqls: tuple[Ints, Ints]) -> list[Answer]:
    """What each PQL is told, as batch scoring says it."""
    found: list[Answer] = []
    one = Scorer(trained.artifact)
    for lead, moment in zip(*pqls, strict=True):
        [part] = history.parts(np.array([lead]))
        here = np.zeros(1, np.int64)
        found += answers_of(one, subjects(one, part.leads, part.logs, here, np.array([moment])), Asked())
    return found


EVENTS: dict[str, tuple[str, ...]] = {
    "teammates_joined": ("invite_accepted",), "invites_sent": ("invite_sent",), "integrations": ("integration_connected",),
    "limits_hit": ("limit_reached",), "pricing_views": ("pricing_viewed",), "business_plan_views": ("pricing_viewed",),
    "tasks_completed": ("task_completed",), "boards_created": ("project_created",), "reports_viewed": ("report_viewed",),
    "exports": ("export_downloaded",), "uploads": ("file_uploaded",), "api_calls": ("api_call",),
    "activity": ("session_started", "task_completed", "comment_added", "project_created", "report_viewed"),
    "team_activity": ("session_started", "task_completed", "comment_added"), "team_upgrades": ("$converted",),
}  # fmt: skip
"""What the demo product's signals read, by hand."""


def fall(
    demo: Demo, history: Dataset, scorer: Scorer, pqls: tuple[Ints, Ints], names: Sequence[Sequence[str]]
) -> Floats:
    """By how much log-odds fall where the raw tables never told of some signals, and traits are ordinary by hand."""
    gone, nobody_upgraded = [], []
    for lead, own in zip(pqls[0], names, strict=True):
        user, account = history.leads.ids[lead], history.leads.account_ids[lead]
        for name in own:
            of_whom = pl.col("account_id") == account if name == "team_activity" else pl.col("user_id") == user
            plan = (
                pl.col("properties").str.contains('"business"') if name == "business_plan_views" else pl.lit(value=True)
            )
            if name in EVENTS:
                gone.append(of_whom & pl.col("event").is_in(EVENTS[name]) & plan)
            if name == "team_upgrades":
                nobody_upgraded.append(account)
    upgraded = pl.when(~pl.col("account_id").is_in(nobody_upgraded)).then("converted_at")
    trials = demo.trials.with_columns(converted_at=upgraded)
    never = dataset(demo.events.filter(~pl.any_horizontal(gone)), trials, history.definition)
    rows, before = never.rows(scorer.builder, *pqls), history.rows(scorer.builder, *pqls)
    columns = [column.name for column in scorer.builder.columns]
    for row, own in zip(rows, names, strict=True):
        if "email" in own:
            row[columns.index("email_is_business")] = 0
        if "company_size" in own:
            row[columns.index("company_size")] = _median_size(history, scorer, float(row[0]))
    changed: Floats = odds_of(scorer.probabilities(before)) - odds_of(scorer.probabilities(rows))
    return changed


def _median_size(history: Dataset, scorer: Scorer, age: float) -> float:
    """The median company size among the leads that the version was compared with, to the nearest value that is kept."""
    usual = asdict(scorer.artifact.reference.usual["company_size"])
    place = int(np.searchsorted(scorer.artifact.reference.ages, age, side="right")) - 1
    values, up_to = np.array(usual["values"][place]), np.array(usual["up_to"][place])
    return float(values[up_to >= 0.5].min())


def test_falls_are_those_of_raw_tables_that_never_told_it(
    demo_world: Demo, history: Dataset, trained: Trained, found: Spoken, pqls: tuple[Ints, Ints], told: list[Answer]
) -> None:
    scorer, leading = Scorer(trained.artifact), [[one.signal for one in answer.reasons] for answer in told]
    first = fall(demo_world, history, scorer, pqls, [names[:1] for names in leading])
    three = fall(demo_world, history, scorer, pqls, leading)
    lot = fall(demo_world, history, scorer, pqls, lots(history, scorer, pqls, leading))
    assert found.first_lowers == (first > 1e-9).sum()
    assert found.three_lower_more == (three > lot + 1e-9).sum()
    assert found.fall_first == pytest.approx(first.mean())
    assert found.fall_three == pytest.approx(three.mean())
    assert found.fall_lot == pytest.approx(lot.mean())


def lots(
    history: Dataset, scorer: Scorer, pqls: tuple[Ints, Ints], leading: Sequence[Sequence[str]]
) -> list[list[str]]:
    """The same draws again, part by part: chance has no other means."""
    rng, found = np.random.default_rng(SEED), [[""]] * len(leading)
    for part in history.parts(pqls[0]):
        places = np.searchsorted(pqls[0], part.numbers).tolist()
        as_of = pqls[1][places]
        world = fidelity._World(scorer, part, as_of, history.rows(scorer.builder, part.numbers, as_of))
        for place, drawn in zip(places, world.by_lot([leading[one] for one in places], rng), strict=True):
            found[place] = drawn
    return found


def test_counts_are_those_of_what_is_told(found: Spoken, told: list[Answer]) -> None:
    assert found.pqls == len(told)
    assert all(answer.is_pql for answer in told)
    assert found.covered == sum(len(answer.reasons) == 3 for answer in told)
    assert found.told == sum(len(answer.reasons) + len(answer.against) for answer in told)
    first = pd.Series([answer.reasons[0].signal for answer in told]).value_counts()
    named = pd.Series([one.signal for answer in told for one in answer.reasons]).value_counts()
    assert {one.name: (one.first, one.named) for one in found.signals} == {
        name: (first.get(name, 0), n) for name, n in named.items()
    }
    assert [one.named for one in found.signals] == sorted((one.named for one in found.signals), reverse=True)
    given = pd.Series([answer.playbook.id for answer in told if answer.playbook]).value_counts()
    assert dict(found.playbooks) == given.to_dict()


def test_a_lead_is_looked_at_when_it_is_first_a_pql_and_alone_of_its_account(
    trained: Trained, history: Dataset, pqls: tuple[Ints, Ints]
) -> None:
    flagged = trained.daily[trained.daily["is_pql"]]
    earliest = flagged.groupby("account")["as_of"].min()
    assert len(pqls[0]) == len(earliest)
    assert (np.diff(pqls[0]) > 0).all()
    for lead, moment in zip(*pqls, strict=True):
        first = earliest[history.leads.accounts[lead]]
        assert moment == micros(first.to_pydatetime())
        assert history.leads.ids[lead] in set(flagged.loc[flagged["as_of"] == first, "lead_id"])


def test_many_pqls_are_looked_at_evenly_over_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fidelity, "MOST_LOOKED_AT", 5)
    ids = [f"u{place}" for place in range(100)]
    start = pd.Timestamp("2026-03-01", tz="UTC")
    daily = pd.DataFrame(
        {"lead_id": ids, "account": range(100), "as_of": [start + pd.Timedelta(hours=place) for place in range(100)],
         "is_pql": True}
    )  # fmt: skip
    leads, as_of = met_as_pqls(daily.sample(frac=1, random_state=1), ids)
    assert leads.tolist() == [0, 24, 49, 74, 99]
    assert ((as_of - as_of[0]) // (DAY // 24)).tolist() == leads.tolist()


def test_where_nobody_is_a_pql_nothing_is_known_of_reasons(trained: Trained, history: Dataset) -> None:
    none = met_as_pqls(trained.daily.assign(is_pql=False), history.leads.ids)
    assert [len(one) for one in none] == [0, 0]
    assert spoken(Scorer(trained.artifact), history, *none, SEED) is None


def test_a_refused_version_has_no_pqls_whose_reasons_count(trained: Trained) -> None:
    assert trained.spoken is not None
    assert pipeline._silenced(trained, Refusal("no signal.")).spoken is None


def test_the_same_seed_draws_the_same_lot(
    trained: Trained, history: Dataset, found: Spoken, pqls: tuple[Ints, Ints]
) -> None:
    scorer = Scorer(trained.artifact)
    assert spoken(scorer, history, *pqls, SEED) == found
    assert spoken(scorer, history, *pqls, SEED + 1) != found


# --- the lot ----------------------------------------------------------------------------------


def test_lots_are_drawn_from_what_else_happened_and_shares_no_event_with_the_reasons(
    trained: Trained, history: Dataset, pqls: tuple[Ints, Ints]
) -> None:
    scorer, drawn = Scorer(trained.artifact), set()
    columns = [column.name for column in scorer.builder.columns]
    for part in history.parts(pqls[0]):
        as_of = pqls[1][np.searchsorted(pqls[0], part.numbers)]
        met = subjects(scorer, part.leads, part.logs, np.arange(len(as_of)), as_of)
        rows = np.stack([one.row for one in met])
        leading = [[one.signal for one in answer.reasons] for answer in answers_of(scorer, met, Asked())]
        world = fidelity._World(scorer, part, as_of, rows)
        lots = world.by_lot(leading, np.random.default_rng(1))
        for row, names, lot in zip(rows, leading, lots, strict=True):
            assert len(set(lot)) == len(lot) <= 3
            gone = {event for name in names for event in EVENTS.get(name, ())}
            happened = {name for name in EVENTS if _counted(columns, row, name)}
            # One that reads all that another one reads and more is several behaviours at once.
            several = {name for name in EVENTS if any(set(other) < set(EVENTS[name]) for other in EVENTS.values())}
            others = {name for name in happened if not gone & set(EVENTS[name])} - several
            assert set(lot) <= others
            assert len(lot) == min(3, len(others))
            drawn |= set(lot)
    assert len(drawn) > 8


def _counted(columns: list[str], row: Floats, name: str) -> bool:
    return any(row[place] > 0 for place, column in enumerate(columns) if column.startswith(f"{name}_count_"))


# --- what is written --------------------------------------------------------------------------


MADE = Spoken(200, 194, 190, 190, 700, 0, 1.0, 2.5, 0.5, (Named("a", 150, 200), Named("b", 50, 90)), (("call", 200),))


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({}, True), ({"first_lowers": 193}, False), ({"three_lower_more": 189}, False), ({"covered": 189}, False),
        ({"contradicting": 1}, False),
    ],
)  # fmt: skip
def test_every_bar_counts(change: dict[str, Any], *, holds: bool) -> None:
    assert replace(MADE, **change).holds == holds


def test_figures_are_shares_with_their_counts() -> None:
    assert dict(fidelity.figures(MADE)) == {
        "reasons_pqls": 200, "reasons_first_lowers_pqls": 194, "reasons_first_lowers": 0.97,
        "reasons_three_lower_more_pqls": 190, "reasons_three_lower_more": 0.95, "reasons_covered_pqls": 190,
        "reasons_covered": 0.95, "reasons_told": 700, "reasons_contradicting": 0, "reasons_fall_first": 1.0,
        "reasons_fall_three": 2.5, "reasons_fall_lot": 0.5,
    }  # fmt: skip


def test_metrics_tell_of_reasons(trained: Trained, history: Dataset, found: Spoken, tmp_path: Any) -> None:
    written = json.loads((record.write_trained(trained, history, tmp_path) / record.METRICS_FILE).read_text("utf-8"))
    assert written["figures"]["reasons_first_lowers"] == found.share(found.first_lowers)
    assert written["reasons"]["signals"][0] == {
        "name": found.signals[0].name, "first": found.signals[0].first, "named": found.signals[0].named,
    }  # fmt: skip
    assert written["reasons"]["playbooks"] == [list(one) for one in found.playbooks]


def test_metrics_of_a_version_without_pqls_tell_of_no_reasons(
    trained: Trained, history: Dataset, tmp_path: Any
) -> None:
    without = replace(trained, spoken=None)
    written = json.loads((record.write_trained(without, history, tmp_path) / record.METRICS_FILE).read_text("utf-8"))
    assert written["reasons"] is None
    assert not [name for name in written["figures"] if name.startswith("reasons_")]
