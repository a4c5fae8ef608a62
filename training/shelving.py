"""Brings versions from the registry to a shelf, where the service finds them: the registry is never on a request's way.

`python -m training.shelving SHELF` follows an alias; what is in service goes on while the registry is gone.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from features.errors import ArtifactError, InvalidInput, PQLError
from features.times import text_of
from serving.models.served import About
from serving.models.shelf import Shelf
from training import tracking
from training.tracking import CHAMPION, MODEL, Version

EVERY: Final = 10.0
"""Seconds; with what the service takes to look and to check, a promotion is served within 30."""
HEADLINES: Final = (
    "auc", "average_precision", "log_loss", "brier", "observed_to_expected", "calibration_slope", "pql_precision",
    "pql_caught", "pql_leads", "cutoff", "judged_leads", "judged_converted",
)  # fmt: skip
"""What `GET /model` tells of the two hundred figures that the registry keeps; with their intervals."""
_PATIENCE: Final = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""The registry's own would try for minutes; it is asked again soon."""


def bring(name: str, shelf: Shelf) -> str:
    """Fetch the version that is called so onto the shelf, point to it, and return its name there.

    Raises
    ------
    InvalidInput
        Where the registry cannot be asked or has no such version.
    ArtifactError
        Where its files are not what was registered; the shelf then stays as it was.
    """
    version = tracking.version_called(name)
    if version is None:
        raise InvalidInput(f"there is no model {name!r} in the registry.", "model", "Train one with `pql train`.")
    if shelf.followed() == name and version.content and version.content == shelf.current():
        return version.content
    # By its number: an alias may move meanwhile, and what is told must be told of these files.
    meant = f"{name.partition('@')[0].partition('/')[0]}/{version.number}"
    with tempfile.TemporaryDirectory(prefix="pql-fetched-") as scratch:
        try:
            put = shelf.put(tracking.fetch(meant, Path(scratch) / "artifact"), about(version))
        except ArtifactError as error:
            raise ArtifactError(str(error).replace(f"{scratch}/artifact", meant), error.reason) from None
    shelf.point(put)
    shelf.follow(name)
    return put


def about(version: Version) -> About:
    """Return what the registry knows of a version beside its files."""
    names = [f"{name}{end}" for name in HEADLINES for end in ("", "_low", "_high")]
    known = {name: float(version.figures[name]) for name in names if name in version.figures}
    return About(
        number=version.number,
        trained_at=text_of(version.created_ms * 1_000),
        promoted_at=version.tags.get("promoted_at"),
        verdict=version.verdict or None,
        figures={name: value for name, value in known.items() if math.isfinite(value)},
    )


class Follower:
    """Keeps a shelf pointed to what an alias means; tells what it did, and each trouble once."""

    def __init__(self, name: str, shelf: Shelf, tell: Callable[[str], None]) -> None:
        self._name, self._shelf, self._tell = name, shelf, tell
        self._number: int | None = None
        self._trouble = ""

    def look(self) -> None:
        """Look once."""
        try:
            number = tracking.number_called(self._name)
            if number is None:
                raise InvalidInput(f"there is no model {self._name!r} in the registry.")
            if number != self._number:
                put = bring(self._name, self._shelf)
                # Not before: what was damaged may be mended under the same number.
                self._number = number
                self._tell(f"{self._name} is version {number} ({put}) now; it is on the shelf {self._shelf.folder}.")
            elif self._trouble:
                self._tell(f"{self._name} is version {number} still; the registry answers again.")
            self._trouble = ""
        except (PQLError, OSError) as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                self._tell(f"{error} What is on the shelf {self._shelf.folder} stays in service.")


def follow(
    follower: Follower, every: float, sleep: Callable[[float], None] = time.sleep, parent: int | None = None
) -> None:
    """Look until stopped; with `parent` until that process has ended, which started this one."""
    while parent is None or os.getppid() == parent:
        follower.look()
        sleep(every)


def main(words: Sequence[str]) -> int:
    """Follow an alias as the words of a command line say."""
    parser = argparse.ArgumentParser("python -m training.shelving", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("shelf", type=Path)
    parser.add_argument("--follow", default=f"{MODEL}@{CHAMPION}", help="the name in the registry")
    parser.add_argument("--every", type=float, default=EVERY, help="seconds between two looks")
    parser.add_argument("--parent", type=int, help="end when this process, which started it, has ended")
    asked = parser.parse_args(words)
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    with suppress(KeyboardInterrupt):
        follow(Follower(asked.follow, Shelf(asked.shelf), _aloud), max(asked.every, 1.0), parent=asked.parent)
    return 0


def _aloud(text: str) -> None:
    print(f"shelving: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
