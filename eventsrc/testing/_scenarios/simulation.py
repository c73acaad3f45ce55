"""A store and views that behave the same in every run: those on which schedules are explored.

Nothing in them comes from the machine, neither time nor chance. Time is what the simulation says: each
program has a clock of its own, which its waiting moves, and whoever asks a store or view sees the time
of the program that asks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from contextvars import ContextVar
from functools import cache
from typing import Any, Final
from uuid import UUID

from eventsrc.events._uuids import uuid_of
from eventsrc.events.codec import Codec
from eventsrc.programs.interpreter import on
from eventsrc.programs.operation import Query
from eventsrc.stores.memory import MemoryStore
from eventsrc.views.memory import MemoryViews, Tables
from eventsrc.views.view import View

EPOCH: Final = 1_700_000_000.0
"""When every simulation begins, in seconds since 1970."""

the_time: Final = ContextVar("the_time", default=EPOCH)
"""The time of the program whose operation is performed, in seconds since 1970."""


class SimulatedStore(MemoryStore):
    """The memory store with nothing left to chance: the same appends make the same store."""

    def __init__(self, codec: Codec | None = None) -> None:
        super().__init__(codec or _codec(), clock=the_time.get, store_id="simulated")
        numbers = itertools.count(1)
        self._new_id = lambda: append_id(next(numbers))


class Rows(Query[dict[str, dict[Any, Any]]]):
    """The tables of a view: by their names, rows by key."""

    view: View[Tables]


class SimulatedViews(MemoryViews):
    """Views in memory whose leases go by the clocks of the simulation."""

    def __init__(self, views: Iterable[View[Tables]] = ()) -> None:
        super().__init__(views, clock=the_time.get)

    @on(Rows)
    def rows(self, op: Rows) -> dict[str, dict[Any, Any]]:
        """The rows of a view's tables."""
        with self.reading(op.view, live=False) as tables:
            return tables.copied()


@cache
def _codec() -> Codec:
    """One for all the stores that are given none: what it knows of a class need not be found again."""
    return Codec()


def append_id(number: int) -> UUID:
    """The id of this number, of those that a store chooses."""
    return uuid_of(number << 80 | 0x8 << 76 | 0x2 << 62)
