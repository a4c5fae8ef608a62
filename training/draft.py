"""`pql init`: raw events -> a commented definition to start from.

Looks at names, times and who did what around conversions; promises nothing: each guess stands in the file to be read
and edited.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from features.definition import CONVERTED, TRIAL_STARTED
from features.durations import DAY, span_text
from features.errors import InvalidInput
from features.events import blank, is_json_object, need
from features.survey import GROUP, IDENTIFY
from features.times import INSTANT, instants
from training.drafting.leaks import Suspect, conversions, suspects
from training.drafting.playbooks import playbook_lines
from training.drafting.traits import trait_lines
from training.drafting.words import event_missing, event_phrase, event_slug, guess_kind, yaml_text

MIN_LEADS = 20
"""Events that fewer leads than this ever did are left out: no model can learn from them."""
LEAK_SHARE = 0.9
MAX_SIGNALS = 40
SAMPLED = 2_000
_TAKEN = ("trial_age", "account_activity", "account_trials", "account_conversions")
_CLOSING = r"(?i)cancel|churn|expire|unsubscrib|downgrad"
_CONVERTING = r"(?i)subscription_started|subscribed|converted|upgraded|purchase|checkout_completed|paid"


@dataclass(frozen=True)
class Options:
    """What the command line already knows; None means: guess from the data."""

    product: str = "My product"
    lead: str = "user"
    conversion: str | None = None
    horizon: int | None = None
    trial_length: int | None = None
    score_at: tuple[int, ...] = ()


@dataclass(frozen=True)
class Look:
    """What the data shows, before it is written down as a definition.

    `by_account` says that the events belong to accounts because their user ids are not those of the trials.
    `dates_only` says that most events carry a date without a time of day.
    """

    events: pl.DataFrame
    trials: pl.DataFrame | None
    by_account: bool
    dates_only: bool
    shared_accounts: bool
    before_trial: bool
    closing: tuple[str, ...]
    conversion: str | None
    suspects: tuple[Suspect, ...]
    names: tuple[str, ...]


def look(events: pl.DataFrame, trials: pl.DataFrame | None, options: Options) -> Look:
    """Return what raw tables show about a product.

    Raises
    ------
    InvalidInput
        Where a table lacks a column that is needed, times carry no zone, or too few leads did anything.
    """
    need("events", events, ("user_id", "event", "timestamp"))
    named = events.filter(~blank("event"))
    events = _timed(named, ("timestamp",)).drop_nulls("timestamp") if len(named) else named
    if not len(events):
        raise InvalidInput.empty("events")
    if trials is not None:
        need("trials", trials, ("user_id", "started_at"))
        trials = _timed(trials, ("started_at", "ends_at", "closed_at", "converted_at"))
    by_account = trials is not None and _share_known(events, trials) < 0.01
    if by_account:
        need("events", events, ("account_id",))
    key = "account_id" if by_account else "user_id"
    midnight = (pl.col("timestamp").dt.epoch("us") % DAY == 0).mean()
    dates_only = bool(events.select(midnight).item() > 0.5)
    conversion = options.conversion or (None if trials is not None else _first_like(events, _CONVERTING))
    ends = conversions(events, trials, conversion, key)
    widely = _names(events, key)
    closing = _closing(events, trials, tuple(name for name in widely if name != conversion))
    known = (*closing, conversion or "", IDENTIFY, GROUP, TRIAL_STARTED, CONVERTED)
    left = tuple(suspects(events, trials, ends, key, known, MIN_LEADS) + _told(widely))
    left_out = {one.event for one in left} | set(closing) | {conversion}
    names = tuple(name for name in widely if name not in left_out)[:MAX_SIGNALS]
    if not names:
        raise InvalidInput(
            f"events: none that could be a signal was done by {MIN_LEADS} leads or more, so there is nothing to draft.",
            hint="Give a longer history.",
        )
    shared = trials is not None and "account_id" in trials.columns and _share_accounts(trials)
    before = trials is not None and _mostly_before(events, trials, key)
    return Look(events, trials, by_account, dates_only, shared, before, closing, conversion, left, names)


def _timed(frame: pl.DataFrame, columns: tuple[str, ...]) -> pl.DataFrame:
    for column in columns:
        if column in frame.columns:
            frame = instants(frame, column, None)
    return frame


def _share_known(events: pl.DataFrame, trials: pl.DataFrame) -> float:
    known = events["user_id"].is_in(trials["user_id"].implode()).mean()
    return float(known) if isinstance(known, float) else 0.0


def _names(events: pl.DataFrame, key: str) -> list[str]:
    """Return the event names that enough leads did, most widely done first."""
    done = events.group_by("event").agg(pl.col(key).n_unique().alias("n")).filter(pl.col("n") >= MIN_LEADS)
    return done.sort("n", "event", descending=[True, False])["event"].to_list()


def _first_like(events: pl.DataFrame, pattern: str) -> str | None:
    """Return, of the names like this, the one that most users do first: bills follow the purchase."""
    found = events.filter(pl.col("event").str.contains(pattern)).sort("timestamp", "event")
    first = (
        found.unique("user_id", keep="first")["event"].value_counts().sort("count", "event", descending=[True, False])
    )
    return first["event"][0] if len(first) else None


def _share_accounts(trials: pl.DataFrame) -> bool:
    """Whether at least a fifth of the trials belong to an account with another trial."""
    known = trials["account_id"].drop_nulls()
    return bool(len(known) and known.is_duplicated().sum() >= 0.2 * len(trials))


def _mostly_before(events: pl.DataFrame, trials: pl.DataFrame, key: str) -> bool:
    """Whether what is known when a trial starts is mostly older than the trial."""
    joined = events.join(trials.select(key, "started_at").unique(key), on=key)
    early = (pl.col("timestamp") < pl.col("started_at")) & (
        pl.col("timestamp") >= pl.col("started_at") - pl.duration(days=60)
    )
    late = (pl.col("timestamp") >= pl.col("started_at")) & (
        pl.col("timestamp") < pl.col("started_at") + pl.duration(days=7)
    )
    counts = joined.select(early.sum().alias("early"), late.sum().alias("late")).row(0)
    return bool(counts[0] > counts[1])


def _closing(events: pl.DataFrame, trials: pl.DataFrame | None, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the events that are the end of a trial: by their names, or because they fall on closed_at."""
    found = {name for name in names if re.search(_CLOSING, name)}
    if trials is not None and "closed_at" in trials.columns:
        ends = trials.drop_nulls("closed_at").select("user_id", "closed_at")
        mine = events.select("user_id", "event", "timestamp").join(ends, on="user_id", how="left")
        same = (pl.col("timestamp").dt.date() == pl.col("closed_at").dt.date()).fill_null(value=False)
        found |= set(mine.group_by("event").agg(same.mean()).filter(pl.col("timestamp") > LEAK_SHARE)["event"])
    return tuple(name for name in names if name in found)


