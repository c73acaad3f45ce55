"""Recorded events: what stores keep, and how readers see it."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from itertools import repeat
from operator import xor
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast, overload
from uuid import UUID, uuid5
from zlib import crc32

from eventsrc.codec import Codec, Encoded, Json, Kind
from eventsrc.errors import EventsrcError
from eventsrc.event import Opaque
from eventsrc.stream_id import StreamId

E = TypeVar("E")
E_co = TypeVar("E_co", covariant=True)


class Corrupted(EventsrcError):
    """A stored event is not what was stored: its checksum does not fit."""


class NotRead(EventsrcError):
    """More is asked of an event than was read: it came by Read(..., whole=False)."""


class Record(NamedTuple):
    """An event as every store keeps it."""

    position: int
    """Its place in the feed, from 1; 0 for a record of which only the stream, version, kind and data
    were read."""
    stream: str
    version: int
    """Its place in its stream, from 1."""
    kind: Kind
    """What its data is."""
    recorded_at: int
    """Microseconds since 1970, UTC."""
    data: bytes
    data_crc: int
    """CRC-32 of the data, seeded with the stream and the kind, XOR the version."""
    rest: bytes
    """What few readers want: the id of the append that brought it (16 bytes), its place in that append
    (4), a CRC-32 of that, the stream, the kind, the time and the metadata (4), and the metadata."""

    @property
    def append_id(self) -> bytes:
        """The id of the append that brought it, 16 bytes."""
        return self.rest[:16]

    @property
    def nth(self) -> int:
        """Its place in that append, from 0."""
        return int.from_bytes(self.rest[16:20], "little")

    @property
    def metadata(self) -> bytes:
        """What was said about it."""
        return self.rest[_REST.size :]


def make_record(
    position: int,
    stream: str,
    version: int,
    append_id: bytes,
    nth: int,
    encoded: Encoded,
    metadata: bytes,
    recorded_at: int,
) -> Record:
    """The record of an encoded event, with its checksums."""
    (record,) = make_records(
        position, stream, version, append_id, nth, [encoded], metadata, recorded_at
    )
    return record


def make_records(
    position: int,
    stream: str,
    version: int,
    append_id: bytes,
    nth: int,
    encoded: Iterable[Encoded],
    metadata: bytes,
    recorded_at: int,
) -> list[Record]:
    """The records of events that one append brings to one stream.

    position, version, nth: of the first of them.
    """
    made: list[Record] = []
    seed, last = 0, None
    for kind, data in encoded:
        if kind is not last:
            last, seed = kind, _seed(stream, kind)
        data_crc = crc32(data, seed) ^ _folded(version)
        rest_crc = crc32(metadata, crc32(_BESIDE.pack(recorded_at, nth, append_id), seed))
        rest = _REST.pack(append_id, nth, rest_crc) + metadata
        made.append(_record((position, stream, version, kind, recorded_at, data, data_crc, rest)))
        position += 1
        version += 1
        nth += 1
    return made


_record: Final[Callable[[tuple[Any, ...]], Record]] = partial(tuple.__new__, Record)
"""As Record._make, and twice as fast."""

_REST: Final = struct.Struct("<16sII")
_BESIDE: Final = struct.Struct("<qI16s")


def _folded(version: int) -> int:
    return (version ^ version >> 32) & 0xFFFFFFFF


@lru_cache(maxsize=65_536)
def _seed(stream: str, kind: Kind) -> int:
    return crc32(_kind_bytes(kind), crc32(stream.encode()))


def _kind_bytes(kind: Kind) -> bytes:
    return f"\0{kind.type}\0{kind.schema}\0{kind.codec}".encode()


class Recorded(Generic[E_co]):
    """A recorded event: a fact, where and when it was recorded, and what was said about it.

    What is dear to make, the event itself above all, is made when it is first asked for. So a reader
    pays for the events that it looks into and for no others, and one event that cannot be decoded
    stops only those who want it.
    """

    __slots__ = ("_codec", "_data", "_record")

    def __init__(self, record: Record, codec: Codec) -> None:
        self._record = record
        self._codec = codec
        self._data: Any = _UNDECODED

    @property
    def record(self) -> Record:
        """The event as stored, undecoded."""
        return self._record

    @property
    def stream(self) -> StreamId:
        """The stream that the event is in."""
        return StreamId(self._record.stream)

    @property
    def version(self) -> int:
        """The event's number in its stream, from 1."""
        return self._record.version

    @property
    def position(self) -> int:
        """The event's place in the feed, from 1: later is greater. To go on from it, use a Cursor."""
        return self._whole().position

    @property
    def type(self) -> str:
        """The name that the event's type is stored under."""
        return self._record.kind.type

    @property
    def data(self) -> E_co:
        """The event itself. Raises UnknownEvent, Undecodable or Corrupted if it cannot be had."""
        data: E_co = self._data
        if data is _UNDECODED:
            data = self._data = self._decoded()
        return data

    @property
    def is_known(self) -> bool:
        """Whether the event's type, version and codec are known, so that `data` can be expected.

        Raises Corrupted for one that is not known because what it says of itself was changed.
        """
        is_known = self._codec.knows(self._record.kind)
        if not is_known:
            self._checked()
        return is_known

    def check(self) -> None:
        """Raises Corrupted if the event's data, or what it says of itself, is not what was stored."""
        self._checked()

    def opaque(self) -> Opaque:
        """The event undecoded, to pass on. Raises Corrupted."""
        record = self._checked()
        return Opaque(*record.kind, record.data)

    @property
    def append_id(self) -> UUID:
        """The id of the append that brought the event. Raises Corrupted."""
        return UUID(bytes=self._sound_rest().append_id)

    @property
    def id(self) -> UUID:
        """The event's own id: that of its append for the first event in it, made from it for others.

        Raises Corrupted.
        """
        record = self._sound_rest()
        append_id = UUID(bytes=record.append_id)
        return append_id if record.nth == 0 else uuid5(append_id, str(record.nth))

    @property
    def metadata(self) -> Json:
        """What was said about the event when it was appended. Raises Corrupted."""
        return self._codec.decode_metadata(self._sound_rest().metadata)

    @property
    def recorded_at(self) -> datetime:
        """When the event was recorded, by the store's clock, UTC. The order never depends on it.

        Raises Corrupted.
        """
        return _EPOCH + timedelta(microseconds=self._sound_rest().recorded_at)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Recorded):
            return NotImplemented
        return self._record == other._record

    def __hash__(self) -> int:
        return hash(self._record)

    def __repr__(self) -> str:
        record = self._record
        try:
            data = repr(self.data)
        except EventsrcError:
            data = f"{self.type} version {record.kind.schema}, undecoded"
        return f"<{record.stream}@{record.version}: {data}>"

    def _decoded(self) -> E_co:
        _, stream, version, kind, _, data, data_crc, _ = self._record
        event: E_co | None = None
        try:
            event = self._codec.decoder(kind)(data)
            is_sound = crc32(data, _seed(stream, kind)) ^ version == data_crc
        except Exception:
            is_sound = False
        return event if is_sound else self._decoded_with_care()  # type: ignore[return-value]

    def _decoded_with_care(self) -> E_co:
        """Raises what is wrong with the data, if anything is."""
        record = self._checked()
        return cast("E_co", self._codec.decode(Encoded(record.kind, record.data)))

    def _whole(self) -> Record:
        record = self._record
        if not record.position:
            raise NotRead(f"only the data of {self!r} was read: read it with whole=True")
        return record

    def _sound_rest(self) -> Record:
        record = self._whole()
        if not _is_sound(_rest_crcs, record):
            raise Corrupted(
                f"the metadata of {_place(record)}, its time or its id was changed since it was stored"
            )
        return record

    def _checked(self) -> Record:
        record = self._record
        if not _is_sound(_data_crcs, record):
            raise Corrupted(f"the data of {_place(record)} was changed since it was stored")
        return record


