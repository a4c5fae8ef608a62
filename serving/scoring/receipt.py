"""All that made one answer, small enough to keep for each, and the same answer made from it again, bit for bit.

Pure: where receipts are kept is not known here. What its columns added is told by `statement`, what moved a
score from one receipt to another by `difference`.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Final

import msgspec

from features.errors import InvalidInput
from features.leads import Leads
from features.logs import Logs
from features.windows import Ints
from serving.scoring.answers import NAMED_BY_INPUT, Answer, Asked, Subject, answers_of, subjects
from serving.scoring.facts import traits_read
from serving.scoring.scorer import Scorer

WORDS: Final = ("reasons", "against", "missing", "playbook")
"""The fields of an answer that are said; all others are its figures."""
PARTS: Final = ("figures", *WORDS)
_FIGURES: Final = tuple(field.name for field in fields(Answer) if field.name not in (*WORDS, "receipt_id"))
_JSON: Final = msgspec.json.Encoder(order="deterministic")


class OtherVersion(InvalidInput):
    """A receipt that another version than the loaded one gave."""

    @classmethod
    def of(cls, receipt: Receipt, loaded: str) -> OtherVersion:
        return cls(
            f"receipt {receipt.id}: it must be replayed by version {receipt.version}, which gave the answer; "
            f"got version {loaded}.",
            "model",
            "Name the folder of that version with --model, or leave --model out to look it up in the registry.",
        )


@dataclass(frozen=True)
class Digest:
    """What an answer looked like to the bit, without the answer.

    Attributes
    ----------
    whole : SHA-256, in hex, of the answer as JSON text
    parts : CRC-32, in hex, of each of `PARTS`, one after the other: they only say where two answers differ
    """

    whole: str
    parts: str


@dataclass(frozen=True)
class Receipt:
    """All that made one answer, and what the answer looked like.

    It holds these personal data: the ids of lead and account, and of the lead's traits what the version reads of them. An
    e-mail address is cut down to its domain with the @ before it; a category that the version does not know, a number that
    is none and a flag that is none are left out.
    """

    id: str
    version: str
    subject: Subject
    asked: Asked
    probability: float
    digest: Digest


Keep = Callable[[list[Receipt]], object]
"""Where receipts go; when it returns they are kept."""


def receipt_of(scorer: Scorer, subject: Subject, asked: Asked, answer: Answer) -> Receipt:
    """Return the receipt of an answer that this scorer gave to `asked` of `subject`."""
    kept = Subject(
        subject.lead_id,
        subject.account_id,
        subject.as_of,
        subject.ends_at,
        traits_read(scorer.builder, subject.traits),
        subject.row,
    )
    return Receipt(answer.receipt_id, scorer.artifact.version, kept, asked, answer.probability, digest_of(answer))


def answered(
    scorer: Scorer, leads: Leads, logs: Logs, which: Ints, as_of: Ints, asked: Asked, keep: Keep | None
) -> list[Answer]:
    """Return the answer for each lead of `which` at its moment, once `keep` has kept its receipt."""
    mine = subjects(scorer, leads, logs, which, as_of)
    told = list(answers_of(scorer, mine, asked))
    if keep is not None:
        keep([receipt_of(scorer, one, asked, answer) for one, answer in zip(mine, told, strict=True)])
    return told


def digest_of(answer: Answer) -> Digest:
    """Return the digest of an answer; numbers count to their last bit, the order of its facts does not."""
    figures = {name: getattr(answer, name) for name in _FIGURES}
    texts = [_JSON.encode(figures), *(_JSON.encode(getattr(answer, name)) for name in WORDS)]
    parts = "".join(f"{zlib.crc32(text):08x}" for text in texts)
    return Digest(hashlib.sha256(b"\n".join(texts)).hexdigest(), parts)


@dataclass(frozen=True)
class Replayed:
    """An answer made again from its receipt, and what came out otherwise than it was given.

    Attributes
    ----------
    differs : which of `PARTS` are not what they were
    """

    receipt: Receipt
    answer: Answer
    digest: Digest
    differs: tuple[str, ...]

    @property
    def same_input(self) -> bool:
        """Whether model, lead, moment and feature values are those that the receipt's name was made of."""
        return self.answer.receipt_id[:NAMED_BY_INPUT] == self.receipt.id[:NAMED_BY_INPUT]

    @property
    def same(self) -> bool:
        """Whether it is the same answer bit for bit, from the same input."""
        return self.same_input and self.digest == self.receipt.digest


def replay(scorer: Scorer, receipt: Receipt) -> Replayed:
    """Return the answer that a receipt leads to, made anew the way all answers are made.

    Raises
    ------
    OtherVersion
        Where the scorer is of another version than the receipt.
    InvalidInput
        Where the receipt holds another number of feature values than the version has columns.
    """
    check_version(scorer, receipt)
    answer = next(answers_of(scorer, [receipt.subject], receipt.asked))
    digest = digest_of(answer)
    size = len(digest.parts) // len(PARTS)
    places = {name: slice(i * size, (i + 1) * size) for i, name in enumerate(PARTS)}
    differs = tuple(name for name, part in places.items() if digest.parts[part] != receipt.digest.parts[part])
    return Replayed(receipt, answer, digest, differs)


def explained(scorer: Scorer, receipt: Receipt, reasons: int) -> Answer:
    """Return the same answer with up to `reasons` reasons each way, whether or not they were asked for at the time."""
    check_version(scorer, receipt)
    return next(answers_of(scorer, [receipt.subject], Asked(reasons, "all")))


def check_version(scorer: Scorer, receipt: Receipt) -> None:
    """Raise where a scorer did not give a receipt, or cannot read it."""
    if receipt.version != scorer.artifact.version:
        raise OtherVersion.of(receipt, scorer.artifact.version)
    expected, got = len(scorer.builder.columns), len(receipt.subject.row)
    if expected != got:
        raise InvalidInput(
            f"receipt {receipt.id}: must hold {expected} feature values, as version {receipt.version} has columns; got {got}.",
            hint="The receipt is damaged.",
        )
