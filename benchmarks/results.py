"""`docs/results.md`, section by section: each benchmark writes its own and leaves the others alone."""

from __future__ import annotations

import re
from pathlib import Path

HEAD = "# Results\n\nMade by `make bench`; `benchmarks/` holds what is measured.\n"


def put(page: Path, section: str) -> None:
    """Write a section, which begins with its `## heading`, in place of the one of that heading, or at the page's end."""
    heading = section.splitlines()[0]
    old = page.read_text(encoding="utf-8") if page.exists() else HEAD
    parts = [part.strip() for part in re.split(r"(?m)^(?=## )", old)][1:]
    kept = [section.strip() if part.splitlines()[0] == heading else part for part in parts]
    if section.strip() not in kept:
        kept.append(section.strip())
    page.write_text("\n\n".join([HEAD.strip(), *kept]) + "\n", encoding="utf-8")
