"""Outages: a loop that runs for ever outlives a database that is away, and tells of it.

It tries again for as long as it runs, at first soon and then about every second, at random times, so
that not all who wait come at once when the database is back. One line of the log says that it waits,
and one that it goes on.

How the followers of a view are doing is kept in the memory of their process, since a follower that is
in trouble can seldom store that: see `followers`.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import attrs

from eventsrc.events.positions import Cursor
from eventsrc.programs.program import Do
from eventsrc.programs.world import Chance, Elapsed, Sleep
from eventsrc.stores.operations import StoreError
from eventsrc.views.view import View

OutageOp: TypeAlias = Elapsed | Chance | Sleep
"""The operations of living through an outage."""

LONGEST: Final = 1.0
"""Seconds that the pauses grow to, beside the time between two looks: half of it in the mean."""

_FIRST: Final = 0.02

_log = logging.getLogger("eventsrc")


@attrs.frozen
class Trouble:
    """An error that a loop waits for to pass."""

    error: str
    since: float
    """When it began, by Elapsed."""
    tries: int = 1
    """The number of attempts that have failed since."""


@attrs.frozen
class Follower:
    """A follower of a view at a moment."""

    owner: str | None
    cursor: Cursor | None = None
    """The position in the feed up to which its partitions are; None if it does not know yet."""
    trouble: Trouble | None = None
    """The error that it waits for to pass; None if all is well."""
    ended_by: str | None = None
    """The error that has ended it; None if it runs."""


class Seat:
    """A follower's place among those of its view, where it says how it is doing."""

    def __init__(self, owner: str | None) -> None:
        self.now = Follower(owner)

    def tell(self, **changes: Any) -> None:
        """Says what has changed."""
        self.now = attrs.evolve(self.now, **changes)


class Outage:
    """The outages of one loop, of which there may be one at a time.

    name: of the loop, in the log.
    every: seconds that it waits at least.
    seat: where it says so.
    """

    def __init__(self, name: str, every: float, seat: Seat | None = None) -> None:
        self._name = name
        self._every = every
        self._pause = _FIRST
        self._seat = seat
        self._trouble: Trouble | None = None

    def wait(self, error: StoreError) -> Do[OutageOp, None]:
        """Waits after an error that may pass."""
        if self._trouble is None:
            _log.warning("%s waits: %s", self._name, error)
            self._trouble = Trouble(str(error), (yield from Elapsed()))
        else:
            tries = self._trouble.tries + 1
            self._trouble = attrs.evolve(self._trouble, error=str(error), tries=tries)
        self._tell()
        yield from Sleep(self._every + (yield from Chance()) * self._pause)
        self._pause = min(2 * self._pause, LONGEST)

    def end(self) -> Do[Elapsed, None]:
        """Notes that all is well."""
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            self._tell()
            self._pause = _FIRST
            seconds = (yield from Elapsed()) - trouble.since
            _log.warning("%s goes on, after %.1f s: %s", self._name, seconds, trouble.error)

    def _tell(self) -> None:
        if self._seat is not None:
            self._seat.tell(trouble=self._trouble)


# --- the followers of this process ----------------------------------------------------------------


_changing: Final = threading.Lock()
_seats: Final = weakref.WeakKeyDictionary[View[Any], tuple[Seat, ...]]()


def followers(view: View[Any]) -> tuple[Follower, ...]:
    """The followers of a view, and of no other object like it, that run in this process.

    One that an error has ended is told of until another begins in its place. It asks no database.
    """
    return tuple(seat.now for seat in _seats.get(view, ()))


@contextmanager
def seated(view: View[Any], owner: str | None) -> Iterator[Seat]:
    """A place for a follower, for as long as it runs."""
    seat = Seat(owner)
    with _changing:
        others = _seats.get(view, ())
        kept = [its for its in others if its.now.ended_by is None or its.now.owner != owner]
        _seats[view] = (*kept, seat)
    try:
        yield seat
    except Exception as error:
        seat.tell(ended_by=f"{type(error).__name__}: {error}")
        raise
    except BaseException:  # it was told to end
        with _changing:
            _seats[view] = tuple(its for its in _seats.get(view, ()) if its is not seat)
        raise
