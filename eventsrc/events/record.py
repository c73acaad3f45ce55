"""Records: events as every store keeps them, with checksums that tell what was changed since."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple
from zlib import crc32

from eventsrc._errors import EventsrcError
from eventsrc.events.codec import Encoded, Kind

REQUEST: Final = "$request"
"""The key, in the metadata, of the digest of the request that an append was made for. It is the store's
own, and not shown as metadata: see `eventsrc.stores.requests`."""


class Corrupted(EventsrcError):
    """A stored event is not what was stored: its checksum does not fit."""


class Record(NamedTuple):
    """An event as every store keeps it."""

    position: int
    """Its position in the feed, from 1; 0 for a record of which only the stream, version, kind and data
    were read."""
    stream: str
    version: int
    """Its position in its stream, from 1."""
    kind: Kind
    """The kind of its data."""
    recorded_at: int
    """Microseconds since 1970, UTC."""
    data: bytes
    data_crc: int
    """CRC-32 of the data, seeded with the stream and the kind, XOR the version."""
    rest: bytes
    """The parts that few readers want: the id of the append that brought it (16 bytes), its offset in
    that append (4), a CRC-32 of that, the stream, the kind, the time and the metadata (4), and the
    metadata."""

    @property
    def append_id(self) -> bytes:
        """The id of the append that brought it, 16 bytes."""
        return self.rest[:16]

    @property
    def offset(self) -> int:
        """Its offset in that append, from 0."""
        return int.from_bytes(self.rest[16:20], "little")

    @property
    def metadata(self) -> bytes:
        """The metadata of its append, encoded."""
        return self.rest[_REST.size :]


def make_record(
    position: int,
    stream: str,
    version: int,
    append_id: bytes,
    offset: int,
    encoded: Encoded,
    metadata: bytes,
    recorded_at: int,
) -> Record:
    """The record of an encoded event, with its checksums."""
    (record,) = make_records(
        position, stream, version, append_id, offset, [encoded], metadata, recorded_at
    )
    return record


def make_records(
    position: int,
    stream: str,
    version: int,
    append_id: bytes,
    offset: int,
    encoded: Iterable[Encoded],
    metadata: bytes,
    recorded_at: int,
) -> list[Record]:
    """The records of events that one append brings to one stream.

    position, version, offset: of the first of them.
    """
    made: list[Record] = []
    seed, last = 0, None
    for kind, data in encoded:
        if kind is not last:
            last, seed = kind, seed_of(stream, kind)
        data_crc = crc32(data, seed) ^ _folded(version)
        rest_crc = crc32(metadata, crc32(_BESIDE.pack(recorded_at, offset, append_id), seed))
        rest = _REST.pack(append_id, offset, rest_crc) + metadata
        made.append(record_of((position, stream, version, kind, recorded_at, data, data_crc, rest)))
        position += 1
        version += 1
        offset += 1
    return made


def columns_of_one(
    stream: str, version: int, append_id: bytes, encoded: Encoded, metadata: bytes, now: int
) -> tuple[int, bytes, int, bytes]:
    """The last four parts of the record of an event that an append brings alone."""
    kind, data = encoded
    seed = seed_of(stream, kind)
    rest_crc = crc32(metadata, crc32(_BESIDE.pack(now, 0, append_id), seed))
    rest = _REST.pack(append_id, 0, rest_crc) + metadata
    return now, data, crc32(data, seed) ^ _folded(version), rest


record_of: Final[Callable[[tuple[Any, ...]], Record]] = partial(tuple.__new__, Record)
"""As Record._make, and twice as fast."""

_REST: Final = struct.Struct("<16sII")
_BESIDE: Final = struct.Struct("<qI16s")


def _folded(version: int) -> int:
    return (version ^ version >> 32) & 0xFFFFFFFF


@lru_cache(maxsize=65_536)
def seed_of(stream: str, kind: Kind) -> int:
    """The beginning of the checksums of a stream's events of a kind."""
    return crc32(_kind_bytes(kind), crc32(stream.encode()))


def _kind_bytes(kind: Kind) -> bytes:
    return f"\0{kind.type}\0{kind.schema}\0{kind.codec}".encode()


def check_data(record: Record) -> Record:
    """The record; raises Corrupted if its data, or what it says of itself, is not what was stored."""
    if not _is_sound(_data_crcs, record):
        raise Corrupted(f"the data of {_where(record)} was changed since it was stored")
    return record


def check_rest(record: Record) -> Record:
    """The record; raises Corrupted if what is beside its data is not what was stored."""
    if not _is_sound(_rest_crcs, record):
        raise Corrupted(
            f"the metadata of {_where(record)}, its time or its id was changed since it was stored"
        )
    return record


def check_all(records: Iterable[Record]) -> None:
    """Raises Corrupted for the first record that is not what was stored, in any part."""
    for record in records:
        _, stream, version, kind, recorded_at, data, data_crc, rest = record
        try:
            seed = seed_of(stream, kind)
            append_id, offset, crc = _REST.unpack_from(rest)
            beside = crc32(_BESIDE.pack(recorded_at, offset, append_id), seed)
            if crc32(data, seed) ^ _folded(version) == data_crc and crc32(rest[24:], beside) == crc:
                continue
        except (TypeError, ValueError, struct.error):  # damage can change a value's type as well
            pass
        check_rest(check_data(record))


def _data_crcs(record: Record) -> bool:
    seed = seed_of(record.stream, record.kind)
    return crc32(record.data, seed) ^ _folded(record.version) == record.data_crc


def _rest_crcs(record: Record) -> bool:
    append_id, offset, crc = _REST.unpack_from(record.rest)
    beside = _BESIDE.pack(record.recorded_at, offset, append_id)
    found: bool = crc32(record.metadata, crc32(beside, seed_of(record.stream, record.kind))) == crc
    return found


def _is_sound(is_right: Callable[[Record], bool], record: Record) -> bool:
    try:
        return is_right(record)
    except (TypeError, ValueError, struct.error):  # damage can change a value's type as well
        return False


def _where(record: Record) -> str:
    position = f" (position {record.position})" if record.position else ""
    return f"event {record.version} of {record.stream}{position}"


LOST_KIND: Final = Kind("", 0, "")
"""The kind of an event whose own cannot be found; its checksum does not fit, so it is Corrupted."""
