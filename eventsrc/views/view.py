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
together. When the handlers change, give the view a new version, which is built from the first event, in
a database of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from itertools import groupby
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeAlias
from zlib import crc32

import attrs
from typing_extensions import TypeVar

from eventsrc._errors import EventsrcError
from eventsrc.events.event import EVENTS, EventTypes, Opaque
from eventsrc.events.positions import Cursor
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId, checked_prefix
from eventsrc.programs.operation import Command, Query
from eventsrc.views.guard import Gap

if TYPE_CHECKING:
    from sqlite_utils import Database

E = TypeVar("E")
DB = TypeVar("DB", default="Database")

_OPAQUE: Final = ""
"""Where the handler of Opaque is kept: no event type has this name."""

_LONGEST_NAME: Final = 100
_LAST_VERSION: Final = 2**31 - 1


class ViewError(EventsrcError):
    """A view is declared wrongly, or is used with a database that it does not belong to."""


class View(Generic[DB]):
    """A query model: what its handlers make of the events.

    name, version: which view it is; each version has a progress of its own. A name has at most 100
        letters.
    prefix: it only sees the streams below it ("users/"); empty for all.
    types: where the stored names of its events' classes are looked up.
    unknown: what to do about an event that a handler wants and that cannot be decoded, being of a newer
        version: "fail" takes it for one that failed, "skip" goes on. A handler for Opaque gets all
        events whose types or versions are unknown, instead.
    failing: what to do about an event whose handler raises: "park" holds back its stream and goes on
        with the others, "stop" raises the error, with nothing of the page applied.
    partitions: into how many parts its streams are divided, which several synchronisers can share.
    """

    def __init__(
        self,
        name: str,
        *,
        version: int = 1,
        prefix: str = "",
        types: EventTypes = EVENTS,
        unknown: Literal["fail", "skip"] = "fail",
        failing: Literal["park", "stop"] = "park",
        partitions: int = 1,
    ) -> None:
        _check_name(name)
        _check_number("version", version, _LAST_VERSION)
        _check_number("number of partitions", partitions, 1024)
        if unknown not in ("fail", "skip"):
            raise ViewError(f"unknown is {unknown!r}: choose 'fail' or 'skip'")
        if failing not in ("park", "stop"):
            raise ViewError(f"failing is {failing!r}: choose 'park' or 'stop'")
        self.name: Final = name
        self.version: Final = version
        self.prefix: Final = checked_prefix(prefix)
        self.unknown: Final = unknown
        self.failing: Final = failing
        self.partitions: Final = partitions
        self._types = types
        self._create: Callable[[DB], None] | None = None
        self._handlers: dict[str, Callable[[DB, Recorded[Any]], None]] = {}
        self._many: dict[str, Callable[[DB, Sequence[Recorded[Any]]], None]] = {}

    def schema(self, create: Callable[[DB], None]) -> Callable[[DB], None]:
        """Decorates the function that makes the view's tables, which must be empty then."""
        _check_plain(self, create)
        self._create = create
        return create

    def on(
        self, kind: type[E]
    ) -> Callable[[Callable[[DB, Recorded[E]], None]], Callable[[DB, Recorded[E]], None]]:
        """Decorates the handler of an event type. Raises ViewError if it has one already."""
        name = self._free_name(kind)

        def register(
            handler: Callable[[DB, Recorded[E]], None],
        ) -> Callable[[DB, Recorded[E]], None]:
            _check_plain(self, handler)
            self._handlers[name] = handler
            return handler

        return register

    def on_many(
        self, kind: type[E]
    ) -> Callable[
        [Callable[[DB, Sequence[Recorded[E]]], None]], Callable[[DB, Sequence[Recorded[E]]], None]
    ]:
        """Decorates a handler of several events of a type that follow each other, for speed.

        It must do what handling them one by one would; if it fails, it is called so.
        Raises ViewError if the type has a handler already.
        """
        name = self._free_name(kind)

        def register(
            handler: Callable[[DB, Sequence[Recorded[E]]], None],
        ) -> Callable[[DB, Sequence[Recorded[E]]], None]:
            _check_plain(self, handler)
            self._many[name] = handler
            self._handlers[name] = lambda database, event: handler(database, (event,))
            return handler

        return register

    @property
    def takes_many(self) -> bool:
        """Whether some of its handlers take several events."""
        return bool(self._many)

    def part_of(self, stream: str) -> int:
        """The partition that a stream belongs to, from 0."""
        return crc32(stream.encode()) % self.partitions

    def beside(self, version: int) -> View[DB]:
        """Another version of this view, to ask what it has applied: it has no handlers here."""
        other = copy(self)
        unknown = {"version": version, "partitions": 0, "_handlers": {}, "_many": {}}
        vars(other).update(unknown)
        return other

    def check_partitions(self, found: int) -> None:
        """Raises ViewError if the view was built with another number of partitions."""
        if self.partitions and found not in (0, self.partitions):
            raise ViewError(
                f"{self!r} has {self.partitions} partitions, and was built with {found}: give it a new "
                "version"
            )

    def create(self, database: DB) -> None:
        """Makes the view's tables."""
        if self._create is not None:
            _check_ran(self, self._create(database))

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
            answer = handler(database, event)
        except Exception as error:
            error.add_note(f"while {self!r} applied {event!r}, position {event.record.position}")
            raise
        if answer is not None:
            _check_ran(self, answer)

    def runs(self, events: Sequence[Recorded[Any]]) -> Iterator[Sequence[Recorded[Any]]]:
        """Events as `apply_run` takes them: of one type, or by themselves."""
        for kind, following in groupby(events, key=attrgetter("type")):
            if kind not in self._many or _OPAQUE in self._handlers or self.unknown == "skip":
                yield from zip(following)
            else:
                yield list(following)

    def apply_run(self, database: DB, run: Sequence[Recorded[Any]]) -> None:
        """As `apply` for each of a run, in their order, with the handler that takes several."""
        if len(run) == 1:
            self.apply(database, run[0])
        else:
            _check_ran(self, self._many[run[0].type](database, run))

    def _free_name(self, kind: type) -> str:
        """The stored name of an event type that has no handler yet."""
        name = _OPAQUE if kind is Opaque else self._types.of(kind).name
        if name in self._handlers:
            raise ViewError(f"{self!r} handles {kind.__qualname__} already: keep one handler")
        return name

    def __repr__(self) -> str:
        return f"View({self.name!r}, version={self.version})"


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not 1 <= len(name) <= _LONGEST_NAME:
        raise ViewError(f"a view's name is a text of 1 to {_LONGEST_NAME} letters, not {name!r:.200}")
    if "\0" in name or any("\ud800" <= letter <= "\udfff" for letter in name):
        raise ViewError(f"a view's name has no NUL and no half of a letter in it, as {name!r} has")


