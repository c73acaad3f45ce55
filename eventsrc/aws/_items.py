"""The items of a table: what is in them, as docs/explanation/formats.md has it.

    m              0               the store's id, its secret, its epochs, a hint where the feed ends
    m              1               whose turn it is to commit
    s/STREAM       first version   a part: what one append brought to one stream
    f/EPOCH/BUCKET first position  a commit: the appends that one transaction stored, in their order
    a/APPEND-ID    0               where an append is stored whose id its caller chose
    b/UUID         1, 2, ...       a body that is too large to be in line, written before it is named
    v/SNAPSHOT     0               a snapshot

Names of attributes have one letter, since they count as size.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

import attrs

from eventsrc.aws._talk import Item, Talk, key, number
from eventsrc.events.codec import Encoded, Kind
from eventsrc.events.record import Corrupted, Record, make_records
from eventsrc.stores.operations import Snapshot

VERSION: Final = 1
"""That of this layout."""

BUCKET: Final = 100_000
"""The positions that have their commits under one partition key."""

INLINE: Final = 32_000
"""The most bytes of a body that is kept in its part: larger ones would make reading heads dear."""

CHUNK: Final = 380_000
"""The bytes of a chunk; DynamoDB takes 409 600 in an item, names and keys among them."""

_SMALL: Final = 300
"""A body of fewer bytes is not compressed: it would not shrink by much."""

META: Final = "m"


def feed_key(epoch: int, position: int) -> str:
    """The partition of the commits of an epoch that begin near a position."""
    return f"f/{epoch}/{position // BUCKET}"


def stream_key(stream: str) -> str:
    """The partition of a stream."""
    return f"s/{stream}"


def append_key(append_id: UUID) -> str:
    """The partition of an append's id."""
    return f"a/{append_id.hex}"


def chunk_key(name: str) -> str:
    """The partition of a body that is kept apart."""
    return f"b/{name}"


def snapshot_key(stream: str, fold: str, fold_version: int) -> str:
    """The partition of a snapshot. The length tells where the fold's name ends."""
    return f"v/{fold_version}/{len(fold)}/{fold}/{stream}"


# --- bodies ---------------------------------------------------------------------------------------


def squeezed(data: bytes) -> bytes:
    """Bytes as they are kept: compressed if that is worth it, behind a byte that says so."""
    if len(data) >= _SMALL:
        small = zlib.compress(data, 1)
        if len(small) < len(data):
            return b"\1" + small
    return b"\0" + data


def expanded(kept: bytes) -> bytes:
    """The bytes that were kept. Raises ValueError or zlib.error for others."""
    match kept[:1]:
        case b"\0":
            return kept[1:]
        case b"\1":
            return zlib.decompress(kept[1:])
        case other:
            raise ValueError(f"it begins with {other!r}, and must with 0 or 1")


def pack(records: Sequence[Record]) -> bytes:
    """The events of a part, less their positions, which are known when it is stored.

    records: with versions from 0.
    """
    kinds = list(dict.fromkeys([record.kind for record in records]))
    numbers = {kind: number for number, kind in enumerate(kinds)}
    named = json.dumps(kinds, ensure_ascii=False, separators=(",", ":")).encode()
    metadata = records[0].metadata
    pieces = [_SIZES.pack(len(named), len(metadata), len(records)), named, metadata]
    pieces += [
        _EVENT.pack(numbers[record.kind], len(record.data), record.data_crc, _rest_crc(record))
        for record in records
    ]
    pieces += [record.data for record in records]
    return squeezed(b"".join(pieces))


def unpack(part: StreamPart, kept: bytes) -> list[Record]:
    """The records of a part. Raises Corrupted for a body that was changed since it was stored."""
    try:
        return _unpack(part, expanded(kept))
    except (ValueError, TypeError, KeyError, IndexError, struct.error, zlib.error) as error:
        raise Corrupted(
            f"the events of {part.stream} from version {part.first} on were changed since they were "
            f"stored: {error}"
        ) from error