class Events(Sequence[Recorded[E_co]]):
    """Recorded events, as a store found them.

    records: tuples with the fields of a Record; each becomes a Recorded when it is first looked at.
    codec: decodes them.
    kinds: what stands for what, where the records have something else in place of their kinds.
    """

    __slots__ = ("_codec", "_items", "_kinds", "_records")

    def __init__(
        self,
        records: Sequence[tuple[Any, ...]],
        codec: Codec,
        kinds: Mapping[Any, Kind] | None = None,
    ) -> None:
        self._records = records
        self._codec = codec
        self._kinds = kinds
        self._items: tuple[Recorded[E_co], ...] | None = None

    def decoded(self) -> list[E_co]:
        """All the events themselves. Raises UnknownEvent, Undecodable or Corrupted, as for each."""
        with contextlib.suppress(Exception):  # whichever event is at fault says better what is wrong
            return self._decoded_together()
        return [recorded.data for recorded in self]

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> Recorded[E_co]: ...
    @overload
    def __getitem__(self, index: slice) -> Events[E_co]: ...
    def __getitem__(self, index: int | slice) -> Recorded[E_co] | Events[E_co]:
        if isinstance(index, slice):
            return Events(self._records[index], self._codec, self._kinds)
        return self._made()[index]

    def __iter__(self) -> Iterator[Recorded[E_co]]:
        return iter(self._made())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Events | tuple):
            return NotImplemented
        return self._made() == tuple(other)

    def __hash__(self) -> int:
        return hash(self._made())

    def __repr__(self) -> str:
        return repr(self._made())

    def of_streams(self, is_wanted: Callable[[str], bool]) -> Events[E_co]:
        """Those of some streams."""
        wanted = [record for record in self._records if is_wanted(record[1])]
        return Events(wanted, self._codec, self._kinds)

    def prefetch(self) -> None:
        """Decodes all the events in one go, as far as that is possible, for those who look at each."""
        with contextlib.suppress(Exception):
            for recorded, data in zip(self._made(), self._decoded_together(), strict=True):
                recorded._data = data

    def _decoded_together(self) -> list[E_co]:
        """Raises something if any of the events has to be looked at alone."""
        if not len(self):
            return []
        streams, versions, names, datas, data_crcs = self._columns()
        kinds: Sequence[Kind] = names
        if self._kinds is not None:
            kinds = [*map(self._kinds.__getitem__, names)]
        # Loops in C take a fraction of what a loop over the rows does.
        seeds: Iterable[int] = map(_seed, streams, kinds)
        if _are_equal(kinds) and _are_equal(streams):
            seeds = repeat(_seed(streams[0], kinds[0]))
        if [*map(xor, map(crc32, datas, seeds), versions)] != [*data_crcs]:  # or one is beyond 32 bits
            raise Corrupted("one of the events was changed")
        return _decoded_all(self._codec, kinds, datas)

    def _columns(self) -> tuple[Sequence[Any], ...]:
        """Streams, versions, kinds or what stands for them, data and their checksums."""
        _, streams, versions, names, _, datas, data_crcs, _ = zip(*self._records, strict=True)
        return streams, versions, names, datas, data_crcs

    def _made(self) -> tuple[Recorded[E_co], ...]:
        if self._items is None:
            codec, kinds = self._codec, self._kinds
            records = [*map(_record, self._records)]
            if kinds is not None:
                records = [record._replace(kind=kinds.get(record.kind, LOST)) for record in records]
            self._items = tuple([Recorded(record, codec) for record in records])
        return self._items


