"""The store operations, their answers, and what every store promises.

These operations are the bottom of the house: services, folds and views are programs over them, and a
store is an interpreter of exactly these. What a store promises (durable once acknowledged, all or
nothing, versions without holes, a feed that never skips) is in docs/guarantees.md and is tested by
`eventsrc.testing.StoreContract`, for the stores here and for anybody's.
What stores do alike, such as checking what they are given, is in stores/prepare.py.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any, Final, Generic, Never, TypeAlias, TypeVar
from uuid import UUID

import attrs

from eventsrc._errors import EventsrcError
from eventsrc.events.codec import Json
from eventsrc.events.epochs import FIRST, Epochs
from eventsrc.events.pages import decoded
from eventsrc.events.positions import START, Cursor, Token
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.operation import Command, Derived, Query
from eventsrc.programs.program import Effect, Outcome, pure

E_co = TypeVar("E_co", covariant=True)

MAX_PAGE: Final = 10_000
"""The most events that one page holds."""

MAX_PAGE_BYTES: Final = 8 * 1024 * 1024
"""The most bytes of data, with the metadata that was read, that a page of more than one event holds."""

CONFLICT_EVENTS: Final = 100
"""The most events that a Conflict carries: fewer where they are more than one page holds."""


# --- conditions -----------------------------------------------------------------------------------


class Expect(enum.Enum):
    """A condition on a stream's version other than an exact number."""

    ANY = "any version"
    NO_STREAM = "no stream"
    EXISTS = "an existing stream"

    def __repr__(self) -> str:
        return self.name


ANY: Final = Expect.ANY
NO_STREAM: Final = Expect.NO_STREAM
EXISTS: Final = Expect.EXISTS

Expected: TypeAlias = int | Expect | Token
"""The condition of an append: an exact version (0: no events), ANY, NO_STREAM, EXISTS, or a token: the
version that it has seen of the stream."""


def is_met(expected: int | Expect, version: int) -> bool:
    """Whether a stream at this version fulfils the condition."""
    if expected is ANY:
        return True
    if expected is NO_STREAM:
        return version == 0
    if expected is EXISTS:
        return version > 0
    return version == expected


@attrs.frozen
class StreamAppend:
    """The part of an AppendAll for one stream."""

    stream: StreamId
    events: tuple[object, ...]
    expected: Expected = ANY


@attrs.frozen
class Condition:
    """A demand of an AppendAll on a stream that was only read."""

    stream: StreamId
    expected: Expected


# --- answers --------------------------------------------------------------------------------------


@attrs.frozen
class Appended:
    """The events are stored, at the level of durability that the store names."""

    append_id: UUID
    token: Token
    """The version of each stream after its last event of this append."""
    cursor: Cursor
    """The position of the append's last event in the feed."""

    @property
    def version(self) -> int:
        """The version of the stream, of an append to one. Raises ValueError after one to several."""
        (version,) = self.token.versions.values()
        return version


@attrs.frozen
class Conflict:
    """Nothing is stored: a stream was not at the expected version."""

    stream: StreamId
    expected: int | Expect
    actual: int
    events: Sequence[Recorded[Any]] = ()
    """The first events since the expected version, at most 100 and at most what a page holds; none if
    that was not an exact version."""

    @property
    def missed(self) -> int | None:
        """The number of events since the expected version, of which `events` has the first.

        None if that was no exact version, or if the stream is not so far any more: it was restored.
        """
        if isinstance(self.expected, int) and self.actual >= self.expected:
            return self.actual - self.expected
        return None

    def __str__(self) -> str:
        # without the events, which may hold what not everybody who reads errors may see
        return f"a conflict: {self.stream} is at version {self.actual}, not {self.expected}"


@attrs.frozen
class Rejected:
    """Nothing is stored, and nothing would be if it were tried again."""

    reason: str


@attrs.frozen
class Unknown:
    """It cannot be known now whether the events are stored.

    Appending the same events again with the same append_id settles it: it stores them once. FindAppend
    finds them if they are stored; that it finds none is the last word only once nothing of the append
    can be on its way to the store any more.
    """

    append_id: UUID
    reason: str


NotAppended: TypeAlias = Conflict | Rejected | Unknown
"""The reasons why events are not known to be stored."""

AppendOutcome: TypeAlias = Outcome[Appended, NotAppended]


@attrs.frozen
class Page(Generic[E_co]):
    """Some events of a stream, in the order that was asked for."""

    events: Sequence[Recorded[E_co]]
    head: int
    """The stream's version when the page was read."""
    token: Token
    """The stream's head: what the reader of its last page has seen."""
    is_last: bool
    """Whether nothing came after it, in the direction of reading, when it was read."""

    @property
    def data(self) -> Sequence[E_co]:
        """The events themselves, decoded together, which is faster than one by one."""
        return decoded(self.events)


@attrs.frozen
class Blocked:
    """The holder of a position in the feed, which keeps later events out of it for now."""

    reason: str


@attrs.frozen
class FeedPage(Generic[E_co]):
    """Some events of the feed, in its order."""

    events: Sequence[Recorded[E_co]]
    next: Cursor
    """Where to go on: after the last event that was looked at, whether it is in the page or not."""
    end: Cursor
    """The end of the feed when the page was read."""
    blocked: Blocked | None = None

    @property
    def data(self) -> Sequence[E_co]:
        """The events themselves, decoded together, which is faster than one by one."""
        return decoded(self.events)


