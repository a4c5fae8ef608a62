"""What the data says beside the signals of a draft: the figures of `discover`, the strongest first, and nothing made up."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.dataset import dataset
from features.definition import Definition, Signal, parse
from training.demo import Demo
from training.discover import Settings, discover
from training.discovery.words import CONSEQUENCE
from training.draft import Options, draft, look
from training.drafting.evidence import Weighed, weigh

DAY = timedelta(days=1)
START = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)


def world(
    seed: int = 1, leads: int = 1600, good: float = 0.6, bad: float = 0.15, *, usual: float = 0.15, late: bool = False
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Trials over 120 days: who invites converts with one probability, who complains with another, others as usual.

    `late` lets every converter open the checkout, most of them twenty hours before converting.
    """
    rng = np.random.default_rng(seed)
    events, trials = [], []
    for i in range(leads):
        began = START + DAY * (120 * i / leads)
        invites, complains = rng.random() < 0.3, rng.random() < 0.3
        chance = good if invites else bad if complains else usual
        paid = began + DAY * rng.uniform(5.5, 13) if rng.random() < chance else None
        happened = [("clicked", began + DAY * at) for at in rng.uniform(0, 10, rng.poisson(4))]
        happened += [("invited", began + DAY * rng.uniform(0, 2))] * invites
        happened += [("complained", began + DAY * rng.uniform(0, 2))] * complains
        if late and (paid or rng.random() < 0.1):
            close = paid is not None and rng.random() < 0.6
            opened = paid - timedelta(hours=20) if paid and close else began + DAY * rng.uniform(0, 4)
            happened += [("checkout opened", opened)]
        events += [{"user_id": f"u{i}", "event": name, "timestamp": at} for name, at in happened]
        trials.append({"user_id": f"u{i}", "started_at": began, "converted_at": paid, "plan": "a\nb" if i % 3 else "c"})
    events.append({"user_id": "u0", "event": "clicked", "timestamp": START + 150 * DAY})
    return pl.DataFrame(events), pl.DataFrame(trials)


def weighed(events: pl.DataFrame, trials: pl.DataFrame | None, options: Options | None = None) -> tuple[str, Weighed]:
    seen = look(events, trials, options or Options())
    text = draft(seen, options or Options())
    return text, weigh(text, seen.events, seen.trials)


@pytest.fixture(scope="module")
def clear() -> tuple[str, Weighed]:
    return weighed(*world(bad=0.02, usual=0.2))


@pytest.fixture(scope="module")
def of_the_demo(demo_world: Demo) -> tuple[str, Weighed]:
    return weighed(demo_world.events, demo_world.trials)


def names(text: str) -> list[str]:
    return [signal.name for signal in parse(text).signals]


def beside(text: str, name: str) -> str:
    """The comment in the block of a signal or trait, on one line."""
    block = text.split(f"  - name: {name}\n")[1]
    lines = [line for line in re.split(r"\n(?!    )", block)[0].splitlines() if line.startswith("    # ")]
    return " ".join(line.removeprefix("    # ") for line in lines)


def but_for_order_and_direction(definition: Definition) -> tuple[object, ...]:
    def same(signal: Signal) -> str:
        return signal.model_copy(
            update={"direction": "+" if signal.direction == "free" else signal.direction}
        ).model_dump_json()

    others = definition.model_dump(mode="json", exclude={"signals", "traits"}, exclude_none=True)
    return others, sorted(map(same, definition.signals)), sorted(trait.name for trait in definition.traits)


# --- what stands beside a signal --------------------------------------------------------------


def test_the_strongest_signal_comes_first(clear: tuple[str, Weighed]) -> None:
    before, after = clear
    assert names(before)[0] == "clicked"
    assert names(after.text)[0] == "invited"


def test_a_signal_tells_lift_interval_coverage_and_timing(clear: tuple[str, Weighed]) -> None:
    told = beside(clear[1].text, "invited")
    figures = re.fullmatch(
        r"invited at least once (?:since the trial began|in the last 7 days): (\d\.\d+) times as likely to convert "
        r"\((\d\.\d+) to (\d\.\d+); later (\d\.\d+)\), (\d+)% of converters, half of them \d+ days or more before",
        told,
    )
    assert figures is not None, told
    value, low, high, later, caught = map(float, figures.groups())
    assert 1.5 < low < value < high < 3
    assert later > 1.5
    assert 40 < caught < 80


def test_the_figures_are_those_of_discover(clear: tuple[str, Weighed]) -> None:
    counted = re.sub(r"measures: \[.*\]", "measures: [count]", clear[0])
    found = discover(dataset(*world(bad=0.02, usual=0.2), parse(counted)), Settings()).found
    (invited,) = (one.best for one in found.signals if one.best.name == "invited")
    lift = invited.older.lift
    assert f"{lift.value:.1f} times as likely to convert ({lift.low:.1f} to {lift.high:.1f};" in beside(
        clear[1].text, "invited"
    )


def test_what_tells_nothing_has_no_figure_and_comes_last(clear: tuple[str, Weighed]) -> None:
    assert beside(clear[1].text, "clicked") == ""
    assert names(clear[1].text)[-1] == "clicked"


def test_those_without_evidence_keep_their_order(of_the_demo: tuple[str, Weighed]) -> None:
    before, after = (text.split("  # What the account")[0] for text in (of_the_demo[0], of_the_demo[1].text))
    order = re.findall(r"  - name: (\w+)", before)
    left = [name for name in re.findall(r"  - name: (\w+)", after) if not beside(after + "\n", name)]
    assert left == sorted(left, key=order.index)
    assert 0 < len(left) < len(order)


