"""Turns of the processes that write the same SQLite file, so that none of them waits for ever."""

from __future__ import annotations

import contextlib
import os
import random
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from eventsrc._clock import monotonic

if sys.platform != "win32":
    import fcntl

_LONGEST_POLL: Final = 0.005
_GLANCE: Final = 0.01


class Turn:
    """Whose turn it is to try for the write lock, among processes: a lock on a file of its own.

    Writers that do not get SQLite's lock try again after a random pause, which is quick and mostly
    fair. Whoever has tried for long insists: it keeps the turn to itself until it has the lock, and
    the others let it pass. (SQLite's own waiting starves some writers.) Where there is no flock, or no
    place for the file, nobody can insist.
    """

    def __init__(self, of: Path) -> None:
        self._of = of
        self._path = Path(f"{of}-turn")
        self._file: int | None = None
        self._is_open = False
        self._is_mine = False
        self.free_until = 0.0
        """Nobody insists before then, by _clock.monotonic(), as far as was seen: see `is_free`."""
        _turns.add(self)

    def is_free(self, now: float) -> bool:
        """Whether nobody insists, or did a moment ago, so that one attempt may be made."""
        if now < self.free_until:
            return True
        is_free = self.take(insisting=False)
        if is_free:
            self.give()
            self.free_until = now + _GLANCE
        return is_free

    def take(self, *, insisting: bool) -> bool:
        """Whether to try for the lock now; who insists keeps others from it until `give`."""
        if not self._is_open:
            self._open()
        if sys.platform == "win32" or self._file is None or self._is_mine:
            return True
        try:
            fcntl.flock(self._file, (fcntl.LOCK_EX if insisting else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self._is_mine = insisting
        return True

    def yield_turn(self) -> None:
        """Between two attempts: lets others insist, unless this one does."""
        if not self._is_mine:
            self.give()

    def give(self) -> None:
        """Lets the others try."""
        self._is_mine = False
        if sys.platform != "win32" and self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def forget(self) -> None:
        """In a forked process: the turn is the parent's, and must end with it."""
        self.close()
        self._is_open = self._is_mine = False

    def _open(self) -> None:
        self._is_open = True
        if sys.platform != "win32":
            flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
            with contextlib.suppress(OSError):
                self._make(flags)
            with contextlib.suppress(OSError):
                self._file = os.open(self._path, flags)

    def _make(self, flags: int) -> None:
        """Makes the file, with the rights of the file whose turns it is for."""
        rights = self._of.stat().st_mode & 0o666
        made = os.open(self._path, flags | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.fchmod(made, rights)
        finally:
            os.close(made)


_turns: Final = weakref.WeakSet[Turn]()


def _forget_turns() -> None:
    for turn in list(_turns):
        turn.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_turns)


def pauses(deadline: float) -> Iterator[float]:
    """Random pauses between attempts, longer and longer, until the deadline."""
    longest = 0.0005
    while True:
        yield random.random() * longest
        if monotonic() >= deadline:
            return
        longest = min(longest * 1.5, _LONGEST_POLL)
