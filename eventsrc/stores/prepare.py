"""The work that all stores do alike: check and encode before anything is written, and answer.

For whoever writes a store: `prepare` an Append or AppendAll first; look whether its append_id is stored
already, and if so answer `again`; look for an `unmet` condition, and if there is one answer a Conflict;
make and keep the records; answer `appended`. stores/memory.py does this in a page.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, compress, repeat
from operator import contains, itemgetter
from typing import Any, Final, NoReturn, TypeVar
from uuid import UUID

import attrs
from returns.result import Failure, Success

from eventsrc._errors import with_article
from eventsrc.events._exact import NotStorable
from eventsrc.events._sealed import SEALED, check_unsealed
from eventsrc.events.codec import MAX_DATA_BYTES, Codec, Encoded, Json
from eventsrc.events.epochs import Epochs
from eventsrc.events.event import Opaque
from eventsrc.events.positions import BadCursor, Cursor, Token
from eventsrc.events.record import REQUEST, Record, make_records
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import MAX_ID_BYTES as MAX_NAME
from eventsrc.events.stream_id import RESERVED, BadStreamId, StreamId, checked_prefix, stored_id
from eventsrc.events.tags import Boundary
from eventsrc.programs.program import Outcome
from eventsrc.stores._ids import new_append_id as new_append_id
from eventsrc.stores._tagging import Bound, Tagging, bounds_of, tagging_of
from eventsrc.stores.metadata import check_metadata
from eventsrc.stores.operations import (
    ANY,
    MAX_PAGE,
    MAX_PAGE_BYTES,
    Append,
    AppendAll,
    Appended,
    Condition,
    Expect,
    Expected,
    FindAppend,
    Head,
    LoadSnapshot,
    NotAppended,
    Page,
    Read,
    ReadFeed,
    Rejected,
    SaveSnapshot,
    Snapshot,
    StreamAppend,
    is_met,
)
from eventsrc.stores.requests import digest_in, digest_of, other_request
from eventsrc.stores.tags import AppendIf, BoundaryChanged, ReadTagged

E = TypeVar("E")
R = TypeVar("R", bound=Record)

# --- checking appends -----------------------------------------------------------------------------


_NUMBERS: Final = 2**63
"""Versions and positions are less than this."""


@attrs.define
class Part:
    """The events that an append brings to one stream, encoded."""

    stream: StreamId
    expected: int | Expect
    events: list[Encoded]
    epoch: int = 0
    """That in which a token saw the expected version; 0 for what no token said."""


@attrs.define
class Demand:
    """A demand of an append on a stream that it does not append to."""

    stream: StreamId
    expected: int | Expect
    epoch: int = 0
    """As of a Part."""


@attrs.define
class Prepared:
    """An append that has been checked and encoded: nothing in it can be refused any more."""

    append_id: UUID
    """Another until it is stored, if the caller did not choose it and the store has its own: OwnIds."""
    parts: tuple[Part, ...]
    demands: tuple[Demand, ...]
    metadata: bytes
    is_keyed: bool
    """Whether the caller chose the append_id, so that it may have been stored before."""
    digest: str | None = None
    """Of the request that it is made for; it is in the metadata too."""
    tagging: Tagging | None = None
    """None if no event of it is declared with tags, or the store keeps none."""
    bounds: tuple[Bound, ...] = ()
    """The boundaries that must be unchanged."""

    @property
    def streams(self) -> tuple[Part | Demand, ...]:
        """All that it demands something of: what it appends to, and then what it does not."""
        return (*self.parts, *self.demands) if self.demands else self.parts

    def unmet(self, version_of: Callable[[StreamId], int]) -> tuple[StreamId, int | Expect, int] | None:
        """The first condition that does not hold: stream, expected and actual version."""
        for demand in self.streams:
            if demand.expected is not ANY:
                version = version_of(demand.stream)
                if not is_met(demand.expected, version):
                    return demand.stream, demand.expected, version
        return None

    def check_epochs(self, epochs: Epochs, position_of: Callable[[StreamId, int], int | None]) -> None:
        """Raises WrongEpoch if a token that is expected saw what the store does not have any more.

        position_of: an event, by stream and version; None for one that there is not.
        """
        for stream, version, epoch in self.of_other_epochs(epochs.current):
            check_seen(epochs, epoch, stream, version, position_of(stream, version))

    def of_other_epochs(self, epoch: int) -> list[tuple[StreamId, int, int]]:
        """The versions that are expected by tokens of other epochs: stream, version and epoch."""
        return [
            (asked.stream, asked.expected, asked.epoch)
            for asked in self.streams
            if asked.epoch not in (0, epoch) and isinstance(asked.expected, int) and asked.expected
        ]

    def records(self, end: int, version_of: Callable[[StreamId], int], now: int) -> list[Record]:
        """The records to keep, at the end of a feed whose last position is `end`.

        version_of: of a stream before this append. now: microseconds since 1970.
        """
        made: list[Record] = []
        append_id, metadata = self.append_id.bytes, self.metadata
        for part in self.parts:
            index, version = len(made), version_of(part.stream) + 1
            position = end + index + 1
            made += make_records(
                position, part.stream, version, append_id, index, part.events, metadata, now
            )
        return made

    def again(
        self, stored: Sequence[Record], store_id: str, epoch: int = 1
    ) -> Outcome[Appended, NotAppended]:
        """The answer to this append where events with its append_id are stored already."""
        if self.digest is not None and digest_in(stored[0].metadata) != self.digest:
            return Failure(Rejected(str(other_request(self.append_id))))
        brought = [(part.stream, *encoded) for part in self.parts for encoded in part.events]
        if brought != [(record.stream, record.kind, record.data) for record in stored]:
            return Failure(
                Rejected(
                    f"append_id {self.append_id} has been used for other events: "
                    "use a new id for new events"
                )
            )
        return Success(appended(self.append_id, stored, store_id, epoch))


def prepare(
    op: Append | AppendAll | AppendIf,
    codec: Codec,
    store_id: str,
    new_id: Callable[[], UUID] | None = None,
    key: bytes = b"",
    keeps_tags: bool = False,
) -> Prepared:
    """An append, checked and encoded.

    store_id: the store's id, which tokens are held against.
    new_id: makes an id for an append whose caller chose none; at random if not given.
    key: the store's secret, of 1 to 64 bytes, for the digest of a request; without one, who reads the
        store can try out which request it was.
    keeps_tags: whether the store keeps the tags of events, and so can be asked for an AppendIf.
    Raises ValueError or TypeError for one that makes no sense, EventTypeError for an object that is no
    event, WrongStore for a token of another store, NotInToken for one that does not name the stream,
    BadStreamId, and NotStorable with the path to what cannot be stored, such as the key `$sealed`.
    """
    if type(op) is Append and (encoded := lone_event(op, codec)) is not None:
        lone = Part(op.stream, op.expected, [encoded])  # type: ignore[arg-type]  # it is no token
        return Prepared((new_id or new_append_id)(), (lone,), (), b"", False)
    if isinstance(op, Append):
        parts: tuple[Part, ...] = (_part(op, codec, store_id),)
        demands: tuple[Demand, ...] = ()
    else:
        if not isinstance(op.appends, tuple | list):
            _refuse_type("appends", op.appends, "a tuple of StreamAppends")
        if not isinstance(op.conditions, tuple | list):
            _refuse_type("conditions", op.conditions, "a tuple of Conditions")
        parts = tuple(_part(part, codec, store_id) for part in op.appends)
        demands = tuple(_demand(condition, store_id) for condition in op.conditions)
        _check_distinct(parts)
    append_id = op.append_id
    if append_id is None:
        append_id = (new_id or new_append_id)()
    elif not isinstance(append_id, UUID):
        _refuse_type("append_id", append_id, "a UUID: uuid5 makes one of a text")
    metadata = op.metadata
    if type(metadata) is not dict and not isinstance(metadata, Mapping):
        _refuse_type("metadata", metadata, "a mapping of names to JSON values")
    beside = codec.encode_metadata(metadata)
    if beside:
        _check_metadata(metadata, beside)
    digest, secret = None, key or store_id.encode()[:64]
    if op.request is not None:
        _check_request(op.request, op.append_id)
        digest = digest_of(op.request, append_id, secret)
        beside = codec.encode_metadata({**metadata, REQUEST: digest})
    asked = Prepared(append_id, parts, demands, beside, op.append_id is not None, digest)
    if keeps_tags:
        brought = (op,) if isinstance(op, Append) else op.appends
        events = [event for part in brought for event in part.events]
        their_bytes = [one for part in parts for one in part.events]
        asked.tagging = tagging_of(events, their_bytes, codec, secret)
    if isinstance(op, AppendIf):
        if not keeps_tags:
            raise TypeError("this store keeps no tags, and cannot tell whether a boundary is unchanged")
        asked.bounds = bounds_of(op.unchanged, codec, store_id, secret)
    return asked


def lone_event(op: Append, codec: Codec) -> Encoded | None:
    """The event of an append of just one, encoded, to which there is nothing more; None for any other.

    It has no id of the caller's, no metadata, no token and no tags, and there is nothing wrong with
    it: most appends are such, and need not be prepared.
    """
    stream, events, expected, metadata = op.stream, op.events, op.expected, op.metadata
    if (
        op.append_id is not None
        or op.request is not None
        or type(stream) is not StreamId
        or type(events) is not tuple
        or len(events) != 1
        or type(metadata) is not dict
        or metadata
        or not (type(expected) is Expect or (type(expected) is int and 0 <= expected < _NUMBERS))
        or stream[: len(RESERVED)] == RESERVED
    ):
        return None
    encoded = codec.glance(events[0])
    if encoded is None or _DOLLAR in encoded[1] or encoded[0][0] in codec.types.tagged:
        return None
    return encoded


def _check_request(request: object, append_id: UUID | None) -> None:
    if type(request) is not bytes:
        _refuse_type("request", request, "the bytes that request_of makes of it")
    if append_id is None:
        raise ValueError(
            "a request is given, and no append_id under which a retry would come: give one"
        )


def _check_metadata(metadata: Json, encoded: bytes) -> None:
    check_metadata(metadata)
    if REQUEST in metadata:
        raise ValueError(f"metadata has the key {REQUEST}, which is the library's own: leave it out")
    try:
        check_unsealed(encoded)
    except NotStorable as bad:
        raise bad.within("metadata") from None


_TO_ONE_STREAM: Final = (Append, StreamAppend)


def _part(asked: Append | StreamAppend, codec: Codec, store_id: str) -> Part:
    if not isinstance(asked, _TO_ONE_STREAM):
        _refuse_type("an append", asked, "a StreamAppend")
    _checked_stream(asked.stream)
    if not asked.events:
        raise ValueError(f"there are no events to append to {asked.stream}: append at least one")
    if not isinstance(asked.events, tuple):
        _refuse_type("events", asked.events, "a tuple of events")
    expected, epoch = _expected(asked.expected, asked.stream, store_id)
    encoded = codec.encode_all(asked.events)
    if any(map(contains, map(_DATA_OF, encoded), repeat(_DOLLAR))):  # one byte is found fastest
        _check_unsealed(asked.events, encoded)
    if asked.stream[: len(RESERVED)] == RESERVED:
        _check_own(asked.stream, encoded)
    return Part(asked.stream, expected, encoded, epoch)


_DOLLAR: Final = SEALED[0].encode()
_DATA_OF: Final[Callable[[Encoded], bytes]] = itemgetter(1)


def _check_unsealed(events: Sequence[object], encoded: Sequence[Encoded]) -> None:
    """Raises NotStorable for an event with the reserved key, but for those that are passed on."""
    for index, (event, (_, data)) in enumerate(zip(events, encoded, strict=True)):
        if type(event) is not Opaque:
            try:
                check_unsealed(data)
            except NotStorable as bad:
                raise bad.within(f"events[{index}]") from None


def _check_own(stream: StreamId, events: Sequence[Encoded]) -> None:
    """Raises BadStreamId unless the events are such as the library's own streams have."""
    for kind, _ in events:
        if not kind.type.startswith(RESERVED):
            raise BadStreamId(
                f"{stream} is one of the library's own streams, which can be read and not appended to, "
                f"as with {kind.type!r}: choose an id that does not begin with {RESERVED}"
            )