def test_what_is_done_right_before_converting_is_called_a_likely_consequence() -> None:
    # Too many do it earlier for it to be left out.
    _, after = weighed(*world(3, late=True))
    assert CONSEQUENCE in beside(after.text, "checkout_opened")
    assert CONSEQUENCE not in beside(after.text, "invited")


def test_no_line_is_too_long_to_read(of_the_demo: tuple[str, Weighed]) -> None:
    assert max(map(len, re.findall(r"^    # .*$", of_the_demo[1].text, re.MULTILINE))) <= 120


def test_the_head_says_on_how_many_leads_and_how_much_of_it_holds_later(clear: tuple[str, Weighed]) -> None:
    assert re.fullmatch(
        r"Strongest evidence first, from [\d,]+ older leads; all of it holds on [\d,]+ later ones\. "
        r"It says who converts, not why",
        clear[1].head,
    )
    assert f"\n  # {clear[1].head}\n" in clear[1].text


# --- directions -------------------------------------------------------------------------------


def test_what_is_clearly_a_bad_sign_is_left_to_the_data(clear: tuple[str, Weighed]) -> None:
    before, after = (parse(text).signal_of["complained"] for text in (clear[0], clear[1].text))
    assert (before.direction, after.direction) == ("+", "free")
    assert "direction: free    # more of it is a bad sign" in clear[1].text
    assert "A bad sign:" in beside(clear[1].text, "complained")


def test_what_is_a_bad_sign_among_older_leads_only_keeps_its_direction() -> None:
    events, trials = world(2, bad=0.0, usual=0.2)
    others = world(5, bad=0.5, usual=0.2)
    later = pl.col("started_at") >= START + 80 * DAY
    whose = trials.filter(later)["user_id"].implode()
    of_these = pl.col("user_id").is_in(whose)
    mixed = pl.concat([events.filter(~of_these), others[0].filter(of_these)])
    _, after = weighed(mixed, pl.concat([trials.filter(~later), others[1].filter(later)]))
    assert "Not confirmed on later leads" in beside(after.text, "complained")
    assert parse(after.text).signal_of["complained"].direction == "+"


def test_all_else_is_the_same_definition(clear: tuple[str, Weighed], of_the_demo: tuple[str, Weighed]) -> None:
    for before, after in (clear, of_the_demo):
        assert but_for_order_and_direction(parse(before)) == but_for_order_and_direction(parse(after.text))


# --- nothing to say ---------------------------------------------------------------------------


def test_where_nothing_separates_the_head_says_so() -> None:
    before, after = weighed(*world(4, good=0.2, bad=0.2, usual=0.2))
    assert after.head.startswith("Nothing here tells converters from other leads")
    assert f"\n  # {after.head}\n" in after.text
    assert after.text.replace(f"  # {after.head}\n", "") == before


def test_with_too_few_conversions_the_draft_stays_as_it_is_and_says_why() -> None:
    before, after = weighed(*world(6, leads=60))
    assert re.match(r"No figures beside the signals: .*conver", after.head)
    assert after.text.replace(f"  # {after.head}\n", "") == before


def test_with_no_outcome_yet_the_draft_stays_as_it_is_and_says_why() -> None:
    events, trials = world(7, leads=200)
    young = events.filter(pl.col("timestamp") < START + 2 * DAY), trials.filter(pl.col("started_at") < START + DAY)
    names = [{"user_id": f"w{i}", "event": "clicked", "timestamp": START} for i in range(30)]
    before, after = weighed(pl.concat([young[0], pl.DataFrame(names)]), young[1])
    assert after.head.startswith("No figures beside the signals: no snapshot has a known outcome yet")
    assert after.text.replace(f"  # {after.head}\n", "") == before


def test_where_nothing_tells_who_converted_the_head_asks_for_it() -> None:
    before, after = weighed(world(8, leads=200)[0], None)
    assert re.search(r"nothing tells who converted\. Name the event with --conversion, or .*--trials", after.head)
    assert after.text.replace(f"  # {after.head}\n", "") == before


def test_what_cannot_be_read_as_leads_is_said_not_raised() -> None:
    events, trials = world(8, leads=200)
    before, after = weighed(events, trials.drop("converted_at"))
    assert re.match(r"No figures beside the signals: trials: missing column\(s\) 'converted_at'", after.head)
    assert after.text.replace(f"  # {after.head}\n", "") == before


# --- words of others --------------------------------------------------------------------------


def test_a_trait_is_weighed_too_and_its_category_of_any_text_stays_in_the_comment() -> None:
    events, trials = world(9)
    won = pl.col("converted_at").is_not_null()
    odd = trials.with_columns(plan=pl.when(won).then(pl.lit("x\n- #: '\u2028\x07")).otherwise(pl.lit("y: {0}\r\n")))
    _, after = weighed(events, odd)
    assert "plan is x - #: '" in beside(after.text, "plan") or "plan is y: {0}" in beside(after.text, "plan")
    assert [trait.name for trait in parse(after.text).traits] == ["plan"]


@settings(max_examples=20)
@given(st.text(min_size=1, max_size=20).filter(str.strip).filter(lambda name: not name.startswith("$")))
def test_any_name_of_an_event_gives_the_same_signals(name: str) -> None:
    events, trials = FEW
    renamed = events.with_columns(pl.col("event").replace("invited", name))
    before, after = weighed(renamed, trials)
    assert sorted(names(before)) == sorted(names(after.text))


FEW = world(10, leads=300)
