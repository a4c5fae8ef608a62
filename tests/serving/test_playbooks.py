"""What to do about a lead follows from its leading reasons."""

from __future__ import annotations

from features.definition import parse
from serving.scoring.playbooks import Advice, advise
from serving.scoring.reasons import Reason

DEFINITION = parse(
    """
product: Tiny {curly}
conversion: {event: paid, horizon: 30d}
score_at: [3d]
windows: [trial]
signals:
  - {name: invites, kind: team_growth, events: [invite], text: "{count:invite|invites}", playbook: invite_more}
  - {name: joins, kind: team_growth, events: [join], text: "{count:join|joins}"}
  - {name: views, kind: value, events: [view], text: "{count:view|views}"}
traits:
  - {name: seats, type: number, speakable: true, text: "{value} seats"}
cutoff: {policy: precision, at_least: 0.3}
playbooks:
  - {id: grow, title: Grow, message: "In {product}: {reason}.", kinds: [team_growth]}
  - {id: grow_too, title: Grow as well, message: "Later in the file.", kinds: [team_growth, fit]}
  - {id: invite_more, title: Invite more, message: "You have {reason} already."}
"""
)


def reason(signal: str, kind: str, text: str = "3 invites") -> Reason:
    return Reason(signal, kind, text, {"count": 3}, 0.5)


def test_a_signals_own_playbook_comes_before_those_of_its_kind() -> None:
    advice = advise(DEFINITION, [reason("invites", "team_growth")])
    assert advice == Advice("invite_more", "Invite more", "You have 3 invites already.")


def test_a_signal_without_one_gets_the_first_of_its_kind() -> None:
    advice = advise(DEFINITION, [reason("joins", "team_growth", "2 joins")])
    assert advice == Advice("grow", "Grow", "In Tiny {curly}: 2 joins.")


def test_a_trait_gets_the_first_one_for_fit() -> None:
    assert advise(DEFINITION, [reason("seats", "fit")]) == Advice("grow_too", "Grow as well", "Later in the file.")


def test_the_strongest_reason_that_has_one_decides() -> None:
    advice = advise(
        DEFINITION, [reason("views", "value"), reason("joins", "team_growth"), reason("invites", "team_growth")]
    )
    assert advice is not None
    assert advice.id == "grow"


def test_without_a_fitting_reason_there_is_none() -> None:
    assert advise(DEFINITION, [reason("views", "value")]) is None
    assert advise(DEFINITION, []) is None


def test_what_a_reason_quotes_is_never_read_as_a_template() -> None:
    advice = advise(DEFINITION, [reason("joins", "team_growth", "{product} {0.__class__} <b>%s</b>")])
    assert advice is not None
    assert advice.message == "In Tiny {curly}: {product} {0.__class__} <b>%s</b>."