def _unpack(part: StreamPart, body: bytes) -> list[Record]:
    named, beside, count = _SIZES.unpack_from(body)
    at = _SIZES.size
    kinds = [Kind(*kind) for kind in json.loads(body[at : at + named])]
    metadata = body[at + named : at + named + beside]
    at += named + beside
    data = at + count * _EVENT.size
    if count != part.count:
        raise ValueError(f"there are {count} of them, and must be {part.count}")
    records: list[Record] = []
    for index in range(count):
        kind, size, data_crc, rest_crc = _EVENT.unpack_from(body, at)
        version, offset = part.first + index, part.offset + index
        records.append(
            Record(
                part.position + index,
                part.stream,
                version,
                kinds[kind],
                part.recorded_at,
                body[data : data + size],
                data_crc ^ _folded(index) ^ _folded(version),
                _REST.pack(part.append_id, offset, rest_crc) + metadata,
            )
        )
        at += _EVENT.size
        data += size
    if data != len(body):
        raise ValueError(f"it has {len(body)} bytes, and must have {data}")
    return records


_SIZES: Final = struct.Struct("<III")
_EVENT: Final = struct.Struct("<IIII")
_REST: Final = struct.Struct("<16sII")


def _rest_crc(record: Record) -> int:
    return int.from_bytes(record.rest[20:24], "little")


def _folded(version: int) -> int:
    """The trace of an event's version in the checksum of its data."""
    return (version ^ version >> 32) & 0xFFFFFFFF


# --- parts ----------------------------------------------------------------------------------------


