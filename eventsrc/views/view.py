"""Views: query models that are derived from events.

A view is a name, a version and a handler for each type of event that it cares about. The handler gets
the view's database, inside a transaction, and the recorded event:

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
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import wraps
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Generic, Literal
from zlib import crc32

from typing_extensions import TypeVar

from eventsrc._errors import EventsrcError
from eventsrc._pickling import ByName
from eventsrc.events.event import EVENTS, EventTypes, Opaque
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import RESERVED, checked_prefix

if TYPE_CHECKING:
    from sqlite_utils import Database

E = TypeVar("E")
DB = TypeVar("DB", default="Database")

_OPAQUE: Final = ""
"""The key of the handler of Opaque: no event type has this name."""

_LONGEST_NAME: Final = 100
_LAST_VERSION: Final = 2**31 - 1


class ViewError(EventsrcError):
    """A view is declared wrongly, or is used with a database that it does not belong to."""


class BadHandler(ViewError):
    """A handler did with the transaction that it runs in, or left undone, what no handler may.

    Its event is parked, as that of a handler that raises an error is.
    """


class View(ByName, Generic[DB]):
    """A query model, which its handlers make of the events.

    name, version: which view it is; each version has a progress of its own. A name has at most 100
        letters.
    prefix: it only sees the streams below it ("users/"); empty for all but the library's own.
    all_streams: whether it sees those too, below `eventsrc/`.
    types: where the stored names of its events' classes are looked up.
    unknown: what to do about an event that a handler wants and that cannot be decoded, being of a newer
        version: "fail" takes it for one that failed, "skip" goes on. A handler for Opaque gets all
        events whose types or versions are unknown, instead.
    failing: what to do about an event whose handler raises: "park" holds back its stream and goes on
        with the others, "stop" raises the error, with nothing of the page applied.
    partitions: the number of partitions of its streams, which several followers can share.
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
        all_streams: bool = False,
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
        self.all_streams: Final = all_streams
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
            self._handlers[name] = wraps(handler)(lambda database, event: handler(database, (event,)))
            return handler

        return register

    @property
    def handled(self) -> tuple[str, ...]:
        """The stored names of the event types that it has handlers for, and "Opaque" for those of all
        that are unknown."""
        return tuple(sorted(name or "Opaque" for name in self._handlers))

    @property
    def takes_many(self) -> bool:
        """True if some of its handlers take several events."""
        return bool(self._many)

    def sees(self, stream: str) -> bool:
        """Whether its handlers are given the events of a stream."""
        if self.prefix:
            return stream.startswith(self.prefix)
        return self.all_streams or not stream.startswith(RESERVED)

    def partition_of(self, stream: str) -> int:
        """The partition that a stream belongs to, from 0."""
        return crc32(stream.encode()) % self.partitions

    def beside(self, version: int) -> View[DB]:
        """Another version of this view, to ask what it has applied: it has no handlers here."""
        other: View[DB] = View.__new__(type(self))
        vars(other).update(vars(self))
        unknown = {"version": version, "partitions": 0, "_handlers": {}, "_many": {}}
        vars(other).update(unknown)
        return other

    def check_partitions(self, found: int) -> None:
        """Raises ViewError if the view was built with another number of partitions."""
        if self.partitions and found not in (0, self.partitions):
            raise ViewError(
                f"{self!r} has {self.partitions} partitions, and was built with {found}: give it a new "
                "version, or build this one anew in its place: rebuild(view, in_place=True)"
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
            if answer is not None:
                _check_ran(self, answer)
        except BaseException as error:
            self.tell(error, event)
            raise

    def tell(self, error: BaseException, event: Recorded[Any]) -> None:
        """Adds to an error, once, at which event it came, and in which handler."""
        record = event.record
        began = f"while {self!r} applied "
        if any(str(note).startswith(began) for note in getattr(error, "__notes__", ())):
            return
        opaque = None if event.is_known else self._handlers.get(_OPAQUE)
        handler = opaque or self._handlers.get(event.type)
        name = getattr(handler, "__qualname__", type(handler).__qualname__)
        by = "" if handler is None else f", by its handler {name}"
        try:
            told = repr(event)
        except Exception:  # of a `__repr__` of the user's
            told = f"<{record.stream}@{record.version}>"
        error.add_note(f"{began}{told}, position {record.position}{by}")

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
        raise ViewError(f"a view's name cannot contain NUL or a lone surrogate: {name!r}")


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
    """Raises BadHandler for an answer that is work not done: an awaitable or a generator."""
    if inspect.isawaitable(answer) or inspect.isgenerator(answer) or inspect.isasyncgen(answer):
        if inspect.iscoroutine(answer):
            answer.close()  # or Python warns that it was never awaited
        raise BadHandler(
            f"a handler of {view!r} answered {answer!r:.100} and has not run: handlers are plain "
            "functions, which await nothing"
        )


def distinct(views: Iterable[View[DB]]) -> list[View[DB]]:
    """Some views. Raises ViewError for two of one name and version: they would share their tables."""
    found: dict[tuple[str, int], View[DB]] = {}
    for view in views:
        other = found.setdefault((view.name, view.version), view)
        if other is not view:
            raise ViewError(
                f"there are two views {view!r}, which would write to the same tables and share their "
                "progress: give one of them another name, or another version"
            )
    return [*found.values()]
