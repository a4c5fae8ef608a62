"""Numbers are rounded so that they stay true, forms agree with what is said, and strangers' texts stay harmless."""

from __future__ import annotations

import math
import re
import sys
import unicodedata
from decimal import Decimal

import pytest
from babel.numbers import format_decimal, parse_decimal
from hypothesis import given
from hypothesis import strategies as st

from features.definition import Window
from features.durations import DAY, HOUR, LONGEST
from features.errors import InvalidSetting
from features.languages import LANGUAGES
from features.wording import CATEGORIES, plain, rounded, whole_percent, wording

CODES = st.sampled_from(list(LANGUAGES))
FINITE = st.floats(allow_nan=False, allow_infinity=False)
NO_NUMBERS = [math.nan, math.inf, -math.inf]


def read(text: str, language: str) -> Decimal:
    """Return the one number in a text, read as the language writes numbers."""
    (found,) = re.findall(r"-?\d[\d.,\u202f]*", text)
    return parse_decimal(found.rstrip(".,"), locale=language)


# --- numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"),
        (0.0, "0"),
        (-0.0, "0"),
        (0.04, "less than 0.1"),
        (0.05, "0.1"),
        (-0.04, "more than -0.1"),
        (1e-300, "less than 0.1"),
        (1.5, "1.5"),
        (2.96, "3"),
        (99.94, "99.9"),
        (99.96, "100"),
        (100.4, "100"),
        (999.4, "999"),
        (999.6, "1,000"),
        (-1204, "-1,204"),
        (1_000_000, "1,000,000"),
        (2**63 + 1, "9,223,372,036,854,775,809"),
    ],
)
def test_a_number_is_whole_or_has_a_tenth_and_is_never_nothing_for_something(value: float, said: str) -> None:
    assert wording("en").number(value) == said


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", ["1,204", "12,345", "1.5"]),
        ("de", ["1.204", "12.345", "1,5"]),
        ("fr", ["1\u202f204", "12\u202f345", "1,5"]),
        ("es", ["1204", "12.345", "1,5"]),
    ],
)
def test_a_number_is_written_as_its_language_does(language: str, said: list[str]) -> None:
    assert [wording(language).number(value) for value in (1204, 12345, 1.5)] == said


@given(CODES, st.integers(-(10**18), 10**18).filter(lambda value: not 1_000 <= abs(value) < 10_000))
def test_whole_numbers_are_written_as_the_locale_data_say(language: str, value: int) -> None:
    assert wording(language).number(value) == format_decimal(value, locale=language)


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_what_is_no_number_never_gets_into_a_text(value: float) -> None:
    for say in (wording("en").number, wording("en").ago, wording("en").day, whole_percent, rounded):
        with pytest.raises(ValueError, match="must"):
            say(value)
    with pytest.raises(ValueError, match="finite"):
        wording("en").counted(value, ("file", "files"))


@given(CODES, FINITE)
def test_a_number_is_found_back_in_its_text(language: str, value: float) -> None:
    said = float(read(wording(language).number(value), language))
    if 0 < abs(value) < 0.05:
        assert said == math.copysign(0.1, value)
    else:
        assert math.isclose(said, value, rel_tol=1e-15, abs_tol=0.0501 if abs(value) < 99.95 else 0.501)


@given(CODES, FINITE)
def test_nothing_is_said_for_nothing_alone(language: str, value: float) -> None:
    assert (read(wording(language).number(value), language) == 0) == (value == 0)


@given(FINITE, FINITE)
def test_a_larger_number_is_never_said_as_a_smaller_one(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert rounded(low) <= rounded(high)


# --- plurals ----------------------------------------------------------------------------------

FORMS = {
    "en": ("file", "files"),
    "de": ("Datei", "Dateien"),
    "fr": ("fichier", "de fichiers", "fichiers"),
    "es": ("archivo", "de archivos", "archivos"),
}


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", ["0 files", "1 file", "2 files", "1.5 files", "1,000,000 files", "less than 0.1 files"]),
        ("de", ["0 Dateien", "1 Datei", "2 Dateien", "1,5 Dateien", "1.000.000 Dateien", "weniger als 0,1 Dateien"]),
        (
            "fr",
            [
                "0 fichier",
                "1 fichier",
                "2 fichiers",
                "1,5 fichier",
                "1\u202f000\u202f000 de fichiers",
                "moins de 0,1 fichier",
            ],
        ),
        (
            "es",
            ["0 archivos", "1 archivo", "2 archivos", "1,5 archivos", "1.000.000 de archivos", "menos de 0,1 archivos"],
        ),
    ],
)
def test_the_form_agrees_with_the_number(language: str, said: list[str]) -> None:
    says, values = wording(language), (0, 1, 2, 1.5, 1_000_000, 0.04)
    assert [says.counted(value, FORMS[language]) for value in values] == said


