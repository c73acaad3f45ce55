"""Connections to read a SQLite file with, lent to one reader at a time, and made as they are needed."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from eventsrc._clock import monotonic
from eventsrc.sqlite import _forks

_PAUSE: Final = 0.001
"""Seconds between two looks whether all connections are at rest."""


class Pool:
    """Connections that are lent.

    connect: makes one more.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._idle: deque[sqlite3.Connection] = deque()
        self._count = 0
        self._changing = threading.Lock()
        self._is_closed = False

    def take(self) -> sqlite3.Connection:
        """A connection, to be given back."""
        try:
            return self._idle.pop()
        except IndexError:
            pass
        with self._changing:
            connection = self._connect()
            self._count += 1
        return connection

    def give(self, connection: sqlite3.Connection) -> None:
        """Gives a connection back."""
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        self._idle.append(connection)
        if self._is_closed:  # meanwhile
            self.close()

    def close(self) -> None:
        """Closes the connections, those that are lent as soon as they are given back."""
        self._is_closed = True
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                return
            connection.close()
            with self._changing:
                self._count -= 1

    def rest(self, deadline: float) -> _forks.Resting | None:
        """All connections, once nobody uses one; None if somebody still does at the deadline."""
        if not self._changing.acquire(timeout=max(deadline - monotonic(), 0.0)):
            return None
        found: list[sqlite3.Connection] = []

        def wake() -> None:
            self._idle.extend(found)
            self._changing.release()

        while True:
            while self._idle:
                found.append(self._idle.pop())
            if len(found) == self._count:
                return _forks.Resting(found, wake)
            if monotonic() >= deadline:
                wake()
                return None
            time.sleep(_PAUSE)
