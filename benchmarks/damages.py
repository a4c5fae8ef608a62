"""Ways in which an artifact folder is broken: by accident, by somebody who mends the hashes after, and by another release."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from serving.models.verifying import ABOUT, MOST_BYTES
from serving.scoring.artifact import BOOSTER, DEFINITION, FILES, SCORER

# What `pickle.dumps(print)` gives: a pickle that names a function.
PICKLE = b"\x80\x04\x95\x16\x00\x00\x00\x00\x00\x00\x00\x8c\x08builtins\x94\x8c\x05print\x94\x93\x94."


@dataclass(frozen=True)
class Damage:
    """One way to break a folder; where it is `sealed` the hashes fit afterwards, so only trying the model can tell."""

    name: str
    to: Callable[[Path], object]
    sealed: bool = False

    def __call__(self, folder: Path) -> Path:
        """Break the artifact in a folder and return the folder."""
        self.to(folder)
        if self.sealed:
            seal(folder)
        return folder


def seal(folder: Path, change: Callable[[dict[str, Any]], object] = lambda _: None) -> None:
    """Change the facts of a folder and mend its hashes, as somebody would who knows how."""
    facts = json.loads((folder / SCORER).read_text(encoding="utf-8"))
    change(facts)
    facts["sha256"] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (BOOSTER, DEFINITION)}
    facts["sha256"][SCORER] = hashlib.sha256(_dumped(facts).encode()).hexdigest()
    (folder / SCORER).write_bytes(_dumped(facts).encode())


def _dumped(facts: dict[str, Any]) -> str:
    return json.dumps(facts, indent=1, sort_keys=True) + "\n"


def plain(other: Path, n: int, seed: int = 7) -> Iterator[Damage]:
    """Yield ways that the files alone tell of: `n` cuts and flips each drawn by chance, then those that people think of.

    `other` is the folder of another whole version.
    """
    rng = np.random.default_rng(seed)
    for place in range(n):
        name, where = FILES[place % len(FILES)], float(rng.random())
        yield Damage(f"{name} cut at {where:.6f}", partial(_changed, name, partial(_cut, where)))
        yield Damage(
            f"{name} flipped at {where:.6f}", partial(_changed, name, partial(_flipped, where, 1 << place % 8))
        )
    for name in FILES:
        for how, change in _SPELLINGS.items():
            yield Damage(f"{name} {how}", partial(_changed, name, change))
        for how, put in _INSTEAD.items():
            yield Damage(f"{name} {how}", partial(_replaced, name, put))
        yield Damage(f"{name} of another version", partial(_swapped, other, name))
    for number in (0, 2, 4, 99):
        yield Damage(f"format {number}", partial(_of_format, number))
    yield Damage("a file more", lambda folder: (folder / "extra.pkl").write_bytes(PICKLE))
    yield Damage("a folder more", lambda folder: (folder / "code").mkdir())
    yield Damage("what is told of it is a link", lambda folder: (folder / ABOUT).symlink_to("/etc/hostname"))


def _cut(where: float, content: bytes) -> bytes:
    return content[: int(where * len(content))]


def _flipped(where: float, bits: int, content: bytes) -> bytes:
    at = int(where * len(content))
    return content[:at] + bytes([content[at] ^ bits]) + content[at + 1 :]


_SPELLINGS: dict[str, Callable[[bytes], bytes]] = {
    "with CRLF": lambda content: content.replace(b"\n", b"\r\n"),
    "empty": lambda _: b"",
    "all zeros": lambda content: bytes(len(content)),
    "twice": lambda content: content + content,
    "with a byte order mark": lambda content: b"\xef\xbb\xbf" + content,
    "without its last line end": lambda content: content.rstrip(b"\n"),
    "as UTF-16": lambda content: content.decode().encode("utf-16"),
    "a pickle": lambda _: PICKLE,
    "compressed": lambda _: b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00",
}  # fmt: skip


def _linked(path: Path) -> None:
    moved = path.rename(path.parent.parent / f"{path.name}.moved")
    path.symlink_to(moved)


def _endless(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _large(path: Path) -> None:
    os.truncate(path, MOST_BYTES + 1)


_INSTEAD: dict[str, Callable[[Path], None]] = {
    "missing": lambda path: path.unlink(),
    "a link": _linked,
    "a pipe": _endless,
    "too large": _large,
}


def _changed(name: str, change: Callable[[bytes], bytes], folder: Path) -> None:
    (folder / name).write_bytes(change((folder / name).read_bytes()))


def _replaced(name: str, put: Callable[[Path], None], folder: Path) -> None:
    put(folder / name)


def _swapped(other: Path, name: str, folder: Path) -> None:
    shutil.copyfile(other / name, folder / name)


def _of_format(number: int, folder: Path) -> None:
    seal(folder, lambda facts: facts.update(format=number))


def sealed(seed: int = 7, cuts: int = 1) -> Iterator[Damage]:
    """Yield ways after which the hashes fit; most of them end the process that parses the model."""
    rng = np.random.default_rng(seed)
    for where in rng.random(cuts):
        yield Damage(f"model cut at {where:.6f}", partial(_changed, BOOSTER, partial(_cut, float(where))), sealed=True)
    for name, change in _MODELS.items():
        yield Damage(name, partial(_changed, BOOSTER, partial(_as_text, change)), sealed=True)
    for name, alter in _FACTS.items():
        yield Damage(name, partial(seal, change=alter))


def _as_text(change: Callable[[str], str], content: bytes) -> bytes:
    return change(content.decode()).encode()


def _first(key: str, value: str, text: str) -> str:
    """Replace the first number of the first line of a key."""
    return re.sub(rf"(?m)^({key}=)\S+", rf"\g<1>{value}", text, count=1)


_MODELS: dict[str, Callable[[str], str]] = {
    "a child out of range": partial(_first, "left_child", "999999"),
    "a child that is its parent": partial(_first, "left_child", "0"),
    "two thousand million leaves": partial(_first, "num_leaves", "2000000000"),
    "fewer than no leaves": partial(_first, "num_leaves", "-5"),
    "a leaf that is no number": partial(_first, "leaf_value", "nan"),
    "an endless leaf": partial(_first, "leaf_value", "inf"),
    "a leaf that is a word": partial(_first, "leaf_value", "much"),
    "leaves written twice": lambda text: re.sub(r"(?m)^(leaf_value=.*)$", r"leaf_value=0 0\n\1", text, count=1),
    "a column out of range": partial(_first, "split_feature", "4000"),
    "more columns than there are": partial(_first, "max_feature_idx", "2000000000"),
    "a tree less": lambda text: re.sub(r"(?s)Tree=0\n.*?(?=Tree=1\n)", "", text),
    "no tree": lambda text: text.split("Tree=0")[0] + "end of trees\n",
    "no model": lambda _: "",
    "a pickle for a model": lambda _: PICKLE.decode("latin-1"),
    "a model of zeros": lambda text: "\0" * len(text),
}
_FACTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "no examples": lambda facts: facts.update(examples={"rows": [], "probabilities": []}),
    "examples that score otherwise": lambda facts: facts["examples"]["probabilities"].__setitem__(0, 0.5),
    "a line that is no number": lambda facts: facts["scorecard"].update(base=float("nan")),
    "a calibration without end": lambda facts: facts["calibration"].update(slope=float("inf")),
    "fewer points than columns": lambda facts: facts["scorecard"]["points"].pop(),
    "other columns": lambda facts: facts.update(fingerprint="0" * 64),
    "a reference of nothing": lambda facts: facts["reference"].update(quantiles=[]),
    "no course": lambda facts: facts.pop("course"),
}
