"""How many planted leaks are found, and how many honest signals are accused: `python -m benchmarks.leaks PAGE`."""

from __future__ import annotations

import platform
import sys
import time
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from benchmarks.leak_plants import PLANTS
from benchmarks.leak_products import HONEST, Product, Setting, honest, made
from benchmarks.results import put
from features.errors import NotEnoughData
from features.matrix import FeatureBuilder
from training.leaks import Leak, find_leaks, written_starts
from training.snapshots import snapshots
from training.split import split

SETTINGS = (
    Setting(1_000, 1, coverage=0.9, noise=0.01),
    Setting(1_000, 2, rate=0.3, coverage=0.7, noise=0.02, arrival=False),
    Setting(3_000, 3, rate=0.07, coverage=0.8, noise=0.01),
    Setting(700, 4, rate=0.2, coverage=0.9, noise=0.0, arrival=False),
    Setting(1_600, 5, coverage=0.6, noise=0.03),
    Setting(3_000, 6, rate=0.6, coverage=0.8, noise=0.02),
    Setting(2_000, 7, rate=0.2, coverage=0.85, noise=0.02, lead="account"),
    Setting(3_500, 8, rate=0.05, coverage=1.0, noise=0.0),
)
PER_PLANT, PER_HONEST = 2, 3


@dataclass(frozen=True)
class Trial:
    """What was found in one product."""

    plant: str
    setting: Setting
    leads: int
    name: str | None
    honest: int
    leaks: tuple[Leak, ...]
    seconds: float

    @property
    def found(self) -> Leak | None:
        return next((leak for leak in self.leaks if leak.name == self.name), None)

    @property
    def accused(self) -> list[Leak]:
        return [leak for leak in self.leaks if leak.name != self.name]


def judge(plant: str, product: Product, name: str | None) -> Trial:
    """Look for leaks in one product, in what a training would learn from."""
    data = made(product).read()
    table = snapshots(data, data.leads)
    builder = FeatureBuilder(data.definition, {})
    rows = data.rows(builder, table.lead, table.as_of)
    begun = time.process_time()
    try:
        leaks = find_leaks(data, builder, table, rows, split(table).fit)
    except NotEnoughData:
        fault = written_starts(data.leads)
        leaks = () if fault is None else (fault,)
    seconds = time.process_time() - begun
    honest_names = [one for one in product.names if one != name]
    return Trial(plant, product.setting, len(data.leads), name, len(honest_names), leaks, seconds)


def run() -> list[Trial]:
    """Judge every shape of leak in some settings, and every setting without a leak."""
    trials = []
    settings = cycle(SETTINGS)
    for plant, planted in PLANTS.items():
        for _ in range(PER_PLANT):
            product, name = planted(honest(next(settings)))
            trials.append(judge(plant, product, name))
            print(_line(trials[-1]), flush=True)
    for name, changed in HONEST.items():
        for _ in range(PER_HONEST):
            trials.append(judge(f"nothing, {name}", changed(honest(next(settings))), None))
            print(_line(trials[-1]), flush=True)
    return trials


def _line(trial: Trial) -> str:
    said = "" if trial.name is None else f"found as {trial.found.kind}" if trial.found else "MISSED"
    accused = "".join(f" ACCUSED {leak}" for leak in trial.accused)
    return f"{trial.plant} ({trial.leads:,} leads, {trial.setting}): {said}{accused}"


def section(trials: list[Trial]) -> str:
    """Return the section of docs/results.md."""
    planted = [trial for trial in trials if trial.name is not None]
    found = sum(trial.found is not None for trial in planted)
    looked_at = sum(trial.honest for trial in trials)
    accused = sum(len(trial.accused) for trial in trials)
    sizes = sorted(trial.leads for trial in trials)
    without = len(trials) - len(planted)
    return f"""## Planted leaks

{len(planted)} simulated products of {sizes[0]:,} to {sizes[-1]:,} leads with one planted leak each, and {without} with none.
Of the leads 5 to 60 % convert; a leak marks 60 to 100 % of these and up to 3 % of others, with and without arrival times,
with users and with accounts as leads. Every product has honest strong drivers (ten times as frequent among converters),
rare signals, bursts of use on the day of conversion, and facts that are known of buyers more often.

**{found} of {len(planted)}** leaks were found and named; **{accused} of {looked_at:,}** honest signals and traits were accused
({accused / looked_at:.1%}). Looking took {max(trial.seconds for trial in trials):.1f} CPU seconds at most.

| leak | found | as |
|---|---|---|
{chr(10).join(_rows(planted))}

Python {platform.python_version()}, {platform.machine()}.
"""


def _rows(trials: list[Trial]) -> list[str]:
    lines = []
    for plant in dict.fromkeys(trial.plant for trial in trials):
        mine = [trial for trial in trials if trial.plant == plant]
        kinds = ", ".join(dict.fromkeys(trial.found.kind for trial in mine if trial.found))
        lines.append(f"| {plant} | {sum(trial.found is not None for trial in mine)} of {len(mine)} | {kinds} |")
    return lines


def main(out: Path) -> None:
    """Run everything and write the section."""
    trials = run()
    put(out, section(trials))
    print(section(trials))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
