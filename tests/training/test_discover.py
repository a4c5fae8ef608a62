"""The whole way from events to a page: what is found, how it is said, what is written, and what cannot be looked at."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import pql
from features.dataset import Dataset, dataset
from features.definition import parse
from features.errors import NotEnoughData
from features.rejections import Sieve
from features.rules import Condition, flags, points
from training.discover import Discovery, Settings, discover
from training.discovery.evidence import exact_interval
from training.discovery.page import render
from training.discovery.paste import paste, written
from training.discovery.run import facts
from training.discovery.timing import Timing, timings
from training.discovery.words import CONSEQUENCE, best_day, headline, notes, summary, verdict
from training.snapshots import snapshots
from training.split import split

DAY = timedelta(days=1)
START = datetime(2026, 1, 5, tzinfo=UTC)
TEXT = """
product: "Small & <b>new</b>"
trial: {length: 14d}
conversion: {event: paid, horizon: 14d}
score_at: [2d, 5d]
windows: [7d, trial]
cutoff: {policy: precision, at_least: 0.4}
signals:
  - {name: invites, kind: team_growth, events: [invited], text: invited}
  - {name: checkouts, kind: upgrade_intent, events: [checkout_opened], text: opened}
  - {name: seats, kind: team_growth, events: [seat_added], text: added}
  - {name: clicks, kind: usage_depth, events: [clicked], text: clicked}
traits: [{name: source, type: category}]
"""
HAND = """
rules:
  - {name: inviting, all: [{signal: invites, at_least: 1}, {signal: clicks, below: 100}]}
points: {threshold: 10, card: [{signal: invites, at_least: 1, points: 10}, {trait: source, equals: "a: b # c", points: 3}]}
"""


def small(seed: int, leads: int, driver: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Trials over 120 days; who invites converts with probability `driver`, others with 0.15.

    Whoever converts opens the checkout twenty hours before, and adds seats a day after.
    """
    rng = np.random.default_rng(seed)
    events, trials = [], []
    for i in range(leads):
        began = START + DAY * (120 * i / leads)
        invites = rng.random() < 0.4
        converts = rng.random() < (driver if invites else 0.15)
        paid = began + DAY * rng.uniform(2.01, 12)
        happened = [("clicked", began + DAY * at) for at in rng.uniform(0, 10, rng.poisson(4))]
        happened += [("invited", began + DAY * rng.uniform(0, 2))] * invites
        if converts:
            happened += [("checkout_opened", paid - timedelta(hours=20)), ("paid", paid), ("seat_added", paid + DAY)]
        events += [{"user_id": f"u{i}", "event": name, "timestamp": at} for name, at in happened]
        trials.append({"user_id": f"u{i}", "started_at": began, "source": "a: b # c" if i % 3 else "Zoë 'x'"})
    events.append({"user_id": "u0", "event": "clicked", "timestamp": START + 150 * DAY})
    return pl.DataFrame(events), pl.DataFrame(trials)


@pytest.fixture(scope="module")
def tables() -> tuple[pl.DataFrame, pl.DataFrame]:
    return small(1, 1600, 0.6)


@pytest.fixture(scope="module")
def data(tables: tuple[pl.DataFrame, pl.DataFrame]) -> Dataset:
    return dataset(*tables, parse(TEXT + HAND))


@pytest.fixture(scope="module")
def seen(data: Dataset) -> Discovery:
    return discover(data, Settings())


@pytest.fixture(scope="module")
def nothing() -> Discovery:
    return discover(dataset(*small(2, 3000, 0.15), parse(TEXT)), Settings())


@pytest.fixture(scope="module")
def demo(history: Dataset) -> Discovery:
    return discover(history, Settings())


# --- what is found ----------------------------------------------------------------------------


def test_what_drives_conversions_comes_first_and_holds_later(seen: Discovery) -> None:
    best = seen.found.surviving[0]
    assert best.best.name == "invites"
    assert best.best.confirmed
    assert "invites at least once" in headline(seen)