class EventsData(Events[E_co]):
    """Recorded events of which only the data was read.

    columns: streams, versions, what stands for the kinds in `kinds`, data, and checksums of the data.
    """

    __slots__ = ("_data",)

    def __init__(
        self, columns: tuple[Sequence[Any], ...], kinds: Mapping[Any, Kind], codec: Codec
    ) -> None:
        super().__init__((), codec)
        self._data = columns
        self._kinds: Mapping[Any, Kind] = kinds

    def __len__(self) -> int:
        return len(self._data[0])

    @overload
    def __getitem__(self, index: int) -> Recorded[E_co]: ...
    @overload
    def __getitem__(self, index: slice) -> Events[E_co]: ...
    def __getitem__(self, index: int | slice) -> Recorded[E_co] | Events[E_co]:
        if isinstance(index, slice):
            columns = tuple(column[index] for column in self._data)
            return EventsData(columns, self._kinds, self._codec)
        return self._made()[index]

    def of_streams(self, is_wanted: Callable[[str], bool]) -> Events[E_co]:
        """Those of some streams."""
        self._made()
        return super().of_streams(is_wanted)

    def _columns(self) -> tuple[Sequence[Any], ...]:
        return self._data

    def _made(self) -> tuple[Recorded[E_co], ...]:
        if self._items is None:
            self._records = [
                (0, stream, version, name, 0, data, data_crc, b"")
                for stream, version, name, data, data_crc in zip(*self._data, strict=True)
            ]
        return super()._made()


def _are_equal(values: Sequence[Any]) -> bool:
    return values.count(values[0]) == len(values)


def _decoded_all(codec: Codec, kinds: Sequence[Kind], datas: Sequence[bytes]) -> list[Any]:
    """Events, those of each kind decoded together."""
    if _are_equal(kinds):
        return codec.page_decoder(kinds[0])(datas)
    of_kind: dict[Kind, list[bytes]] = {kind: [] for kind in kinds}
    for kind, data in zip(kinds, datas, strict=True):
        of_kind[kind].append(data)
    events = {kind: iter(codec.page_decoder(kind)(some)) for kind, some in of_kind.items()}
    return [next(events[kind]) for kind in kinds]


LOST: Final = Kind("", 0, "")
"""The kind of an event whose own cannot be found; its checksum does not fit, so it is Corrupted."""


def of_streams(
    events: Sequence[Recorded[E]], is_wanted: Callable[[str], bool]
) -> Sequence[Recorded[E]]:
    """Those of some streams."""
    if isinstance(events, Events):
        return events.of_streams(is_wanted)
    return [recorded for recorded in events if is_wanted(recorded.record.stream)]


def decoded(events: Sequence[Recorded[E]]) -> Sequence[E]:
    """The events themselves, decoded together where that is faster."""
    if isinstance(events, Events):
        return events.decoded()
    return [recorded.data for recorded in events]


def _data_crcs(record: Record) -> bool:
    seed = _seed(record.stream, record.kind)
    return crc32(record.data, seed) ^ _folded(record.version) == record.data_crc


def _rest_crcs(record: Record) -> bool:
    append_id, nth, crc = _REST.unpack_from(record.rest)
    beside = _BESIDE.pack(record.recorded_at, nth, append_id)
    found: bool = crc32(record.metadata, crc32(beside, _seed(record.stream, record.kind))) == crc
    return found


def _is_sound(is_right: Callable[[Record], bool], record: Record) -> bool:
    try:
        return is_right(record)
    except (TypeError, ValueError, struct.error):  # damage can change a value's type as well
        return False


def _place(record: Record) -> str:
    position = f" (position {record.position})" if record.position else ""
    return f"event {record.version} of {record.stream}{position}"


_UNDECODED: Final = object()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
