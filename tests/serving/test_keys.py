"""API keys: who is let in, what a file may hold, and what happens while it changes."""

from __future__ import annotations

import ast
import hashlib
import hmac
import os
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import InvalidInput
from serving.web import keys
from serving.web.keys import SCOPES, Caller, Keys, new_key, parse


class Clock:
    """A clock that goes on when told; far from the times of files, which then count as settled."""

    def __init__(self) -> None:
        self.time = 4e9

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    before = os.umask(0o022)
    yield tmp_path
    os.umask(before)


def bearer(key: str) -> bytes:
    return f"Bearer {key}".encode()


def file_of(folder: Path, *lines: str) -> Path:
    path = folder / "keys"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_new_key_is_of_the_caller_that_it_was_made_for(folder: Path) -> None:
    key, line = new_key("crm", ["score", "batch"])
    found = Keys.read(file_of(folder, "# ours", "", line)).caller(bearer(key))
    assert found == Caller("crm", frozenset({"score", "batch"}))


def test_a_key_has_256_random_bits_and_its_line_does_not_hold_them() -> None:
    key, line = new_key("crm", ["score"])
    prefix, place, secret = key.split("_", 2)
    assert (prefix, len(place), len(secret)) == ("pql", 8, 43)
    assert secret not in line
    assert line == f"{place} crm score {hashlib.sha256(secret.encode()).hexdigest()}"
    assert len({new_key("crm", ["score"])[0] for _ in range(50)}) == 50


def test_whoever_sends_no_key_is_nobody(folder: Path) -> None:
    found = Keys.read(file_of(folder, new_key("crm", ["score"])[1]))
    assert found.caller(None) is None
    assert found.caller(b"") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda key: key[:-1] + ("A" if key[-1] != "A" else "B"),
        lambda key: key[:-1],
        lambda key: key + "A",
        lambda key: key.replace("pql_", "pqx_"),
        lambda key: "pql_aaaaaaaa" + key[12:],
        lambda key: key.upper(),
        lambda key: key + "\n",
        lambda key: f"{key} {key}",
        lambda key: f"{key}, Bearer {key}",
    ],
)
def test_a_key_that_is_not_wholly_right_is_nobodys(folder: Path, damage: object) -> None:
    key, line = new_key("crm", ["score"])
    assert callable(damage)
    assert Keys.read(file_of(folder, line)).caller(bearer(damage(key))) is None


@pytest.mark.parametrize("scheme", [b"", b"Basic ", b"Bearer", b"Token ", b"Bearer:", b" Bearer "])
def test_a_key_comes_as_a_bearer_and_in_no_other_way(folder: Path, scheme: bytes) -> None:
    key, line = new_key("crm", ["score"])
    assert Keys.read(file_of(folder, line)).caller(scheme + key.encode()) is None


def test_the_word_bearer_may_be_written_in_any_case(folder: Path) -> None:
    key, line = new_key("crm", ["score"])
    assert Keys.read(file_of(folder, line)).caller(b"bEARER  " + key.encode()) is not None


@given(st.binary(max_size=120))
def test_no_bytes_make_a_caller_or_an_error(bytes_: bytes) -> None:
    found = Keys(Path("nowhere"), lambda _: None, lambda: 0.0)
    assert found.caller(bytes_) is None
    assert found.caller(b"Bearer pql_" + bytes_) is None


def test_a_key_is_good_until_the_day_it_expires(folder: Path, clock: Clock) -> None:
    key, line = new_key("crm", ["score"], date(2097, 3, 1))
    found = Keys.read(file_of(folder, line), now=clock)
    clock.time = datetime(2097, 3, 1, tzinfo=UTC).timestamp() - 0.001
    assert found.caller(bearer(key)) is not None
    clock.time += 0.001
    assert found.caller(bearer(key)) is None


def test_an_unknown_id_is_compared_like_a_known_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, line = new_key("crm", ["score"])
    found, compared, honest = Keys.read(file_of(folder, line)), [], hmac.compare_digest

    def watched(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return honest(a, b)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    for one in (key, "pql_aaaaaaaa" + key[12:], key[:-1] + "-"):
        found.caller(bearer(one))
    assert compared == [(32, 32)] * 3


def test_no_secret_is_compared_by_an_equals_sign() -> None:
    tree = ast.parse(Path(keys.__file__).read_text(encoding="utf-8"))
    equals = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Compare) and plain(node)]
    assert [text for text in equals if any(word in text for word in ("digest", "secret", "found[2]", "key.d"))] == []
    (caller,) = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "caller"]
    assert "hmac.compare_digest(" in ast.unparse(caller)
    assert not [node for node in ast.walk(caller) if isinstance(node, ast.Compare) and plain(node)]


def plain(node: ast.Compare) -> bool:
    return any(isinstance(how, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for how in node.ops)


# --- the file ---------------------------------------------------------------------------------

GOOD = "abcdefgh crm score " + "0" * 64


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("abcdefgh crm score", r"keys:2: must be `id name scopes sha256 \[expires\]`, got 3 words"),
        (GOOD + " 2027-01-01 x", r"keys:2: must be .*, got 6 words"),
        (GOOD.replace("abcdefgh", "abcdefg1"), r"keys:2: the id must be 8 letters from a to z"),
        (GOOD.replace("crm", "a/b"), r"keys:2: the name must be 1 to 64 letters"),
        (
            GOOD.replace("score", "scores"),
            r"keys:2: scopes must be of score, batch, model, metrics, got 'scores'\. Did you mean 'score'",
        ),
        (GOOD.replace("score", "score,"), r"keys:2: scopes must be of .*, got ''"),
        (GOOD + "0", r"keys:2: the hash must be a SHA-256"),
        (GOOD[:-1] + "A", r"keys:2: the hash must be a SHA-256"),
        (GOOD + " 2027-1-1", r"keys:2: the last word must be the day it expires, like 2027-01-31"),
        (GOOD + "\n" + GOOD, r"keys:3: the id must be given to one key only, got 'abcdefgh' twice"),
    ],
)
def test_a_wrong_line_is_named_with_what_is_wrong(folder: Path, line: str, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        Keys.read(file_of(folder, "# keys", line))


@pytest.mark.parametrize("place", range(5))
def test_a_key_in_the_clear_in_the_wrong_place_is_not_repeated(place: int) -> None:
    key, line = new_key("crm", ["score"], date(2099, 1, 1))
    words = line.split()
    words[place] = key
    with pytest.raises(InvalidInput) as error:
        parse(" ".join(words).encode(), "keys")
    assert key.split("_", 2)[2] not in str(error.value)


def test_a_file_that_is_not_text_is_refused(folder: Path) -> None:
    (folder / "keys").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match=r"keys: must be UTF-8 text .*at byte 0"):
        Keys.read(folder / "keys")


