"""Who is a PQL: a cutoff with its evidence, one for each segment, or the reason why there is none.

Frozen facts that flag; how they are found is training's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from features.times import parse_instant
from features.windows import Floats, Ints

Flags = npt.NDArray[np.bool_]
LineName = Literal["promise", "capacity", "value", "hand"]


@dataclass(frozen=True)
class Line:
    """A cutoff that one of the limits alone would set, what held-out leads did from it on, and why it lies there."""

    name: LineName
    probability: float
    leads: int
    converted: int
    precision_low: float
    leads_per_week: float
    why: str = ""


@dataclass(frozen=True)
class Cutoff:
    """From this probability on, a lead is a PQL.

    Of `leads` held-out leads, each counted when it first crossed the cutoff, `converted` converted. With `confidence` the
    share that converts is at least `at_least`; `precision_low` is the lower bound that this one cutoff alone would show.

    Attributes
    ----------
    at_least : the share that is promised to convert, None where nothing is promised
    leads_per_week : how many held-out leads first crossed the cutoff per week
    measured_from, measured_until, expires : ISO 8601 texts; `expires` is None where the evidence never grows stale
    policy : the policy that asked for it
    binds : which of `lines` it comes from, the strictest of them
    lines : the cutoffs that each limit alone would set
    """

    probability: float
    at_least: float | None
    confidence: float
    leads: int
    converted: int
    precision_low: float
    measured_from: str
    measured_until: str
    leads_per_week: float | None = None
    expires: str | None = None
    policy: str = "precision"
    binds: LineName = "promise"
    lines: tuple[Line, ...] = ()

    def flags(self, probabilities: Floats, segments: Ints | None = None) -> Flags:  # noqa: ARG002 - as all decisions
        """Return who is a PQL: bool array of shape (n,)."""
        return probabilities >= self.probability


@dataclass(frozen=True)
class NoCutoff:
    """No cutoff can carry what is asked on this data: nobody is a PQL, and `reason` says why and what would help.

    `needed` is how many more flagged held-out leads would help, None where that is not what is missing.
    """

    at_least: float | None
    confidence: float
    reason: str
    needed: int | None = None

    def flags(self, probabilities: Floats, segments: Ints | None = None) -> Flags:  # noqa: ARG002 - as all decisions
        """Return who is a PQL, which is nobody: bool array of shape (n,)."""
        return np.zeros(len(probabilities), bool)


@dataclass(frozen=True)
class Segmented:
    """A decision for each level of a trait.

    Attributes
    ----------
    trait : the trait that tells segments apart
    names : its levels; a lead of level `names[i]` has the segment number i
    each : the decision on each level, None where it has too little evidence of its own and `overall` decides
    overall : the decision on all other leads together: those of such levels and of no level
    """

    trait: str
    names: tuple[str, ...]
    each: tuple[Cutoff | NoCutoff | None, ...]
    overall: Cutoff | NoCutoff

    @property
    def at_least(self) -> float | None:
        return self.overall.at_least

    @property
    def confidence(self) -> float:
        return self.overall.confidence

    def flags(self, probabilities: Floats, segments: Ints | None = None) -> Flags:
        """Return who is a PQL: bool array of shape (n,); `segments` None or a negative number is a lead of no level."""
        found = self.overall.flags(probabilities)
        if segments is not None:
            for number, own in enumerate(self.each):
                if own is not None:
                    found = np.where(segments == number, own.flags(probabilities), found)
        return found


Decision = Cutoff | NoCutoff | Segmented
KINDS: Mapping[str, type[Decision]] = {kind.__name__: kind for kind in (Cutoff, NoCutoff, Segmented)}


def overall(decision: Decision) -> Cutoff | NoCutoff:
    """Return what is decided on a lead of no segment."""
    return decision.overall if isinstance(decision, Segmented) else decision


def parts(decision: Decision) -> Iterator[Cutoff | NoCutoff]:
    """Yield every decision that is made for some leads: the overall one first, then those of segments."""
    yield overall(decision)
    if isinstance(decision, Segmented):
        yield from (own for own in decision.each if own is not None)


def expired(decision: Decision, moment: int) -> bool:
    """Return whether any of its evidence is stale at a moment (microseconds since 1970 UTC)."""
    ends = [part.expires for part in parts(decision) if isinstance(part, Cutoff) and part.expires is not None]
    return any(moment >= parse_instant(end, "expires") for end in ends)


def to_facts(decision: Decision) -> dict[str, Any]:
    """Return a decision as plain data for JSON; `from_facts` is the way back."""
    kind = {"kind": type(decision).__name__}
    if isinstance(decision, NoCutoff):
        return {**kind, **asdict(decision)}
    if isinstance(decision, Cutoff):
        return {**kind, **asdict(decision), "lines": [asdict(line) for line in decision.lines]}
    each = [None if own is None else to_facts(own) for own in decision.each]
    names = list(decision.names)
    return {**kind, "trait": decision.trait, "names": names, "each": each, "overall": to_facts(decision.overall)}


def from_facts(facts: Mapping[str, Any]) -> Decision:
    """Return the decision that `to_facts` told of.

    Raises
    ------
    ValueError
        For a kind, a key or a value that no decision has.
    """
    given = dict(facts)
    name = given.pop("kind", None)
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(f"decision.kind must be one of {', '.join(KINDS)}, got {name!r}")
    unknown = given.keys() - {field.name for field in fields(kind)}
    if unknown:
        raise ValueError(f"decision of kind {name} has no key {min(unknown)!r}")
    if kind is Segmented:
        return _segmented(given)
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise ValueError(f"decision of kind {name}: {error}") from None


def _segmented(given: Mapping[str, Any]) -> Segmented:
    try:
        trait, names = msgspec.convert((given["trait"], given["names"]), tuple[str, tuple[str, ...]])
        each = tuple(None if own is None else _plain(own) for own in given["each"])
        rest = _plain(given["overall"])
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise ValueError(f"decision of kind Segmented: {error!r}") from None
    if len(each) != len(names):
        raise ValueError(f"decision of kind Segmented has {len(names)} names and {len(each)} decisions")
    return Segmented(trait, names, each, rest)


def _plain(facts: Mapping[str, Any]) -> Cutoff | NoCutoff:
    found = from_facts(facts)
    if isinstance(found, Segmented):
        raise ValueError("a segment must not have segments")
    return found
