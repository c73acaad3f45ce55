"""Forks of a process that has SQLite files open.

SQLite keeps, for each process and file, which locks it has. A fork copies that, and not the locks,
which belong to a process (fcntl(2)). A child that opened such a file would believe that it has locked
it, and the parent, as it closes, that nobody else has: it removes the write-ahead log in which the
child goes on to write. (How To Corrupt An SQLite Database File, 2.6 and 2.7.)

So all connections are at rest as a process forks, and the child closes its copies of them before it
opens any of its own. Where one was in use, as by another thread, its file is refused in the child.
"""

from __future__ import annotations

import os
import sqlite3
import weakref
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from eventsrc._clock import monotonic

_PATIENCE: Final = 1.0
"""The seconds a fork waits for the users of a connection: one may be the forking thread itself."""


class Resting(NamedTuple):
    """Connections that nobody uses until they are woken."""

    connections: list[sqlite3.Connection]
    wake: Callable[[], None]


class Owner(Protocol):
    """One file or several, open."""

    def rest(self, deadline: float) -> Resting | None:
        """Its connections, at rest; None if one was in use until the deadline."""
        ...

    def identities(self) -> list[tuple[int, int] | None]:
        """The device of each of its files, and the file's number there."""
        ...


def watch(owner: Owner) -> None:
    """Has the connections of a file rest as the process forks."""
    _owners.add(owner)


def is_unsafe(identity: tuple[int, int] | None) -> bool:
    """Whether a file's connections were in use when this process was forked."""
    return identity in _unsafe


_owners: Final = weakref.WeakSet[Owner]()
_unsafe: Final[set[tuple[int, int] | None]] = set()
_resting: Final[list[Resting]] = []
_in_use: Final[list[tuple[int, int] | None]] = []


def _before() -> None:
    deadline = monotonic() + _PATIENCE
    for owner in list(_owners):
        resting = owner.rest(deadline)
        if resting is None:
            _in_use.extend(owner.identities())
        else:
            _resting.append(resting)


def _in_parent() -> None:
    _in_use.clear()
    while _resting:
        _resting.pop().wake()


def _in_child() -> None:
    _unsafe.update(_in_use)
    _unsafe.discard(None)
    for resting in _resting:
        for connection in resting.connections:
            connection.close()
        resting.connections.clear()
    _owners.clear()
    _in_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