def test_the_parts_are_those_that_training_has(seen: Discovery, data: Dataset) -> None:
    table = snapshots(data, data.leads)
    parts = split(table)
    older, later = (np.unique(table.lead[rows]) for rows in (parts.learned, parts.test))
    assert (seen.older.leads, seen.later.leads) == (len(older), len(later))
    assert not set(older) & set(later)
    assert data.leads.started_at[older].max() < parts.test_from <= data.leads.started_at[later].min()


def test_the_first_later_trial_can_be_chosen(data: Dataset) -> None:
    moment = int((START + 70 * DAY).timestamp()) * 1_000_000
    assert discover(data, Settings(moment)).test_from.startswith("2026-03-16")


def test_figures_are_what_counting_raw_events_gives(demo: Discovery, history: Dataset) -> None:
    one = next(
        t for t in demo.found.tried if t.conditions == (Condition(signal="pricing_views", window="7d", at_least=1),)
    )
    table = snapshots(history, history.leads)
    old = table.take(split(table).learned)
    raw = pl.concat(batch for batch in history.source.read(Sieve("events"))).filter(pl.col("event") == "pricing_viewed")
    mine: dict[str, list[int]] = {}
    for user, at in raw.select("user_id", pl.col("timestamp").dt.epoch("us")).iter_rows():
        mine.setdefault(user, []).append(at)
    week, first, won = 7 * 86_400_000_000, {}, 0
    for lead, as_of, converted in zip(old.lead.tolist(), old.as_of.tolist(), old.converted.tolist(), strict=True):
        if lead not in first and any(as_of - week <= at < as_of for at in mine.get(history.leads.ids[lead], [])):
            first[lead] = as_of
            won += converted
    assert (one.older.leads, one.older.converted) == (len(first), won)
    assert one.older.precision == exact_interval(won, len(first))
    converters = set(old.lead[old.converted == 1].tolist())
    assert one.older.coverage == pytest.approx(len(converters & set(first)) / len(converters))


def test_on_the_demo_product_what_drives_it_is_found(demo: Discovery) -> None:
    confirmed = {one.best.name for one in demo.found.surviving if one.best.confirmed}
    assert {"teammates_joined", "limits_hit", "pricing_views"} <= confirmed
    assert demo.found.card is not None
    assert demo.found.card.later_ranking.low > 0.7
    assert demo.found.rules[0].confirmed


def test_where_only_a_consequence_tells_converters_apart_that_is_what_is_said(nothing: Discovery) -> None:
    assert [one.best.name for one in nothing.found.surviving] == ["checkouts"]
    assert headline(nothing).startswith("Leads with checkouts at least once")
    assert headline(nothing).endswith(", but they are about to buy")
    assert CONSEQUENCE in render(nothing)
    assert any("[likely a consequence]" in line for line in summary(nothing))


