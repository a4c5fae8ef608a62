"""Where versions lie: a shelf of them with a pointer to one, a plain artifact folder, or a store that somebody else keeps.

A shelf is a folder with a folder for each version and the file `current`, the name of one of them. Both are made beside their
place and renamed into it, so that whoever looks sees a whole version or none, at any moment and after a power cut.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import msgspec

from features.errors import ArtifactError, InvalidInput, listing
from serving.models.served import About
from serving.models.verifying import ABOUT, UNTRIED, check_file, check_files
from serving.scoring.artifact import FILES, SCORER

CURRENT: Final = "current"
FOLLOWED: Final = "followed"
KEPT: Final = 5
"""Versions that stay on a shelf: enough to go back to where the registry is gone."""
_NAME: Final = re.compile(r"[0-9a-f]{12}")
_PART: Final = ".part-"
_ABANDONED: Final = 3600.0
"""Seconds after which nobody is writing a part any more."""
_OTHERS: Final = frozenset({"model.yaml"})
"""What a store writes beside the files, and nobody reads here."""


@dataclass(frozen=True)
class Candidate:
    """A version that may go into service; `key` is another when what lies in `folder` is."""

    key: str
    folder: Path


class Source(Protocol):
    """Where the service looks for its version."""

    @property
    def settles(self) -> bool:
        """Whether files may be seen while they are being written."""
        ...

    def newest(self) -> Candidate | None:
        """Return what should be in service, None where there is nothing; raises ArtifactError or OSError."""
        ...


def source_of(folder: Path) -> Source:
    """Return the source that a folder is: a shelf where it has a pointer, or else one artifact.

    Raises
    ------
    InvalidInput
        Where it is no folder, or has neither.
    """
    if (folder / CURRENT).is_file():
        return Shelf(folder)
    if (folder / SCORER).is_file():
        return Plain(folder)
    raise InvalidInput(
        f"{folder}: must be a folder with {listing(FILES)}, or a shelf of such folders with a file {CURRENT!r}, got neither.",
        "model",
        "Name a folder that `pql train` or `pql serve` wrote.",
    )


@dataclass(frozen=True)
class Plain:
    """One artifact, whose files somebody may overwrite or a link to which somebody may move."""

    folder: Path
    settles: bool = True

    def newest(self) -> Candidate | None:
        folder = self.folder.resolve()
        told = []
        for name in (*FILES, ABOUT):
            with suppress(FileNotFoundError):
                found = (folder / name).lstat()
                told.append((name, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino))
        return Candidate(f"{folder}:{told}", folder) if told else None


@dataclass(frozen=True)
class Stored:
    """A store that knows its newest version; `find` returns its folder, which is named after it and never written again."""

    find: Callable[[], Path]
    settles: bool = False

    def newest(self) -> Candidate | None:
        folder = self.find()
        return Candidate(str(folder), folder)


@dataclass(frozen=True)
class Shelf:
    """Versions side by side, of which one is current."""

    folder: Path
    settles: bool = False

    def newest(self) -> Candidate | None:
        version = self.current()
        if version is None:
            return None
        folder = self.folder / version
        if folder.is_symlink() or not folder.is_dir():
            raise ArtifactError(
                f"{self.folder / CURRENT}: points to {version}, which is no folder beside it. Put it there."
            )
        return Candidate(version, folder)

    def current(self) -> str | None:
        """Return the version that the shelf points to, None where it points to none.

        Raises
        ------
        ArtifactError
            Where the pointer is no name of a version.
        """
        try:
            text = (self.folder / CURRENT).read_bytes()[:100].decode(errors="replace").strip()
        except FileNotFoundError:
            return None
        if not _NAME.fullmatch(text):
            must = "must be the name of a version, 12 digits of a hash"
            raise ArtifactError(f"{self.folder / CURRENT}: {must}, got {text[:40]!r}. Point it to one again.")
        return text

    def versions(self) -> list[str]:
        """Return the names of the versions here, the one put last first."""
        there = [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name) and path.is_dir()]
        return [path.name for path in sorted(there, key=lambda path: path.stat().st_mtime_ns, reverse=True)]

    def about(self, version: str) -> About | None:
        """Return what is told of a version here."""
        return about_in(self.folder / version)

    def put(self, folder: Path, about: About | None = None) -> str:
        """Copy an artifact's files onto the shelf and return the version's name; it is not current by that.

        Raises
        ------
        ArtifactError
            Where a file is missing, a link, or too large.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=_PART, dir=self.folder))
        try:
            copied(folder, part)
            (part / ABOUT).unlink(missing_ok=True)
            if about is not None:
                (part / ABOUT).write_bytes(msgspec.json.encode(about))
            version = hashlib.sha256((part / SCORER).read_bytes()).hexdigest()[:12]
            self._place(part, version)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return version

    def _place(self, part: Path, version: str) -> None:
        for path in (*part.iterdir(), part):
            _to_disk(path)
        place = self.folder / version
        if _is_whole(place):
            # It may be current: it must not be gone for a moment. Equal names are equal bytes but for what is told of it.
            if (part / ABOUT).exists():
                (part / ABOUT).rename(place / ABOUT)
            _to_disk(place)
            return
        if place.exists():
            shutil.rmtree(place)
        part.rename(place)
        _to_disk(self.folder)

    def point(self, version: str) -> None:
        """Make a version the current one, and remove the oldest of those that are too many.

        Raises
        ------
        ArtifactError
            Where it is not on the shelf.
        """
        if not _NAME.fullmatch(version) or not (self.folder / version).is_dir():
            raise ArtifactError(f"{self.folder}: must hold version {version!r} to point to it. Put it there first.")
        self._write(CURRENT, version)
        os.utime(self.folder / version)
        for old in self.versions()[KEPT:]:
            shutil.rmtree(self.folder / old, ignore_errors=True)
        self._sweep()

    def _sweep(self) -> None:
        """Remove what processes that were killed have left."""
        for path in self.folder.glob(f"{_PART}*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def followed(self) -> str | None:
        """Return the name in the registry that the shelf follows, such as `pql-scorer@champion`."""
        with suppress(OSError, ValueError):
            return (self.folder / FOLLOWED).read_text(encoding="utf-8").strip()
        return None

    def follow(self, name: str) -> None:
        """Write down whose versions lie here."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write(FOLLOWED, name)

    def _write(self, name: str, text: str) -> None:
        written, path = tempfile.mkstemp(prefix=_PART, dir=self.folder)
        with os.fdopen(written, "w", encoding="utf-8") as file:
            file.write(f"{text}\n")
            file.flush()
            os.fsync(file.fileno())
        Path(path).rename(self.folder / name)
        _to_disk(self.folder)


def _is_whole(folder: Path) -> bool:
    with suppress(ArtifactError):
        check_files(folder)
        return True
    return False


def _to_disk(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextmanager
def private_copy(folder: Path) -> Iterator[Path]:
    """Yield a copy of an artifact's files that nobody else can change between a check and its use.

    Raises
    ------
    ArtifactError
        Where it cannot be made, and what is raised meanwhile, told of the files that were copied.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="pql-model-") as scratch:
            try:
                yield copied(folder, Path(scratch))
            except ArtifactError as error:
                raise ArtifactError(str(error).replace(scratch, str(folder)), error.reason) from None
    except OSError as error:
        told = f"{folder}: cannot be copied to be checked ({error.strerror or error}). Make room in the folder of temporary files."
        raise ArtifactError(told, UNTRIED) from None


