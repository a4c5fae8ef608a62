"""What goes over the wire, said once: each body that the routes take or give, with what its fields mean and may be.

The OpenAPI document, docs/api.md and the checks of the clients are made from these.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from serving.scoring.playbooks import Track

MOST_LEADS: Final = 1_000
MOST_REASONS: Final = 20
INSTANT: Final = (
    r"^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?"
    r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
"""The spelling of times that is promised to be read; some more are."""


def told(description: str, *examples: object, **schema: Any) -> Meta:
    """Return what is said of a field; `schema` is what JSON Schema says of it, which the decoders check in words of their own."""
    return Meta(description=description, examples=list(examples) or None, extra_json_schema=schema or None)


def each(name: str) -> dict[str, str]:
    """Return the JSON Schema that is that of another body here."""
    return {"$ref": f"#/components/schemas/{name}"}


Instant = Annotated[str, Meta(extra_json_schema={"format": "date-time", "pattern": INSTANT})]
Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Share = Annotated[float, Meta(extra_json_schema={"minimum": 0, "maximum": 1})]
Count = Annotated[int, Meta(extra_json_schema={"minimum": 0})]
NonEmpty = Annotated[str, Meta(extra_json_schema={"minLength": 1})]
Trait = str | int | float | bool | None

AsOf = Annotated[
    Instant | None,
    told(
        "The moment to score at: what happened at it or later is not yet known. Left out: now. A time without a zone is "
        "refused, unless the version's definition names a zone.",
        "2026-01-09T09:00:00Z",
    ),
]
Reasons = Annotated[
    int,
    told(
        "How many reasons each way, and missing behaviours, to give at most; 0 is fastest.",
        # All of them are listed, because 3.0 is an integer for JSON Schema too, and is refused.
        3, minimum=0, maximum=MOST_REASONS, enum=list(range(MOST_REASONS + 1)),
    ),
]  # fmt: skip
Traits = Annotated[
    dict[str, Trait],
    told(
        "What is known of the lead beside its events, by the names of the version's traits; null is not known.",
        {"company_size": 120, "source": "referral", "email": "dana@acme-industries.example"},
    ),
]


# --- what is asked ----------------------------------------------------------------------------


class EventIn(Struct, forbid_unknown_fields=True):
    """One thing that the lead, or a teammate of it, did in the product."""

    event: Annotated[str, told("What happened, by the name that the product gives it.", "invite_sent")]
    timestamp: Annotated[Instant, told("When it happened; from 1990 on.", "2026-01-02T08:31:00Z")]
    properties: Annotated[
        dict[str, Any] | None,
        told("What else is known of it; signals may ask for some of them.", {"role": "member"}),
    ] = None
    user_id: Annotated[
        NonEmpty | None,
        told(
            "Who did it, where that is a teammate: for signals about the account. Left out: the lead itself.", "u-4712"
        ),
    ] = None
    message_id: Annotated[
        str | None, told("The event's own id: of events with the same one, one counts.", "m-000017")
    ] = None


class LeadIn(Struct, forbid_unknown_fields=True):
    """One lead with all that it did since its trial began and, where the version has signals about accounts, its teammates did."""

    user_id: Annotated[NonEmpty, told("The lead's name, given back as `lead_id`.", "u-4711")]
    started_at: Annotated[
        Instant, told("When the trial began; from 1990 on, and not after `as_of`.", "2026-01-02T08:15:00Z")
    ]
    account_id: Annotated[str | None, told("The account that the lead belongs to.", "acme")] = None
    ends_at: Annotated[
        Instant | None,
        told("When the trial ends; left out, as the version's definition says.", "2026-01-16T08:15:00Z"),
    ] = None
    traits: Traits = {}
    events: Annotated[list[EventIn], told("What happened, in any order.")] = []


class AccountIn(Struct, forbid_unknown_fields=True):
    """One account with all that its users did, where the version's leads are accounts."""

    started_at: Annotated[
        Instant, told("When its trial began; from 1990 on, and not after `as_of`.", "2026-01-02T08:15:00Z")
    ]
    account_id: Annotated[
        NonEmpty | None, told("The lead's name, given back as `lead_id`; left out, `user_id` names it.", "acme")
    ] = None
    user_id: Annotated[NonEmpty | None, told("Who did the events that name nobody.", "u-4711")] = None
    ends_at: Annotated[
        Instant | None, told("When the trial ends; left out, it is taken to run.", "2026-01-16T08:15:00Z")
    ] = None
    traits: Traits = {}
    events: Annotated[list[EventIn], told("What happened, in any order.")] = []