def test_too_few_conversions_are_refused(tables: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    events, trials = tables
    with pytest.raises(NotEnoughData, match="0 conversions"):
        discover(dataset(events.filter(pl.col("event") != "paid"), trials, parse(TEXT)), Settings())


# --- when it happens --------------------------------------------------------------------------


def test_what_happens_just_before_or_after_converting_is_called_a_consequence(seen: Discovery) -> None:
    timing = {one.best.name: one.timing for one in seen.found.signals if one.timing is not None}
    assert timing["invites"].ahead > 2
    assert not timing["invites"].consequence
    assert timing["checkouts"].ahead == pytest.approx(20 / 24)
    assert timing["checkouts"].consequence
    assert not headline(seen).endswith("about to buy")


def test_timing_counts_converters_by_their_first_time(data: Dataset) -> None:
    found = timings(data, np.arange(len(data.leads)))
    won = int((data.trials["converted_at"].is_not_null()).sum())
    assert found["checkouts"].converters == found["seats"].converters == won
    assert found["checkouts"].ahead == pytest.approx(20 / 24)
    assert (found["checkouts"].after, found["seats"].after) == (0.0, 1.0)
    assert found["checkouts"].consequence
    assert found["seats"].consequence
    assert not found["clicks"].consequence


def test_a_consequence_is_said_in_plain_words(seen: Discovery, data: Dataset) -> None:
    invites = seen.found.surviving[0]
    late = replace(invites, timing=Timing(50, 0.1, 0.4))
    after = replace(invites, timing=Timing(50, 0.8, 5.0))
    assert notes(invites, data.definition.conversion.horizon) == []
    assert notes(late, 1)[0] == "Half of the converters who do it first do so less than 10 hours before converting."
    assert notes(after, 1)[0] == "80% of the converters who do it first do so when or after they convert."
    assert notes(late, 1)[1] == notes(after, 1)[1] == CONSEQUENCE


def test_the_day_on_which_a_behaviour_tells_most_is_the_one_with_the_best_ranking(seen: Discovery) -> None:
    days = seen.found.surviving[0].days
    assert [one.day for one in days] == [2.0, 5.0]
    best = best_day(days)
    assert best is not None
    assert best.ranking.value == max(one.ranking.value for one in days)
    assert best_day(days[:1]) is None


# --- to paste ---------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["seen", "demo"])
def test_what_is_pasted_parses_and_gives_the_same_figures(
    which: str, request: pytest.FixtureRequest, definition_text: str
) -> None:
    found: Discovery = request.getfixturevalue(which)
    pasted = parse((TEXT if which == "seen" else definition_text) + "\n" + paste(found))
    assert [rule.all for rule in pasted.rules] == [one.conditions for one in found.found.rules]
    assert found.found.card is not None
    assert pasted.points == found.found.card.card
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 5, (50, len(found.columns))).astype(float)
    for rule, one in zip(pasted.rules, found.found.rules, strict=True):
        assert (
            flags(rule, rows, found.columns)
            == flags(rule.model_copy(update={"all": one.conditions}), rows, found.columns)
        ).all()
    assert (points(pasted.points, rows, found.columns) == points(found.found.card.card, rows, found.columns)).all()


def test_pasted_rules_measured_as_written_by_hand_have_the_figures_of_the_search(
    demo: Discovery, history: Dataset, definition_text: str
) -> None:
    again = discover(history.under(parse(definition_text + "\n" + paste(demo))), Settings())
    assert [one.later for one in again.found.hand_rules] == [one.later for one in demo.found.rules]
    assert again.found.hand_card == demo.found.card


@settings(max_examples=40)
@given(st.text(min_size=1), st.floats(-1e6, 1e6))
def test_any_category_and_number_survives_pasting(level: str, limit: float) -> None:
    for one in (Condition(trait="source", equals=level), Condition(signal="clicks", at_least=limit)):
        text = f"{TEXT}\nrules:\n  - name: r\n    all: [{{{written(one)}}}]\n"
        assert parse(text).rules[0].all[0] == one


def test_where_nothing_was_found_only_a_comment_is_pasted() -> None:
    found = discover(dataset(*small(2, 1200, 0.15), parse(TEXT.replace("[checkout_opened]", "[none]"))), Settings())
    assert found.found.surviving == ()
    assert all(line.startswith("#") for line in paste(found).splitlines())
    assert "none tells converters apart" in verdict(found)
    assert headline(found) == "Nothing here tells converters from other leads"
    assert "No condition earns points" in render(found)
    assert "Rules" not in "\n".join(summary(found))


# --- the page and the command -----------------------------------------------------------------


