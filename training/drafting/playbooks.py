"""Seeds of playbooks for a drafted definition: what a rep could do about each kind of lead, in words to be made one's own."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple


class Seed(NamedTuple):
    """A playbook for leads whose leading reasons are of these kinds, or for a circumstance."""

    id: str
    title: str
    message: str
    kinds: tuple[str, ...] = ()
    circumstances: tuple[str, ...] = ()


# None of them says what was seen: a first mail that proves how closely somebody was watched is the last one they read.
SEEDS = (
    Seed(
        "trial_ending", "Ask before the trial runs out",
        "Your {product} trial ends in {days_left:day|days}. Shall we look at the right plan together, or do you need more time?",
        circumstances=("track: now", "ends_within: 2d"),
    ),
    Seed(
        "slow_burner", "Keep in touch, do not push",
        "There is no hurry with {product}. I can send you an example of what teams like yours do in their second month.",
        circumstances=("track: nurture",),
    ),
    Seed(
        "team_growth", "Offer the team a guided setup",
        "Shall I show you how other teams get started together on {product}? Half an hour is enough.", ("team_growth",),
    ),
    Seed(
        "limit_hit", "Lift the limit while they decide",
        "If {product} has become too small for you, I can give you more room for a week. Would that help?", ("limit",),
    ),
    Seed(
        "pricing_visitor", "Answer the question behind the price",
        "Happy to help you find the plan that fits. What would you like {product} to do for you?", ("upgrade_intent",),
    ),
    Seed(
        "api_start", "Bring in a solutions engineer",
        "If you are building on the {product} API: one of our engineers has half an hour for you this week.", ("api_usage",),
    ),
    Seed(
        "high_activation", "Show what paying users do next",
        "You have got a long way with {product}. Shall I show you what people with similar work do next?",
        ("activation", "value", "usage_depth", "frequency", "consistency"),
    ),
    Seed(
        "enterprise_domain", "Offer what companies need",
        "For companies we set {product} up with single sign-on and your own terms. Who looks after your tools?", ("fit",),
    ),
)  # fmt: skip


def playbook_lines(kinds: Collection[str], *, trials_end: bool) -> list[str]:
    """Return the lines of the playbooks that signals and traits of these kinds can lead to."""
    lines = [
        "",
        "playbooks:             # what to do, chosen by what the leading reasons are about; the messages are yours to reword",
    ]
    for seed in SEEDS:
        mine = [kind for kind in seed.kinds if kind in kinds]
        if not mine and (seed.kinds or (not trials_end and "{days_left" in seed.message)):
            continue
        lines += [f"  - id: {seed.id}", f"    title: {seed.title}", f'    message: "{seed.message}"']
        lines += [f"    kinds: [{', '.join(mine)}]"] if mine else []
        lines += [f"    {one}" for one in seed.circumstances]
    return lines