class ScoreIn(Struct, forbid_unknown_fields=True):
    """Leads to score from their raw events."""

    leads: Annotated[
        list[Annotated[msgspec.Raw, Meta(extra_json_schema={"anyOf": [each("LeadIn"), each("AccountIn")]})]],
        told(
            "The leads, of the kind that the version in service scores. One that cannot be read gets an error in its place, and "
            "those beside it are scored.",
            minItems=1, maxItems=MOST_LEADS,
        ),
    ]  # fmt: skip
    as_of: AsOf = None
    reasons: Reasons = 3


class FeatureLeadIn(Struct, forbid_unknown_fields=True):
    """One lead with ready values of all columns of the version in service."""

    lead_id: Annotated[NonEmpty, told("The lead's name, given back in the answer.", "u-4711")]
    features: Annotated[
        dict[str, float | None],
        told(
            "Each column of the version in service by its name (`GET /model` lists them); null is not known, where the column "
            "can be unknown. A column that is left out, or that no column is, is an error of this lead.",
        ),
    ]
    account_id: Annotated[str | None, told("The account that the lead belongs to.", "acme")] = None
    as_of: Annotated[
        Instant | None,
        told("The moment that the values are of; left out, that of the request.", "2026-01-09T09:00:00Z"),
    ] = None
    ends_at: Annotated[
        Instant | None,
        told("When the trial ends; left out, as the version's definition says.", "2026-01-16T08:15:00Z"),
    ] = None
    traits: Annotated[
        dict[str, Trait],
        told(
            "The traits in words, for the sentences that quote them; the score is made of `features` alone.",
            {"source": "referral"},
        ),
    ] = {}


class FeaturesIn(Struct, forbid_unknown_fields=True):
    """Leads to score from ready values, for callers with a feature store of their own."""

    leads: Annotated[
        list[Annotated[msgspec.Raw, Meta(extra_json_schema=each("FeatureLeadIn"))]],
        told(
            "The leads. One that cannot be read gets an error in its place, and those beside it are scored.",
            minItems=1, maxItems=MOST_LEADS,
        ),
    ]  # fmt: skip
    as_of: AsOf = None
    reasons: Reasons = 3


# --- what is answered -------------------------------------------------------------------------


class ErrorOut(Struct):
    """What is wrong and what to do about it."""

    code: Annotated[str, told("What kind of error it is, for programs.", "invalid_input")]
    message: Annotated[str, told("What is wrong: where, what it must be and what it is.", "as_of must be a time.")]
    field: Annotated[str | UnsetType, told("Where it is in the request.", "leads[0].started_at")] = UNSET
    hint: Annotated[str | UnsetType, told("What to do about it.", "Write it like 2026-03-01T09:00:00Z.")] = UNSET


class Refusal(Struct):
    """The one shape of every answer that is not a success."""

    error: Annotated[ErrorOut, told("The error.")]


