"""Whether reasons name what is true, where the truth is known: `python -m benchmarks.reasons_truth PAGE [--only NAME]`."""

from __future__ import annotations

from typing import Final

from benchmarks import reasons_demo, reasons_rows
from benchmarks.reasons_page import HEADING, INTRODUCTION
from benchmarks.truth_page import Parts, measure

PARTS: Final[Parts] = {
    "demo": (reasons_demo.TITLE, reasons_demo.demo_product),
    "rows": (reasons_rows.TITLE, reasons_rows.rows),
}


def main() -> None:
    """Measure the parts asked for and write them into their section."""
    measure(str(__doc__), PARTS, f"{HEADING}\n\n{INTRODUCTION}")


if __name__ == "__main__":
    main()
