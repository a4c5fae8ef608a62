"""The benchmarks run, every side of them comes to the same rows, and each writes its own section of the page."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks import reasons_demo, reasons_rows
from benchmarks.reasons_ceiling import Line, terms
from benchmarks.reasons_page import HEADING, INTRODUCTION, Agreed, agreed, truth_bars
from benchmarks.results import HEAD, put
from benchmarks.truth_page import write
from benchmarks.truth_rows import draw
from features import roster
from features.dataset import dataset
from features.definition import parse
from features.durations import DAY
from features.times import moment_of
from serving.scoring.calibration import odds_of
from serving.scoring.scorer import Scorer
from training.demo import CORKBOARD, Demo, simulate

ROOT = Path(__file__).resolve().parent.parent


def test_a_section_is_put_at_the_end_of_a_page_that_lacks_it(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    put(page, "## One\n\nfirst\n")
    put(page, "## Two\n\nsecond\n")
    assert page.read_text(encoding="utf-8") == f"{HEAD}\n## One\n\nfirst\n\n## Two\n\nsecond\n"


def test_a_section_takes_the_place_of_the_one_with_its_heading(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    for section in ("## One\n\nfirst\n", "## Two\n\nsecond\n", "## One\n\nthird\n"):
        put(page, section)
    assert page.read_text(encoding="utf-8") == f"{HEAD}\n## One\n\nthird\n\n## Two\n\nsecond\n"


@pytest.mark.slow
def test_our_windows_polars_and_duckdb_come_to_the_same_rows(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    words = ["--events", "20000", "--trials", "200", "--repeats", "1", "--featuretools-users", "0", "--out", str(page)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.windows", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    text = page.read_text(encoding="utf-8")
    # The comparison ends the run where a side differs, with ours or with plain Python.
    assert re.search(r"All sides agree on every row and with plain Python on [1-9][0-9]* of them", text)
    assert text.count("| this project") == 4


# --- reasons against the truth ------------------------------------------------------------------

NAMES = ("a", "b", "c", "d", "none")
TRUTH = np.array([[0.9, 0.5, 0.3, 0.2, 0.0], [0.1, 0.7, -0.2, -np.inf, 0.0]])


def test_reasons_that_are_the_truest_three_agree_wholly() -> None:
    named = [["a", "b", "c"], ["b", "a"]]
    assert agreed(named, TRUTH, NAMES, named, {"none"}) == Agreed(1.0, 1.0, 0.0)


def test_a_named_signal_that_is_not_among_the_truest_costs_its_share() -> None:
    named = [["a", "b", "d"], ["b", "c"]]
    assert agreed(named, TRUTH, NAMES, named, {"none"}).overlap == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_only_the_first_reason_can_be_the_truest_one() -> None:
    named = [["b", "a", "c"], ["b", "a"]]
    assert agreed(named, TRUTH, NAMES, named, {"none"}).first == 0.5


def test_a_signal_without_effect_is_counted_where_it_is_told_and_not_where_it_is_only_ranked() -> None:
    named, told = [["a", "none", "c"], ["b"]], [["a", "company", "none"], ["b"]]
    assert agreed(named, TRUTH, NAMES, told, {"none"}).null == 0.5
    assert agreed(named, TRUTH, NAMES, [["a"], ["b"]], {"none"}).null == 0.0


def test_a_lead_without_a_true_reason_cannot_be_explained_well_or_badly() -> None:
    truth = np.vstack([TRUTH, np.full(5, -np.inf)])
    named = [["a", "b", "c"], ["b", "a"], ["d"]]
    assert agreed(named, truth, NAMES, named, {"none"}) == Agreed(1.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("one", "met"),
    [
        (Agreed(0.87, 0.74, 0.02), [True, True, True]),
        (Agreed(0.86, 0.74, 0.02), [False, True, True]),
        (Agreed(0.87, 0.73, 0.02), [True, False, True]),
        (Agreed(0.87, 0.74, 0.03), [True, True, False]),
    ],
)
def test_bars_of_truth_are_met_at_their_edge_and_missed_beyond(one: Agreed, met: list[bool]) -> None:
    assert [bar.met for bar in truth_bars([one], "PQLs")] == met


def test_the_true_parts_of_rows_add_up_to_their_log_odds() -> None:
    drawn = draw(np.random.default_rng(3), 4_000, 0.08)
    off = odds_of(drawn.probability) - reasons_rows.parts(drawn.rows).sum(axis=1)
    # All but the base rate, and what rounding a company's size to whole people costs.
    assert np.abs(off - np.median(off)).max() < 0.3
    assert np.quantile(np.abs(off - np.median(off)), 0.9) < 0.01


def test_reasons_learned_from_rows_are_mostly_true() -> None:
    found, kept = reasons_rows.measured(seed=5, n=3_000)
    assert found.overlap > 0.7
    assert found.first > 0.6
    assert 0.6 < kept < 1


def test_the_parts_of_a_line_that_knows_the_truth_are_the_true_drivers() -> None:
    """The terms of the ceiling with the simulator's own weights."""
    world = simulate(60, seed=4)
    data = dataset(world.events, world.trials, parse(reasons_demo.definition()))
    lead = np.arange(len(data.leads))
    as_of = data.leads.started_at + 9 * DAY
    fresh = [one.fresh for one in CORKBOARD.behaviours if one.event in CORKBOARD.pair]
    weights = [*(one.weight for one in CORKBOARD.behaviours), *fresh, CORKBOARD.team_jump, CORKBOARD.pair_jump]
    found = Line(np.array(weights)).parts(terms(world, data, lead, np.full(len(lead), 9)))
    true = world.true_drivers(list(data.leads.ids), [moment_of(int(one)) for one in as_of]).drop("user_id").to_numpy()
    np.testing.assert_allclose(found, true, atol=1e-12)