def _told(names: list[str]) -> list[Suspect]:
    """Return the events that are no signals, because of what their names mean."""
    fact = "its properties are facts about the lead, which the traits read"
    made = "a name that is made from the trials table; rename it in the export to use it"
    why = {IDENTIFY: fact, GROUP: fact, TRIAL_STARTED: made, CONVERTED: made}
    return [Suspect(name, why[name]) for name in names if name in why]


def draft(seen: Look, options: Options) -> str:
    """Return the text of a definition for what was seen."""
    taken = set(_TAKEN)
    lines = [
        "# Drafted by `pql init`. Every line is a guess to be read: rename, reword, delete.",
        f"product: {yaml_text(options.product)}",
        f"lead: {options.lead}          # what is scored: user or account",
        *_trial_lines(seen, options),
        *_conversion_lines(seen, options),
        *_moment_lines(seen, options),
        "",
        "signals:               # behaviours a sales rep understands; + means that more of it can only help",
        *_signal_lines(seen, taken),
        *_history_lines(seen),
        *_suspect_lines(seen),
        *trait_lines(seen.events, seen.trials, taken),
        "",
        "cutoff:                # who is a PQL: at least this share must convert, promised with this confidence",
        "  policy: precision",
        f"  at_least: {_target(seen)}",
        "  confidence: 0.9",
    ]
    length = options.trial_length or _usual_length(seen)
    lines += playbook_lines(_kinds(lines), trials_end=length is not None)
    return "\n".join(lines) + "\n"


