"""What a training came to, as one page that a product manager understands. The only door to jinja2.

Gathers the sections; `training.reporting` has the page, the sections' words and figures, and the pictures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from features.dataset import Dataset
from features.durations import DAY, span_words
from features.errors import Refusal
from features.leads import NEVER
from features.times import text_of
from training import record
from training.pipeline import Trained
from training.reporting import backtest as report_backtest
from training.reporting import calibration as report_calibration
from training.reporting import cutoff as report_cutoff
from training.reporting import model as report_model
from training.reporting import reasons as report_reasons
from training.reporting import table as report_table
from training.reporting.findings import Tile, doubts, tiles, verdict
from training.reporting.words import Facts, count, percent
from training.snapshots import snapshots


def render(trained: Trained, data: Dataset, version: str | None, promotion: str) -> str:
    """Return the report of a version: one page of HTML that loads nothing and runs nothing.

    Parameters
    ----------
    promotion : one sentence that says whether the version went into service, and why
    """
    artifact, found = trained.artifact, record.evidence_of(trained)
    facts = Facts(record.figures(trained, found), tuple(part.name for part in found.by_segment))
    later = artifact.course.later
    horizon = artifact.definition.conversion.horizon
    return _page(
        kind="version", title=f"{artifact.definition.product}: report on the PQL score", version=version,
        promotion=promotion, definition=artifact.definition, definition_text=artifact.definition_text,
        facts=artifact.training, horizon=span_words(horizon), shown=facts, counted=count,
        verdict=verdict(trained, facts), doubts=list(doubts(trained, facts)), tiles=list(tiles(trained, facts)),
        rows=list(report_table.rows(trained, facts)), rejections=data.rejections, set_right=data.set_right,
        clocks=trained.clocks, fates=report_model.fates(data, trained.table, trained.split),
        **report_model.signals(trained), **report_model.leaks(trained), **report_model.chosen(trained),
        **report_reasons.section(trained, facts),
        **report_calibration.section(found, facts), **report_cutoff.section(trained, facts),
        **report_backtest.section(found, facts, horizon / DAY, later.decision if later else None), **report_model.learned(trained),
    )  # fmt: skip


def render_refusal(refusal: Refusal, data: Dataset | None) -> str:
    """Return the report where there is no model: why not, what was seen of the data, and what would help."""
    return _page(
        kind="refusal", title="No PQL score", version=None, definition=data and data.definition, refusal=str(refusal),
        seen=data and _seen(data), rejections=data.rejections if data else (), set_right=data.set_right if data else {},
    )  # fmt: skip


def _page(**found: Any) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent / "reporting")
    world = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    world.filters |= {"percent": percent, "count": "{:,}".format, "date": lambda moment: moment[:10]}
    return world.get_template("report.html.jinja").render(**found)


def _seen(data: Dataset) -> dict[str, Any]:
    leads = data.leads
    won = int((leads.converted_at < NEVER).sum())
    tiles = [
        Tile(f"{n:,}", words)
        for n, words in ((data.n_events, "events"), (len(leads), "leads"), (won, "that converted"))
    ]
    return {
        "tiles": tiles, "fates": report_model.fates(data, snapshots(data, leads), None), "until": text_of(data.until),
        "first": text_of(int(leads.started_at.min())), "last": text_of(int(leads.started_at.max())),
        "horizon": span_words(data.definition.conversion.horizon), "age": span_words(min(data.definition.score_at)),
    }  # fmt: skip
