"""The lowest rung: where too little has converted to learn from, the definition's own point card or rules can be served.

Nothing is promised: the probability is the base rate moved by the points, and who is flagged is what people wrote.
"""

from __future__ import annotations

import numpy as np

from features.dataset import Dataset
from features.durations import DAY
from features.leads import Leads, running
from features.matrix import FeatureBuilder
from features.rules import points
from features.times import text_of
from features.windows import Floats, Ints
from serving.scoring.artifact import Artifact
from serving.scoring.calibration import Sigmoid
from serving.scoring.contributions import Contributions
from serving.scoring.course import Course, Stage
from serving.scoring.decision import Cutoff
from training.assemble import example_places
from training.calibrate import in_the_large
from training.ladder import hand_ranking
from training.snapshots import Snapshots, ages_learned, in_order, known_levels, looked_at, snapshots
from training.usual import usual


def artifact_by_hand(data: Dataset, definition_text: str) -> Artifact | None:
    """Return a version that scores by the definition's points or rules, or None where it has none that tell leads apart.

    The log-odds grow by 1 for each standard deviation of the points, from the share that has converted so far (with half
    a conversion more, so that it is never 0).
    """
    definition, leads = data.definition, data.leads
    which, as_of = _every_snapshot(data, leads)
    if not len(which):
        return None
    builder = FeatureBuilder(definition, known_levels(data, which, as_of))
    rows = data.rows(builder, which, as_of)
    ranking = hand_ranking(definition, builder.columns, rows)
    if ranking is None:
        return None
    margins = ranking.margins(rows)
    calibration = Sigmoid(
        1.0, in_the_large(_base_rate(snapshots(data, leads)) * len(rows), margins, np.ones(len(rows)))
    )
    probabilities = calibration.probabilities(margins)
    places = example_places(len(rows))
    horizon = definition.conversion.horizon / DAY
    booster_text = ranking.booster.model_to_string()
    contributions = Contributions.of(booster_text, ranking.scorecard, calibration)
    ages, nobody = as_of - leads.started_at[which], np.zeros(len(rows), np.int64)
    return Artifact(
        booster_text=booster_text,
        definition_text=definition_text,
        levels=builder.levels,
        scorecard=ranking.scorecard,
        calibration=calibration,
        decision=_decision(data, builder, rows, probabilities, as_of),
        course=Course(definition.scored_days(), Stage((horizon,), np.zeros((len(definition.score_at), 1))), None),
        reference=usual(builder, contributions, ages, rows, nobody, probabilities),
        training={
            "product": definition.product, "data_until": text_of(data.until), "horizon_days": horizon,
            "scored_at_days": list(definition.scored_days()), "parts": {}, "by_hand": True,
        },
        rung="points",
        examples=rows[places],
        expected=probabilities[places],
    )  # fmt: skip


def _every_snapshot(data: Dataset, leads: Leads) -> tuple[Ints, Ints]:
    """Return each lead at each age at which it was scored so far, whatever became of it."""
    lead, as_of = looked_at(leads, np.arange(len(leads)), ages_learned(data.definition))
    kept = in_order(running(leads, lead, as_of) & (as_of <= data.until), as_of)
    return lead[kept], as_of[kept]


def _base_rate(known: Snapshots) -> float:
    return (float(known.converted.sum()) + 0.5) / (len(known) + 1.0)


def _decision(data: Dataset, builder: FeatureBuilder, rows: Floats, probabilities: Floats, as_of: Ints) -> Cutoff:
    """Return the cutoff at the card's threshold, or where any rule holds; it promises nothing."""
    card = data.definition.points
    met = points(card, rows, builder.columns) >= card.threshold if card else probabilities > probabilities.min()
    # Where nobody has met it yet, what would is above everybody.
    probability = float(probabilities[met].min()) if met.any() else float(np.nextafter(probabilities.max(), 1))
    span = text_of(int(as_of.min())), text_of(int(as_of.max()))
    return Cutoff(
        probability, None, data.definition.cutoff.confidence, 0, 0, 0.0, *span, policy="by hand", binds="hand"
    )
