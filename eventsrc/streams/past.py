"""The past: a store as it was, for whole programs to ask.

`as_of(store, at)` interprets the queries of a store as it would have answered them then. So a service's
own query programs answer about the past, unchanged. The past cannot be written.

The past is a position in the feed, the same for all streams, or a token, which names versions. A time
is taken to be a position: that before an event recorded later.
"""

from __future__ import annotations

import datetime
from bisect import bisect_right
from collections.abc import Callable
from typing import Any, Never, NoReturn, TypeAlias, TypeVar, overload

from eventsrc._errors import EventsrcError
from eventsrc.events.epochs import Epochs
from eventsrc.events.positions import START, Cursor, NotInToken, Token
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.interpreter import AsyncInterpreter, Interpreter, Translation, on, scope_of
from eventsrc.programs.program import Do, Effect, Program, intercept
from eventsrc.stores.epochs import check_token, get_epochs
from eventsrc.stores.operations import (
    Append,
    AppendAll,
    Appended,
    FeedPage,
    FindAppend,
    GetEpochs,
    Head,
    LoadSnapshot,
    Page,
    Read,
    ReadFeed,
    SaveSnapshot,
    Snapshot,
    StoreOp,
)
from eventsrc.stores.prepare import check, check_end, check_tagged, page_of
from eventsrc.stores.tags import APPENDS, AppendIf, IndexTags, ReadTagged, TagOp
from eventsrc.streams.fold import Folded, Load, NoSuchVersion

O = TypeVar("O")
R = TypeVar("R")


class PastIsReadOnly(EventsrcError):
    """A program wrote to the past."""


