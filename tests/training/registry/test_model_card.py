"""The model card: plain words for people who did not train the model, and no number that metrics.json does not have."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from features.dataset import Dataset
from features.errors import Refusal
from serving.scoring.decision import Cutoff, NoCutoff
from training import record
from training.pipeline import Trained
from training.promote import Verdict
from training.registry.model_card import FIGURES, render

VERDICT = Verdict(promote=True, why="Promoted: because it is good.")


@dataclass(frozen=True)
class Leak:
    name: str
    why: str
    trusted: bool = False


@pytest.fixture(scope="module")
def metrics(trained: Trained, history: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    folder = record.write_trained(trained, history, tmp_path_factory.mktemp("written"))
    written = json.loads((folder / record.METRICS_FILE).read_text(encoding="utf-8"))["figures"]
    return {name: value for name, value in written.items() if value is not None}


@pytest.fixture(scope="module")
def card(trained: Trained, history: Dataset, metrics: dict[str, float]) -> str:
    return render(trained, history, VERDICT, metrics)


@pytest.fixture
def again(trained: Trained, history: Dataset, metrics: dict[str, float]) -> Callable[..., str]:
    """Render the card of the version with something changed."""
    return lambda **changes: render(replace(trained, **changes), history, VERDICT, metrics)


def section(card: str, title: str) -> str:
    parts = dict(part.split("\n\n", 1) for part in card.split("\n## ")[1:])
    return parts[title].strip()


def test_every_figure_of_the_table_is_the_one_of_metrics_json(card: str, metrics: dict[str, float]) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \| (?:(\S+) to (\S+)|at most (\S+)|-) \|", card, re.MULTILINE)
    assert [row[0] for row in rows] == [name for name in FIGURES if name in metrics]
    assert len(rows) >= 8
    for name, value, low, high, most in rows:
        assert float(value) == pytest.approx(metrics[name], abs=5.1e-5)
        for bound, end in ((low, "low"), (high, "high"), (most, "high")):
            assert not bound or float(bound) == pytest.approx(metrics[f"{name}_{end}"], abs=5.1e-5)


def test_every_other_figure_of_the_card_is_one_of_metrics_json_too(card: str, metrics: dict[str, float]) -> None:
    said = section(card, "Calibration")
    numbers = re.findall(r"\d+\.\d{4}", said)
    assert numbers == [f"{metrics[name]:.4f}" for name in ("observed_to_expected", "calibration_slope")]
    kept = re.search(r"([\d,]+) of ([\d,]+) PQLs", section(card, "What is promised"))
    assert kept is not None
    assert [int(one.replace(",", "")) for one in kept.groups()] == [metrics["pql_converted"], metrics["pql_leads"]]


def test_the_data_is_named_by_digest_size_and_end(card: str, history: Dataset) -> None:
    said = section(card, "What it learned from")
    assert f"`{history.digest}`" in said
    assert f"{history.n_events:,} events of {len(history.leads):,} leads" in said


def test_each_part_of_the_data_has_a_row(card: str, trained: Trained) -> None:
    parts = trained.artifact.training["parts"]
    rows = re.findall(r"^\| (?:learning|choosing the cutoff|judging) \| ([\d,]+) \|", card, re.MULTILINE)
    assert [int(row.replace(",", "")) for row in rows] == [part["snapshots"] for part in parts.values()]


def test_who_is_scored_and_what_counts_are_those_of_the_definition(card: str) -> None:
    said = section(card, "Who is scored, and what counts as a conversion")
    assert "Scored are users while their trial runs; a trial has a length of 14 days" in said
    assert "`subscription_started` within 30 days" in said


def test_it_says_what_the_score_is_not_for(card: str) -> None:
    assert "legal" in section(card, "What it is not for")
    assert "Proof of causes" in section(card, "What it is not for")


def test_the_verdict_is_told_word_for_word(card: str) -> None:
    assert section(card, "Why it is in service, or not") == VERDICT.why


def test_it_says_how_to_go_back(card: str) -> None:
    assert {"pql models", "pql rollback", "pql promote VERSION"} <= set(
        re.findall(r"`([^`]+)`", section(card, "How to go back"))
    )


def test_leaks_that_were_left_out_are_named_with_their_reason(
    trained: Trained, history: Dataset, metrics: dict[str, float], card: str
) -> None:
    assert section(card, "Left out as leaks") == "None was found."
    leaks = [Leak("invoice_paid", "it occurs after the conversion only"), Leak("plan", "it is set late", trusted=True)]
    assert section(render(trained, history, VERDICT, metrics, leaks), "Left out as leaks").splitlines() == [
        "- `invoice_paid`: it occurs after the conversion only.",
        "- `plan`: it is set late. It was kept all the same, because the definition trusts it.",
    ]


def test_a_version_that_was_refused_says_that_it_must_not_be_used(again: Callable[..., str]) -> None:
    assert "- It must not be used: no signal." in section(again(refusal=Refusal("no signal.")), "Limits")


def test_without_a_cutoff_nothing_is_promised_and_the_reason_is_told(
    trained: Trained, again: Callable[..., str]
) -> None:
    nobody = replace(trained.artifact, decision=NoCutoff(0.9, 0.9, "Nobody reaches it."))
    said = section(again(artifact=nobody), "What is promised")
    assert said == "Nothing: there is no cutoff, and nobody is called a PQL. Nobody reaches it."


def test_a_cutoff_that_promises_no_share_says_so(trained: Trained, again: Callable[..., str]) -> None:
    assert isinstance(trained.artifact.decision, Cutoff)
    some = replace(trained.artifact, decision=replace(trained.artifact.decision, at_least=None))
    assert "No share of them is promised to convert." in section(again(artifact=some), "What is promised")


def test_a_cutoff_says_what_it_promises(trained: Trained, card: str) -> None:
    decision = trained.artifact.decision
    assert decision.at_least is not None
    promised = f"At least {decision.at_least:.0%} of PQLs convert, with {decision.confidence:.0%} confidence."
    assert promised in section(card, "What is promised")


def test_recurring_accounts_are_named_as_a_limit(trained: Trained, again: Callable[..., str]) -> None:
    facts = {**trained.artifact.training, "accounts_apart": False}
    told = again(artifact=replace(trained.artifact, training=facts))
    assert "Accounts recur" in section(told, "Limits")
    assert "Some accounts are on both sides." in section(told, "How it was judged")


def test_the_card_is_plain_text_with_one_title(card: str) -> None:
    assert card.startswith("# Model card: PQL score of Corkboard, version ")
    assert len(re.findall(r"^# ", card, re.MULTILINE)) == 1
    assert "None" not in card.replace("None was found", "")
    assert "nan" not in re.findall(r"[a-z]+", card)
