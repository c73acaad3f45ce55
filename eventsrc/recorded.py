"""Recorded events: what stores keep, and how readers see it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast
from uuid import UUID, uuid5

from eventsrc.codec import Codec, Encoded, Json
from eventsrc.errors import EventsrcError
from eventsrc.event import Opaque
from eventsrc.stream_id import StreamId

E_co = TypeVar("E_co", covariant=True)


class Corrupted(EventsrcError):
    """A stored event is not what was stored: its checksum does not fit."""


class Record(NamedTuple):
    """An event as every store keeps it."""

    position: int
    """Its place in the feed, from 1."""
    stream: str
    version: int
    """Its place in its stream, from 1."""
    append_id: bytes
    """The id of the append that brought it, 16 bytes."""
    nth: int
    """Its place in that append, from 0."""
    type: str
    schema: int
    """The version of its type."""
    codec: str
    data: bytes
    metadata: bytes
    recorded_at: int
    """Microseconds since 1970, UTC."""
    data_crc: int
    """CRC-32 of the data, seeded with the stream, the version and the type."""
    rest_crc: int
    """CRC-32 of the other fields."""


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
    type, schema, codec, data = encoded
    return Record(
        position,
        stream,
        version,
        append_id,
        nth,
        type,
        schema,
        codec,
        data,
        metadata,
        recorded_at,
        zlib.crc32(data, _seed(stream, type, schema, codec) ^ _folded(version)),
        zlib.crc32(metadata, zlib.crc32(_REST.pack(version, recorded_at, nth, append_id))),
    )


_REST: Final = struct.Struct("<QqI16s")


def _folded(version: int) -> int:
    return (version ^ version >> 32) & 0xFFFFFFFF


@lru_cache(maxsize=65_536)
def _seed(stream: str, type: str, schema: int, codec: str) -> int:
    return zlib.crc32(f"{stream}\0{type}\0{schema}\0{codec}".encode())


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
        return self._record.position

    @property
    def type(self) -> str:
        """The name that the event's type is stored under."""
        return self._record.type

    @property
    def data(self) -> E_co:
        """The event itself. Raises UnknownEvent, Undecodable or Corrupted if it cannot be had."""
        if self._data is _UNDECODED:
            self._data = self._decode()
        return cast("E_co", self._data)

    @property
    def is_known(self) -> bool:
        """Whether the event's type, version and codec are known, so that `data` can be expected."""
        record = self._record
        return self._codec.knows(record.type, record.schema, record.codec)

    def opaque(self) -> Opaque:
        """The event undecoded, to pass on. Raises Corrupted."""
        record = self._checked()
        return Opaque(record.type, record.schema, record.codec, record.data)

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
        try:
            data = repr(self.data)
        except EventsrcError:
            data = f"{self.type} version {self._record.schema}, undecoded"
        return f"<{self._record.stream}@{self.version}: {data}>"

    def _sound_rest(self) -> Record:
        record = self._record
        if not _is_sound(_rest_crc, record, record.rest_crc):
            raise Corrupted(
                f"the metadata of {_place(record)}, its time or its id was changed since it was stored"
            )
        return record

    def _checked(self) -> Record:
        record = self._record
        if not _is_sound(_data_crc, record, record.data_crc):
            raise Corrupted(f"the data of {_place(record)} was changed since it was stored")
        return record

    def _decode(self) -> Any:
        return self._codec.decode(Encoded._make(self._checked()[5:9]))


def _data_crc(record: Record) -> int:
    seed = _seed(record.stream, record.type, record.schema, record.codec)
    return zlib.crc32(record.data, seed ^ _folded(record.version))


def _rest_crc(record: Record) -> int:
    rest = _REST.pack(record.version, record.recorded_at, record.nth, record.append_id)
    return zlib.crc32(record.metadata, zlib.crc32(rest))


def _is_sound(crc: Callable[[Record], int], record: Record, stored: int) -> bool:
    try:
        return crc(record) == stored
    except (TypeError, ValueError, struct.error):  # damage can change a value's type as well
        return False


def _place(record: Record) -> str:
    return f"event {record.version} of {record.stream} (position {record.position})"


_UNDECODED: Final = object()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
