"""The version that the benchmarks of the service serve, and what is posted to it: 200 small trees over 60 columns.

The demo product's version with a booster of fixed size in its place, so that reasons, comparisons and texts are as rich as
those of any other, and leads with 200 events each that are told both ways: as events and as ready values.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import lightgbm as lgb
import numpy as np
import polars as pl

from features.dataset import dataset
from features.definition import parse
from features.durations import DAY
from features.times import moment_of
from features.windows import Floats
from serving.scoring.answers import Subject
from serving.scoring.contributions import Contributions
from serving.scoring.decision import Cutoff
from serving.scoring.scorer import Scorer
from training.demo import Demo, simulate
from training.fit import DEFAULTS
from training.pipeline import Settings, train
from training.usual import usual

ROOT: Final = Path(__file__).resolve().parent.parent
N_COLUMNS: Final = 60
TREES: Final = 200
SHAPE: Final = {"num_leaves": 8, "max_depth": 3, "min_data_in_leaf": 20, "learning_rate": 0.05}
ACCOUNTS: Final = 4_000
PQLS: Final = 0.1
"""The share of leads that the cutoff makes PQLs."""
EVENTS: Final = 200
"""Events that are told of each lead."""
AGE: Final = 10
"""Days since the trial's start at which leads are scored."""
LOOKED_BACK: Final = 60
"""Days before that moment of which events are told: the longest window."""
NARROWED: Final = {
    "windows: [1d, 7d, trial]": "windows: [7d, trial]",
    "measures: [count, active_days, days_since_last, trend]": "measures: [count, active_days, days_since_last]",
}
"""What makes the demo product's columns as many as the bars ask for."""


@dataclass(frozen=True)
class World:
    """A version, and leads of which all is known that it asks for.

    Attributes
    ----------
    subjects : the leads as the engine makes them from their events
    events : what happened to each of them and their teammates before the moment of scoring: `EVENTS` of a body's events
    """

    scorer: Scorer
    subjects: Sequence[Subject]
    starts: Sequence[str]
    events: Sequence[Sequence[Mapping[str, Any]]]

    def ready(self, places: Sequence[int], reasons: int = 3) -> bytes:
        """Return a body of `POST /score_features` with some of the leads."""
        return _json({"leads": [self._ready(place) for place in places], "reasons": reasons})

    def raw(self, place: int, reasons: int = 3) -> bytes:
        """Return a body of `POST /score` with one lead and its events."""
        subject = self.subjects[place]
        lead = {
            "user_id": subject.lead_id, "account_id": subject.account_id, "started_at": self.starts[place],
            "traits": subject.traits, "events": self.events[place],
        }  # fmt: skip
        return _json({"leads": [lead], "as_of": _text(subject.as_of), "reasons": reasons})

    def rows(self) -> Floats:
        """Return the feature rows of the leads: float64 array of shape (n, 60)."""
        return np.stack([subject.row for subject in self.subjects])

    def named(self, place: int) -> dict[str, float | None]:
        """Return a lead's values by column, None for what is not known."""
        names = [column.name for column in self.scorer.builder.columns]
        return dict(zip(names, _values(self.subjects[place].row), strict=True))

    def _ready(self, place: int) -> dict[str, Any]:
        subject = self.subjects[place]
        assert subject.ends_at is not None
        return {
            "lead_id": subject.lead_id, "account_id": subject.account_id, "as_of": _text(subject.as_of),
            "ends_at": _text(subject.ends_at), "traits": subject.traits, "features": self.named(place),
        }  # fmt: skip


def world(n_leads: int = 256, accounts: int = ACCOUNTS) -> World:
    """Return a version learned from a simulated product, and leads of that product."""
    text, demo = definition(), simulate(accounts)
    scorer = _scorer(text, demo)
    trials, events = _told(demo, n_leads)
    data = dataset(events, trials, parse(text))
    place_of = {lead: place for place, lead in enumerate(data.leads.ids)}
    which = np.array([place_of[lead] for lead in trials["user_id"]], np.int64)
    as_of = data.leads.started_at[which] + AGE * DAY
    rows = data.rows(scorer.builder, which, as_of)
    names = [trait.name for trait in scorer.builder.definition.traits]
    subjects = [
        Subject(one["user_id"], one["account_id"], int(as_of[i]), int(data.leads.ends_at[which[i]]),
                {name: one[name] for name in names if one[name] is not None}, rows[i])
        for i, one in enumerate(trials.iter_rows(named=True))
    ]  # fmt: skip
    starts = [_text(int(moment) - AGE * DAY) for moment in as_of]
    return World(scorer, subjects, starts, [_posted(events, one.lead_id, one.account_id) for one in subjects])


