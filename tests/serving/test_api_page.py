"""docs/api.md is the page of the document, and its commands are answered."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from serving.scoring.scorer import Scorer
from serving.web.api_page import page, table
from serving.web.openapi import document
from serving.web.wire_status import EXAMPLE_TASK
from tests.serving.curl import SERVER, by_curl, by_urllib, commands, parsed, run
from tests.serving.in_process import doing_jobs, front_of
from tests.serving.listening import listening

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
DOCUMENT = document(table())


def test_the_page_is_fresh() -> None:
    assert page(DOCUMENT) == PAGE, "run `make docs`"


def test_every_route_every_field_and_every_refusal_is_on_the_page() -> None:
    for path, methods in DOCUMENT["paths"].items():
        for method, one in methods.items():
            assert f"### {method.upper()} {path}" in PAGE
            assert one["summary"] in PAGE
    for schema in DOCUMENT["components"]["schemas"].values():
        for name, about in schema["properties"].items():
            assert f"| `{name}` |" in PAGE
            assert about["description"].replace("|", "\\|") in PAGE


def test_every_link_of_the_page_leads_to_a_heading() -> None:
    def anchor(heading: str) -> str:
        return re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-")

    there = {anchor(heading) for heading in re.findall(r"^#+ (.*)$", PAGE, re.M)}
    asked = set(re.findall(r"\]\(#([^)]+)\)", PAGE))
    assert asked
    assert asked <= there


# --- its commands -----------------------------------------------------------------------------

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def base(scorer: Scorer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with doing_jobs(scorer, tmp_path_factory.mktemp("jobs")) as jobs, listening(front_of(scorer, jobs=jobs)) as address:
        yield address


def asked_for(command: str) -> tuple[str, str]:
    """Return the method and the path of what a command asks for."""
    asked = parsed(command, ROOT)
    return (asked.method or ("GET" if asked.body is None else "POST")).lower(), urlsplit(asked.url).path


def test_there_is_a_command_for_every_route() -> None:
    routes = [(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods]
    assert sorted(map(asked_for, commands(PAGE))) == sorted(routes)


WAYS = [by_urllib, *([by_curl] if shutil.which("curl") else [])]
Way = Callable[[str, Path], tuple[int, bytes]]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("command", [*commands(README), *commands(PAGE)])
def test_a_command_is_answered_as_documented(command: str, way: Way, base: str) -> None:
    method, path = asked_for(command)
    told = DOCUMENT["paths"][path][method]
    status, body = way(command.replace(SERVER, base), ROOT)
    assert str(status) in told["responses"]
    if EXAMPLE_TASK in command:
        # The job of the example was never handed in here.
        assert (status, json.loads(body)["error"]["code"]) == (404, "unknown_task")
    else:
        assert 200 <= status < 300, body


def test_the_job_of_the_page_ends_well(base: str) -> None:
    (submit,) = [one for one in commands(PAGE) if asked_for(one) == ("post", "/score_batch")]
    task = json.loads(run(submit, base, ROOT)[1])
    asking = f"curl -s '{SERVER}{task['status_url']}'"
    until = time.monotonic() + 120
    while (told := json.loads(run(asking, base, ROOT)[1]))["status"] == "in_progress":
        assert time.monotonic() < until, told
        time.sleep(0.2)
    assert (told["status"], told["scored"], told["rejected"]) == ("success", 2, 0), told
    status, body = run(f"curl -s '{SERVER}{task['result_url']}'", base, ROOT)
    assert status == 200
    lines = body.decode().splitlines()
    assert lines[0].startswith("lead_id,")
    assert {line.partition(",")[0] for line in lines[1:]} == {"u-4711", "u-4712"}


def test_the_command_of_the_readme_gets_the_answer_that_it_shows_but_for_the_version(base: str) -> None:
    (command,) = commands(README)
    shown = re.search(r"```json\n(.*?)```", README, re.S)
    assert shown is not None
    result, known = json.loads(run(command, base, ROOT)[1])["results"][0], json.loads(shown[1])["results"][0]
    assert list(result) == list(known)
    assert result["lead_id"] == known["lead_id"]


@pytest.mark.parametrize("way", WAYS)
def test_a_command_that_is_refused_is_seen_to_be(way: Way, base: str) -> None:
    status, body = way(f"curl -s -H 'Content-Type: application/json' -d '{{}}' {base}/score", ROOT)
    assert status == 400
    assert json.loads(body)["error"]["code"] == "invalid_input"


def test_an_option_that_is_not_understood_is_not_passed_over() -> None:
    with pytest.raises(ValueError, match="--compressed"):
        parsed("curl --compressed http://127.0.0.1:3000/score", ROOT)