def _demand(asked: Condition, store_id: str) -> Demand:
    if not isinstance(asked, Condition):
        _refuse_type("a condition", asked, "a Condition")
    _checked_stream(asked.stream)
    return Demand(asked.stream, *_expected(asked.expected, asked.stream, store_id))


def _expected(expected: Expected, stream: StreamId, store_id: str) -> tuple[int | Expect, int]:
    """The expected version, and the epoch of the token that says so, or 0."""
    if type(expected) is int and 0 <= expected < _NUMBERS:
        return expected, 0
    if isinstance(expected, Expect):
        return expected, 0
    epoch = 0
    if isinstance(expected, Token):
        expected.check(store_id)
        if not isinstance(expected.versions, Mapping):
            _refuse_type("versions of the token", expected.versions, "a mapping of streams to versions")
        epoch = expected.epoch_of(stream)
        expected = expected.of(stream)
    if type(expected) is not int:
        _refuse_type("expected", expected, "a version, a token, or ANY, NO_STREAM or EXISTS")
    if not 0 <= expected < _NUMBERS:
        raise ValueError(f"no stream is at version {expected}: expect 0 or more, or ANY")
    return expected, epoch


def _checked_stream(stream: object) -> None:
    if type(stream) is not StreamId:
        _refuse_type("stream", stream, "a StreamId: write StreamId(...)")


