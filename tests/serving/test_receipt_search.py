"""A receipt is found by its name or its beginning, a lead by its last answer; what is not there is said to be not there."""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.durations import DAY
from features.errors import InvalidInput
from serving.receipt_search import days, find, latest_of, prune
from serving.receipts import Receipts, table_of, write_table
from serving.scoring.answers import Asked, Subject
from serving.scoring.receipt import Digest, Receipt
from tests.serving.answered import NOW

Keep = Callable[..., None]


def receipt(name: str, lead: str = "u-1", as_of: int = NOW, **changes: object) -> Receipt:
    subject = Subject(
        lead, None, as_of, None, {"note": 'says "lead_id":"u-2" and {"id":"ffffff'}, np.array([1.0, np.nan])
    )
    made = Receipt(name.ljust(20, "0"), "v1", subject, Asked(), 0.25, Digest("d", "p"))
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture(params=["lines", "table"])
def keep(request: pytest.FixtureRequest, tmp_path: Path) -> Keep:
    """Return a function that keeps receipts at a moment, in either kind of file."""

    def kept(*receipts: Receipt, at: int = NOW) -> None:
        if request.param == "table":
            write_table(tmp_path, table_of(receipts, at))
        else:
            Receipts(tmp_path, lambda: at).keep(receipts)

    return kept