@pytest.mark.parametrize("language", ["fr", "es"])
def test_two_forms_do_where_a_language_has_three(language: str) -> None:
    one, _, other = FORMS[language]
    assert wording(language).counted(1, (one, other)) == f"1 {one}"
    assert wording(language).counted(1_000_000, (one, other)).endswith(f"000 {other}")


def test_the_form_is_that_of_the_number_that_is_said() -> None:
    assert wording("en").counted(0.97, ("file", "files")) == "1 file"
    assert wording("en").counted(1.04, ("file", "files")) == "1 file"


@pytest.mark.parametrize(
    ("language", "forms", "said"),
    [
        ("en", ("once", "times"), ["0 times", "once", "1.5 times", "twice", "-1 times"]),
        ("de", ("einmal", "mal"), ["0 mal", "einmal", "1,5 mal", "zweimal", "-1 mal"]),
        ("fr", ("une fois", "fois"), ["0 fois", "une fois", "1,5 fois", "2 fois", "-1 fois"]),
        ("es", ("una vez", "veces"), ["0 veces", "una vez", "1,5 veces", "2 veces", "-1 veces"]),
    ],
)
def test_a_single_time_needs_no_number(language: str, forms: tuple[str, str], said: list[str]) -> None:
    assert [wording(language).counted(value, forms) for value in (0, 1, 1.5, 2, -1)] == said


def test_a_single_time_may_begin_a_sentence() -> None:
    assert wording("de").counted(1, ("Einmal", "mal")) == "Einmal"


def test_a_single_time_of_another_language_is_no_such_form() -> None:
    assert wording("de").counted(1, ("once", "times")) == "1 once"


@pytest.mark.parametrize(
    ("language", "categories"),
    [
        ("en", ("one", "other")),
        ("de", ("one", "other")),
        ("fr", ("one", "many", "other")),
        ("es", ("one", "many", "other")),
    ],
)
def test_a_language_has_its_categories_in_the_usual_order(language: str, categories: tuple[str, ...]) -> None:
    assert wording(language).categories == categories
    assert sorted(categories, key=CATEGORIES.index) == list(categories)


# --- spans, days and shares -------------------------------------------------------------------


