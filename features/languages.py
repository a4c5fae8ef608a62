"""The words that stand around a definition's own sentences, in every language that texts are made in.

Sentences only; numbers and plural categories come from the Unicode locale data, in `features.wording`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Peers = Literal["trials", "users", "accounts"]


@dataclass(frozen=True)
class Language:
    """One language's sentences; in braces is what is put in."""

    once: frozenset[str]
    """Forms that say the number themselves."""
    twice: str
    """The same for a number of two, empty where the number is said."""
    grouped_from: int
    """The least whole number whose digits are grouped."""
    under: str
    over: str
    since_start: str
    since_signup: str
    """The same where there is no trial, and so none that began."""
    last_hour: str
    last_hours: str
    last_day: str
    last_days: str
    under_a_day_ago: str
    days_ago: tuple[str, str]
    day: str
    whom: Mapping[Peers, str]
    """Whom a lead is compared with."""
    more_than: str
    fewer_than: str
    at_day: str
    never_yet: str
    never: tuple[str, str]
    """With one converter in ten, and with more of them."""
    mentions: Mapping[str, str]
    """What may be said to the customer about each kind of signal, where the definition says nothing of its own."""


ENGLISH: Final = Language(
    once=frozenset({"once"}),
    twice="twice",
    grouped_from=1_000,
    under="less than {number}",
    over="more than {number}",
    since_start="since the trial began",
    since_signup="since signing up",
    last_hour="in the last hour",
    last_hours="in the last {hours} hours",
    last_day="in the last day",
    last_days="in the last {days} days",
    under_a_day_ago="less than a day ago",
    days_ago=("{days} day ago", "{days} days ago"),
    day="day {day}",
    whom={"trials": "trials", "users": "other users", "accounts": "accounts"},
    more_than="more than {percent} of {whom}",
    fewer_than="fewer than {percent} of {whom}",
    at_day="{comparison} at {day}",
    never_yet="has not {what}",
    never=(
        "{never_yet}; {tenths} in 10 converters had by {day}",
        "{never_yet}; {tenths} in 10 converters had by {day}",
    ),
    mentions={
        "activation": "you have got started in earnest",
        "usage_depth": "you use much of what there is",
        "frequency": "you come back often",
        "consistency": "you are at it regularly",
        "value": "you get a lot done",
        "team_growth": "your team is growing",
        "upgrade_intent": "you may have questions about the plans",
        "api_usage": "you are building on our API",
        "limit": "you have come up against a limit of your plan",
        "fit": "your company is one of those we build for",
        "time": "you have had time to look around",
        "friction": "not everything went smoothly",
    },
)

# `missing` brings its own negation: "kein Teammitglied eingeladen", "noch nicht exportiert".
GERMAN: Final = Language(
    once=frozenset({"einmal"}),
    twice="zweimal",
    grouped_from=1_000,
    under="weniger als {number}",
    over="mehr als {number}",
    since_start="seit Beginn der Testphase",
    since_signup="seit der Anmeldung",
    last_hour="in der letzten Stunde",
    last_hours="in den letzten {hours} Stunden",
    # "Am letzten Tag" would be the trial's last one.
    last_day="in den letzten 24 Stunden",
    last_days="in den letzten {days} Tagen",
    under_a_day_ago="vor weniger als einem Tag",
    days_ago=("vor {days} Tag", "vor {days} Tagen"),
    day="Tag {day}",
    whom={"trials": "Testphasen", "users": "anderen Konten", "accounts": "Accounts"},
    more_than="mehr als in {percent} der {whom}",
    fewer_than="weniger als in {percent} der {whom}",
    at_day="{comparison} an {day}",
    never_yet="hat noch {what}",
    never=(
        "{never_yet}; {tenths} von 10 Käufern hatte das bis {day} getan",
        "{never_yet}; {tenths} von 10 Käufern hatten das bis {day} getan",
    ),
    mentions={
        "activation": "Sie haben richtig losgelegt",
        "usage_depth": "Sie nutzen viele der Möglichkeiten",
        "frequency": "Sie kommen oft wieder",
        "consistency": "Sie sind regelmäßig dabei",
        "value": "Sie kommen gut voran",
        "team_growth": "Ihr Team wächst",
        "upgrade_intent": "Sie haben vielleicht Fragen zu den Plänen",
        "api_usage": "Sie bauen auf unserer API auf",
        "limit": "Sie stoßen an eine Grenze Ihres Plans",
        "fit": "Ihr Unternehmen ist eines von denen, für die wir da sind",
        "time": "Sie hatten Zeit, sich umzusehen",
        "friction": "nicht alles lief rund",
    },
)