def _check_distinct(parts: Sequence[Part]) -> None:
    if not parts:
        raise ValueError("there are no events to append: AppendAll needs at least one StreamAppend")
    seen: set[StreamId] = set()
    for part in parts:
        if part.stream in seen:
            raise ValueError(
                f"{part.stream} is appended to twice: put its events into one StreamAppend"
            )
        seen.add(part.stream)


def _refuse_type(name: str, value: object, wanted: str) -> NoReturn:
    raise TypeError(f"{name} is {value!r:.100}, {with_article(type(value))}, and must be {wanted}")


# --- checking queries -----------------------------------------------------------------------------


def check(op: Read | Head | ReadFeed | FindAppend | LoadSnapshot | SaveSnapshot) -> None:
    """Raises ValueError, TypeError or BadStreamId for an operation that makes no sense."""
    match op:
        case Read(stream=stream, after=after, limit=limit):
            _checked_stream(stream)
            _check_number("after", after)
            _check_limit(limit)
        case ReadFeed(after=after, limit=limit, prefix=prefix, types=types):
            _check_limit(limit)
            if type(op.all_streams) is not bool:
                _refuse_type("all_streams", op.all_streams, "True or False")
            if not isinstance(after, Cursor):
                _refuse_type("after", after, "a Cursor: START, or Cursor.parse(text)")
            if type(after.position) is not int or not 0 <= after.position < _NUMBERS:
                raise ValueError(
                    f"{after} is no position in a feed: start from START, or parse a cursor"
                )
            if not isinstance(prefix, str):
                _refuse_type("prefix", prefix, "a str, empty or ending with /")
            checked_prefix(prefix)
            if types is not None and not isinstance(types, frozenset):
                _refuse_type("types", types, "a frozenset of the stored names of event types")
            for name in types or ():
                if not isinstance(name, str):
                    _refuse_type("one of types", name, "the stored name of an event type, a str")
        case Head(stream=stream):
            _checked_stream(stream)
        case FindAppend(append_id=append_id):
            if not isinstance(append_id, UUID):
                _refuse_type("append_id", append_id, "a UUID")
            if op.request is not None:
                _check_request(op.request, append_id)
        case LoadSnapshot(stream=stream, fold=fold, fold_version=fold_version):
            _check_fold(stream, fold, fold_version)
        case SaveSnapshot(snapshot=kept):
            if not isinstance(kept, Snapshot):
                _refuse_type("snapshot", kept, "a Snapshot")
            _check_fold(kept.stream, kept.fold, kept.fold_version)
            _check_number("version", kept.version)
            if type(kept.data) is not bytes:
                _refuse_type("data", kept.data, "bytes")
            if len(kept.data) > MAX_DATA_BYTES:
                raise ValueError(f"data has {len(kept.data)} bytes, and {MAX_DATA_BYTES} is the most")


