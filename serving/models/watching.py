"""Looks every few seconds whether another version should be in service, checks it, and puts it there; the old one goes on."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from features.errors import ArtifactError, PQLError
from serving.models.served import Holder, Served
from serving.models.shelf import Candidate, Source, about_in, private_copy
from serving.models.verifying import GENTLE, SLOW, UNTRIED, verified

EVERY: Final = 1.0
"""Seconds: a look at a shelf reads a dozen bytes."""
_LONGEST_STOP: Final = 2.0
_TURN: Final = 0.0005
"""Seconds for which a check holds requests up at a time; ten times that, the usual, is what many of them take in all."""


def check(candidate: Candidate, now: Callable[[], int], nice: int = GENTLE) -> Served:
    """Return a candidate as a version in service, after every check; what is served is what was checked.

    `nice` is how much the check gives way to others.

    Raises
    ------
    ArtifactError
    """
    with private_copy(candidate.folder) as copy:
        return Served(verified(copy, nice), now(), about_in(copy))


@contextmanager
def _short_turns() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(_TURN)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class Watch:
    """Keeps the version in service the newest one of a source, in a thread of its own.

    Parameters
    ----------
    now : gives the time in microseconds since 1970 UTC
    on_change : is told what is in service now, after the first
    on_refused : is told why something is not, once for each candidate or trouble
    """

    def __init__(
        self, source: Source, now: Callable[[], int], on_change: Callable[[Served], None],
        on_refused: Callable[[PQLError], None], every: float = EVERY,
    ) -> None:  # fmt: skip
        self._source, self._now, self._every = source, now, every
        self._on_change, self._on_refused = on_change, on_refused
        self._known: str | None = None
        self._before: str | None = None
        self._trouble: str | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def first(self) -> Served:
        """Return the version to begin with.

        Raises
        ------
        ArtifactError
            Where there is none, or it must not be served.
        """
        try:
            candidate = self._source.newest()
        except PQLError:
            raise
        except Exception as error:
            raise ArtifactError(f"no model can be had ({error}).") from error
        if candidate is None:
            raise ArtifactError("there is no model to serve. Train one with `pql train`, or name its folder.")
        served = check(candidate, self._now, nice=0)
        self._known = candidate.key
        return served

    def start(self, holder: Holder) -> None:
        """Begin to look, and to replace what `holder` holds."""
        self._thread = threading.Thread(target=self._run, args=(holder,), name="watch-model", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it; a check that runs is not waited for for long."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(_LONGEST_STOP)

    def _run(self, holder: Holder) -> None:
        while not self._stopped.wait(self._every):
            self.look(holder)

    def look(self, holder: Holder) -> None:
        """Look once."""
        try:
            candidate = self._source.newest()
            if candidate is None:
                raise ArtifactError("there is no model any more where it came from. Publish the version again.", "gone")
            if self._is_new(candidate):
                # Before the check: whatever comes of it, it is not tried again.
                self._known = candidate.key
                with _short_turns():
                    self._replace(holder, check(candidate, self._now))
            self._trouble = None
        except PQLError as error:
            if isinstance(error, ArtifactError) and error.reason in (SLOW, UNTRIED):
                # That the machine is busy or full says nothing of the model: it is tried again.
                self._known = None
            self._tell(error)
        except Exception as error:
            # What nobody thought of must not end the thread, and with it every later promotion.
            self._tell(ArtifactError(f"the model cannot be looked for ({error!r})."))

    def _is_new(self, candidate: Candidate) -> bool:
        """Whether a candidate is another than before; one that is being written must first stay as it is for a while."""
        before, self._before = self._before, candidate.key
        return candidate.key != self._known and (not self._source.settles or candidate.key == before)

    def _replace(self, holder: Holder, served: Served) -> None:
        before = holder.served
        if served.scorer.version == before.scorer.version:
            # Somebody wrote the same again, or told more of it.
            served = replace(before, about=served.about)
        if served != before and not self._stopped.is_set():
            holder.served = served
            self._on_change(served)

    def _tell(self, error: PQLError) -> None:
        if str(error) != self._trouble:
            self._trouble = str(error)
            self._on_refused(error)
