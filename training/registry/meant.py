"""Which model a command means: a folder, or a version of the registry; and what serves it while the registry is gone."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from features.errors import ArtifactError, InvalidInput

if TYPE_CHECKING:
    from serving.models.shelf import Shelf
    from serving.scoring.scorer import Scorer

DEFAULT_MODEL: Final = "pql-scorer@champion"


def is_folder(model: str) -> bool:
    """Whether a model is named by its folder."""
    return "@" not in model and Path(model).is_dir()


@contextmanager
def model_folder(model: str) -> Iterator[Path]:
    """Yield the folder of a model: itself where it is one, or else a copy of the registered version's files."""
    if is_folder(model):
        yield Path(model)
        return
    from training.tracking import fetch

    with tempfile.TemporaryDirectory(prefix="pql-model-") as scratch:
        yield fetch(model, Path(scratch))


def scorer_of(models: Sequence[str], version: str) -> Scorer:
    """Return the scorer of a version: that of the models named, or else the registered one."""
    from serving.scoring.scorer import Scorer

    for model in models or (_registered(version),):
        with model_folder(model) as folder:
            scorer = Scorer.from_folder(folder)
        if scorer.artifact.version == version:
            break
    return scorer


def _registered(version: str) -> str:
    what, hint = f"version {version}, which gave the answer", "Name its folder with --model."
    try:
        from training.registry.changeover import registered
    except ImportError:
        raise InvalidInput(f"{what}, is needed, and no registry is installed here.", "model", hint) from None
    try:
        return registered(version)
    except InvalidInput as error:
        raise InvalidInput(f"{what}, cannot be had from the registry: {error.message}", "model", hint) from None


@dataclass(frozen=True)
class ToServe:
    """What a service is started with: the folder that it watches, and the command that brings it newer versions."""

    folder: Path
    beside: tuple[str, ...] = ()


def to_serve(model: str, shelf: Path, tell: Callable[[str], None]) -> ToServe:
    """Return where a model is served from: its own folder, or the shelf that its registered versions are brought to.

    What lies on the shelf is served at once; the registry is asked first only where there is nothing of this name.

    Raises
    ------
    InvalidInput
        Where there is no such model, or it cannot be fetched.
    """
    from serving.models.shelf import Shelf, source_of

    if is_folder(model):
        source_of(Path(model))
        return ToServe(Path(model))
    kept = Shelf(shelf)
    version = _on_shelf(kept, tell) if kept.followed() == model else None
    if version is None:
        from training.shelving import bring

        version = bring(model, kept)
    tell(f"Serving version {version} of {model} from the shelf {shelf}.")
    # A number means one version for ever; an alias moves.
    if "@" not in model:
        return ToServe(shelf)
    beside = (sys.executable, "-m", "training.shelving", str(shelf.resolve()), "--follow", model)
    return ToServe(shelf, (*beside, "--parent", str(os.getpid())))


def _on_shelf(shelf: Shelf, tell: Callable[[str], None]) -> str | None:
    """Return the version that a shelf points to, None where it must be brought anew."""
    from serving.models.verifying import check_files

    try:
        version = shelf.current()
        if version is not None:
            check_files(shelf.folder / version)
    except ArtifactError as error:
        tell(f"What lies on the shelf cannot be served ({error}) It is brought anew from the registry.")
        return None
    return version