def _kinds(lines: Sequence[str]) -> set[str]:
    """Return the kinds of the signals in some lines of a definition, and that of its traits."""
    return {"fit"} | {line.split()[1] for line in lines if line.startswith("    kind: ")}


def _trial_lines(seen: Look, options: Options) -> list[str]:
    length = options.trial_length or _usual_length(seen)
    lines = ["", "trial:", f"  length: {span_text(length) if length else 'none'}"]
    lines += [f"  closed_by: [{', '.join(yaml_text(name) for name in seen.closing)}]"] if seen.closing else []
    rounded = "  round_start_to: day    # the events carry dates only, so days are counted from midnight"
    return [*lines, rounded] if seen.dates_only else lines


def _usual_length(seen: Look) -> int | None:
    """Return the length of most trials in whole days, where they have one."""
    if seen.trials is None or "ends_at" not in seen.trials.columns:
        return None
    days = (
        (seen.trials["ends_at"].cast(INSTANT) - seen.trials["started_at"])
        .dt.total_days()
        .drop_nulls()
        .value_counts(sort=True)
    )
    common = len(days) and days["count"][0] > 0.5 * len(seen.trials)
    return int(days.row(0)[0]) * DAY if common and days.row(0)[0] > 0 else None


def _conversion_lines(seen: Look, options: Options) -> list[str]:
    what = f"  event: {yaml_text(seen.conversion)}" if seen.conversion else "  column: converted_at"
    horizon = options.horizon or _usual_horizon(seen)
    return [
        "",
        "conversion:",
        what,
        f"  horizon: {span_text(horizon)}          # within which time it must happen to count",
    ]


def _usual_horizon(seen: Look) -> int:
    """Return the shortest usual horizon within which nine in ten conversions fall, counted from the trial's start."""
    if seen.trials is None or "converted_at" not in seen.trials.columns:
        return 30 * DAY
    took = (seen.trials["converted_at"].cast(INSTANT) - seen.trials["started_at"]).dt.total_days().quantile(0.9)
    return next((days for days in (7, 14, 30, 60) if took is not None and took <= days), 90) * DAY


def _moment_lines(seen: Look, options: Options) -> list[str]:
    length = options.trial_length or _usual_length(seen)
    days = [0] if seen.before_trial else [3, 5] if length and length <= 7 * DAY else [3, 7, 10]
    ages = ", ".join(span_text(span) for span in options.score_at or [day * DAY for day in days])
    windows = "30d, 90d" if seen.before_trial else "1d, 7d, trial"
    return [
        "",
        f"score_at: [{ages}]    # ages of a trial at which the model learns to score it",
        f"windows: [{windows}]",
    ]


def _signal_lines(seen: Look, taken: set[str]) -> list[str]:
    lines, samples = [], _samples(seen.events)
    for event in seen.names:
        slug = event_slug(event, taken)
        taken.add(slug)
        measures = [
            "count",
            "active_days",
            "days_since_last",
            *(f"sum({p})" for p in _summable(samples.get(event, []))),
        ]
        lines += _signal(
            slug, guess_kind(event), [event], measures, "+", event_phrase(event), account=seen.by_account,
            missing=event_missing(event),
        )  # fmt: skip
    return lines


