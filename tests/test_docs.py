"""The documents are held against the code: keys, examples, modules, constants and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import BaseModel

from features.accounts import Accounts
from features.definition import Conversion, Definition, Playbook, Signal, Trait, parse
from features.definition_rules import PLAYBOOK_FACTS
from features.durations import DAY
from features.policies import CapacityPolicy, PrecisionPolicy, ValuePolicy
from features.rules import CardItem, Condition, PointCard, Rule
from serving.scoring.playbooks import LEADING

ROOT = Path(__file__).resolve().parent.parent
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [*DOCS, ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md"]
DEFINITION = (ROOT / "docs" / "definition.md").read_text(encoding="utf-8")
METHOD = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", DEFINITION, re.S)
POLICIES: tuple[type[BaseModel], ...] = (PrecisionPolicy, CapacityPolicy, ValuePolicy)


def told_by(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


# --- the definition ---------------------------------------------------------------------------


def keys_of(path: str, *models: type[BaseModel]) -> set[str]:
    return {f"{path}.{name}" for model in models for name in model.model_fields}


KEYS = (
    keys_of("cutoff", *POLICIES) | keys_of("conversion", Conversion) | keys_of("rules", Rule)
    | keys_of("rules.all", Condition) | keys_of("points", PointCard) | keys_of("points.card", CardItem)
    | keys_of("accounts", Accounts) | keys_of("playbooks", Playbook)
)  # fmt: skip


OTHERS = {
    "language", "signals.trusted", "signals.mention", "signals.private", "traits.trusted", "traits.private", "traits.against",
    "traits.playbook", "traits.enterprise", "traits.free_mail",
}  # fmt: skip


def listed_keys() -> list[str]:
    """Return the keys that the tables of docs/definition.md list."""
    return re.findall(r"^\| `([a-z_.]+)` \|", DEFINITION, re.M)


def test_every_key_about_cutoffs_conversions_rules_and_points_is_listed_once_and_no_other() -> None:
    assert sorted(listed_keys()) == sorted({*KEYS, *OTHERS})


@pytest.mark.parametrize("key", sorted(OTHERS))
def test_a_key_that_is_listed_is_one_of_the_definition(key: str) -> None:
    part, _, name = key.rpartition(".")
    models: dict[str, type[BaseModel]] = {"signals": Signal, "traits": Trait, "": Definition}
    assert name in models[part].model_fields


def test_the_facts_of_a_message_that_are_listed_are_all_there_are() -> None:
    assert tuple(re.findall(r"^\| `{([a-z_]+)}` \|", DEFINITION, re.M)) == ("product", "mention", "reason", "days_left")
    assert sorted(PLAYBOOK_FACTS) == ["days_left", "mention", "product", "reason"]


def test_as_many_reasons_as_are_said_choose_a_playbook() -> None:
    assert "By the first three reasons" in DEFINITION
    assert LEADING == 3


def test_the_policies_listed_are_all_there_are() -> None:
    union = get_args(Definition.model_fields["cutoff"].annotation)
    known = {get_args(one)[0] if get_args(one) else one for one in union}
    assert known == set(POLICIES)


def test_defaults_said_are_those_of_the_code() -> None:
    demo = parse(with_demo("cutoff: {at_least: 0.3}"))
    assert demo.cutoff.policy == "precision"
    assert demo.cutoff.confidence == 0.9
    assert demo.cutoff.valid_for == 90 * DAY
    assert Conversion.model_fields["column"].default == "converted_at"
    assert ValuePolicy.model_fields["uplift"].default == 1.0
    assert parse(with_demo("conversion: {horizon: 30d}")).conversion == Conversion.model_validate(
        {"horizon": "30d", "later": "90d"}
    )


def with_demo(example: str) -> str:
    """Return the demo product's definition with some of its keys replaced."""
    whole = yaml.safe_load((ROOT / "pql.yaml").read_text(encoding="utf-8"))
    text: str = yaml.safe_dump({**whole, **yaml.safe_load(example)}, sort_keys=False)
    return text


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.splitlines()[1].strip()[:40])
def test_every_example_is_a_valid_definition(example: str) -> None:
    keys = set(yaml.safe_load(example))
    assert keys <= set(Definition.model_fields)
    found = parse(with_demo(example), "docs/definition.md")
    assert all(getattr(found, key) for key in keys)


def limits(policy: BaseModel) -> tuple[str, bool, bool]:
    """Return a policy with whether it has a floor and a ceiling."""
    given = policy.model_dump()
    return str(given["policy"]), given["at_least"] is not None, given["leads_per_week"] is not None


