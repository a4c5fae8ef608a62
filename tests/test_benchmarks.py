"""The benchmarks run, every side of them comes to the same rows, and each writes its own section of the page."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.results import HEAD, put

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