def test_accounts_drawn_twice_are_two_accounts_with_all_their_events() -> None:
    world = simulate(40, seed=4)
    account = world.trials["account_id"][0]
    copies = pl.DataFrame({"account_id": [account, account], "copy": [0, 1]})
    trials, events = (reasons_demo.copied(frame, copies) for frame in (world.trials, world.events))
    for frame, of in ((trials, world.trials), (events, world.events)):
        assert len(frame) == 2 * len(of.filter(account_id=account))
    assert set(events["user_id"]) <= set(trials["user_id"])
    assert trials["account_id"].n_unique() == 2
    assert events["message_id"].n_unique() == 2 * world.events.filter(account_id=account)["message_id"].n_unique()


def test_reasons_stand_with_their_lead_however_the_data_lies_in_parts(
    monkeypatch: pytest.MonkeyPatch, scorer: Scorer, demo_world: Demo, definition_text: str
) -> None:
    found = []
    for size in (10**9, 50):
        monkeypatch.setattr(roster, "PART_LEADS", size)
        data = dataset(demo_world.events, demo_world.trials, parse(definition_text))
        lead = np.arange(0, len(data.leads), 3)
        found.append(reasons_demo.leading(scorer, data, lead, data.leads.started_at[lead] + 7 * DAY, 3))
    assert found[0] == found[1]
    assert len({tuple(names) for names in found[0]}) > 20


@pytest.mark.slow
def test_reasons_of_the_demo_product_are_measured_whole() -> None:
    found = reasons_demo.measured(seed=3, accounts=2_500, retrains=2)
    assert found.spoken.pqls > 50
    # Who knows the form of the truth and when it acts finds more of it than whoever has to learn both.
    assert found.named.overlap < found.knowing[1.0].overlap
    assert found.named.overlap > 0.5
    assert 0.5 < found.anew < 1.0
    assert 0.5 < found.kept < 1.0


def test_a_part_of_the_reasons_is_written_beside_the_other(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    put(page, "## Cost of reasons\n\nlittle\n")
    for part in ("### Two\n\nsecond", "### One\n\nfirst", "### Two\n\nthird"):
        write(page, [part], ["One", "Two"], f"{HEADING}\n\n{INTRODUCTION}")
    text = page.read_text(encoding="utf-8")
    assert text.endswith("### One\n\nfirst\n\n### Two\n\nthird\n")
    assert text.count("## Cost of reasons\n\nlittle") == text.count("\n## Reasons\n") == 1
    assert "second" not in text