class _Past(Translation[StoreOp | GetEpochs | Load, StoreOp]):
    """Answers queries from those events of a store that are not after a position."""

    def __init__(self, at: Cursor | Token | datetime.datetime) -> None:
        if not isinstance(at, Cursor | Token | datetime.datetime):
            raise TypeError(
                f"{at!r:.100} is no past: give a Cursor, a Token, or a time, datetime(..., tzinfo=UTC)"
            )
        if isinstance(at, datetime.datetime) and at.tzinfo is None:
            raise ValueError(f"{at} has no time zone: write datetime(..., tzinfo=UTC)")
        self._at = at
        # What has been found stays found, whoever finds it first: the past does not change.
        self._places: dict[None, Cursor] = {}
        self._versions: dict[StreamId, int] = {}

    @on(Read).program
    def read(self, op: Read) -> Do[Read | ReadFeed, Page[Any]]:
        check(op)
        until = yield from self._until(op.stream)
        if op.backwards:
            after = min(op.after or until + 1, until + 1)
            page: Page[Any] = yield from Read(op.stream, after, op.limit, True, op.whole)
            events = page.events
        else:
            room = max(until - op.after, 0)
            page = yield from Read(op.stream, op.after, min(op.limit, room or 1), False, op.whole)
            events = page.events[:room]
        return page_of(op, events, page.token.store_id, until, page.token.epoch)

    @on(Head).program
    def head(self, op: Head) -> Do[Read | ReadFeed, int]:
        check(op)
        return (yield from self._until(op.stream))

    @on(ReadFeed).program
    def read_feed(self, op: ReadFeed) -> Do[ReadFeed, FeedPage[Any]]:
        self._check_has_place()
        check(op)
        end = yield from self._cursor()
        op.after.check(end.store_id)
        if op.after.epoch != end.epoch:
            (yield from get_epochs()).check(op.after)
        check_end(op, end.position)
        page = yield from ReadFeed(  # whole: positions are asked for
            op.after, op.limit, op.prefix, op.types, all_streams=op.all_streams
        )
        until = bisect_right(page.events, end.position, key=lambda event: event.position)
        reached = min(page.next, end)
        blocked = page.blocked if reached < end else None
        return FeedPage(page.events[:until], reached, end, blocked)

    def read_tagged(self, op: ReadTagged) -> Do[ReadTagged | ReadFeed, FeedPage[Any]]:
        """A page of a boundary as it was at a cursor."""
        self._check_has_place()
        check_tagged(op)
        end = yield from self._cursor()
        check_end(op, end.position)
        page = yield from op
        until = bisect_right(page.events, end.position, key=lambda event: event.position)
        return FeedPage(page.events[:until], min(page.next, end), end)

    @on(LoadSnapshot).program
    def load_snapshot(self, op: LoadSnapshot) -> Do[LoadSnapshot | Read | ReadFeed, Snapshot | None]:
        kept = yield from op
        until = yield from self._until(op.stream)
        return kept if kept is not None and kept.version <= until else None

    @on(FindAppend).program
    def find_append(self, op: FindAppend) -> Do[FindAppend | Read | ReadFeed, Appended | None]:
        found = yield from op
        if found is None:
            return None
        if not isinstance(self._at, Token):
            return found if found.cursor <= (yield from self._cursor()) else None
        for stream, version in found.token.versions.items():
            if version > (yield from self._until(stream)):
                return None
        return found

    @on(Load).program
    def load(self, op: Load) -> Program[StoreOp, Folded[Any]]:
        load = Load(op.stream, op.fold.without_saving(), op.known, op.consistency)
        return self.lower(load.meaning())

    @on(Append).program
    def append(self, op: Append) -> NoReturn:
        raise self.refusal(op)

    @on(AppendAll).program
    def append_all(self, op: AppendAll) -> NoReturn:
        raise self.refusal(op)

    @on(SaveSnapshot).program
    def save_snapshot(self, op: SaveSnapshot) -> NoReturn:
        raise self.refusal(op)

    @on(GetEpochs).program
    def get_epochs(self, op: GetEpochs) -> Do[Never, Epochs]:
        return (yield from get_epochs())

    def refusal(self, op: object) -> PastIsReadOnly:
        """The error for what cannot be done in the past."""
        return PastIsReadOnly(
            f"{op!r:.200} cannot be done as of {self._at}: the past is for queries; run it on the store"
        )

    def _check_has_place(self) -> None:
        if isinstance(self._at, Token):
            raise NotInToken(
                "a token names versions of streams, and no position in the feed: "
                "ask as of a Cursor or a time, or read the streams"
            )

    # --- how far the past goes ----------------------------------------------------------------------

    def _until(self, stream: StreamId) -> Do[Read | ReadFeed, int]:
        """The version that a stream had."""
        found = self._versions.get(stream)
        if found is None:
            if isinstance(self._at, Token):
                found = yield from _seen(self._at, stream)
            else:
                cursor = yield from self._cursor()
                found = yield from _version_at(stream, cursor.position)
            self._versions[stream] = found
        return found

    def _cursor(self) -> Do[ReadFeed, Cursor]:
        """The position in the feed; one for all streams, found when it is first asked for."""
        found = self._places.get(None)
        if found is None:
            assert not isinstance(self._at, Token)
            if isinstance(self._at, Cursor):
                end = (yield from ReadFeed(self._at, 1)).end  # refuses another store's, and the future
                found = Cursor(end.store_id, self._at.position, end.epoch)
            else:
                found = yield from _place_at(self._at)
            found = self._places.setdefault(None, found)
        return found


class _PastOfTags(Translation[TagOp, ReadTagged | ReadFeed]):
    """As _Past, of what a store that keeps tags does besides."""

    def __init__(self, past: _Past) -> None:
        self._past = past

    @on(ReadTagged).program
    def read_tagged(self, op: ReadTagged) -> Do[ReadTagged | ReadFeed, FeedPage[Any]]:
        return (yield from self._past.read_tagged(op))

    @on(AppendIf).program
    def append_if(self, op: AppendIf) -> NoReturn:
        raise self._past.refusal(op)

    @on(IndexTags).program
    def index_tags(self, op: IndexTags) -> NoReturn:
        raise self._past.refusal(op)


def _seen(token: Token, stream: StreamId) -> Do[Read, int]:
    """The version of a stream that a token has seen."""
    page = yield from Read(stream, 0, 1, whole=False)
    version = token.of(stream)
    yield from check_token(token, page, stream)
    if page.head < version:
        raise NoSuchVersion(f"{stream} is at version {page.head}: it has not reached {version}")
    return version


def _version_at(stream: StreamId, position: int) -> Do[Read, int]:
    """The version of a stream at a position in the feed, by bisection."""
    page = yield from Read(stream, 0, 1, backwards=True)
    if not page.events or page.events[0].position <= position:
        return page.head
    low, high = 0, page.head
    while high - low > 1:
        middle = (low + high) // 2
        (event,) = (yield from Read(stream, middle - 1, 1)).events
        if event.position <= position:
            low = middle
        else:
            high = middle
    return low


