"""Leaks to plant into honest products: each edits one so that a signal, a trait or the trials tell the outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from benchmarks.leak_products import DAY, HOUR, Ints, Product

Plant = Callable[[Product], tuple[Product, str]]
"""Gives the product with a leak, and the name that must be found."""


def _event(name: str, when: Callable[[Product, Ints], Ints], **more: Any) -> Plant:
    def plant(product: Product) -> tuple[Product, str]:
        rows = np.flatnonzero(product.marked())
        return product.with_events(name, rows, when(product, rows)).with_signal(name, **more), name

    return plant


def _ago(low: int, high: int) -> Callable[[Product, Ints], Ints]:
    """Date an event between two spans before the conversion (below 0: after it), or that before some moment."""

    def when(product: Product, rows: Ints) -> Ints:
        back = product.rng.integers(low, high, len(rows))
        at: Ints = np.maximum(product.moments_before()[rows] - back, product.times("started_at")[rows] + 60_000_000)
        return at

    return when


def _midnight(product: Product, rows: Ints) -> Ints:
    before: Ints = product.moments_before()[rows] // DAY * DAY
    return before


def _at_start(product: Product, rows: Ints) -> Ints:
    just_after: Ints = product.times("started_at")[rows] + 1_000_000
    return just_after


def _skewed(product: Product, rows: Ints) -> Ints:
    """Half of the clients' clocks are up to twelve hours slow."""
    rng = product.rng
    true = product.moments_before()[rows] + rng.integers(60_000_000, 3 * HOUR, len(rows))
    return true - np.where(rng.random(len(rows)) < 0.5, rng.integers(3 * HOUR, 12 * HOUR, len(rows)), 0)


def _recorded_late(product: Product) -> tuple[Product, str]:
    """Entered when they convert, dated in the middle of the trial."""
    rows = np.flatnonzero(product.marked())
    start, end = product.times("started_at")[rows], product.moments_before()[rows]
    at = start + (product.rng.random(len(rows)) * 0.6 * (end - start)).astype(np.int64)
    arrived = end + product.rng.integers(1, 3 * HOUR, len(rows))
    return product.with_events("contract_noted", rows, at, arrived).with_signal("contract_noted"), "contract_noted"


