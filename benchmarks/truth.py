"""How true the score is, where the truth is known: `python -m benchmarks.truth PAGE [--only NAME]`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from benchmarks import truth_calibration, truth_demo, truth_noise, truth_promise, truth_slow, truth_small
from benchmarks.truth_page import Part, text_of, write

PARTS: Final[Mapping[str, tuple[str, Callable[[], Part]]]] = {
    "calibration": (truth_calibration.TITLE, truth_calibration.calibration),
    "promise": (truth_promise.TITLE, truth_promise.promise),
    "slow": (truth_slow.TITLE, truth_slow.slow_burners),
    "null": (truth_noise.TITLE, truth_noise.noise),
    "forty": (truth_small.TITLE, truth_small.forty),
    "demo": (truth_demo.TITLE, truth_demo.demo_product),
}


def main() -> None:
    """Measure the parts asked for and write them into their section."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("page", type=Path)
    words.add_argument("--only", choices=PARTS, action="append", help="measure this part, keep the others")
    asked = words.parse_args()
    order = [title for title, _ in PARTS.values()]
    for name in asked.only or PARTS:
        print(f"{name} ...", flush=True)
        begun = time.process_time()
        part = PARTS[name][1]()
        text = text_of(part, time.process_time() - begun)
        write(asked.page, [text], order)
        print(text, flush=True)


if __name__ == "__main__":
    main()
