"""The dashboard asks for metrics and labels that exist, and its panels lie beside each other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.web.metrics import REASONS, Metrics
from tests.promql import FUNCTIONS, is_balanced, names_in

ROOT = Path(__file__).parents[1]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "docs" / "dashboard.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
# What Prometheus adds to every series.
SCRAPED = {"job", "instance", "le"}


def told() -> dict[str, set[str]]:
    """Return every series that the service can tell of, and its labels."""
    metrics = Metrics()
    metrics.request("/score", 200, 0.001)
    metrics.refused("/score", "excluded")
    metrics.in_service("v1", 1, 1)
    metrics.model_refused(min(REASONS))
    metrics.jobs({})
    families = text_string_to_metric_families(metrics.text().decode())
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


SERIES = told()


def queries() -> Iterator[str]:
    yield from (target["expr"] for panel in PANELS for target in panel["targets"])
    yield from (one["expr"] for one in DASHBOARD["annotations"]["list"] if "expr" in one)
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"].removeprefix("label_values(").partition(",")[0]


def problems(query: str) -> list[str]:
    """Return what a query names that there is not."""
    metrics, labels, functions = names_in(query)
    known = SCRAPED.union(*(SERIES.get(name, set()) for name in metrics))
    wrong = [f"metric {name}" for name in metrics - set(SERIES)]
    wrong += [f"label {name}" for name in labels - known]
    wrong += [f"function {name}" for name in functions - FUNCTIONS]
    return wrong + ([] if is_balanced(query) else ["brackets"]) + ([] if metrics else ["no metric"])


@pytest.mark.parametrize("query", sorted(set(queries())))
def test_a_query_names_metrics_labels_and_functions_that_exist(query: str) -> None:
    assert problems(query) == []


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("sum(rate(pql_request_total[5m]))", ["metric pql_request_total"]),
        ("sum by (rout) (pql_scores_total)", ["label rout"]),
        ('pql_scores_total{version="v1"}', ["label version"]),
        ("summe(pql_scores_total)", ["function summe"]),
        ("sum(pql_scores_total", ["brackets"]),
        ("time() - 3", ["no metric"]),
    ],
)
def test_a_query_that_names_what_there_is_not_is_found(query: str, wrong: list[str]) -> None:
    assert problems(query) == wrong


def test_every_metric_has_a_place_on_the_dashboard() -> None:
    shown = {name for query in queries() for name in names_in(query)[0]}
    families = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in SERIES if not name.endswith("_created")}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown} == families


def test_a_legend_names_labels_that_its_query_keeps() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            named = set(re.findall(r"\{\{\s*(\w+)\s*\}\}", target["legendFormat"]))
            kept = {
                name
                for inside in re.findall(r"\bby\s*\(([^()]*)\)", target["expr"])
                for name in re.findall(r"\w+", inside)
            }
            assert named <= kept, target["expr"]


def test_a_heatmap_gets_buckets() -> None:
    maps = [target for panel in PANELS if panel["type"] == "heatmap" for target in panel["targets"]]
    assert maps
    for target in maps:
        assert target["format"] == "heatmap"
        assert re.match(r"sum by \(le\) \(increase\(\w+_bucket\{", target["expr"])


def test_panels_have_numbers_and_titles_of_their_own_and_say_what_they_show() -> None:
    for key in ("id", "title"):
        found = [panel[key] for panel in PANELS]
        assert len(set(found)) == len(found), key
    assert all(panel["description"].endswith(".") for panel in PANELS)
    for panel in PANELS:
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters) > 0


def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
    place = panel["gridPos"]
    return {
        (x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])
    }


def test_panels_lie_within_the_grid_and_on_no_other() -> None:
    for panel in PANELS:
        assert cells(panel)
        assert all(0 <= x < 24 for x, _ in cells(panel)), panel["title"]
    for first, second in combinations(PANELS, 2):
        assert not cells(first) & cells(second), (first["title"], second["title"])


def test_panels_leave_no_hole() -> None:
    covered = set().union(*map(cells, PANELS))
    assert len(covered) == 24 * (1 + max(y for _, y in covered))


def test_everything_comes_from_the_data_source_that_is_chosen_on_the_page() -> None:
    chosen = {variable["name"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "datasource"}
    assert chosen == {"datasource"}
    for panel in PANELS:
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_variables_of_queries_exist() -> None:
    known = {variable["name"] for variable in DASHBOARD["templating"]["list"]} | {"__rate_interval"}
    used = {name for query in queries() for name in re.findall(r"\$\{?(\w+)", query)}
    assert used == known - {"datasource"}


def test_the_dashboard_is_one_that_grafana_11_reads_and_nobody_s_copy() -> None:
    assert DASHBOARD["schemaVersion"] >= 39
    assert DASHBOARD["id"] is None
    assert {panel["type"] for panel in PANELS} <= {"stat", "timeseries", "heatmap", "state-timeline"}
