"""Reasons for PQLs of the demo product against what drives them: whole trainings, and whole trainings on other accounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any, Final

import numpy as np
import polars as pl
import yaml

from benchmarks.reasons_ceiling import LABELS, ceiling
from benchmarks.reasons_page import (
    STABLE,
    Agreed,
    Names,
    agreed,
    cells,
    mean_of,
    number_bar,
    overlap,
    share_bar,
    truth_bars,
)
from benchmarks.truth_page import Bar, Part, table
from features.dataset import Dataset, dataset
from features.definition import parse
from features.durations import DAY
from features.times import moment_of
from features.windows import Floats, Ints
from serving.scoring.answers import Asked, answers_of, subjects
from serving.scoring.decision import Flags
from serving.scoring.playbooks import LEADING
from serving.scoring.scorer import Scorer
from training.demo import CORKBOARD, Demo, simulate
from training.judging.fidelity import LEAST_COVERED, LEAST_FIRST, LEAST_THREE, Spoken, met_as_pqls
from training.pipeline import Settings, Trained, train

TITLE: Final = "The demo product"
SEEDS: Final = range(31, 36)
ACCOUNTS: Final = 8_000
RETRAINS: Final = 3

BEHAVIOURS: Final = CORKBOARD.names
NO_EFFECT: Final = frozenset(one.event for one in CORKBOARD.behaviours if one.weight == 0)
SPEAKABLE: Final = np.array([one.weight >= 0 for one in CORKBOARD.behaviours])


@dataclass(frozen=True)
class Found:
    """What the reasons of one training came to; `knowing` are those of lines that know the form of the truth.

    Attributes
    ----------
    anew : mean overlap of the leading reasons between two versions retrained on accounts drawn anew
    kept : the same between a retrained version and the one in service
    """

    rung: str
    auc: float
    spoken: Spoken
    named: Agreed
    knowing: Mapping[float, Agreed]
    anew: float
    kept: float


def definition() -> str:
    """Return a definition with one signal for each thing that people do in the demo product, of effect or of none."""
    signals = [
        {
            "name": one.event, "kind": "value", "events": [one.event], "measures": ["count", "days_since_last"],
            "direction": "-" if one.weight < 0 else "+", "text": f"{one.event} {{count:once|times}} {{window}}",
            "speakable": one.weight >= 0,
        }
        for one in CORKBOARD.behaviours
    ]  # fmt: skip
    size = {"name": "company_size", "type": "number", "text": "about {value} people", "speakable": True}
    email = {"name": "email", "type": "email_domain", "text": "a business address at {value}", "speakable": True}
    asked: dict[str, Any] = {
        "product": CORKBOARD.name, "trial": {"length": "14d", "closed_by": [CORKBOARD.cancelled]},
        "conversion": {"event": CORKBOARD.converted, "horizon": "30d"}, "score_at": ["3d", "7d", "10d"],
        "windows": ["1d", "7d", "trial"], "signals": signals,
        "traits": [{**size, "direction": "+"}, {"name": "source", "type": "category"}, {**email, "direction": "+"}],
        "cutoff": {"policy": "precision", "at_least": 0.3, "confidence": 0.9},
    }  # fmt: skip
    return yaml.safe_dump(asked, sort_keys=False)


def demo_product() -> Part:
    """Measure the demo product."""
    found = []
    for seed in SEEDS:
        found.append(measured(seed, ACCOUNTS, RETRAINS))
        print(f"  seed {seed}: {found[-1].named}, {found[-1].anew:.3f}", flush=True)
    return Part(TITLE, _world(), _bars(found), _table(found))


def measured(seed: int, accounts: int, retrains: int) -> Found:
    """Return what comes of one world."""
    text, world = definition(), simulate(accounts, seed)
    data = dataset(world.events, world.trials, parse(text))
    trained = train(data, text, Settings())
    leads, as_of = met_as_pqls(trained.daily, data.leads.ids)
    scorer = Scorer(trained.artifact)
    told = leading(scorer, data, leads, as_of, LEADING)
    drivers, typical = drivers_of(world, trained, data, leads, as_of)
    truth = np.where(SPEAKABLE & (drivers > 0), drivers - typical, -np.inf)
    did = SPEAKABLE & happened(world, data, leads, as_of)
    every = leading(scorer, data, leads, as_of, len(BEHAVIOURS))
    behaviours = [[name for name in names if name in BEHAVIOURS][:LEADING] for names in every]
    rng = np.random.default_rng(seed)
    versions = [retrained(world, text, rng) for _ in range(retrains)]
    others = [leading(version, data, leads, as_of, LEADING) for version in versions]
    assert trained.spoken is not None
    return Found(
        trained.artifact.rung, trained.figures["auc"].value, trained.spoken,
        agreed(behaviours, truth, BEHAVIOURS, told, NO_EFFECT),
        ceiling(world, data, trained, (leads, as_of), partial(_agreed_by_values, truth, did)),
        float(np.mean([overlap(one, other) for one, other in combinations(others, 2)])),
        float(np.mean([overlap(told, other) for other in others])),
    )  # fmt: skip


def leading(scorer: Scorer, data: Dataset, leads: Ints, as_of: Ints, most: int) -> list[Names]:
    """Return what the reasons of some leads name, the strongest first, as every answer names it."""
    told: list[Names] = [[] for _ in leads]
    for part in data.under(scorer.builder.definition).parts(leads):
        places = np.searchsorted(leads, part.numbers)
        met = subjects(scorer, part.leads, part.logs, np.arange(len(part.leads)), as_of[places])
        for place, answer in zip(places.tolist(), answers_of(scorer, met, Asked(most)), strict=True):
            told[place] = [reason.signal for reason in answer.reasons[:most]]
    return told


def drivers_of(world: Demo, trained: Trained, data: Dataset, leads: Ints, as_of: Ints) -> tuple[Floats, Floats]:
    """Return each behaviour's part of the true log rate, and its mean among open test trials of the same day."""
    daily = trained.daily
    day = daily["trial_day"].round().to_numpy(np.int64)
    moments = [moment.to_pydatetime() for moment in daily["as_of"]]
    everybody = world.true_drivers(daily["lead_id"].tolist(), moments).drop("user_id").to_numpy()
    mean = np.stack([everybody[day == one].mean(axis=0) if (day == one).any() else np.zeros(len(BEHAVIOURS))
                     for one in range(day.max() + 1)])  # fmt: skip
    ids = [data.leads.ids[lead] for lead in leads]
    own = world.true_drivers(ids, [moment_of(int(moment)) for moment in as_of]).drop("user_id").to_numpy()
    return own, mean[days_of(data, leads, as_of)]


