"""The definitions in `examples/`: all of them parse, and those of the demo world's products fit what the world sends."""

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from features.dataset import dataset
from features.definition import CONVERTED, TRIAL_STARTED, Definition, load
from features.durations import DAY
from features.matrix import FeatureBuilder
from training.demo import Demo, simulate
from training.demo_products import PRODUCTS

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
FIVE = ("messaging", "documents", "design", "email", "api")
EVERY = pytest.mark.parametrize("name", FIVE)
# What a message must not say: times, and that somebody was looked at.
WATCHED = re.compile(
    r"\b(?:today|yesterday|days? ago|last week|clicked|visited|viewed|opened|looked at|we saw|noticed)\b"
)


@pytest.fixture(scope="module")
def definitions() -> dict[str, Definition]:
    return {name: load(EXAMPLES / f"{name}.yaml") for name in FIVE}


@pytest.fixture(scope="module")
def worlds() -> dict[str, Demo]:
    return {name: simulate(60, 3, days=90, product=PRODUCTS[name]) for name in FIVE}


def watched(definition: Definition) -> set[str]:
    """Names of all events that the signals read."""
    return {match.event for signal in definition.signals for match in signal.events}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_is_a_valid_definition(path: Path) -> None:
    assert load(path).product


def test_every_product_but_the_one_in_the_root_has_an_example() -> None:
    assert set(FIVE) == set(PRODUCTS) - {"corkboard"}


# --- each fits its world ----------------------------------------------------------------------


@EVERY
def test_the_definition_is_of_the_product_and_its_trial(definitions: dict[str, Definition], name: str) -> None:
    product, definition = PRODUCTS[name], definitions[name]
    assert definition.product == product.name
    assert definition.conversion.event == product.converted
    assert definition.trial.closed_by == (product.cancelled,)
    assert definition.trial.length == (product.trial_days and product.trial_days * DAY)


@EVERY
def test_every_event_of_the_definition_is_one_that_the_product_sends(
    definitions: dict[str, Definition], name: str
) -> None:
    assert watched(definitions[name]) <= {*PRODUCTS[name].names, TRIAL_STARTED, CONVERTED}


@EVERY
def test_every_behaviour_with_an_effect_is_a_signal_of_that_direction(
    definitions: dict[str, Definition], name: str
) -> None:
    signs = defaultdict(set)
    for signal in definitions[name].signals:
        for match in signal.events:
            signs[match.event].add(signal.sign)
    for behaviour in PRODUCTS[name].behaviours:
        effect = behaviour.weight + behaviour.fresh
        if effect:
            assert signs[behaviour.event] - {0} == {1 if effect > 0 else -1}, behaviour.event


@EVERY
def test_some_noise_is_watched_and_only_signals_with_an_effect_are_spoken(
    definitions: dict[str, Definition], name: str
) -> None:
    effects = {one.event for one in PRODUCTS[name].behaviours if one.weight or one.fresh}
    made = {TRIAL_STARTED, CONVERTED}
    for signal in definitions[name].signals:
        if signal.speakable:
            assert {match.event for match in signal.events} <= effects | made, signal.name


@EVERY
def test_no_outcome_and_no_consequence_is_among_the_signals(definitions: dict[str, Definition], name: str) -> None:
    product = PRODUCTS[name]
    told = {product.converted, product.cancelled, product.expanded, "invoice_paid"}
    assert not watched(definitions[name]) & told


@EVERY
def test_filters_and_properties_are_those_of_the_events(definitions: dict[str, Definition], name: str) -> None:
    carried = {one.event: (one.key, one.values) for one in PRODUCTS[name].behaviours}
    for signal in definitions[name].signals:
        for match in signal.events:
            for key, wanted in match.where.items():
                known, values = carried[match.event]
                assert key == known, signal.name
                assert not isinstance(wanted, tuple) or set(wanted) <= set(values), signal.name
        asked = {measure.of for measure in signal.measures if measure.spec.brackets == "property"} - {"user"}
        assert asked <= {carried[match.event][0] for match in signal.events if match.event in carried}, signal.name