def test_a_file_that_is_not_there_is_told(folder: Path) -> None:
    with pytest.raises(InvalidInput, match=r"keys: cannot be read \(No such file"):
        Keys.read(folder / "keys")


def test_what_is_no_file_is_refused_and_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "keys")
    with pytest.raises(InvalidInput, match=r"must be a file of keys"):
        Keys.read(folder / "keys")


def test_a_file_that_everybody_may_write_is_refused_and_one_that_all_may_read_is_not(folder: Path) -> None:
    path = file_of(folder, GOOD)
    path.chmod(0o644)
    Keys.read(path)
    path.chmod(0o646)
    with pytest.raises(InvalidInput, match=r"must not be writable by everybody"):
        Keys.read(path)


def test_a_file_without_a_key_lets_nobody_in(folder: Path) -> None:
    assert Keys.read(file_of(folder, "# none")).caller(bearer(new_key("crm", ["score"])[0])) is None


@pytest.mark.parametrize(("name", "scopes"), [("a b", ["score"]), ("", ["score"]), ("crm", []), ("crm", ["all"])])
def test_no_key_is_made_that_the_file_could_not_hold(name: str, scopes: list[str]) -> None:
    with pytest.raises(InvalidInput, match=r"a new key: "):
        new_key(name, scopes)


@given(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,50}", fullmatch=True).filter(lambda name: not name.startswith("pql_")),
    st.lists(st.sampled_from(SCOPES), min_size=1),
    st.none() | st.dates(),
)
def test_every_line_that_is_made_is_read_back(name: str, scopes: list[str], expires: date | None) -> None:
    (found,) = parse(new_key(name, scopes, expires)[1].encode(), "keys")
    assert (found.caller, found.expires) == (Caller(name, frozenset(scopes)), expires)


# --- while it changes -------------------------------------------------------------------------


def test_a_changed_file_is_read_again_within_a_second_and_not_sooner(folder: Path, clock: Clock) -> None:
    (old, old_line), (new, new_line) = new_key("old", ["score"]), new_key("newer", ["score"])
    found = Keys.read(file_of(folder, old_line), now=clock)
    file_of(folder, new_line)
    clock.time += 0.9
    assert found.caller(bearer(old)) is not None
    clock.time += 0.1
    assert found.caller(bearer(old)) is None
    assert found.caller(bearer(new)) == Caller("newer", frozenset({"score"}))


def test_a_file_that_did_not_change_is_not_read_again(
    folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, line = new_key("crm", ["score"])
    found = Keys.read(file_of(folder, line), now=clock)
    monkeypatch.setattr(keys, "parse", lambda *_: pytest.fail("read again"))
    clock.time += 5
    assert found.caller(bearer(key)) is not None


def test_a_file_that_changed_a_moment_ago_is_not_trusted_to_be_the_same(folder: Path, clock: Clock) -> None:
    (old, old_line), (new, new_line) = new_key("old", ["score"]), new_key("new", ["score"])
    path = file_of(folder, old_line)
    os.utime(path, (clock.time - 1, clock.time - 1))
    found = Keys.read(path, now=clock)
    with path.open("r+") as file:  # as large, in the same place, at the same time
        file.write(new_line)
    os.utime(path, (clock.time - 1, clock.time - 1))
    clock.time += 1
    assert found.caller(bearer(old)) is None
    assert found.caller(bearer(new)) is not None


def test_a_broken_file_leaves_the_keys_as_they_were_and_is_told_once(folder: Path, clock: Clock) -> None:
    key, line = new_key("crm", ["score"])
    told: list[str] = []
    path = file_of(folder, line)
    found = Keys.read(path, told.append, clock)
    file_of(folder, "half a line")
    for _ in range(3):
        clock.time += 1
        assert found.caller(bearer(key)) is not None
    assert len(told) == 1
    assert "keys:1: must be `id name" in told[0]
    assert told[0].endswith("The keys stay as they were.")


def test_a_file_that_went_away_leaves_the_keys_as_they_were(folder: Path, clock: Clock) -> None:
    key, line = new_key("crm", ["score"])
    told: list[str] = []
    path = file_of(folder, line)
    found = Keys.read(path, told.append, clock)
    path.unlink()
    clock.time += 1
    assert found.caller(bearer(key)) is not None
    assert "cannot be read" in told[0]
    file_of(folder)
    clock.time += 1
    assert found.caller(bearer(key)) is None


def test_a_clock_that_is_set_back_does_not_stop_the_looking(folder: Path, clock: Clock) -> None:
    key, line = new_key("crm", ["score"])
    found = Keys.read(file_of(folder, line), now=clock)
    file_of(folder, "# all gone")
    clock.time -= 1000
    assert found.caller(bearer(key)) is None