def test_every_combination_of_policy_floor_and_ceiling_has_an_example() -> None:
    shown = {limits(parse(with_demo(text)).cutoff) for text in EXAMPLES if "cutoff" in yaml.safe_load(text)}
    possible = {(name, floor, ceiling) for name in ("precision", "capacity", "value") for floor in (False, True)
                for ceiling in (False, True)}  # fmt: skip
    needed = {(name, floor, ceiling) for name, floor, ceiling in possible
              if (floor or name != "precision") and (ceiling or name != "capacity")}  # fmt: skip
    assert shown == needed


def test_the_value_policys_arithmetic_in_comments_is_right() -> None:
    said = [(text, re.search(r"from (0\.\d+) on", text)) for text in EXAMPLES]
    checked = [(parse(with_demo(text)).cutoff.worth_it, float(found[1])) for text, found in said if found]
    assert len(checked) == 2
    assert all(worth == pytest.approx(told) for worth, told in checked)


# --- the method -------------------------------------------------------------------------------

CONSTANTS = re.findall(r"^\| `((?:training|serving)(?:\.[a-z_]+)+)\.([A-Z][\w.]*)` \| ([\d.]+) \|", METHOD, re.M)


@pytest.mark.parametrize(("module", "name", "told"), CONSTANTS, ids=str)
def test_a_constant_of_the_method_is_that_of_the_code(module: str, name: str, told: str) -> None:
    found: object = import_module(module)
    for step in name.split("."):
        found = getattr(found, step)
    assert str(found) == told


def test_the_table_of_constants_is_read_whole() -> None:
    section = METHOD.split("## 16. Constants")[1].split("## Sources")[0]
    assert len(CONSTANTS) == sum(line.startswith("| `") for line in section.splitlines()) > 30


def test_the_edges_of_young_trials_are_those_of_the_code() -> None:
    from training.watched import EDGES

    told = re.search(r"`e <= c` of\s+([\d,\s]+) days", METHOD)
    assert told is not None
    assert tuple(float(day) for day in told[1].split(",")) == EDGES


def test_what_a_promise_of_30_at_90_needs_is_what_the_code_asks_for() -> None:
    from training.certify import Floor, leads_to_carry, strictest_rank

    told = re.search(r"promised odds:\s+(\d+)\s+for\s+30\s+%\s+at\s+90\s+%", METHOD)
    assert told is not None
    assert leads_to_carry(Floor(0.3, 0.9)) == int(told[1])
    assert strictest_rank(0.3) == 30


def test_every_source_that_is_listed_is_cited_and_every_year_cited_is_listed() -> None:
    body, _, listed = METHOD.partition("## Sources")
    sources = re.findall(r"^- ((?:van |le )?\w+)[^\d]*(\d{4})\.", listed, re.M)
    assert len(sources) == listed.count("\n- ")
    flat = " ".join(body.split())
    for name, year in sources:
        assert re.search(rf"{name}[^;:.]*(?:et al\. )?\(?{year}", flat), (name, year)
    assert set(re.findall(r"\b(?:19|20)\d\d\b", flat)) <= {year for _, year in sources}


# --- all pages --------------------------------------------------------------------------------

FILES = {path.name for folder in ("features", "serving", "training") for path in (ROOT / folder).rglob("*.py")}


def named_files(text: str) -> Iterator[str]:
    """Yield the files that a text names, as a path or by name alone; a pattern is none."""
    yield from re.findall(r"(?<![\w/*.-])((?:[\w-]+/)*[\w-]+\.(?:py|md|jinja))\b", text)


@pytest.mark.parametrize("page", PAGES, ids=told_by)
def test_every_file_that_is_named_exists(page: Path) -> None:
    for name in named_files(page.read_text(encoding="utf-8")):
        # Modules of a room may be named without it.
        below = any((ROOT / room / name).exists() for room in ("features", "serving", "serving/scoring", "training"))
        beside = (page.parent / name).exists()
        assert (ROOT / name).exists() or below or beside or name in FILES, name


def test_a_file_that_does_not_exist_would_be_noticed() -> None:
    assert list(named_files("see `training/nothing.py`, fit.py and `leak_*.py`")) == ["training/nothing.py", "fit.py"]


@pytest.mark.parametrize("page", PAGES, ids=told_by)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_decisions_are_numbered_without_gaps_and_say_their_number() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        assert page.read_text(encoding="utf-8").startswith(f"# {int(page.name[:4])}. ")


def test_every_decision_that_the_code_points_to_exists() -> None:
    sources = [
        path for folder in ("features", "serving", "training", "benchmarks") for path in (ROOT / folder).rglob("*.py")
    ]
    named = {name for path in sources for name in re.findall(r"docs/[\w/-]+\.md", path.read_text(encoding="utf-8"))}
    assert named
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_the_architecture_names_the_modules_that_decide() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for name in ("certify", "watched", "ladder", "course", "leaks", "evidence", "discover", "promote"):
        assert name in text


def test_the_architecture_is_one_page() -> None:
    lines = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 80
