"""Run every notebook here from top to bottom, in a fresh kernel each; a cell that fails ends it."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent


def run(path: Path) -> None:
    """Run one notebook in the repository's root; what it prints is not kept, so that the file stays as it is."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(FOLDER.parent)}}).execute()


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.ipynb")):
        print(path.name, flush=True)
        run(path)