def _place_at(time: datetime.datetime) -> Do[ReadFeed, Cursor]:
    """The position in the feed at a time, by bisection."""
    end = (yield from ReadFeed(START, 1)).end
    low, high = 0, end.position
    while low < high:
        middle = (low + high) // 2
        cursor = Cursor(end.store_id, middle, end.epoch)
        events = (yield from ReadFeed(cursor, 1, all_streams=True)).events
        if events and events[0].recorded_at <= time:
            low = events[0].position
        else:
            high = middle
    return Cursor(end.store_id, low, end.epoch)


@overload
def as_of(
    store: Interpreter[StoreOp | TagOp], at: Cursor | Token | datetime.datetime
) -> Interpreter[StoreOp | TagOp]: ...
@overload
def as_of(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    store: Interpreter[StoreOp], at: Cursor | Token | datetime.datetime
) -> Interpreter[StoreOp]: ...
@overload
def as_of(
    store: AsyncInterpreter[StoreOp | TagOp], at: Cursor | Token | datetime.datetime
) -> AsyncInterpreter[StoreOp | TagOp]: ...
@overload
def as_of(
    store: AsyncInterpreter[StoreOp], at: Cursor | Token | datetime.datetime
) -> AsyncInterpreter[StoreOp]: ...
def as_of(
    store: AsyncInterpreter[Any], at: Cursor | Token | datetime.datetime
) -> AsyncInterpreter[Any]:
    """An interpreter of a store's queries as of a position, a token or a time.

    at: a Cursor, for all streams at one position in the feed; a Token, for just the streams that it
        names; or a time with its zone, for the position before an event recorded later. If clocks went
        back there may be several such positions, and it is one of them; a time to come means now.
    Finding a stream's version takes reads in proportion to the logarithm of its length, once.
    Its programs raise PastIsReadOnly for a write, NotInToken for what a token does not tell, WrongStore
    and BadCursor for a position that the store never had. Raises ValueError for a time without a zone.
    """
    past = _Past(at)
    if not keeps_tags(store):
        return past.into(store)
    return past.into(store) | _PastOfTags(past).into(store)


def keeps_tags(store: AsyncInterpreter[Any]) -> bool:
    """Whether a store performs the operations of tags."""
    return scope_of(store).handles(ReadTagged)


_Asked: TypeAlias = Load | Read | Head | ReadFeed | ReadTagged


def before(appended: Appended) -> Do[Read, Callable[[_Asked], Do[StoreOp | ReadTagged, Any]]]:
    """Answers queries as of the moment at which an append was stored, without its events."""
    indexes: list[int] = []
    for stream, version in appended.token.versions.items():
        (event,) = (yield from Read(stream, version - 1, 1)).events
        indexes.append(event.record.offset)  # positions of an append stand together
    end = appended.cursor
    return _queries(Cursor(end.store_id, end.position - max(indexes) - 1, end.epoch))


def after(appended: Appended) -> Callable[[_Asked], Do[StoreOp | ReadTagged, Any]]:
    """As `before`, with its events."""
    return _queries(appended.cursor)


def _queries(at: Cursor) -> Callable[[_Asked], Do[StoreOp | ReadTagged, Any]]:
    past = _Past(at)

    def ask(op: _Asked) -> Do[StoreOp | ReadTagged, Any]:
        match op:
            case ReadFeed():
                return (yield from past.read_feed(op))
            case ReadTagged():
                return (yield from past.read_tagged(op))
            case Load():
                return (yield from past.load(op))
            case Read():
                return (yield from past.read(op))
            case Head():
                return (yield from past.head(op))

    return ask


def as_it_was(program: Effect[O, R], at: Cursor | Token | datetime.datetime) -> Program[O | StoreOp, R]:
    """The program, whose queries of the store are answered as of a position, a token or a time.

    As `as_of`, for a part of a program: what else it performs, such as asking the time, is performed as
    ever. at: as of `as_of`.
    """
    past = _Past(at)

    def lower(op: Any) -> Any:
        match op:
            case ReadTagged():
                return past.read_tagged(op)
            case AppendIf():
                raise past.refusal(op)
            case _:
                return past.lower(op)

    asked = (Read, Head, ReadFeed, ReadTagged, LoadSnapshot, FindAppend, Load, *APPENDS, SaveSnapshot)
    return intercept(program, lower, taking=(Load,), only=asked)
