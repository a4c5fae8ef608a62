"""Whether reasons name what is true, where the truth is known: `python -m benchmarks.reasons_truth PAGE [--only NAME]`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from benchmarks import reasons_demo, reasons_rows
from benchmarks.reasons_page import write
from benchmarks.truth_page import Part, text_of

PARTS: Final[Mapping[str, tuple[str, Callable[[], Part]]]] = {
    "demo": (reasons_demo.TITLE, reasons_demo.demo_product),
    "rows": (reasons_rows.TITLE, reasons_rows.rows),
}


def main() -> None:
    """Measure the parts asked for and write them into their section."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("page", type=Path)
    words.add_argument("--only", choices=PARTS, action="append", help="measure this part, keep the other")
    asked = words.parse_args()
    order = [title for title, _ in PARTS.values()]
    for name in asked.only or PARTS:
        print(f"{name} ...", flush=True)
        begun = time.process_time()
        part = PARTS[name][1]()
        text = text_of(part, time.process_time() - begun)
        write(asked.page, text, order)
        print(text, flush=True)


if __name__ == "__main__":
    main()
