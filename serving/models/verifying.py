"""Whether a folder may be served: its hashes, then a child process that may die of it, then this process.

A LightGBM text whose hash fits can still be damaged: its parser ends the process on a child out of range or a cut tree. So
another process reads it first, with little memory and time, and nothing of it reaches this one until that one is content.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from features.errors import ArtifactError, listing

if TYPE_CHECKING:
    from serving.scoring.scorer import Scorer

ABOUT: Final = "about.json"
MOST_BYTES: Final = 256 * 1024 * 1024
"""Of one file: a model of 10,000 trees of 31 leaves has 20 MB."""
MOST_MEMORY: Final = 4 * 1024**3
"""Of addresses. The libraries alone take 1 GB, of which they use a fifth."""
MOST_SECONDS: Final = 30.0
MOST_CPU_SECONDS: Final = 25
SLOW: Final = "check_timed_out"
"""Why nothing is known of a model: it, or the machine, was too slow."""
UNTRIED: Final = "check_not_made"
"""Why nothing is known of a model: it could not be copied or tried, for want of memory, disk or processes."""
GENTLE: Final = 5
"""How much a check gives way to requests."""
ROOT: Final = Path(__file__).parents[2]
_ENVIRONMENT: Final = (
    "PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "TMPDIR", "TZ",
    "NUMBA_CACHE_DIR", "XDG_CACHE_HOME",
)  # fmt: skip
"""What the child is told of ours; keys and passwords of others are none of a model's business."""


def verified(folder: Path, nice: int = GENTLE) -> Scorer:
    """Return the scorer of an artifact folder that may be served, with all that a request needs made already.

    `nice` is how much the process that tries it gives way to others.

    Raises
    ------
    ArtifactError
        Where a file is missing, too large, a link or none of an artifact's; where hashes, text or stored examples differ; or
        where the process that tried it first died of it. This process has then not parsed the model.
    """
    check_files(folder)
    version = examined(folder, nice=nice)
    try:
        scorer = _ready(folder)
    except (ArtifactError, MemoryError):
        raise
    except Exception as error:
        raise ArtifactError(f"{folder}: cannot be loaded ({error!r}). Publish the version again.") from error
    if scorer.version != version:
        raise ArtifactError(f"{folder}: was version {version} a moment ago and is {scorer.version}. Leave it alone.")
    return scorer


def check_files(folder: Path) -> None:
    """See that a folder holds an artifact's files and nothing else, and that they are the bytes that were written.

    Raises
    ------
    ArtifactError
    """
    # Its import brings in the model's library, before which the child limits itself.
    from serving.scoring.artifact import FILES, check_hashes

    try:
        there = sorted(os.listdir(folder))
    except OSError as error:
        raise ArtifactError(f"{folder}: cannot be read ({error.strerror}). Name a folder that holds a model.") from None
    if extra := set(there) - {*FILES, ABOUT}:
        raise ArtifactError(
            f"{folder}: must hold {listing([*FILES, ABOUT])} alone, got {listing(sorted(extra))} as well."
        )
    for name in there:
        check_file(folder / name)
    check_hashes(folder)


def check_file(path: Path) -> os.stat_result:
    """Return what the system knows of a file that is a file, no link, and not too large.

    Raises
    ------
    ArtifactError
    """
    try:
        found = path.lstat()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}). Publish the version again.") from None
    if not stat.S_ISREG(found.st_mode):
        raise ArtifactError(
            f"{path}: cannot be read (it must be a file, no link or folder). Publish the version again."
        )
    if found.st_size > MOST_BYTES:
        raise ArtifactError(
            f"{path}: must have at most {MOST_BYTES:,} bytes, got {found.st_size:,}. Train a smaller model."
        )
    return found


def examined(folder: Path, seconds: float = MOST_SECONDS, nice: int = 0) -> str:
    """Return the version that a process of its own found in a folder, where it could load, score and explain it.

    Parameters
    ----------
    seconds : within which it must have ended
    nice : how much it gives way to others

    Raises
    ------
    ArtifactError
        Where it refused the folder, died of it, or took too long.
    """
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    environment |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    try:
        # The command is our own; the folder is an argument of it, not part of a shell's line.
        with subprocess.Popen(  # noqa: S603
            _command(folder, nice), cwd=ROOT, env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as child:  # fmt: skip
            try:
                said, noise = child.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                child.kill()
                raise ArtifactError(f"{folder}: trying the model took more than {seconds:g} s.", SLOW) from None
    except OSError as error:
        raise ArtifactError(f"{folder}: no process could be started to check it ({error.strerror}).", UNTRIED) from None
    return _told(folder, child.returncode, said, noise)


def _command(folder: Path, nice: int) -> list[str]:
    return [sys.executable, "-m", "serving.models.verifying", str(folder.resolve()), str(nice)]


def _told(folder: Path, code: int, said: bytes, noise: bytes) -> str:
    if code < 0:
        raise _died(folder, f"was ended by {signal.Signals(-code).name}")
    try:
        told = json.loads(said)
        refused, reason, version = (told[name] for name in ("refused", "reason", "version"))
    except (ValueError, TypeError, KeyError):
        last = noise.decode(errors="replace").strip().rpartition("\n")[2]
        raise _died(folder, f"ended with code {code}: {last[:300] or 'it said nothing'}") from None
    if refused is not None:
        raise ArtifactError(str(refused), str(reason))
    return str(version)


def _died(folder: Path, how: str) -> ArtifactError:
    return ArtifactError(
        f"{folder}: the process that tried the model {how}. It is damaged; publish the version again.", "check_died"
    )


def _ready(folder: Path) -> Scorer:
    """Return the scorer of a folder after it has answered once, so that no request waits for a table or a compiled loop."""
    from serving.models.rehearsal import rehearse
    from serving.scoring.scorer import Scorer

    scorer = Scorer.from_folder(folder)
    rehearse(scorer)
    return scorer


def _limit_ourselves(nice: int) -> None:
    for what, most in (
        (resource.RLIMIT_AS, MOST_MEMORY), (resource.RLIMIT_CPU, MOST_CPU_SECONDS), (resource.RLIMIT_CORE, 0)
    ):  # fmt: skip
        _, allowed = resource.getrlimit(what)
        limit = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        resource.setrlimit(what, (limit, limit))
    os.nice(nice)


def examine(folder: Path) -> str:
    """Return the version in a folder after trying all that could go wrong with it; for the child process.

    Raises
    ------
    ArtifactError
    """
    from serving.models.rehearsal import check_behaviour, check_text
    from serving.scoring.artifact import load
    from serving.scoring.scorer import Scorer

    artifact = load(folder)
    check_text(artifact)
    scorer = Scorer(artifact)
    check_behaviour(scorer)
    return scorer.version


def main(folder: Path, nice: int) -> None:
    """Examine a folder as the child process: what came of it is the only line on stdout, as JSON."""
    _limit_ourselves(nice)
    # The model's library writes to where it likes: what it writes to stdout must not pass for our answer.
    answer = os.dup(1)
    os.dup2(2, 1)
    os.write(answer, json.dumps(told_of(folder)).encode())


def told_of(folder: Path) -> dict[str, str | None]:
    """Return the `version` in a folder, or why it is `refused` and in one word the `reason`."""
    told: dict[str, str | None] = dict.fromkeys(("version", "refused", "reason"))
    try:
        told["version"] = examine(folder)
    except ArtifactError as error:
        told |= {"refused": str(error), "reason": error.reason}
    except Exception as error:
        told |= {"refused": f"{folder}: cannot be loaded ({error!r}). Publish the version again.", "reason": "unusable"}
    return told


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
