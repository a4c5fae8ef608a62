"""docs/operations.md is held against the code: settings, scopes, limits, statuses, metrics, alerts, events and the container."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from serving.jobs.store import KEPT_SECONDS
from serving.models.shelf import KEPT
from serving.settings import (
    ACCESS_LOG,
    JOBS,
    MODEL,
    MOST_CONNECTIONS,
    MOST_UPLOAD,
    VARIABLES,
    WORKERS,
    AccessLog,
    Settings,
)
from serving.web import connections, front, turns
from serving.web.keys import SCOPES
from serving.web.metrics import CODES, ROUTES
from serving.web.wire import MOST_LEADS
from tests.refusals_written import refusals_written
from tests.test_dashboard import SERIES, problems

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def table(section: str) -> list[list[str]]:
    """Return the rows of the first table below a heading, without its head."""
    below = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    rows = re.search(r"(?:^\|.*\n)+", below, re.M)
    assert rows, section
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[0].splitlines()[2:]]


def block(language: str, holding: str) -> str:
    found = [text for text in re.findall(rf"```{language}\n(.*?)```", PAGE, re.S) if holding in text]
    assert len(found) == 1, (language, holding)
    return str(found[0])


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_variable_is_listed_and_no_other() -> None:
    assert [words(row[0]) for row in table("Settings")] == [[name] for name in VARIABLES]


def test_what_holds_without_a_variable_is_what_the_settings_are_by_default() -> None:
    told = {words(row[0])[0]: row[2].strip("`") for row in table("Settings")}
    default = Settings()
    assert told[JOBS] == str(default.jobs)
    assert told[WORKERS] == str(default.workers)
    assert told[MOST_CONNECTIONS] == str(default.most_connections)
    assert told[MOST_UPLOAD] == str(default.most_upload)
    assert told[ACCESS_LOG] == default.access_log
    assert set(words(table("Settings")[-1][1])) == set(get_args(AccessLog))


def test_every_scope_of_a_key_is_listed() -> None:
    assert [words(row[0])[0] for row in table("Keys")] == list(SCOPES)


def test_the_limits_are_those_of_the_code() -> None:
    told, limits = {row[0]: row[1] for row in table("Limits")}, connections.Limits()
    mib, entry = 2**20, front.Entry.__dataclass_fields__
    assert told["body of a request"].startswith(f"{front.MOST_BYTES // mib} MiB,")
    assert told["bodies held at a time, per worker"] == f"{front.MOST_HELD // mib} MiB"
    assert told["leads in a request"] == f"{MOST_LEADS:,}"
    assert told["seconds until a body must have come"] == f"{entry['seconds'].default:g}"
    head = f"{limits.head_bytes // 1024} KiB, {limits.headers} headers, {limits.seconds:g} seconds"
    assert told["request line with headers"] == head
    assert told["query"] == f"{front.MOST_QUERY:,} bytes"
    waiting = f"{turns.MOST_WAITING}, each for {turns.SECONDS:g} seconds"
    assert told["requests that wait for their turn, per worker"] == waiting
    assert told["requests sent ahead on one connection"] == str(limits.queued)


def test_jobs_and_versions_are_kept_as_long_as_is_told() -> None:
    told = {words(row[0])[0]: row[2] for row in table("Folders")}
    assert told[JOBS].startswith(f"{KEPT_SECONDS // 86_400} days")
    assert KEPT == 5
    assert told[MODEL] == "the five last on a shelf"


def test_every_status_with_its_codes_is_listed() -> None:
    told = {(row[0], code) for row in table("Statuses") for code in words(row[1])}
    missing = refusals_written() - told
    assert not missing, f"add to the table in docs/operations.md: {sorted(missing)}"


def test_every_code_that_is_listed_is_one() -> None:
    assert {code for row in table("Statuses") for code in words(row[1])} <= CODES


def test_every_metric_is_listed_with_its_labels() -> None:
    told = {words(row[0])[0]: set(words(row[1])) for row in table("Metrics")}
    made: dict[str, set[str]] = {}
    for name, labels in SERIES.items():
        if not name.endswith("_created"):
            made.setdefault(re.sub(r"_(bucket|sum|count)$", "", name), set()).update(labels - {"le"})
    assert told == made


RULES: list[dict[str, Any]] = yaml.safe_load(block("yaml", "alert:"))["groups"][0]["rules"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_asks_for_what_there_is(rule: dict[str, Any]) -> None:
    query = rule["expr"].replace('up{job="pql"}', "pql_scores_total")  # the one series that Prometheus makes itself
    assert problems(query) == []
    assert set(rule) <= {"alert", "expr", "for", "annotations", "labels"}
    assert re.fullmatch(r"\d+[mh]", rule.get("for", "1m"))


def test_alerts_have_names_of_their_own() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES) > 5


def test_prometheus_is_told_to_come_with_a_key() -> None:
    (job,) = yaml.safe_load(block("yaml", "scrape_configs"))["scrape_configs"]
    assert job["authorization"]["credentials_file"]


def events_written() -> set[str]:
    """Return the names of the events that the sources write."""
    found = {"request", "access_lines_dropped"}
    for path in (ROOT / "serving").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and re.match(r"(logs\.)?log\(\)\.\w+$", ast.unparse(node.func)):
                found |= {str(one.value) for one in node.args[:1] if isinstance(one, ast.Constant)}
    return found


def test_every_event_of_the_log_is_listed_and_no_other() -> None:
    assert {words(row[0])[0] for row in table("Logs")} == events_written()


def test_what_the_container_copies_is_there() -> None:
    recipe = block("dockerfile", "FROM")
    copied = [line.split()[1] for line in recipe.splitlines() if line.startswith("COPY")]
    assert len(copied) == 4
    for name in copied:
        assert (ROOT / name).exists() or name.startswith("build/"), name


STARTED = """
import sys
import serving.service, serving.models.verifying
ours = [module for name, module in sys.modules.items() if name.partition(".")[0] in ("features", "serving")]
assert all(module.__file__.startswith(sys.argv[1]) for module in ours), "a module of another place"
assert not {"training", "mlflow", "pandas", "sklearn", "shap", "matplotlib"} & set(sys.modules), "more than was copied"
"""


def test_what_the_container_copies_is_enough_to_start_from(tmp_path: Path) -> None:
    for package in ("features", "serving"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "BENTOML_HOME": str(tmp_path / "bento")}
    command = [sys.executable, "-c", STARTED, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_container_sets_variables_that_there_are() -> None:
    recipe = block("dockerfile", "FROM")
    assert set(re.findall(r"\bPQL_\w+", recipe)) <= set(VARIABLES)


def test_python_in_the_container_is_python_that_works() -> None:
    recipe = block("dockerfile", "FROM")
    for text in re.findall(r'python -c "([^"]*)"', recipe):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom):
                module = __import__(str(node.module), fromlist=[alias.name for alias in node.names])
                assert all(hasattr(module, alias.name) for alias in node.names)


def test_every_route_that_is_named_exists() -> None:
    named = set(re.findall(r"`(?:GET |POST )?(/[a-z_./]+)`", PAGE))
    assert named <= set(ROUTES), named - set(ROUTES)


def test_variables_that_are_named_anywhere_exist() -> None:
    assert set(re.findall(r"\bPQL_[A-Z_]+", PAGE)) <= set(VARIABLES)