def copied(folder: Path, into: Path) -> Path:
    """Copy an artifact's files, by their names, into a folder and return it.

    Raises
    ------
    ArtifactError
        Where one is missing, a link or too large, or something lies beside them that is none of an artifact's.
    """
    try:
        there = set(os.listdir(folder))
        extra = there - {*FILES, ABOUT} - _OTHERS
        if extra:
            raise ArtifactError(
                f"{folder}: must hold {listing([*FILES, ABOUT])} alone, got {listing(sorted(extra))} as well. Take it out."
            )
        for name in (*FILES, *({ABOUT} & there)):
            check_file(folder / name)
            _copy(folder / name, into / name)
    except OSError as error:
        raise ArtifactError(
            f"{folder}: cannot be read ({error.strerror or error}). Publish the version again.", UNTRIED
        ) from None
    return into


def _copy(path: Path, to: Path) -> None:
    # Not through a link that took the file's place after it was looked at.
    opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(opened, "rb") as file, to.open("xb") as out:
        shutil.copyfileobj(file, out)


def about_in(folder: Path) -> About | None:
    """Return what is told of the version in a folder; None where nothing is, or nothing that can be read."""
    with suppress(OSError, msgspec.DecodeError, RecursionError):
        return msgspec.json.decode((folder / ABOUT).read_bytes(), type=About)
    return None
