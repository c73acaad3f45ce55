"""Views: query models that are derived from events, and the operations that keep them.

A view is a name, a version and a handler for each type of event that it cares about. The handler gets
the view's database, inside a transaction, and the recorded event::

    users = View("users", version=1)

    @users.schema
    def _(db: Database) -> None:
        db["users"].create({"id": str, "name": str}, pk="id")

    @users.on(SetName)
    def _(db: Database, event: Recorded[SetName]) -> None:
        db["users"].upsert({"id": event.data.id, "name": event.data.name}, pk="id")

It writes to that database and nowhere else: what it writes and the progress of the view are committed
together. When the handlers change, give the view a new version, which is built from the first event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeAlias

import attrs
from typing_extensions import TypeVar

from eventsrc.errors import EventsrcError
from eventsrc.event import EVENTS, EventTypes, Opaque
from eventsrc.guard import Gap
from eventsrc.operation import Command, Query
from eventsrc.positions import Cursor
from eventsrc.recorded import Recorded
from eventsrc.stream_id import StreamId, checked_prefix

if TYPE_CHECKING:
    from sqlite_utils import Database

E = TypeVar("E")
DB = TypeVar("DB", default="Database")

_OPAQUE: Final = ""
"""Where the handler of Opaque is kept: no event type has this name."""


class ViewError(EventsrcError):
    """A view is declared wrongly, or is used with a database that it does not belong to."""


class View(Generic[DB]):
    """A query model: what its handlers make of the events.

    name, version: which view it is; each version has a progress of its own.
    prefix: it only sees the streams below it ("users/"); empty for all.
    types: where the stored names of its events' classes are looked up.
    unknown: what to do about an event that a handler wants and that cannot be decoded, being of a newer
        version: "fail" stops the view there, "skip" goes on. A handler for Opaque gets all events whose
        types or versions are unknown, instead.
    """

    def __init__(
        self,
        name: str,
        *,
        version: int = 1,
        prefix: str = "",
        types: EventTypes = EVENTS,
        unknown: Literal["fail", "skip"] = "fail",
    ) -> None:
        if not name or version < 1:
            raise ViewError(f"a view needs a name and a version from 1, not {name!r} and {version}")
        self.name: Final = name
        self.version: Final = version
        self.prefix: Final = checked_prefix(prefix)
        self.unknown: Final = unknown
        self._types = types
        self._create: Callable[[DB], None] | None = None
        self._handlers: dict[str, Callable[[DB, Recorded[Any]], None]] = {}

    def schema(self, create: Callable[[DB], None]) -> Callable[[DB], None]:
        """Decorates the function that makes the view's tables, which must be empty then."""
        self._create = create
        return create

    def on(
        self, kind: type[E]
    ) -> Callable[[Callable[[DB, Recorded[E]], None]], Callable[[DB, Recorded[E]], None]]:
        """Decorates the handler of an event type. Raises ViewError if it has one already."""
        name = _OPAQUE if kind is Opaque else self._types.of(kind).name

        def register(
            handler: Callable[[DB, Recorded[E]], None],
        ) -> Callable[[DB, Recorded[E]], None]:
            if name in self._handlers:
                raise ViewError(f"{self!r} handles {kind.__qualname__} already: keep one handler")
            self._handlers[name] = handler
            return handler

        return register

    def create(self, database: DB) -> None:
        """Makes the view's tables."""
        if self._create is not None:
            self._create(database)

    def apply(self, database: DB, event: Recorded[Any]) -> None:
        """Has the event's handler, if there is one, bring the view forward."""
        handler = self._handlers.get(event.type)
        opaque = self._handlers.get(_OPAQUE)
        if opaque is not None and not event.is_known:
            handler = opaque
        elif handler is None or (self.unknown == "skip" and not event.is_known):
            event.check()
            return
        try:
            handler(database, event)
        except Exception as error:
            error.add_note(f"while {self!r} applied {event!r}, position {event.position}")
            raise

    def __repr__(self) -> str:
        return f"View({self.name!r}, version={self.version})"


# --- the view operations --------------------------------------------------------------------------


@attrs.frozen
class Progress:
    """How far a view has come in the feed of its store."""

    cursor: Cursor
    """After the last event of the feed that it has dealt with."""
    applied: int
    """How many events it has dealt with, one way or another."""


@attrs.frozen
class Applied:
    """What became of some events that were delivered to a view."""

    applied: int
    ignored: int
    """How many it had dealt with before."""
    gaps: tuple[Gap, ...]
    """Where events are missing; if there are any, the view's cursor was not moved."""


class GetProgress(Query[Progress]):
    """How far a view has come."""

    view: View[Any]


class GetApplied(Query[Mapping[StreamId, int]]):
    """The versions that a view has applied of some streams: 0 for none."""

    view: View[Any]
    streams: tuple[StreamId, ...]


class Apply(Command[Applied]):
    """Applies those events that a view has not applied before and whose turn it is, in one transaction.

    cursor: where the view then is in the feed; None for events that came another way.
    """

    view: View[Any]
    events: Sequence[Recorded[Any]]
    cursor: Cursor | None = None


ViewOp: TypeAlias = GetProgress | GetApplied | Apply
"""What every database of views interprets."""
