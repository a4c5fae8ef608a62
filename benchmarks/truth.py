"""How true the score is, where the truth is known: `python -m benchmarks.truth PAGE [--only NAME]`."""

from __future__ import annotations

from typing import Final

from benchmarks import truth_calibration, truth_demo, truth_noise, truth_promise, truth_slow, truth_small
from benchmarks.truth_page import Parts, introduction, measure

PARTS: Final[Parts] = {
    "calibration": (truth_calibration.TITLE, truth_calibration.calibration),
    "promise": (truth_promise.TITLE, truth_promise.promise),
    "slow": (truth_slow.TITLE, truth_slow.slow_burners),
    "null": (truth_noise.TITLE, truth_noise.noise),
    "forty": (truth_small.TITLE, truth_small.forty),
    "demo": (truth_demo.TITLE, truth_demo.demo_product),
}


def main() -> None:
    """Measure the parts asked for and write them into their section."""
    measure(str(__doc__), PARTS, introduction())


if __name__ == "__main__":
    main()
