"""A draft leaves out what follows conversions or is a part of them, and keeps what comes days before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.leak_plants import PLANTS
from benchmarks.leak_products import Product, Setting, honest
from training.draft import Look, Options, look

SETTING = Setting(700, 31, rate=0.15, coverage=0.85, noise=0.02)


@pytest.fixture(scope="module")
def product() -> Product:
    return honest(SETTING)


def seen(product: Product) -> Look:
    return look(product.events, product.trials, Options())


def suspects(product: Product) -> dict[str, str]:
    return {one.event: one.why for one in seen(product).suspects}


ALWAYS = {"invoice_paid", "seat_added", "subscription_started"}


def test_what_comes_days_before_conversions_is_kept(product: Product) -> None:
    found = seen(product)
    assert {one.event for one in found.suspects} == ALWAYS
    assert {"demo_booked", "plans_compared", "pricing_viewed"} <= set(found.names)


@pytest.mark.parametrize(
    ("plant", "says"),
    [
        ("event dated to midnight of the day of conversion", "dated back"),
        ("event dated back by hours", "dated back"),
        ("part of converting, minutes before", "leaves sales no time"),
        ("consequence hours later", "a consequence, not a sign"),
    ],
)
def test_a_planted_leak_is_left_out_by_name(product: Product, plant: str, says: str) -> None:
    """Others have it too, so that not nearly all who did it had converted before."""
    planted, name = PLANTS[plant](replace(product, rng=np.random.default_rng(1)))
    found = suspects(planted)
    assert set(found) == ALWAYS | {name}
    assert says in found[name]


def test_without_a_trials_table_the_first_event_begins_the_trial(product: Product) -> None:
    planted, name = PLANTS["event dated back by hours"](replace(product, rng=np.random.default_rng(1)))
    found = look(planted.events, None, Options(conversion="subscription_started"))
    assert {one.event for one in found.suspects} == ALWAYS - {"subscription_started"} | {name}
