"""Every language says every phrase, as somebody who speaks it would."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from string import Formatter
from typing import get_args

import pytest

from features.definition import KINDS, Definition, load, parse
from features.durations import DAY, HOUR
from features.errors import InvalidSetting
from features.languages import LANGUAGES, Language
from features.wording import wording

WINDOWS = {
    "en": {
        HOUR: "in the last hour",
        12 * HOUR: "in the last 12 hours",
        36 * HOUR: "in the last 36 hours",
        DAY: "in the last day",
        7 * DAY: "in the last 7 days",
        14 * DAY: "in the last 14 days",
        1000 * DAY: "in the last 1,000 days",
        None: "since the trial began",
    },
    "de": {
        HOUR: "in der letzten Stunde",
        12 * HOUR: "in den letzten 12 Stunden",
        36 * HOUR: "in den letzten 36 Stunden",
        DAY: "in den letzten 24 Stunden",
        7 * DAY: "in den letzten 7 Tagen",
        14 * DAY: "in den letzten 14 Tagen",
        1000 * DAY: "in den letzten 1.000 Tagen",
        None: "seit Beginn der Testphase",
    },
    "fr": {
        HOUR: "au cours de la dernière heure",
        12 * HOUR: "au cours des 12 dernières heures",
        36 * HOUR: "au cours des 36 dernières heures",
        DAY: "au cours des dernières 24 heures",
        7 * DAY: "au cours des 7 derniers jours",
        14 * DAY: "au cours des 14 derniers jours",
        1000 * DAY: "au cours des 1\u202f000 derniers jours",
        None: "depuis le début de l'essai",
    },
    "es": {
        HOUR: "en la última hora",
        12 * HOUR: "en las últimas 12 horas",
        36 * HOUR: "en las últimas 36 horas",
        DAY: "en las últimas 24 horas",
        7 * DAY: "en los últimos 7 días",
        14 * DAY: "en los últimos 14 días",
        1000 * DAY: "en los últimos 1000 días",
        None: "desde que empezó la prueba",
    },
}


@pytest.mark.parametrize(
    ("language", "length", "said"), [(code, length, said) for code in WINDOWS for length, said in WINDOWS[code].items()]
)
def test_a_window_in_words(language: str, length: int | None, said: str) -> None:
    assert wording(language).window(length) == said


@pytest.mark.parametrize(
    ("language", "under", "one", "many"),
    [
        ("en", "less than a day ago", "1 day ago", "5 days ago"),
        ("de", "vor weniger als einem Tag", "vor 1 Tag", "vor 5 Tagen"),
        ("fr", "il y a moins d'un jour", "il y a 1 jour", "il y a 5 jours"),
        ("es", "hace menos de un día", "hace 1 día", "hace 5 días"),
    ],
)
def test_how_long_ago(language: str, under: str, one: str, many: str) -> None:
    says = wording(language)
    assert [says.ago(0), says.ago(0.99), says.ago(1), says.ago(1.9)] == [under, under, one, one]
    assert says.ago(5.999) == many


@pytest.mark.parametrize(
    ("language", "six", "two_and_a_half"),
    [
        ("en", "day 6", "day 2.5"),
        ("de", "Tag 6", "Tag 2,5"),
        ("fr", "jour 6", "jour 2,5"),
        ("es", "día 6", "día 2,5"),
    ],
)
def test_a_day_of_the_trial(language: str, six: str, two_and_a_half: str) -> None:
    assert [wording(language).day(6.0), wording(language).day(2.5)] == [six, two_and_a_half]


@pytest.mark.parametrize(
    ("language", "more", "fewer"),
    [
        ("en", "more than 92% of trials at day 6", "fewer than 80% of trials at day 6"),
        ("de", "mehr als in 92\u00a0% der Testphasen an Tag 6", "weniger als in 80\u00a0% der Testphasen an Tag 6"),
        ("fr", "plus que dans 92\u00a0% des essais au jour 6", "moins que dans 80\u00a0% des essais au jour 6"),
        (
            "es",
            "más que en el 92\u00a0% de las pruebas en el día 6",
            "menos que en el 80\u00a0% de las pruebas en el día 6",
        ),
    ],
)
def test_a_comparison_with_other_trials(language: str, more: str, fewer: str) -> None:
    assert [wording(language).more_than(92, 6), wording(language).fewer_than(80, 6)] == [more, fewer]


@pytest.mark.parametrize(
    ("language", "since", "users", "accounts"),
    [
        ("en", "since signing up", "more than 92% of other users", "more than 92% of accounts"),
        ("de", "seit der Anmeldung", "mehr als in 92\u00a0% der anderen Konten", "mehr als in 92\u00a0% der Accounts"),
        ("fr", "depuis l'inscription", "plus que dans 92\u00a0% des autres comptes", "plus que dans 92\u00a0% des entreprises"),
        ("es", "desde el registro", "más que en el 92\u00a0% de las otras personas",
         "más que en el 92\u00a0% de las cuentas"),
    ],
)  # fmt: skip
def test_without_a_trial_one_signs_up_and_is_compared_with_other_users(
    language: str, since: str, users: str, accounts: str
) -> None:
    says = wording(language)
    assert says.window(None, trial=False) == since
    assert says.window(7 * DAY, trial=False) == says.window(7 * DAY)
    assert [says.more_than(92, whom="users"), says.more_than(92, whom="accounts")] == [users, accounts]


@pytest.mark.parametrize(
    ("language", "forms", "said"),
    [
        ("en", ("once", "times"), ["once", "twice", "3 times"]),
        ("de", ("einmal", "mal"), ["einmal", "zweimal", "3 mal"]),
        ("fr", ("une fois", "fois"), ["une fois", "2 fois", "3 fois"]),
        ("es", ("una vez", "veces"), ["una vez", "2 veces", "3 veces"]),
    ],
)
def test_once_and_twice_stand_without_the_number_where_the_language_has_a_word(
    language: str, forms: tuple[str, str], said: list[str]
) -> None:
    assert [wording(language).counted(number, forms) for number in (1, 2, 3)] == said


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_of_signal_can_be_mentioned_and_none_says_when_or_how_often(language: str) -> None:
    mentions = wording(language).says.mentions
    assert set(mentions) == set(KINDS)
    assert not any(letter.isdigit() for text in mentions.values() for letter in text)


MISSING = {
    "en": "invited a teammate",
    "de": "kein Teammitglied eingeladen",
    "fr": "invité de collègue",
    "es": "invitado a nadie",
}


@pytest.mark.parametrize(
    ("language", "yet", "seven", "one"),
    [
        (
            "en",
            "has not invited a teammate",
            "; 7 in 10 converters had by day 5",
            "; 1 in 10 converters had by day 5",
        ),
        (
            "de",
            "hat noch kein Teammitglied eingeladen",
            "; 7 von 10 Käufern hatten das bis Tag 5 getan",
            "; 1 von 10 Käufern hatte das bis Tag 5 getan",
        ),
        (
            "fr",
            "n'a pas encore invité de collègue",
            " ; 7 acheteurs sur 10 l'avaient déjà fait au jour 5",
            " ; 1 acheteur sur 10 l'avait déjà fait au jour 5",
        ),
        (
            "es",
            "todavía no ha invitado a nadie",
            "; 7 de cada 10 compradores ya lo habían hecho para el día 5",
            "; 1 de cada 10 compradores ya lo había hecho para el día 5",
        ),
    ],
)
def test_what_a_lead_has_not_done(language: str, yet: str, seven: str, one: str) -> None:
    says, what = wording(language), MISSING[language]
    assert says.never_yet(what) == yet
    assert [says.never(what, 7, 5), says.never(what, 1, 5)] == [yet + seven, yet + one]


@pytest.mark.parametrize(
    ("language", "small", "small_loss"),
    [
        ("en", "less than 0.1", "more than -0.1"),
        ("de", "weniger als 0,1", "mehr als -0,1"),
        ("fr", "moins de 0,1", "plus de -0,1"),
        ("es", "menos de 0,1", "más de -0,1"),
    ],
)
def test_a_number_too_small_for_a_tenth(language: str, small: str, small_loss: str) -> None:
    assert [wording(language).number(0.04), wording(language).number(-0.04)] == [small, small_loss]


def places(template: object) -> list[str]:
    texts = template if isinstance(template, tuple) else (template,)
    return sorted(
        {name for text in texts if isinstance(text, str) for _, name, _, _ in Formatter().parse(text) if name}
    )


@pytest.mark.parametrize("name", [field.name for field in fields(Language)])
def test_all_languages_put_the_same_things_into_a_sentence(name: str) -> None:
    assert len({tuple(places(getattr(language, name))) for language in LANGUAGES.values()}) == 1


# --- the definition's own language ------------------------------------------------------------

DEMO = Path(__file__).parents[2] / "pql.yaml"


def test_a_definition_is_in_english_or_any_language_that_was_written() -> None:
    assert load(DEMO).language == "en"
    assert get_args(Definition.model_fields["language"].annotation) == tuple(LANGUAGES)


def test_a_definition_in_another_language_is_an_error_that_names_the_key() -> None:
    with pytest.raises(InvalidSetting, match=r"line 1: language must be 'en', 'de', 'fr' or 'es', got 'nl'"):
        parse("language: nl\n" + DEMO.read_text(encoding="utf-8"))