FRENCH: Final = Language(
    once=frozenset({"une fois"}),
    twice="",
    grouped_from=1_000,
    under="moins de {number}",
    over="plus de {number}",
    since_start="depuis le début de l'essai",
    since_signup="depuis l'inscription",
    last_hour="au cours de la dernière heure",
    last_hours="au cours des {hours} dernières heures",
    last_day="au cours des dernières 24 heures",
    last_days="au cours des {days} derniers jours",
    under_a_day_ago="il y a moins d'un jour",
    days_ago=("il y a {days} jour", "il y a {days} jours"),
    day="jour {day}",
    whom={"trials": "essais", "users": "autres comptes", "accounts": "entreprises"},
    more_than="plus que dans {percent} des {whom}",
    fewer_than="moins que dans {percent} des {whom}",
    at_day="{comparison} au {day}",
    never_yet="n'a pas encore {what}",
    never=(
        "{never_yet} ; {tenths} acheteur sur 10 l'avait déjà fait au {day}",
        "{never_yet} ; {tenths} acheteurs sur 10 l'avaient déjà fait au {day}",
    ),
    mentions={
        "activation": "vous avez pris un bon départ",
        "usage_depth": "vous utilisez beaucoup des possibilités",
        "frequency": "vous revenez souvent",
        "consistency": "vous êtes là régulièrement",
        "value": "vous avancez bien",
        "team_growth": "votre équipe grandit",
        "upgrade_intent": "vous avez peut-être des questions sur les formules",
        "api_usage": "vous développez avec notre API",
        "limit": "vous avez atteint une limite de votre formule",
        "fit": "votre entreprise est de celles pour qui nous travaillons",
        "time": "vous avez eu le temps de découvrir",
        "friction": "tout ne s'est pas passé sans accroc",
    },
)

SPANISH: Final = Language(
    once=frozenset({"una vez"}),
    twice="",
    # The Academy and the locale data leave numbers of four digits whole.
    grouped_from=10_000,
    under="menos de {number}",
    over="más de {number}",
    since_start="desde que empezó la prueba",
    since_signup="desde el registro",
    last_hour="en la última hora",
    last_hours="en las últimas {hours} horas",
    last_day="en las últimas 24 horas",
    last_days="en los últimos {days} días",
    under_a_day_ago="hace menos de un día",
    days_ago=("hace {days} día", "hace {days} días"),
    day="día {day}",
    whom={"trials": "pruebas", "users": "otras personas", "accounts": "cuentas"},
    more_than="más que en el {percent} de las {whom}",
    fewer_than="menos que en el {percent} de las {whom}",
    at_day="{comparison} en el {day}",
    never_yet="todavía no ha {what}",
    never=(
        "{never_yet}; {tenths} de cada 10 compradores ya lo había hecho para el {day}",
        "{never_yet}; {tenths} de cada 10 compradores ya lo habían hecho para el {day}",
    ),
    mentions={
        "activation": "ha empezado con fuerza",
        "usage_depth": "usa muchas de las posibilidades",
        "frequency": "vuelve a menudo",
        "consistency": "trabaja con regularidad",
        "value": "avanza a buen paso",
        "team_growth": "su equipo está creciendo",
        "upgrade_intent": "quizá tenga preguntas sobre los planes",
        "api_usage": "está construyendo sobre nuestra API",
        "limit": "ha llegado a un límite de su plan",
        "fit": "su empresa es de las que tenemos en mente",
        "time": "ha tenido tiempo de mirar",
        "friction": "no todo ha ido bien",
    },
)

LANGUAGES: Final = {"en": ENGLISH, "de": GERMAN, "fr": FRENCH, "es": SPANISH}