def refused(folder: Path, name: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        find(folder, name)
    return str(caught.value)


# --- by name ----------------------------------------------------------------------------------


def test_six_characters_are_enough_where_they_fit_one_name(keep: Keep, tmp_path: Path) -> None:
    keep(receipt("abcdef1"), receipt("abcdee1"), receipt("bcdef1a"))
    assert find(tmp_path, "abcdef").receipt.id == "abcdef1".ljust(20, "0")
    assert find(tmp_path, "bcdef1").receipt.id == "bcdef1a".ljust(20, "0")


def test_a_beginning_that_fits_two_names_is_refused_with_both(keep: Keep, tmp_path: Path) -> None:
    keep(receipt("abcdef1"), at=NOW - DAY)
    keep(receipt("abcdef2"), receipt("abcdef2"))
    assert re.search(r"'abcdef' could be 'abcdef10+', 'abcdef20+'\. Write more of it", refused(tmp_path, "abcdef"))


@pytest.mark.parametrize("name", ["", "abcde", "ABCDEF1", "abcdeg", "../../etc", "abcdef*"])
def test_what_is_no_name_is_refused(keep: Keep, tmp_path: Path, name: str) -> None:
    keep(receipt("abcdef1"))
    assert refused(tmp_path, name).startswith("a receipt's name must be at least 6 of the characters 0-9 and a-f, got")


def test_a_name_that_is_not_there_is_refused_with_where_it_was_looked_for(keep: Keep, tmp_path: Path) -> None:
    keep(receipt("abcdef1"), at=NOW - DAY)
    keep(receipt("abcdef2"))
    text = refused(tmp_path, "fffffff")
    assert text.startswith(
        f"there is no receipt 'fffffff' in {tmp_path} (days kept: 2026-02-28 to 2026-03-01, 2 in all)."
    )
    assert "--receipts" in text


def test_a_folder_that_is_not_there_is_refused_by_its_name(tmp_path: Path) -> None:
    assert refused(tmp_path / "none", "abcdef").startswith(f"{tmp_path / 'none'}: must be the folder")
    assert "(it is empty)" in refused(tmp_path, "abcdef")


def test_of_the_same_name_the_one_kept_last_is_found(keep: Keep, tmp_path: Path) -> None:
    keep(receipt("abcdef1", asked=Asked(1)), at=NOW - DAY)
    keep(receipt("abcdef1", asked=Asked(2)), at=NOW + 5)
    keep(receipt("abcdef1", asked=Asked(3)), at=NOW)
    found = find(tmp_path, "abcdef1".ljust(20, "0"))
    assert (found.receipt.asked.reasons, found.at) == (2, NOW + 5)
    assert find(tmp_path, "abcdef").receipt.asked.reasons == 2


def test_a_name_that_stands_in_a_text_is_not_a_receipt(keep: Keep, tmp_path: Path) -> None:
    keep(receipt("abcdef1"), receipt("abcdef2", '"id":"dddddd'))
    for name in ("ffffff", "eeeeee", "dddddd"):
        assert "there is no receipt" in refused(tmp_path, name)


# --- by lead ----------------------------------------------------------------------------------


def test_the_latest_of_a_lead_is_that_of_the_latest_moment_on_the_last_day(keep: Keep, tmp_path: Path) -> None:
    keep(receipt("aaaaaa1", as_of=NOW + 9 * DAY), at=NOW - DAY)
    keep(receipt("aaaaaa2", as_of=NOW + 2), receipt("aaaaaa3", as_of=NOW + 3), receipt("aaaaaa4", as_of=NOW + 1))
    keep(receipt("aaaaaa5", "u-2", as_of=NOW + 8))
    assert latest_of(tmp_path, "u-1").receipt.id.startswith("aaaaaa3")
    assert latest_of(tmp_path, "u-2").receipt.id.startswith("aaaaaa5")


@pytest.mark.parametrize("lead", ["u", "u-11", 'a "quoted" \\ one', "zwölf\n", "лид\u2028", "", "🙂"])
def test_a_lead_is_found_by_all_of_its_id_and_no_less(keep: Keep, tmp_path: Path, lead: str) -> None:
    keep(receipt("aaaaaa1", f"{lead}x"), receipt("aaaaaa2", lead), receipt("aaaaaa3", f"x{lead}"))
    assert latest_of(tmp_path, lead).receipt.subject.lead_id == lead


def test_a_lead_that_was_never_answered_is_refused(keep: Keep, tmp_path: Path) -> None:
    keep(receipt("aaaaaa1"))
    with pytest.raises(InvalidInput, match=r"there is no receipt of lead 'u-2' in"):
        latest_of(tmp_path, "u-2")


def test_both_kinds_of_file_are_searched(tmp_path: Path) -> None:
    write_table(tmp_path, table_of([receipt("aaaaaa1", as_of=NOW)], NOW))
    Receipts(tmp_path, lambda: NOW).keep([receipt("aaaaaa2", as_of=NOW + 1)])
    assert find(tmp_path, "aaaaaa1").place.suffix == ".parquet"
    assert latest_of(tmp_path, "u-1").place.suffix == ".jsonl"


# --- damaged files ----------------------------------------------------------------------------


def the_file(folder: Path, ending: str) -> Path:
    [path] = folder.rglob(f"*{ending}")
    return path


def test_a_torn_last_line_is_passed_over(tmp_path: Path) -> None:
    Receipts(tmp_path, lambda: NOW).keep([receipt("aaaaaa1"), receipt("aaaaaa2")])
    path = the_file(tmp_path, ".jsonl")
    whole = path.read_bytes()
    for cut in (1, 2, 30, len(whole) // 2 - 3):
        path.write_bytes(whole[:-cut])
        assert find(tmp_path, "aaaaaa1").receipt.id.startswith("aaaaaa1")
        assert "there is no receipt" in refused(tmp_path, "aaaaaa2")


def test_a_torn_line_that_others_follow_is_passed_over(tmp_path: Path) -> None:
    Receipts(tmp_path, lambda: NOW).keep([receipt("aaaaaa1"), receipt("aaaaaa2"), receipt("aaaaaa3")])
    path = the_file(tmp_path, ".jsonl")
    first, second, third = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([first, second[:150], b"", third, b""]))
    assert find(tmp_path, "aaaaaa3").receipt.id.startswith("aaaaaa3")
    assert "there is no receipt" in refused(tmp_path, "aaaaaa2")


def test_a_row_of_half_a_number_is_passed_over(tmp_path: Path) -> None:
    Receipts(tmp_path, lambda: NOW).keep([receipt("aaaaaa1")])
    path = the_file(tmp_path, ".jsonl")
    path.write_bytes(re.sub(rb'"row":"[^"]*"', b'"row":"AAAA"', path.read_bytes()))
    assert "there is no receipt" in refused(tmp_path, "aaaaaa1")


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    Receipts(tmp_path, lambda: NOW).keep([receipt("aaaaaa1")])
    (the_file(tmp_path, ".jsonl").parent / "1-1.jsonl").touch()
    assert find(tmp_path, "aaaaaa1").receipt.id.startswith("aaaaaa1")


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    path = write_table(tmp_path, table_of([receipt("aaaaaa1")], NOW))
    assert path is not None
    path.write_bytes(path.read_bytes()[:-20])
    assert refused(tmp_path, "aaaaaa1").startswith(f"{path}: cannot be read")


def test_a_table_with_damaged_traits_is_named(tmp_path: Path) -> None:
    for traits in ("", "{", "7", '{"size": {}}', '{"size": {"float": "many"}}', '{"size": {"float": []}}'):
        table = table_of([receipt("aaaaaa1")], NOW).with_columns(traits=pl.lit(traits))
        path = write_table(tmp_path, table)
        assert path is not None
        assert refused(tmp_path, "aaaaaa1").startswith(f"{path}: cannot be read (")
        path.unlink()


@pytest.mark.parametrize("column", ["row", "traits", "as_of", "id"])
def test_a_table_without_a_column_is_named(tmp_path: Path, column: str) -> None:
    path = write_table(tmp_path, table_of([receipt("aaaaaa1")], NOW).drop(column))
    assert refused(tmp_path, "aaaaaa1").startswith(f"{path}: cannot be read (")


@pytest.mark.parametrize("traits", [b'{"a":{}}', b'{"a":{"float":"many"}}', b'{"a":{"float":[]}}', b"7"])
def test_a_line_with_damaged_traits_is_passed_over(tmp_path: Path, traits: bytes) -> None:
    Receipts(tmp_path, lambda: NOW).keep([receipt("aaaaaa1"), receipt("aaaaaa2")])
    path = the_file(tmp_path, ".jsonl")
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(re.sub(rb'"traits":\{.*?\},"row"', b'"traits":' + traits + b',"row"', first) + second)
    assert traits in path.read_bytes()
    assert "there is no receipt" in refused(tmp_path, "aaaaaa1")
    assert find(tmp_path, "aaaaaa2").receipt.id.startswith("aaaaaa2")


@pytest.mark.parametrize("name", ["1-1.jsonl", "1-1-0.parquet"])
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    Receipts(tmp_path, lambda: NOW).keep([receipt("aaaaaa1")])
    path = the_file(tmp_path, ".jsonl").parent / name
    path.mkdir()
    (path / "within").write_bytes(b"no table")
    assert refused(tmp_path, "aaaaaa1").startswith(f"{path}: cannot be read (")


@pytest.mark.parametrize("error", [OSError(), ValueError(), OSError(5, "Input/output error")])
def test_a_file_on_a_failing_disk_is_named_whatever_the_error_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    Receipts(tmp_path, lambda: NOW).keep([receipt("aaaaaa1")])

    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(mmap, "mmap", failing)
    why = str(error) or type(error).__name__
    assert refused(tmp_path, "aaaaaa1").startswith(f"{the_file(tmp_path, '.jsonl')}: cannot be read ({why}).")


@pytest.mark.parametrize("name", ["1-1.jsonl", "1-1-0.parquet"])
def test_a_file_that_was_pruned_meanwhile_holds_nothing(tmp_path: Path, name: str) -> None:
    Receipts(tmp_path, lambda: NOW).keep([receipt("aaaaaa1")])
    # A link to nothing is listed and cannot be opened, like a file that goes between the two.
    (the_file(tmp_path, ".jsonl").parent / name).symlink_to(tmp_path / "gone")
    assert find(tmp_path, "aaaaaa1").receipt.id.startswith("aaaaaa1")
    assert "there is no receipt" in refused(tmp_path, "aaaaaa2")


# --- forgetting -------------------------------------------------------------------------------


def test_days_that_had_ended_are_forgotten_and_no_others(keep: Keep, tmp_path: Path) -> None:
    for back in range(4):
        keep(receipt(f"aaaaaa{back}"), at=NOW - back * DAY)
    (tmp_path / "notes").mkdir()
    assert prune(tmp_path, NOW - DAY + 5) == ["2026-02-26", "2026-02-27"]
    assert [day.name for day in days(tmp_path)] == ["2026-02-28", "2026-03-01"]
    assert (tmp_path / "notes").is_dir()
    assert "there is no receipt" in refused(tmp_path, "aaaaaa3")


def test_a_day_goes_once_its_last_moment_has_passed(keep: Keep, tmp_path: Path) -> None:
    keep(receipt("aaaaaa1"), at=NOW + DAY - 1)
    assert prune(tmp_path, NOW + DAY - 1) == []
    assert prune(tmp_path, NOW + DAY) == ["2026-03-01"]
    assert prune(tmp_path, NOW + DAY) == []


def test_a_folder_that_is_not_there_cannot_be_pruned(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"there is no such folder"):
        prune(tmp_path / "none", NOW)
