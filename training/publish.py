"""The champion into the Bento model store, so that a Bento can be built from it."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from serving.scoring.artifact import FILES, load
from training import tracking

STORE_NAME: Final = "pql-scorer"


def publish(name: str) -> str:
    """Copy a registered version's three files into the Bento model store and return the tag made."""
    import bentoml

    with tempfile.TemporaryDirectory() as scratch:
        folder = tracking.fetch(name, Path(scratch))
        version = load(folder).version
        with bentoml.models.create(f"{STORE_NAME}:{version}", labels={"registry": name.replace("@", "-")}) as model:
            for file in FILES:
                shutil.copyfile(folder / file, model.path_of(file))
        return str(model.tag)


if __name__ == "__main__":
    print(publish(sys.argv[1] if len(sys.argv) > 1 else f"{tracking.MODEL}@{tracking.CHAMPION}"))