@EVERY
def test_every_signal_has_something_to_tell(
    definitions: dict[str, Definition], worlds: dict[str, Demo], name: str
) -> None:
    definition = definitions[name]
    data = dataset(worlds[name].events, worlds[name].trials, definition)
    builder = FeatureBuilder(definition, {"source": ("organic", "ads")})
    as_of = data.leads.started_at + 12 * DAY
    which = np.flatnonzero(as_of < data.until)
    rows = np.nan_to_num(data.rows(builder, which, as_of[which]))
    told = {column.owner for place, column in enumerate(builder.columns) if len(np.unique(rows[:, place])) > 1}
    assert {signal.name for signal in definition.signals} <= told


def test_one_example_scores_accounts_and_one_knows_no_end_of_trials(definitions: dict[str, Definition]) -> None:
    assert "account" in {definition.lead for definition in definitions.values()}
    assert None in {definition.trial.length for definition in definitions.values()}


# --- what it says -----------------------------------------------------------------------------


@EVERY
def test_sentences_begin_with_a_verb_in_the_past_tense(definitions: dict[str, Definition], name: str) -> None:
    irregular = {"had", "sent", "brought", "made", "saw", "wrote", "drew", "left", "ran", "read", "got", "set", "went"}
    for signal in definitions[name].signals:
        first = signal.text.source.split()[0]
        assert first.endswith("ed") or first in irregular, signal.text.source


@EVERY
def test_what_is_missing_goes_on_after_has_not(definitions: dict[str, Definition], name: str) -> None:
    missing = [signal.missing for signal in definitions[name].signals if signal.missing]
    assert len(missing) >= 4
    assert all(not re.match(r"(has|not|had)\b", text) and not text.endswith(".") for text in missing)


@EVERY
def test_what_customers_read_does_not_sound_like_surveillance(definitions: dict[str, Definition], name: str) -> None:
    definition = definitions[name]
    mentions = [signal.mention.source for signal in definition.signals if signal.mention]
    messages = [book.message.source for book in definition.playbooks]
    assert len(mentions) >= 8
    for text in (*mentions, *messages):
        assert not WATCHED.search(text), text
    assert not any(re.search(r"\d|\{", text) for text in mentions)
    assert not any("{reason}" in text for text in messages)


@EVERY
def test_a_look_at_prices_is_never_mentioned(definitions: dict[str, Definition], name: str) -> None:
    looks = [
        signal
        for signal in definitions[name].signals
        if any(match.event == "pricing_viewed" for match in signal.events)
    ]
    assert looks
    assert all(signal.mention is None for signal in looks)


@EVERY
def test_every_kind_of_spoken_reason_leads_to_a_playbook(definitions: dict[str, Definition], name: str) -> None:
    definition = definitions[name]
    spoken = {signal.kind for signal in definition.signals if signal.speakable} | {"fit"}
    plain = [book for book in definition.playbooks if book.track is None and book.ends_within is None]
    assert spoken <= {kind for book in plain for kind in book.kinds}


@EVERY
def test_messages_are_two_or_three_sentences(definitions: dict[str, Definition], name: str) -> None:
    for book in definitions[name].playbooks:
        assert 2 <= len(re.findall(r"[.?!](?= |$)", book.message.source)) <= 3, book.id


@EVERY
def test_there_are_hand_rules_and_a_card_and_a_promise(definitions: dict[str, Definition], name: str) -> None:
    definition = definitions[name]
    assert definition.rules
    assert definition.points is not None
    assert definition.points.threshold <= sum(item.points for item in definition.points.card if item.points > 0)
    assert definition.cutoff.at_least is not None


@EVERY
def test_the_comment_at_the_top_says_how_to_run_it(name: str) -> None:
    text = (EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8")
    assert f"python -m training.demo build/{name} --product {name}" in text
    assert f"-d examples/{name}.yaml" in text