@given(st.integers(1, LONGEST // HOUR) | st.integers(1, LONGEST // DAY).map(lambda days: 24 * days))
def test_english_windows_are_those_of_the_columns(hours: int) -> None:
    length = hours * HOUR
    assert wording("en").window(length).replace(",", "") == Window(length=length).words


@pytest.mark.parametrize("length", [0, -DAY, HOUR // 2, DAY + 1])
def test_a_window_of_no_whole_hours_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="whole hours"):
        wording("en").window(length)


@given(CODES, st.floats(1, 4000))
def test_days_that_passed_are_rounded_down(language: str, days: float) -> None:
    assert read(wording(language).ago(days), language) == math.floor(days)


def test_a_moment_to_come_is_not_ago() -> None:
    with pytest.raises(ValueError, match="back"):
        wording("en").ago(-0.1)


@pytest.mark.parametrize(
    ("age", "said"),
    [
        (0, "day 0"),
        (1e-9, "day 0.01"),
        (1 / 24, "day 0.04"),
        (0.5, "day 0.5"),
        (6.0, "day 6"),
        (13.96, "day 14"),
        (1200, "day 1,200"),
    ],
)
def test_a_day_is_said_to_a_tenth_and_never_as_none_for_some(age: float, said: str) -> None:
    assert wording("en").day(age) == said


def test_a_trial_is_not_younger_than_new() -> None:
    with pytest.raises(ValueError, match="age"):
        wording("en").day(-1)


@given(st.floats(0, 100))
def test_a_percentage_never_says_more_than_there_is(percent: float) -> None:
    assert percent - 1 - 1e-9 <= whole_percent(percent) <= min(99, percent + 1e-9)


@pytest.mark.parametrize("percent", range(100))
def test_a_whole_percentage_survives_its_share(percent: int) -> None:
    assert whole_percent(100 * (percent / 100)) == percent


@pytest.mark.parametrize(("percent", "said"), [(99.7, "99%"), (92.9, "92%"), (100, "99%"), (0, "0%")])
def test_a_comparison_rounds_down_and_leaves_room_for_the_lead_itself(percent: float, said: str) -> None:
    assert wording("en").more_than(percent, 6) == f"more than {said} of trials at day 6"
    assert wording("en").fewer_than(percent, 6) == f"fewer than {said} of trials at day 6"


@pytest.mark.parametrize("percent", [-0.1, 100.1])
def test_a_percentage_outside_its_range_is_refused(percent: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 100"):
        wording("en").more_than(percent, 6)


@pytest.mark.parametrize("tenths", [0, 11])
def test_converters_in_ten_are_at_least_one_and_at_most_ten(tenths: int) -> None:
    with pytest.raises(ValueError, match="from 1 to 10"):
        wording("en").never("invited a teammate", tenths, 5)


def test_braces_in_what_is_missing_stay_text() -> None:
    assert wording("en").never("used {tenths}", 7, 5) == "has not used {tenths}; 7 in 10 converters had by day 5"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("invited 5 teammates", "invited 5 teammates, more"),
        ("invited 5 teammates.", "invited 5 teammates, more."),
        ("invited 5, most recently today", "invited 5, most recently today (more)"),
        ("invited 5, most recently today.", "invited 5, most recently today (more)."),
        ("made 1,204 calls", "made 1,204 calls, more"),
    ],
)
def test_a_comparison_is_joined_to_a_sentence(text: str, said: str) -> None:
    assert wording("en").joined(text, "more") == said
    assert wording("en").joined(text, "") == text


def test_a_wording_is_made_once_and_is_its_language() -> None:
    assert wording("de") is wording("de")
    assert wording("de") != wording("fr")
    assert len({wording("de"), wording("fr"), wording("de")}) == 2


def test_a_language_that_nobody_wrote_is_named_with_those_there_are() -> None:
    with pytest.raises(InvalidSetting, match=r"language must be one of 'en', 'de', 'fr', 'es', got 'xx'"):
        wording("xx")


# --- what strangers write ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Ann Smith", "Ann Smith"),
        ("", ""),
        ("  a \t\r\n b\u2028c\u3000d  ", "a b c d"),
        ("a  b", "a b"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("{count} {0.__class__} %s $(id)", "{count} {0.__class__} %s $(id)"),
        ("<!channel> <@U1>", "<!channel> <@U1>"),
        ("gpj.\u202eexe", "gpj.exe"),
        ("\u2066a\u2069\u200e\u061c", "a"),
        ("a\x00b\x1b[31m\x7f\x85c", "ab[31m c"),
        ("z\u200be\u200dr\u2060o\ufeff\u00ad", "zero"),
        ("\u3164\u2800\u034f\ufe0f\U000e0101", ""),
        ("\ud800a\ue000", "a"),
        ("1\u202f204\u00a0%", "1\u202f204\u00a0%"),
        ("a\u00a0\u202fb", "a b"),
        ("Zoë 東京 שלום 🚀", "Zoë 東京 שלום 🚀"),
    ],
)
def test_a_strangers_text_is_one_line_that_shows_all_it_holds(text: str, said: str) -> None:
    assert plain(text) == said


def test_a_long_text_is_cut_with_an_ellipsis() -> None:
    assert plain("x" * 80) == "x" * 80
    assert plain("x" * 81) == "x" * 79 + "…"
    assert plain("x" * 78 + " yyy") == "x" * 78 + "…"
    assert plain("abcdef", longest=4) == "abc…"


def test_blanks_and_unseen_characters_do_not_use_up_the_length() -> None:
    assert plain("x" + "\u200b" * 500 + " " * 500 + "y") == "x y"


def test_of_a_text_without_end_no_more_is_read_than_can_matter() -> None:
    assert plain("\u200b" * 5_000_000 + "x") == "…"


def test_no_control_or_format_character_of_all_there_are_gets_through() -> None:
    unwanted = [
        chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs")
    ]
    assert len(unwanted) > 2000
    assert {char for char in unwanted if plain(f"a{char}b") not in ("ab", "a b")} == set()


@given(st.text(max_size=300), st.integers(2, 100))
def test_a_plain_text_is_short_and_plain_already(text: str, longest: int) -> None:
    said = plain(text, longest)
    assert len(said) <= longest
    assert plain(said, longest) == said