@attrs.frozen
class Snapshot:
    """The state that a fold had at a version of a stream, as bytes."""

    stream: StreamId
    fold: str
    fold_version: int
    version: int
    data: bytes


# --- the operations -------------------------------------------------------------------------------


class Append(Command[Outcome[Appended, NotAppended]]):
    """Appends events to a stream if it is at the expected version.

    append_id: chosen by the caller to make a retry safe: the same events with the same id are stored
        once, and answered with the original result; other events with it are Rejected. None: a new one.
        Streams, events and their order are compared, and neither `expected` nor the metadata.
    metadata: stored with each of the events. Some keys have fixed meanings: see stores/metadata.py.
    request: what is asked for under the append_id, as `eventsrc.stores.requests.request_of` makes it.
        A digest of it is kept: the same events, under the same id, for another request are Rejected.
    """

    stream: StreamId
    events: tuple[object, ...]
    expected: Expected = ANY
    append_id: UUID | None = None
    metadata: Json = attrs.field(factory=dict[str, Any], hash=False)
    request: bytes | None = None


class AppendAll(Command[Outcome[Appended, NotAppended]]):
    """Appends to several streams, all or nothing, if every one is at its expected version.

    conditions: on streams that are not appended to. Otherwise as Append.
    """

    appends: tuple[StreamAppend, ...]
    conditions: tuple[Condition, ...] = ()
    append_id: UUID | None = None
    metadata: Json = attrs.field(factory=dict[str, Any], hash=False)
    request: bytes | None = None


class Read(Query[Page[Any]]):
    """One page of a stream, oldest first or (`backwards`) newest first.

    after: the version to go on from in that direction, exclusive; 0 for the oldest or newest event.
    limit: at most so many events, 1 to 10 000. A page has fewer before the last one, too, where they
        would be more than 8 MiB of data; it has one at least, however large that is.
    whole: whether more is wanted than the events themselves: their positions, times, ids and metadata,
        which a store may otherwise leave out, to be faster.
    A stream that does not exist is an empty page at version 0, not an error.
    """

    stream: StreamId
    after: int = 0
    limit: int = 500
    backwards: bool = False
    whole: bool = True


class Head(Query[int]):
    """The version of a stream: 0 if it has no events."""

    stream: StreamId


class ReadFeed(Query[FeedPage[Any]]):
    """One page of the feed: all events of the store in an order that never changes and never skips.

    after: START, or a page's `next`, or an Appended's `cursor`.
    limit: at most so many events, 1 to 10 000.
    prefix: only events of the streams below it; empty, or ending with `/`.
    types: only events of types with these stored names; None for all.
    whole: as of Read.
    all_streams: whether to tell of the library's own streams too, below `eventsrc/`. A prefix of theirs
        asks for them as well.
    A page may be short, or empty, before the end of the feed, since a store looks at so many events at
    a time and no more, such as 10 000, whatever it finds, and a page is bounded as of Read: go on from
    `next` until that is `end`.
    """

    after: Cursor = START
    limit: int = 500
    prefix: str = ""
    types: frozenset[str] | None = None
    whole: bool = True
    all_streams: bool = False


class LoadSnapshot(Query[Snapshot | None]):
    """The newest snapshot of a stream by this fold, of just this version of the fold."""

    stream: StreamId
    fold: str
    fold_version: int


class SaveSnapshot(Command[None]):
    """Keeps a snapshot, in place of an older one of the same stream, fold and fold version."""

    snapshot: Snapshot


class FindAppend(Query[Appended | None]):
    """Asks for an append's original result by its id; None if nothing with this id is stored.

    request: that for which it must be, as of Append; None for any. Raises OtherRequest if it is not
        known to be.
    """

    append_id: UUID
    request: bytes | None = None


class GetEpochs(Derived[Epochs]):
    """The epochs of the store. One that does not interpret it was never restored."""

    lower = ()

    def meaning(self) -> Effect[Never, Epochs]:
        """The first and no other."""
        return pure(FIRST)


class RaiseEpoch(Command[int]):
    """Begins another epoch of the store, at the end of its feed; answers its number."""


StoreOp: TypeAlias = (
    Append | AppendAll | Read | Head | ReadFeed | LoadSnapshot | SaveSnapshot | FindAppend
)
"""The operations that every store interprets."""

EpochOp: TypeAlias = GetEpochs | RaiseEpoch
"""The operations, besides, of a store that can be told that it was restored."""


# --- what goes wrong with stores ------------------------------------------------------------------


class StoreError(EventsrcError):
    """A store cannot do what it is for. Unless it says otherwise, nothing was stored.

    may_pass: whether time may mend it, so that it makes sense to try again; False if somebody has to
        change the program, its settings or its rights.
    """

    may_pass: bool = False


def passing(error: StoreError) -> StoreError:
    """The error, as one that time may mend."""
    error.may_pass = True
    return error


class StoreBusy(StoreError):
    """Others kept the store busy until the deadline."""

    may_pass = True


class StoreFull(StoreError):
    """There is no room for more."""

    may_pass = True


class StoreReadOnly(StoreError):
    """The store can be read and not written."""


class StoreClosed(StoreError):
    """The store was closed, or belongs to another process."""


class Unreachable(StoreError):
    """A database cannot be connected to, or ended the connection before it did anything."""

    may_pass = True


class Lost(StoreError):
    """The connection broke before the database had answered: what it did is unknown."""

    may_pass = True


class Refused(StoreError):
    """A unique index refuses what was to be stored."""


class NotAStore(StoreError):
    """A file or schema is no store, or one of a newer version of this library."""
