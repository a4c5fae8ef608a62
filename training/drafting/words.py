"""Names of events -> words: identifiers, kinds and sentences for a drafted definition."""

from __future__ import annotations

import re

_KINDS = (
    ("limit", r"limit|quota|capacity|paywall|blocked"),
    ("upgrade_intent", r"pric|billing|upgrade|plan|checkout|quote|demo_request|contact_sales|coupon"),
    ("team_growth", r"invit|team|member|seat|colleague|share|join"),
    ("api_usage", r"api|webhook|token|sdk"),
    ("friction", r"ticket|error|fail|bug|complain|support"),
    ("value", r"report|export|dashboard|complet|publish|deliver|sent|basket|order"),
    ("activation", r"creat|connect|integrat|import|setup|install|lesson|project|onboard|configur"),
    ("frequency", r"login|session|visit|view|open|active|classroom"),
)
_IRREGULAR = {"sent", "made", "run", "built", "read", "set", "won", "bought", "left"}


def guess_kind(event: str) -> str:
    """Return the kind that an event's name suggests; usage depth where it suggests none."""
    return next((kind for kind, pattern in _KINDS if re.search(pattern, event.lower())), "usage_depth")


def event_words(event: str) -> str:
    """Return a name as small words: `InviteSent` and `invite_sent` both become `invite sent`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", event)
    return re.sub(r"[^0-9A-Za-z]+", " ", spaced).strip().lower() or "event"


def event_slug(event: str, taken: set[str]) -> str:
    """Return an identifier for a name that is not taken yet.

    >>> event_slug("Invite Sent", {"invite_sent"})
    'invite_sent_2'
    """
    plain = re.sub(r"\W+", "_", event_words(event))[:50].strip("_")
    slug = plain if plain[:1].isalpha() else f"event_{plain}"
    return next(name for name in (slug, *(f"{slug}_{i}" for i in range(2, 1_000))) if name not in taken)


def event_phrase(event: str) -> str:
    """Return a sentence for an event: `sent {count:invite|invites} {window}`, or `{count:login|logins} {window}`.

    >>> event_phrase("invite_sent")
    'sent {count:invite|invites} {window}'
    """
    *thing, last = event_words(event).split()
    participle = last.endswith("ed") or last in _IRREGULAR
    noun = " ".join(thing) if participle and thing else " ".join([*thing, last])
    counted = f"{{count:{noun}|{plural(noun)}}} {{window}}"
    return f"{last} {counted}" if participle and thing else counted


def event_missing(event: str) -> str | None:
    """Return what follows "has not" for an event that never happened, None where its name does not say what is done.

    >>> event_missing("invite_sent"), event_missing("login")
    ('sent an invite', None)
    """
    *thing, last = event_words(event).split()
    if not thing or not (last.endswith("ed") or last in _IRREGULAR):
        return None
    noun = " ".join(thing)
    return f"{last} {'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def plural(noun: str) -> str:
    """Return the plural of a noun, by rule."""
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    return noun + ("es" if re.search(r"(s|x|z|ch|sh)$", noun) else "s")


def yaml_text(text: str) -> str:
    """Return a text as a YAML scalar on one line, in quotes where it needs them."""
    plain = re.fullmatch(r"[A-Za-z_$]([A-Za-z0-9_ $-]*[A-Za-z0-9_$])?", text) and text.lower() not in _RESERVED
    return text if plain else f'"{"".join(map(_escaped, text))}"'


def _escaped(letter: str) -> str:
    return letter if letter.isprintable() and letter not in '"\\' else f"\\U{ord(letter):08x}"


_RESERVED = {"yes", "no", "true", "false", "null", "on", "off", "y", "n", "none"}