class Page(HTMLParser):
    """Which addresses a page names, and whether its elements are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.wrong = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [str(value) for name, value in attrs if name in ("src", "href", "srcset", "data")]
        self.loads += [tag] * (tag in ("script", "link", "iframe", "img", "object"))
        if tag not in ("meta", "br", "line", "circle"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        self.wrong += not self.open or self.open.pop() != tag


@pytest.mark.parametrize("which", ["seen", "nothing", "demo"])
def test_the_page_is_whole_loads_nothing_and_shows_no_number_that_is_none(
    which: str, request: pytest.FixtureRequest
) -> None:
    text = render(request.getfixturevalue(which))
    page = Page(text)
    assert (page.loads, page.wrong, page.open) == ([], 0, [])
    assert not re.search(r"\bnan\b|\binf\b|None|Interval\(", re.sub(r"<style.*?</style>", "", text, flags=re.S))


def test_words_of_others_stay_words(seen: Discovery) -> None:
    text = render(seen)
    assert "<b>new</b>" not in text
    assert "Small &amp; &lt;b&gt;new&lt;/b&gt;" in text


def test_the_page_shows_the_hand_rules_and_the_lines_to_paste(seen: Discovery) -> None:
    text = render(seen)
    assert "<b>inviting</b>" in text
    assert "Your own rules and points" in text
    assert "threshold: " in text


def test_the_few_lines_name_the_best_the_card_and_what_was_written_by_hand(seen: Discovery) -> None:
    lines = summary(seen)
    starts = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert starts[:2] == ["Looked", "Found"]
    assert starts[-3:] == ["Yours", "Yours", "Mind"]
    assert "invites at least once" in lines[2]


def test_figures_are_strict_json(seen: Discovery, nothing: Discovery) -> None:
    for one in (seen, nothing):
        told = json.loads(json.dumps(facts(one), allow_nan=False))
        assert told["thresholds_tried"] == len(told["tried"]) == len(one.found.tried)
        assert told["everyone"]["older"]["leads"] == one.older.leads


@pytest.fixture(scope="module")
def place(tables: tuple[pl.DataFrame, pl.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("discover")
    for name, table in zip(("events", "trials"), tables, strict=True):
        table.write_parquet(folder / f"{name}.parquet")
    (folder / "pql.yaml").write_text(TEXT + HAND, encoding="utf-8")
    return folder


def command(place: Path, *more: str, events: str = "events", definition: str = "pql") -> tuple[int, str, str]:
    words = [
        "discover",
        f"{place}/{events}.parquet",
        "--trials",
        f"{place}/trials.parquet",
        "-d",
        f"{place}/{definition}.yaml",
    ]
    result = CliRunner().invoke(pql.main, [*words, "--out", str(place / "out"), *more])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_writes_a_page_figures_and_lines_to_paste(place: Path) -> None:
    code, out, _ = command(place, "--json", "--test-from", "2026-03-16")
    assert code == 0
    told = json.loads(out, parse_constant=pytest.fail)
    assert sorted(path.name for path in (place / "out").iterdir()) == ["discover.html", "discover.json", "rules.yaml"]
    assert told["page"] == str(place / "out" / "discover.html")
    assert told["test_from"].startswith("2026-03-16")
    assert told["signals"][0]["name"] == "invites"
    kept = json.loads((place / "out" / "discover.json").read_text(encoding="utf-8"))
    assert kept["rules"] == told["rules"]
    parse(TEXT + (place / "out" / "rules.yaml").read_text(encoding="utf-8"))


def test_the_command_says_in_a_few_lines_what_was_found(place: Path) -> None:
    code, out, _ = command(place)
    assert code == 0
    assert "invites at least once" in out
    assert "Yours    inviting:" in out


def test_without_conversions_the_command_refuses_honestly(
    place: Path, tables: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    tables[0].filter(pl.col("event") != "paid").write_parquet(place / "unpaid.parquet")
    code, _, err = command(place, events="unpaid")
    assert code == 3
    assert "NotEnoughData" in err


def test_a_rule_about_what_is_not_measured_is_the_caller_s_to_mend(place: Path) -> None:
    (place / "bad.yaml").write_text(
        TEXT + HAND.replace("at_least: 1}, {sig", "window: 3d, at_least: 1}, {sig"), encoding="utf-8"
    )
    code, _, err = command(place, definition="bad")
    assert code == 2
    assert "signals.invites.windows: add 3d" in err


def test_a_date_that_is_none_is_the_caller_s_to_mend(place: Path) -> None:
    code, _, err = command(place, "--test-from", "soon")
    assert code == 2
    assert "--test-from" in err