def _check_number(what: str, number: object, most: int) -> None:
    if type(number) is not int or not 1 <= number <= most:
        raise ViewError(f"a view's {what} is 1 to {most}, not {number!r:.100}")


def _check_plain(view: View[Any], function: Callable[..., object]) -> None:
    """Raises ViewError for a function that does nothing when it is called, but only when awaited or
    looped over."""
    if inspect.iscoroutinefunction(function):
        what = "a coroutine"
    elif inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        what = "a generator"
    else:
        return
    raise ViewError(
        f"{function!r} is {what}, of which {view!r} would run nothing: handlers are plain functions, "
        "since all that they write is in one transaction"
    )


def _check_ran(view: View[Any], answer: object) -> None:
    """Raises ViewError if what a handler answers is what it should have done."""
    if inspect.isawaitable(answer) or inspect.isgenerator(answer) or inspect.isasyncgen(answer):
        if inspect.iscoroutine(answer):
            answer.close()  # nobody is to be told that it was never awaited
        raise ViewError(
            f"a handler of {view!r} answered {answer!r:.100} and has not run: handlers are plain "
            "functions, which await nothing"
        )


# --- the view operations --------------------------------------------------------------------------


@attrs.frozen
class Lease:
    """A partition of a view that is somebody's for a while.

    token: goes up with each owner; what one that has lost the partition applies is refused by it.
    seconds: how long the partition is kept for an owner that is not heard of.
    """

    part: int
    token: int
    seconds: float


def check_lease(seconds: float) -> None:
    """Raises ValueError for what is no time that a lease can have."""
    if not 0 < seconds < inf:
        raise ValueError(
            f"a lease of {seconds} seconds keeps nothing for anybody: give more, in seconds"
        )


@attrs.frozen
class Part:
    """How far one partition of a view has come in the feed of its store."""

    cursor: Cursor
    """After the last event of the feed that it has dealt with."""
    applied: int
    """How many events it has dealt with, one way or another."""
    owner: str | None = None
    """Who has it, if several synchronisers share the view."""


