"""The pictures of a report as files that stand alone."""

import re
from xml.etree import ElementTree

from features.dataset import Dataset
from training import report
from training.pipeline import Trained
from training.reporting.pictures import pictures_of

PAGE = """<style>:root { --page: #fff; --ink: #123456; --line: #d9dee4; }
@media (prefers-color-scheme: dark) { :root { --page: #000; --ink: #eee; --line: #111; } }</style>
<svg viewBox="0 0 3 4" aria-hidden="true"><g id="days-figure_1"><path style="stroke: var(--line)"/></g></svg>
<p>words</p>
<svg viewBox="0 0 5 6"><g id="days-figure_1"><use xlink:href="#days-m1"/></g></svg>
<svg viewBox="0 0 7 8"><g/></svg>"""


def test_each_picture_is_named_after_its_elements_and_no_name_is_used_twice() -> None:
    assert list(pictures_of(PAGE)) == ["days", "picture-2", "picture-3"]


def test_a_page_without_pictures_has_none() -> None:
    assert pictures_of("<p>No score</p>") == {}


def test_a_picture_is_well_formed_and_keeps_its_size() -> None:
    found = [ElementTree.fromstring(text) for text in pictures_of(PAGE).values()]
    assert [root.get("viewBox") for root in found] == ["0 0 3 4", "0 0 5 6", "0 0 7 8"]
    assert {root.tag for root in found} == {"{http://www.w3.org/2000/svg}svg"}


def test_colours_of_the_page_become_those_of_its_light_form() -> None:
    text = pictures_of(PAGE)["days"]
    assert "stroke: #d9dee4" in text
    assert "background:#fff;color:#123456" in text


def test_every_picture_of_a_report_is_a_file_that_loads_nothing(trained: Trained, history: Dataset) -> None:
    page = report.render(trained, history, trained.artifact.version, "Promoted: because.")
    found = pictures_of(page)
    assert len(found) == page.count("<svg") >= 4
    for name, text in found.items():
        assert re.fullmatch(r"[\w-]+", name)
        assert ElementTree.fromstring(text).get("viewBox")
        assert "var(" not in text
        assert not re.search(r'(href|src)="(?!#)|url\((?!#)|<script', text)
