"""Deadlines for the waits of psycopg, which has none: one thread ends connections that outstay theirs.

A connection in use is watched until a time. If its server has not answered by then, its socket is shut
down, and whoever waits for it, in a thread or in an event loop, gets the error of a connection that
broke. This needs nothing of psycopg but the number of the connection's file.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import threading
import weakref
from typing import Final

import psycopg

from eventsrc._clock import monotonic


class Watched:
    """The watch over one connection. Nothing is watched until `start`."""

    def __init__(self, connection: psycopg.Connection | psycopg.AsyncConnection) -> None:
        self.until = math.inf
        self.is_cut = False
        """True once the connection has been ended because its server was silent."""
        # a duplicate: the connection may close its own file, and its number be used again
        self._socket = socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM)
        _watch.add(self)

    def start(self, until: float) -> None:
        """Watches the connection until a time, by _clock.monotonic()."""
        self.until = until
        if until < _watch.wakes:
            _watch.wake(until)

    def stop(self) -> None:
        """Stops watching."""
        self.until = math.inf

    def cut(self) -> None:
        """Ends the connection."""
        self.until, self.is_cut = math.inf, True
        with contextlib.suppress(OSError):  # the server was faster
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stops watching for good."""
        _watch.discard(self)
        self._socket.close()


class Unwatched:
    """In the place of a watch over a connection whose waits are its user's affair."""

    is_cut: Final = False

    def start(self, until: float) -> None:
        """Does nothing."""

    def stop(self) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


class _Watch:
    """The thread that ends connections in time, and sleeps while there is nothing to end."""

    def __init__(self) -> None:
        self.wakes = math.inf
        """The time at which the thread looks next; it has to be woken for an earlier deadline."""
        self._changed = threading.Condition(threading.Lock())
        self._all = weakref.WeakSet[Watched]()
        self._asked = math.inf
        self._thread: threading.Thread | None = None

    def add(self, watched: Watched) -> None:
        with self._changed:
            self._all.add(watched)

    def discard(self, watched: Watched) -> None:
        with self._changed:
            self._all.discard(watched)

    def wake(self, until: float) -> None:
        with self._changed:
            self._asked = min(self._asked, until)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="eventsrc-deadlines", daemon=True
                )
                self._thread.start()
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while True:
                now = monotonic()
                for watched in self._all:
                    if watched.until <= now:
                        watched.cut()
                if self._asked <= now:
                    self._asked = math.inf
                # it wakes at the time that was asked for though that statement may have ended: where
                # one statement follows another, the thread is woken once in a timeout and not by each
                self.wakes = min(self._asked, self._earliest())
                if self._earliest() < self.wakes:  # one that started before it could see `wakes`
                    continue
                left = min(self.wakes - now, threading.TIMEOUT_MAX)
                self._changed.wait(max(left, 0.0))

    def _earliest(self) -> float:
        return min((watched.until for watched in self._all), default=math.inf)


_watch = _Watch()


def _renew() -> None:
    """Gives a forked process, in which the thread does not run, a watch of its own."""
    global _watch
    _watch = _Watch()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