def _check_fold(stream: object, fold: object, fold_version: object) -> None:
    _checked_stream(stream)
    if not isinstance(fold, str):
        _refuse_type("fold", fold, "the name of a fold, a str")
    if not 1 <= _utf8_length(fold) <= MAX_NAME or "\0" in fold:
        raise ValueError(
            f"fold is {fold!r:.100}: it must have 1 to {MAX_NAME} bytes of UTF-8, and no NUL character"
        )
    _check_number("fold_version", fold_version)


def _utf8_length(text: str) -> int:
    """The bytes that a text takes; 0 for one that cannot be written, having a lone surrogate."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return 0


def _check_number(name: str, number: object) -> None:
    if type(number) is not int or not 0 <= number < _NUMBERS:
        raise ValueError(f"{name} is {number!r:.100}: it must be a number from 0")


def _check_limit(limit: object) -> None:
    if type(limit) is not int or not 1 <= limit <= MAX_PAGE:
        raise ValueError(f"limit is {limit!r:.100}: ask for 1 to {MAX_PAGE} events at a time")


def check_tagged(op: ReadTagged) -> None:
    """Raises ValueError or TypeError for a page that makes no sense."""
    check(ReadFeed(op.after, op.limit))


def check_end(op: ReadFeed | ReadTagged, end: int) -> None:
    """Raises BadCursor for a cursor beyond the end of the feed: it is of another feed than this."""
    if op.after.position > end:
        raise BadCursor(
            f"cursor {op.after} is beyond the end of the feed, {end}: the store was restored from a "
            "backup, and what was read of it since must be read again"
        )


def check_seen(
    epochs: Epochs, epoch: int, stream: StreamId, version: int, position: int | None
) -> None:
    """Raises WrongEpoch if a token of some epoch saw a version that the store does not have any more.

    position: of the event of that version; None if there is none.
    """
    what = f"the token, which has seen version {version} of {stream},"
    epochs.check_place(epoch, position, what, "read anew and use that token")


# --- choosing events of the feed ------------------------------------------------------------------


def asked_for(op: ReadFeed, records: Sequence[Record]) -> Sequence[Record]:
    """The records, of some of the feed, that are asked for."""
    prefix, types = op.prefix, op.types
    if prefix:
        records = [record for record in records if record.stream.startswith(prefix)]
    elif (shown := shown_of(op, [record.stream for record in records])) is not None:
        records = [*compress(records, shown)]
    if types is not None:
        records = [record for record in records if record.kind.type in types]
    return records


def shown_of(op: ReadFeed, streams: Sequence[str]) -> list[bool] | None:
    """For each event of the feed, by its stream, whether it is shown; None if all are.

    The library's own streams are hidden unless asked for; whether any is there is found in one go.
    """
    if op.all_streams or op.prefix or _BEGINS_RESERVED not in "\0" + "\0".join(streams):
        return None
    return [not stream.startswith(RESERVED) for stream in streams]


_BEGINS_RESERVED: Final = "\0" + RESERVED
"""No stream id has a NUL in it."""


# --- answering ------------------------------------------------------------------------------------


def of_one_page(records: Sequence[R]) -> Sequence[R]:
    """The first of some records that one page holds: 8 MiB of data and metadata, or one."""
    if size_of(records) <= MAX_PAGE_BYTES:
        return records
    sizes = [size_of([record]) for record in records]
    return records[: max(bisect_right([*accumulate(sizes)], MAX_PAGE_BYTES), 1)]


def size_of(records: Sequence[Record]) -> int:
    """The bytes of data and metadata that records have."""
    return sum(map(len, map(_DATA_OF_RECORD, records))) + sum(map(len, map(_REST_OF_RECORD, records)))


_DATA_OF_RECORD: Final[Callable[[Record], bytes]] = itemgetter(5)
_REST_OF_RECORD: Final[Callable[[Record], bytes]] = itemgetter(7)


def page_of(
    op: Read, events: Sequence[Recorded[E]], store_id: str, head: int, epoch: int = 1
) -> Page[E]:
    """The page that answers a Read of a stream that is at a version, in the store's current epoch.

    events: those that were asked for, from the first on; all of them, or as many as a page holds.
    """
    if op.backwards:
        is_last = len(events) >= (min(op.after - 1, head) if op.after else head)
    else:
        is_last = op.after + len(events) >= head
    return Page(events, head, Token(store_id, {op.stream: head}, epoch), is_last)


def appended(append_id: UUID, records: Sequence[Record], store_id: str, epoch: int = 1) -> Appended:
    """The answer to an append that stored these records, in the store's current epoch."""
    if len(records) == 1:
        seen = {stored_id(records[0][1]): records[0][2]}
    else:
        versions = {record[1]: record[2] for record in records}  # the last of each stream remains
        seen = {stored_id(stream): version for stream, version in versions.items()}
    cursor = Cursor(store_id, records[-1][0], epoch)
    return Appended(append_id, Token(store_id, seen, epoch), cursor)


def changed(boundary: Boundary, events: Sequence[Recorded[Any]]) -> BoundaryChanged:
    """The answer to an append for which a boundary has changed: by these events, and perhaps more."""
    first = events[0]
    return BoundaryChanged(first.stream, first.version - 1, first.version, events, boundary)


def microseconds(clock: Callable[[], float]) -> int:
    """A clock's time, in seconds since 1970, as a record has it."""
    now = clock()
    if not isinstance(now, (int, float)):
        _refuse_type("the time of the clock", now, "a number of seconds since 1970")
    if not _EARLIEST <= now < _LATEST:
        raise ValueError(f"the clock says {now!r}: it must give seconds since 1970, before year 10000")
    return round(now * 1_000_000)


_EARLIEST: Final = -62_135_596_800
_LATEST: Final = 253_402_300_800
"""The years 1 to 9999, which datetime can tell."""