def _dates_only(product: Product) -> tuple[Product, str]:
    """Events carry dates; what follows a conversion on its day is dated before it."""
    rows = np.flatnonzero(product.marked())
    product = product.with_events("upgrade_mail_opened", rows, product.moments_before()[rows] + HOUR // 2)
    day = pl.col("timestamp").dt.truncate("1d")
    return replace(product, events=product.events.with_columns(day)).with_signal(
        "upgrade_mail_opened"
    ), "upgrade_mail_opened"


def _flipped(product: Product) -> tuple[Product, str]:
    """The outcome as somebody typed it in, wrong in one of fourteen."""
    flag = product.won ^ (product.rng.random(len(product.trials)) < 0.07)
    return product.with_trait("hot_lead", "flag", flag.tolist()), "hot_lead"


def _property(measure: str, name: str) -> Plant:
    """What payers did carries a property that was joined to it at export."""

    def plant(product: Product) -> tuple[Product, str]:
        users = product.trials.filter(pl.Series(product.marked()))["user_id"]
        said = pl.when(pl.col("user_id").is_in(users.implode()) & (pl.col("event") == "comment_added"))
        value = f'{{"{name}": 5}}'
        events = product.events.with_columns(said.then(pl.lit(value)).otherwise("properties").alias("properties"))
        changed = replace(product, events=events)
        return changed.with_signal(
            "comments", events=["comment_added"], measures=["count", f"{measure}({name})"]
        ), "comments"

    return plant


def _filtered(product: Product) -> tuple[Product, str]:
    users = product.trials.filter(pl.Series(product.marked()))["user_id"]
    said = pl.when(pl.col("user_id").is_in(users.implode()) & (pl.col("event") == "session_started"))
    events = product.events.with_columns(
        said.then(pl.lit('{"tier": "paid"}')).otherwise("properties").alias("properties")
    )
    match = [{"event": "session_started", "where": {"tier": "paid"}}]
    return replace(product, events=events).with_signal("paid_sessions", events=match), "paid_sessions"


def _demo_event(event: str) -> Plant:
    return lambda product: (product.with_signal(event), event)


def _in_account(product: Product) -> tuple[Product, str]:
    rows = np.flatnonzero(product.marked())
    at = product.moments_before()[rows] // DAY * DAY
    planted = product.with_events("seats_bought", rows, at)
    return planted.with_signal(
        "seats_bought", scope="account", measures=["count"], windows=["7d", "30d"]
    ), "seats_bought"


def _trait(name: str, kind: str, value: Callable[[Product, int], Any], otherwise: Any = None) -> Plant:
    def plant(product: Product) -> tuple[Product, str]:
        marked = product.marked()
        values = [value(product, i) if one else otherwise for i, one in enumerate(marked)]
        return product.with_trait(name, kind, values), name

    return plant


def _customer_number(product: Product) -> tuple[Product, str]:
    """Numbers handed out in the order of conversion."""
    marked = product.marked()
    order = np.argsort(np.argsort(product.moments_before()))
    return product.with_trait("customer_number", "number", [int(k) if m else None for k, m in zip(order, marked, strict=True)]), \
        "customer_number"  # fmt: skip


def _row_number(product: Product) -> tuple[Product, str]:
    """The place in a table that was sorted by the outcome."""
    order = np.argsort(np.argsort(product.marked() * 2.0 + product.rng.random(len(product.trials))))
    return product.with_trait("row_number", "number", order.tolist()), "row_number"


def _sign_up_number(product: Product) -> tuple[Product, str]:
    """A running number, where fewer and fewer convert."""
    start = product.times("started_at")
    early = (start - start.min()) / (start.max() - start.min())
    undone = product.rng.random(len(start)) < early * 0.9
    kept = pl.when(pl.Series(undone)).then(None).otherwise(pl.col("converted_at")).alias("converted_at")
    changed = replace(product, trials=product.trials.with_columns(kept))
    return changed.with_trait("sign_up_number", "number", np.argsort(np.argsort(start)).tolist()), "sign_up_number"


def _told_fact(product: Product) -> tuple[Product, str]:
    """The billing system tells the plan when they convert, and dates it back some hours."""
    rows = np.flatnonzero(product.marked())
    at = _ago(HOUR, 8 * HOUR)(product, rows)
    traits = [*product.definition["traits"], {"name": "billing_plan", "type": "category"}]
    told = product.with_events("$identify", rows, at, said={"billing_plan": "pro"})
    return replace(told, definition={**told.definition, "traits": traits}), "billing_plan"


def _begun_at_conversion(product: Product) -> tuple[Product, str]:
    """The sales tool writes the start when it writes the conversion."""
    return _started(product, 0), "trials"


def _begun_late(product: Product) -> tuple[Product, str]:
    """The start is written some days before the conversion, long after the first steps."""
    return _started(product, 4 * DAY), "trials"


def _started(product: Product, before: int) -> Product:
    """Write starts this long before conversions: the lead's own, or its account's for everybody in it."""
    frame = product.trials.with_columns(marked=pl.Series(product.marked() & product.won), end="converted_at")
    if product.setting.lead == "account":
        frame = frame.with_columns(pl.col("marked").any().over("account_id"), pl.col("end").min().over("account_id"))
    written = pl.max_horizontal("started_at", pl.col("end") - pl.duration(microseconds=before))
    moved = pl.when("marked").then(written).otherwise("started_at").alias("started_at")
    return replace(product, trials=frame.with_columns(moved).drop("marked", "end"))


def _active_after(product: Product) -> tuple[Product, str]:
    """Converters get their account only once they have paid; what they do begins then."""
    moved = pl.Series("moved", product.marked() & product.won)
    ends = product.trials.with_columns(moved).filter(pl.col("moved")).select("user_id", "converted_at")
    joined = product.events.join(ends, on="user_id", how="left", maintain_order="left")
    kept = joined.filter(pl.col("converted_at").is_null() | (pl.col("timestamp") >= pl.col("converted_at")))
    return replace(product, events=kept.drop("converted_at")), "trials"


PLANTS: dict[str, Plant] = {
    "event dated to midnight of the day of conversion": _event("welcome_to_paid", _midnight),
    "event dated back by hours": _event("invoice_created", _ago(HOUR, 10 * HOUR)),
    "event dated back by days": _event("contract_signed", _ago(2 * DAY, 10 * DAY)),
    "event dated to the start of the trial": _event("billing_period", _at_start),
    "event recorded late, dated in the trial": _recorded_late,
    "consequence on skewed clocks": _event("receipt_opened", _skewed),
    "consequence hours later": _event("onboarding_call", _ago(-30 * HOUR, -HOUR)),
    "consequence within a month": _demo_event("seat_added"),
    "monthly consequence": _demo_event("invoice_paid"),
    "part of converting, minutes before": _event("checkout_started", _ago(HOUR // 60, HOUR // 4)),
    "dates only, after the conversion": _dates_only,
    "property to sum that payers have": _property("sum", "paid_seats"),
    "property to tell apart that payers have": _property("distinct", "plan_id"),
    "filter that only payers meet": _filtered,
    "own consequence in an account window": _in_account,
    "plan filled in by billing": _trait("plan", "category", lambda p, _: str(p.rng.choice(["team", "pro"]))),
    "plan that is free for others": _trait("tier", "category", lambda *_: "pro", "free"),
    "seats filled in by billing": _trait("paying_seats", "number", lambda p, _: int(p.rng.integers(1, 50))),
    "seats that are 0 for others": _trait("licences", "number", lambda p, _: int(p.rng.integers(1, 50)), 0),
    "account manager": _trait("account_manager", "category", lambda p, _: f"manager {p.rng.integers(40)}"),
    "id handed out on conversion": _customer_number,
    "hashed id as a category": _trait("bucket", "category", lambda _, i: f"b{i * 7919 % 60}", "b-none"),
    "place in a table sorted by outcome": _row_number,
    "running number under a trend": _sign_up_number,
    "flag that is the outcome": _trait("in_crm", "flag", lambda *_: True, otherwise=False),
    "flag that is the outcome, with slips": _flipped,
    "fact told by billing, dated back": _told_fact,
    "trials begun at the conversion": _begun_at_conversion,
    "trials begun late": _begun_late,
    "use that begins after the conversion": _active_after,
}  # fmt: skip