@attrs.frozen
class Body:
    """The events that an append brings to a stream, as they are kept: in line, or in chunks."""

    stream: str
    count: int
    offset: int
    """The position in the append of its first event."""
    types: tuple[str, ...]
    data: bytes
    name: str = ""
    chunks: int = 0

    @staticmethod
    def of(
        stream: str, events: Sequence[Encoded], append_id: UUID, offset: int, metadata: bytes, now: int
    ) -> Body:
        """The body of some encoded events."""
        records = make_records(0, stream, 0, append_id.bytes, offset, events, metadata, now)
        data = pack(records)
        types = tuple(dict.fromkeys([record.kind.type for record in records]))
        # Under a name of this attempt: a retry with other events must not change what is stored.
        name, chunks = (uuid4().hex, -(-len(data) // CHUNK)) if len(data) > INLINE else ("", 0)
        return Body(stream, len(records), offset, types, data, name, chunks)

    @property
    def size(self) -> int:
        """The most bytes that its part takes, with what its commit says of it."""
        return (0 if self.name else len(self.data)) + 2 * len(self.stream.encode()) + 300

    def write_apart(self, talk: Talk, now: int) -> None:
        """Writes its chunks, if it has any. Nothing names them yet."""
        write_chunks(talk, self.name, self.data, now)

    def item(
        self, first: int, position: int, epoch: int, append_id: UUID, now: int, several: bool
    ) -> Item:
        """The part, once it is known where it will be."""
        item: Item = {
            **key(stream_key(self.stream), first),
            "c": {"N": str(first + self.count - 1)},
            "f": {"N": str(position)},
            "a": {"B": append_id.bytes},
            "t": {"N": str(now)},
        }
        if self.offset:
            item["i"] = {"N": str(self.offset)}
        if epoch != 1:
            item["e"] = {"N": str(epoch)}
        if several:
            item["x"] = {"BOOL": True}
        if self.name:
            return item | {"b": {"S": self.name}, "k": {"N": str(self.chunks)}}
        return item | {"d": {"B": self.data}}


@attrs.frozen
class StreamPart:
    """A part as its item tells."""

    stream: str
    first: int
    last: int
    position: int
    epoch: int
    append_id: bytes
    offset: int
    recorded_at: int
    is_of_several: bool
    """Whether its append brought something to other streams too."""
    data: bytes
    name: str
    chunks: int

    @property
    def count(self) -> int:
        """The number of its events."""
        return self.last - self.first + 1

    @property
    def end(self) -> int:
        """The position of its last event."""
        return self.position + self.count - 1


def part_of(item: Item) -> StreamPart:
    """A part, from its item. Raises Corrupted for one that is none."""
    try:
        return StreamPart(
            stream=item["p"]["S"][2:],
            first=number(item, "n"),
            last=int(item["c"]["N"]),
            position=int(item["f"]["N"]),
            epoch=number(item, "e", 1),
            append_id=bytes(item["a"]["B"]),
            offset=number(item, "i"),
            recorded_at=int(item["t"]["N"]),
            is_of_several="x" in item,
            data=bytes(item["d"]["B"]) if "d" in item else b"",
            name=item["b"]["S"] if "b" in item else "",
            chunks=number(item, "k"),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise Corrupted(
            f"item {item.get('p')}, {item.get('n')} is no part of a stream: {error}"
        ) from error


def write_chunks(talk: Talk, name: str, data: bytes, now: int) -> None:
    """Writes a body in chunks, if it has a name."""
    if name:
        for nth, at in enumerate(range(0, len(data), CHUNK), 1):
            chunk = {"d": {"B": data[at : at + CHUNK]}, "t": {"N": str(now)}}
            talk.put({**key(chunk_key(name), nth), **chunk})


def read_chunks(talk: Talk, name: str, chunks: int) -> bytes:
    """A body that was written in chunks. Raises Corrupted if some are not there."""
    found: list[bytes] = []
    while len(found) < chunks:
        items, _ = talk.query(chunk_key(name), len(found) + 1, chunks, chunks)
        if not items or number(items[0], "n") != len(found) + 1:
            raise Corrupted(
                f"chunk {len(found) + 1} of {chunk_key(name)} is missing: the table was changed"
            )
        found += [bytes(item["d"]["B"]) for item in items]
    return b"".join(found)


# --- commits --------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """An append to one stream, as a commit tells of it. Later versions may tell more."""

    stream: str
    first: int
    length: int
    append_id: str
    """In hexadecimal digits."""
    offset: int
    types: tuple[str, ...]

    @property
    def key(self) -> tuple[str, int]:
        """That of its part."""
        return stream_key(self.stream), self.first


@attrs.frozen
class Commit:
    """A commit: the positions that it has, the transaction that stored it, and what is at them."""

    first: int
    last: int
    token: bytes
    entries: list[Entry]
    turn: int = 0
    """The number of the turn that it serves; 0 for none."""

    def item(self, epoch: int) -> Item:
        """Its item."""
        types = list(dict.fromkeys([name for entry in self.entries for name in entry.types]))
        numbers = {name: number for number, name in enumerate(types)}
        ids = list(dict.fromkeys([entry.append_id for entry in self.entries]))
        nth = {append_id: number for number, append_id in enumerate(ids)}
        entries = [
            [
                e.stream,
                e.first,
                e.length,
                nth[e.append_id],
                e.offset,
                [numbers[name] for name in e.types],
            ]
            for e in self.entries
        ]
        told = json.dumps([types, ids, entries], ensure_ascii=False, separators=(",", ":")).encode()
        return {
            **key(feed_key(epoch, self.first), self.first),
            "l": {"N": str(self.last)},
            "k": {"B": self.token},
            "w": {"B": squeezed(told)},
            **({"h": {"N": str(self.turn)}} if self.turn else {}),
        }


def commit_of(item: Item) -> Commit:
    """A commit, from its item. Raises Corrupted for one that is none."""
    try:
        types, ids, told = json.loads(expanded(bytes(item["w"]["B"])))
        entries = [
            Entry(stream, first, length, ids[nth], offset, tuple([types[name] for name in names]))
            for stream, first, length, nth, offset, names, *_ in told
        ]
        first, last = number(item, "n"), int(item["l"]["N"])
        if sum([entry.length for entry in entries]) != last - first + 1:
            raise ValueError("it has another number of events than of positions")
        return Commit(first, last, bytes(item["k"]["B"]), entries, number(item, "h"))
    except (KeyError, ValueError, TypeError, IndexError, zlib.error) as error:
        raise Corrupted(f"item {item.get('p')}, {item.get('n')} is no commit: {error}") from error


def fence(epoch: int, position: int, following: int) -> Item:
    """The item after the last commit of an epoch: commits go on in another."""
    return {**key(feed_key(epoch, position), position), "x": {"N": str(following)}}


def is_fence(item: Item) -> bool:
    """Whether an item among the commits ends their epoch."""
    return "x" in item


# --- snapshots ------------------------------------------------------------------------------------


def snapshot_item(kept: Snapshot, name: str) -> Item:
    """The item of a snapshot. name: of its chunks, if it is kept apart."""
    item: Item = {
        **key(snapshot_key(kept.stream, kept.fold, kept.fold_version), 0),
        "s": {"N": str(kept.version)},
    }
    if name:
        return item | {"b": {"S": name}, "k": {"N": str(-(-len(kept.data) // CHUNK))}}
    return item | {"d": {"B": kept.data}} if kept.data else item


def epochs_text(begins: Sequence[tuple[int, int]]) -> str:
    """The epochs of a store, as its meta item has them."""
    return json.dumps([*map(list, begins)], separators=(",", ":"))


def epochs_of(item: dict[str, Any]) -> tuple[tuple[int, int], ...]:
    """The epochs in a meta item."""
    return tuple((epoch, position) for epoch, position in json.loads(item["e"]["S"]))
