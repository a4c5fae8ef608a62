"""The form in which the registry is told of a training: plain data, and nothing that takes long to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from serving.scoring.artifact import Artifact

LONGEST: Final = 1_000
"""Characters of a tag or parameter: as much as every registry takes."""


@dataclass(frozen=True)
class DataFacts:
    """Which data it was: a digest of its content, where it came from (no password), and how much there is."""

    digest: str
    source: str
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """All that is said of a training.

    Attributes
    ----------
    parameters, figures : what decided how it learned, and what came of it
    definition : the text of pql.yaml
    tags : short facts by which it is found and told apart, on the run and on the version
    description : the same and the key figures as Markdown, for people
    artifact : None where nothing could be learned
    """

    parameters: Mapping[str, str]
    figures: Mapping[str, float]
    data: DataFacts
    definition: str
    tags: Mapping[str, str]
    description: str
    artifact: Artifact | None