def happened(world: Demo, data: Dataset, leads: Ints, as_of: Ints) -> Flags:
    """Return which behaviours each lead has shown by its moment: bool array of shape (n, n_behaviours)."""
    rows = np.searchsorted(world.truth.user_ids, np.array([data.leads.ids[lead] for lead in leads]))
    found: Flags = world.truth.counts[rows, days_of(data, leads, as_of)] > 0
    return found


def days_of(data: Dataset, leads: Ints, as_of: Ints) -> Ints:
    """Return the trial day of each lead at its moment."""
    found: Ints = np.round((as_of - data.leads.started_at[leads]) / DAY).astype(np.int64)
    return found


def retrained(world: Demo, text: str, rng: np.random.Generator) -> Scorer:
    """Return a version learned from as many accounts, drawn with replacement; an account drawn twice is two accounts."""
    accounts = world.trials["account_id"].unique(maintain_order=True)
    drawn = rng.integers(0, len(accounts), len(accounts))
    copies = pl.DataFrame({"account_id": accounts[drawn], "copy": np.arange(len(drawn))})
    events, trials = (copied(frame, copies) for frame in (world.events, world.trials))
    return Scorer(train(dataset(events, trials, parse(text)), text, Settings()).artifact)


def copied(frame: pl.DataFrame, copies: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of accounts as often as they were drawn, each copy with ids of its own."""
    own = [pl.format("{}-{}", name, "copy").alias(name) for name in ("user_id", "account_id", "message_id")
           if name in frame.columns]  # fmt: skip
    return frame.join(copies, on="account_id", maintain_order="left_right").with_columns(own).drop("copy")


def _agreed_by_values(truth: Floats, happened: Flags, values: Floats) -> Agreed:
    """Return how well the order of some values agrees with the truth."""
    ranked = np.where(happened & (values > 0), values, -np.inf)
    order = np.argsort(-ranked, axis=1, kind="stable")[:, :LEADING].tolist()
    named = [[BEHAVIOURS[i] for i in mine if row[i] > 0] for mine, row in zip(order, ranked, strict=True)]
    return agreed(named, truth, BEHAVIOURS, named, NO_EFFECT)


def _bars(found: Sequence[Found]) -> list[Bar]:
    pqls = sum(one.spoken.pqls for one in found)

    def share(name: str) -> float:
        return sum(int(getattr(one.spoken, name)) for one in found) / pqls

    told, wrong = (sum(getattr(one.spoken, name) for one in found) for name in ("told", "contradicting"))
    return [
        *truth_bars([one.named for one in found], "PQLs"),
        share_bar("PQLs whose score falls without what the first reason names", LEAST_FIRST, share("first_lowers")),
        share_bar("PQLs whose score falls by more without the three than without three others", LEAST_THREE,
            share("three_lower_more")),
        share_bar("PQLs with three positive, speakable, distinct reasons", LEAST_COVERED, share("covered")),
        Bar("reasons that contradict their direction", "0", f"{wrong} of {told:,}", wrong == 0),
        number_bar("mean Jaccard of the leading reasons of a version and of those retrained on accounts drawn anew", STABLE,
                   float(np.mean([one.kept for one in found]))),
        Bar("the same between two of the retrained ones, both drawn", "", f"{np.mean([one.anew for one in found]):.3f}", None),
    ]  # fmt: skip


def _table(found: Sequence[Found]) -> str:
    head = (
        "seed",
        "rung",
        "AUC",
        "PQLs",
        "overlap",
        "first is truest",
        "without effect",
        "Jaccard, retrained",
        "both drawn",
    )
    rows = [
        (f"{seed}", one.rung, f"{one.auc:.3f}", f"{one.spoken.pqls:,}", *cells(one.named), f"{one.kept:.3f}", f"{one.anew:.3f}")
        for seed, one in zip(SEEDS, found, strict=True)
    ]  # fmt: skip
    known = [
        (f"the true form, told who converts within {label:.0f} {'days' if label > 1 else 'day'}",
         *cells(mean_of([one.knowing[label] for one in found])))
        for label in LABELS
    ]  # fmt: skip
    ours = ("this project, told who converts within 30 days", *cells(mean_of([one.named for one in found])))
    beside = table(("learned from the same leads", "overlap", "first is truest", "without effect"), [ours, *known])
    return f"{table(head, rows)}\n\n{_why()}\n\n{beside}"


def _world() -> str:
    return f"""`training.demo` with {ACCOUNTS:,} accounts, {len(SEEDS)} seeds, trained whole with one signal for each of its
{len(BEHAVIOURS)} behaviours, {len(NO_EFFECT)} of which have no effect. PQLs are looked at when they are first met, one of each
account. The truth of a behaviour is its part of the log rate in force at that moment, minus the mean part among open trials of
the same day; traits, which have a truth of another kind, are left out of that comparison. For each seed {RETRAINS} versions are
retrained on accounts drawn with replacement."""


def _why() -> str:
    return """A score for 30 days asks who *will* convert; the truth here is what drives the rate *now*. The two differ: fresh
interest fades within the horizon, and a busy lead goes on. How much of this truth can be had at all is told by lines that know
its form (caps, last week's part, the jump of a team, that of a pair) and learn only its numbers:"""
