"""What a cutoff must achieve, as settings: a precision that is promised, a number of leads per week, or a gain.

Each may also have the others' limits: a floor (`at_least` with `confidence`) and a ceiling (`leads_per_week`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator
from pydantic_core import PydanticKnownError

from features.durations import DAY
from features.setting import Setting, SpanOrNone

Share = Annotated[float, Field(gt=0, lt=1)]
Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]
POLICIES = ("precision", "capacity", "value")


class _Policy(Setting):
    """What every policy may have.

    `at_least` of the PQLs must convert, promised with `confidence`; `leads_per_week` is the most that are flagged;
    `segments` is the trait whose levels get cutoffs of their own. So long after the end of the data as `valid_for` says the
    evidence counts as stale (None: never).
    """

    policy: str
    at_least: Share | None = None
    confidence: float = Field(default=0.9, ge=0.5, lt=1)
    leads_per_week: Amount | None = None
    segments: str | None = None
    valid_for: SpanOrNone = 90 * DAY

    @field_validator("policy", mode="before")
    @classmethod
    def _known(cls, name: object) -> object:
        if name not in POLICIES:
            raise PydanticKnownError("literal_error", {"expected": "'precision', 'capacity' or 'value'"})
        return name

    @property
    def worth_it(self) -> float | None:
        """The probability from which a contact pays, None where money is not what decides."""
        return None


class PrecisionPolicy(_Policy):
    """A PQL must convert with a probability of `at_least`, promised with `confidence`."""

    policy: Literal["precision"] = "precision"
    at_least: Share


class CapacityPolicy(_Policy):
    """The highest-scored leads are PQLs, as many as the reps can take per week."""

    policy: Literal["capacity"] = "capacity"
    leads_per_week: Amount


class ValuePolicy(_Policy):
    """A PQL is a lead whose contact pays: what it adds to the expected deal is more than what it costs.

    `uplift` is the share of the probability that a contact adds, which only an experiment can tell.
    """

    policy: Literal["value"] = "value"
    deal_value: Amount
    touch_cost: Amount
    uplift: Amount = 1.0

    @model_validator(mode="after")
    def _can_pay(self) -> ValuePolicy:
        if self.touch_cost >= self.uplift * self.deal_value:
            raise ValueError(
                f"must have touch_cost lower than uplift times deal_value ({self.uplift * self.deal_value:g}), "
                "or no contact ever pays"
            )
        return self

    @property
    def worth_it(self) -> float:
        """The probability from which uplift * probability * deal_value exceeds touch_cost."""
        return self.touch_cost / (self.uplift * self.deal_value)


def _tag(given: object) -> str:
    name = given.get("policy", "precision") if isinstance(given, dict) else getattr(given, "policy", "precision")
    return f"[{name}]" if name in POLICIES else "[unknown]"


def _only_its_name(given: object) -> object:
    return {"policy": given["policy"]} if isinstance(given, dict) else given


# The tags only tell which policy was meant; error messages leave out what stands in such brackets. A policy that does
# not exist goes to a branch of its own, so that its name is what is said to be wrong, and not its keys.
CutoffPolicy = Annotated[
    Annotated[PrecisionPolicy, Tag("[precision]")]
    | Annotated[CapacityPolicy, Tag("[capacity]")]
    | Annotated[ValuePolicy, Tag("[value]")]
    | Annotated[PrecisionPolicy, BeforeValidator(_only_its_name), Tag("[unknown]")],
    Discriminator(_tag),
]