def definition() -> str:
    """Return the demo product's definition, narrowed to 60 columns."""
    text = (ROOT / "pql.yaml").read_text(encoding="utf-8")
    for old, new in NARROWED.items():
        assert old in text, f"pql.yaml has no {old!r} any more"
        text = text.replace(old, new)
    return text


def _scorer(text: str, demo: Demo) -> Scorer:
    data = dataset(demo.events, demo.trials, parse(text))
    trained = train(data, text, Settings())
    version, snapshots = trained.artifact, trained.table
    builder, card, calibration = version.builder, version.scorecard, version.calibration
    assert len(builder.columns) == N_COLUMNS, f"the definition has {len(builder.columns)} columns"
    rows = data.rows(builder, snapshots.lead, snapshots.as_of)
    lessons = lgb.Dataset(rows, snapshots.converted, init_score=card.margins(rows))
    booster = lgb.train({**DEFAULTS, **SHAPE}, lessons, TREES)
    probabilities = calibration.probabilities(card.margins(rows) + booster.predict(rows, raw_score=True, num_threads=1))
    cutoff = float(np.quantile(probabilities, 1 - PQLS))
    grown = booster.model_to_string()
    reference = usual(
        builder, Contributions.of(grown, card, calibration), snapshots.as_of - snapshots.started_at, rows,
        snapshots.converted, probabilities,
    )  # fmt: skip
    return Scorer(
        replace(
            version, booster_text=grown, rung="lightgbm", examples=rows[:8], expected=probabilities[:8],
            decision=Cutoff(cutoff, 0.3, 0.9, 900, 300, 0.31, "2025-01-01", "2025-12-01"),
            reference=replace(reference, proven=version.reference.proven, until=version.reference.until),
        )
    )  # fmt: skip


def _told(demo: Demo, n_leads: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the trials of some leads, one an account, and the last `EVENTS` events of each one's account by then."""
    as_of = pl.col("started_at") + pl.duration(days=AGE)
    open_ = [pl.col(end).is_null() | (pl.col(end) >= as_of) for end in ("converted_at", "closed_at")]
    lasts = demo.trials.filter(*open_).sort("started_at").unique("account_id", keep="last", maintain_order=True)
    moments = lasts.select("account_id", as_of=as_of)
    before = (
        demo.events.unique("message_id", keep="first", maintain_order=True)
        .join(moments, "account_id")
        .filter(
            pl.col("timestamp") < pl.col("as_of"),
            pl.col("timestamp") >= pl.col("as_of") - pl.duration(days=LOOKED_BACK),
        )
        .sort("timestamp")
    )
    full = before.group_by("account_id", maintain_order=True).tail(EVENTS)
    many = full.group_by("account_id").len().filter(pl.col("len") == EVENTS).join(lasts, "account_id")
    trials = many.sort("started_at").select(demo.trials.columns).head(n_leads)
    assert len(trials) == n_leads, f"only {len(trials)} accounts did as much"
    return trials, full.filter(pl.col("account_id").is_in(trials["account_id"].to_list())).select(demo.events.columns)


def _posted(events: pl.DataFrame, lead: str, account: str | None) -> list[dict[str, Any]]:
    mine = events.filter(pl.col("account_id") == account)
    return [_event(row, lead) for row in mine.iter_rows(named=True)]


def _event(row: Mapping[str, Any], lead: str) -> dict[str, Any]:
    told = {"event": row["event"], "timestamp": row["timestamp"].isoformat(), "message_id": row["message_id"]}
    properties = json.loads(row["properties"] or "{}")
    return told | ({} if row["user_id"] == lead else {"user_id": row["user_id"]}) | (
        {"properties": properties} if properties else {}
    )  # fmt: skip


def _values(row: Floats) -> list[float | None]:
    return [None if np.isnan(value) else value for value in row.tolist()]


def _text(moment: int) -> str:
    return moment_of(moment).isoformat().replace("+00:00", "Z")


def _json(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()