def _signal(
    name: str,
    kind: str,
    events: list[str],
    measures: list[str],
    direction: str,
    text: str,
    *,
    account: bool,
    windows: str = "",
    speakable: bool = True,
    missing: str | None = None,
) -> list[str]:
    scope = ["    scope: account"] if account else []
    spans = [f"    windows: [{windows}]"] if windows else []
    return [
        f"  - name: {yaml_text(name)}",
        f"    kind: {kind}",
        *scope,
        f"    events: [{', '.join(yaml_text(event) for event in events)}]",
        *spans,
        f"    measures: [{', '.join(measures)}]",
        f'    direction: "{direction}"' if direction != "free" else "    direction: free",
        f"    text: {yaml_text(text)}",
        *([f"    missing: {yaml_text(missing)}"] if missing else []),
        *([] if speakable else ["    speakable: false"]),
    ]


def _samples(events: pl.DataFrame) -> dict[str, list[str]]:
    """Return the first properties of each event, where they are texts."""
    if events.schema.get("properties") != pl.String:
        return {}
    told = events.select("event", "properties").drop_nulls("properties")
    first = told.filter(pl.int_range(pl.len()).over("event") < SAMPLED)
    return {str(event): mine["properties"].to_list() for (event,), mine in first.group_by("event", maintain_order=True)}


def _summable(texts: Sequence[str]) -> list[str]:
    """Return up to three properties that hold different numbers in a sample of an event's properties."""
    values: dict[str, set[object]] = {}
    for text in filter(is_json_object, texts):
        for name, value in json.loads(text).items():
            values.setdefault(name, set()).add(value if isinstance(value, int | float) else str(type(value)))
    numeric = [
        name for name, seen in values.items() if len(seen) > 2 and not any(isinstance(v, str | bool) for v in seen)
    ]
    # Names that a measure in a YAML list can hold as they are, and that are not the same once they name a column.
    plain = [name for name in numeric if re.fullmatch(r"\w([\w.$ -]*\w)?", name, re.ASCII)]
    return list({re.sub(r"[\W_]+", "_", name): name for name in reversed(plain)}.values())[::-1][:3]


def _history_lines(seen: Look) -> list[str]:
    """Return signals about the account, where accounts have several trials."""
    if not seen.shared_accounts:
        return []
    lines = ["  # What the account as a whole did before. It goes either way, so the data decides the direction."]
    if not seen.by_account:
        events = list(seen.names[:5])
        text = "{distinct_user:person|people} active in the account {window}"
        measures = ["count", "distinct(user)", "trend"]
        lines += _signal(
            "account_activity", "team_growth", events, measures, "free", text, account=True, windows="7d, 30d, 90d"
        )
    # Each lead's own trial is one of them, so this is nothing to say to a customer.
    trials = "the account had {count:trial|trials} {window}"
    lines += _history("account_trials", "$trial_started", trials, speakable=False)
    won = "the account had {count:earlier conversion|earlier conversions} {window}"
    lines += _history("account_conversions", "$converted", won, speakable=True)
    return lines


def _history(name: str, event: str, text: str, *, speakable: bool) -> list[str]:
    return _signal(
        name, "fit", [event], ["count"], "free", text, account=True, windows="90d, 730d", speakable=speakable
    )


def _suspect_lines(seen: Look) -> list[str]:
    return [f"  # left out: {yaml_text(one.event)} ({one.why})" for one in seen.suspects]


def _target(seen: Look) -> float:
    """Return a precision worth a rep's time to ask for: twice the base rate, or halfway to certainty if less."""
    if seen.trials is None or "converted_at" not in seen.trials.columns:
        return 0.3
    rate = 1 - seen.trials["converted_at"].null_count() / max(len(seen.trials), 1)
    return min(round(min(2 * rate, (1 + rate) / 2), 2) or 0.1, 0.95)
