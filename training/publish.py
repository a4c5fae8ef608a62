"""The champion into the Bento model store, so that a Bento can be built from it."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from features.errors import InvalidInput
from serving.models.verifying import ABOUT
from serving.scoring.artifact import FILES, load
from training import tracking
from training.shelving import about

STORE_NAME: Final = "pql-scorer"


def publish(name: str) -> str:
    """Copy a registered version's three files, and what is told of it, into the Bento model store; return the tag made.

    Raises
    ------
    InvalidInput
        Where there is no such version.
    ArtifactError
        Where its files are not what was registered.
    """
    import bentoml

    version = tracking.version_called(name)
    if version is None:
        raise InvalidInput(f"there is no model {name!r} in the registry.", "model", "Train one with `pql train`.")
    with tempfile.TemporaryDirectory() as scratch:
        folder = tracking.fetch(f"{tracking.MODEL}/{version.number}", Path(scratch))
        content = load(folder).version
        with bentoml.models.create(f"{STORE_NAME}:{content}", labels={"registry": name.replace("@", "-")}) as model:
            for file in FILES:
                shutil.copyfile(folder / file, model.path_of(file))
            Path(model.path_of(ABOUT)).write_bytes(msgspec.json.encode(about(version)))
        return str(model.tag)


if __name__ == "__main__":
    print(publish(sys.argv[1] if len(sys.argv) > 1 else f"{tracking.MODEL}@{tracking.CHAMPION}"))