class Reason(Struct):
    """Why a lead scores as it does."""

    signal: Annotated[str, told("The behaviour or trait, as the definition names it.", "pricing_views")]
    kind: Annotated[str, told("What the signal is about.", "upgrade_intent")]
    text: Annotated[str, told("What a sales rep reads.", "opened the pricing page twice in the last 7 days")]
    facts: Annotated[
        dict[str, int | float | str], told("Every number that `text` says, and more of the same kind.", {"count": 2})
    ]
    contribution: Annotated[
        float, told("Log-odds beyond a typical trial of the same age; below 0 where it speaks against the lead.", 0.79)
    ]
    mention: Annotated[
        str | None,
        told("What may be said of it to the customer, null where nothing should.", "your team is growing"),
    ]


class Missing(Struct):
    """What most converters had done by this day of their trial, and this lead has not."""

    signal: Annotated[str, told("The behaviour, as the definition names it.", "integrations")]
    kind: Annotated[str, told("What the signal is about.", "activation")]
    text: Annotated[str, told("What a sales rep reads.", "never connected an integration")]
    facts: Annotated[
        dict[str, int | float | str],
        told("Every number that `text` says, and more of the same kind.", {"converters_in_10": 7, "day": 7}),
    ]


class Advice(Struct):
    """What to do about a lead; the texts are plain, never markup."""

    id: Annotated[str, told("The playbook, as the definition names it.", "pricing_visitor")]
    title: Annotated[str, told("What it is, in a few words.", "Answer the pricing question")]
    message: Annotated[str, told("A message to the lead.", "Happy to help you find the plan that fits.")]


class Answer(Struct):
    """One lead, scored."""

    lead_id: Annotated[str, told("The lead.", "u-4711")]
    account_id: Annotated[str | None, told("The lead's account, as it was given.", "acme")]
    trial_day: Annotated[float, told("Days since the trial began.", 7.031)]
    probability: Annotated[Share, told("Calibrated probability to convert within the version's horizon.", 0.36)]
    is_pql: Annotated[bool, told("Whether the lead is a PQL: from the cutoff of its segment on, while its trial runs.")]
    track: Annotated[
        Track | None,
        told("What the lead is for: a call `now`, to `nurture`, or null where neither can be promised.", "now"),
    ]
    within: Annotated[
        dict[str, Share], told("Probability to convert by each of the version's days.", {"7d": 0.16, "30d": 0.36})
    ]
    percentile: Annotated[float, told("How many in a hundred leads score lower.", 91.4, minimum=0, maximum=100)]
    reasons: Annotated[list[Reason], told("What speaks for the lead, the strongest first.")]
    against: Annotated[list[Reason], told("What speaks against it, the strongest first.")]
    missing: Annotated[list[Missing], told("What most converters had done by now and it has not.")]
    playbook: Annotated[Advice | None, told("What to do, null where no playbook fits or no reasons are asked for.")]
    receipt_id: Annotated[
        str, told("Names all that made the answer; `pql receipt` makes it again.", "35f6135a8c3afde108c6")
    ]
    as_of: Annotated[Moment, told("The moment that it is of, in UTC.", "2026-01-09T09:00:00Z")]


class Failed(Struct):
    """Why one lead was not scored; the leads beside it are."""

    index: Annotated[Count, told("The lead's place in the request, from 0 on.", 0)]
    lead_id: Annotated[str | None, told("The lead, null where the request does not tell.", "u-4711")]
    error: Annotated[ErrorOut, told("What is wrong with it.")]


class ScoreOut(Struct):
    """One result per lead of the request, in its order, all of one version."""

    model_version: Annotated[str, told("The version that answers.", "c3589e81eb3d")]
    cutoff: Annotated[
        Share | None,
        told("From which probability on a lead of no segment is a PQL; null: nobody is.", 0.1765536396669535),
    ]
    results: Annotated[
        list[Annotated[msgspec.Raw, Meta(extra_json_schema={"anyOf": [each("Answer"), each("Failed")]})]],
        told(
            "The answers; a lead that could not be scored has its error in its place.",
            maxItems=MOST_LEADS,
        ),
    ]  # fmt: skip