@attrs.frozen
class Progress:
    """How far a view has come."""

    parts: tuple[Part, ...]

    @property
    def cursor(self) -> Cursor:
        """Where the last of its partitions is in the feed."""
        return min((part.cursor for part in self.parts), key=lambda cursor: cursor.position)

    @property
    def applied(self) -> int:
        """How many events it has dealt with, one way or another."""
        return sum(part.applied for part in self.parts)


@attrs.frozen
class Failed:
    """An event that a view's handler could not apply; the view is as if it had not come."""

    stream: StreamId
    version: int
    position: int
    type: str
    error: str
    is_deadly: bool = False
    """Whether it seems to have ended the process, again and again."""


@attrs.frozen
class Parked:
    """A stream of which a view applies nothing, because an event of it failed: see `retry`."""

    stream: StreamId
    version: int
    """The event's version; those after it are held back."""
    position: int
    type: str
    error: str
    attempts: int
    held: int
    """The version of the last event that came and was held back."""
    since: str
    """When it was first parked, UTC."""
    is_deadly: bool


@attrs.frozen
class Applied:
    """What became of some events that were delivered to a view."""

    applied: int
    ignored: int
    """How many it had dealt with before."""
    gaps: tuple[Gap, ...] = ()
    """Where events are missing; if there are any, the view's cursor was not moved."""
    held: int = 0
    """How many streams of these events are parked."""
    failed: tuple[Failed, ...] = ()
    """The events that could not be applied: their streams are parked, and the others went on."""
    left: int = 0
    """How many of these events have not been looked at, since applying took long: apply them again. The
    view's cursor is before them."""


class LostLease(ViewError):
    """A partition has another owner by now: nothing was applied."""


class GetProgress(Query[Progress]):
    """How far a view has come."""

    view: View[Any]


class GetApplied(Query[Mapping[StreamId, int]]):
    """The versions that a view has applied of some streams: 0 for none.

    store: whose streams they are, if that is known; raises WrongStore if the view is of another.
    """

    view: View[Any]
    streams: tuple[StreamId, ...]
    store: str | None = None


class GetParked(Query[tuple[Parked, ...]]):
    """The parked streams of a view."""

    view: View[Any]


class Apply(Command[Applied]):
    """Applies those events that a view has not applied before and whose turn it is, in one transaction.

    The streams of events that fail are parked in it, and those that the view does not see are left out.

    cursor: where the view then is in the feed; None for events that came another way.
    part: the partition of the view that the cursor is of.
    lease: what makes the partition the caller's; raises LostLease if it is another's.
    parked_too: whether to try events of parked streams.
    store: whose events they are, if that is known; raises WrongStore if the view is of another.
    within: for how many seconds to wait for others who apply, before StoreBusy; None for as long as the
        views wait for anything.
    """

    view: View[Any]
    events: Sequence[Recorded[Any]]
    cursor: Cursor | None = None
    part: int = 0
    lease: Lease | None = None
    parked_too: bool = False
    store: str | None = None
    within: float | None = None


class Park(Command[None]):
    """Holds back a stream from an event on, until `Unpark`; the other streams go on.

    Nothing is done if the event is applied by now: somebody else has brought the view past it.
    """

    view: View[Any]
    failed: Failed


class Unpark(Command[bool]):
    """Lets a parked stream go on, if all that was held back of it is applied; answers whether it is."""

    view: View[Any]
    stream: StreamId


class Claim(Command[tuple[Lease, ...]]):
    """Takes or keeps an owner's share of the partitions of a view; answers those that it has.

    owner: a name of its own for each synchroniser.
    seconds: how long others leave them alone if the owner does not claim again. Raises ValueError for a
        lease of no time.
    """

    view: View[Any]
    owner: str
    seconds: float


class Leave(Command[None]):
    """Gives an owner's partitions to the others."""

    view: View[Any]
    owner: str


class GetLive(Query[int]):
    """The version of a view that queries read; 0 if there is none yet."""

    view: View[Any]


class GoLive(Command[None]):
    """Has queries read this version of a view from now on. Raises ViewError if it was never built."""

    view: View[Any]


class Discard(Command[None]):
    """Removes what a version of a view has built. Raises ViewError for the one that queries read."""

    view: View[Any]


ViewOp: TypeAlias = (
    GetProgress
    | GetApplied
    | GetParked
    | Apply
    | Park
    | Unpark
    | Claim
    | Leave
    | GetLive
    | GoLive
    | Discard
)
"""What every database of views interprets."""
