"""Recorded events, as readers see them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final, Generic, TypeVar, cast
from uuid import UUID, uuid5
from zlib import crc32

from eventsrc._errors import REFUSALS, EventsrcError
from eventsrc._pickling import has_name
from eventsrc.events.codec import Codec, Encoded, Json, Undecodable, UnknownEvent
from eventsrc.events.event import Opaque
from eventsrc.events.record import REQUEST, Record, check_data, check_rest, seed_of
from eventsrc.events.stream_id import StreamId, stored_id

E_co = TypeVar("E_co", covariant=True)


class NotRead(EventsrcError):
    """More is asked of an event than was read: it came by Read(..., whole=False)."""


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
        return stored_id(self._record.stream)

    @property
    def version(self) -> int:
        """The event's number in its stream, from 1."""
        return self._record.version

    @property
    def position(self) -> int:
        """Its position in the feed, from 1: later is greater. To go on from it, use a Cursor."""
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

    def keep(self, data: Any) -> None:
        """Takes the event from somebody who has checked and decoded it."""
        self._data = data

    @property
    def is_known(self) -> bool:
        """Whether the event's type, version and codec are known, so that `data` can be expected.

        Raises Corrupted for one that is not known because what it says of itself was changed.
        """
        is_known = self._codec.knows(self._record.kind)
        if not is_known:
            check_data(self._record)
        return is_known

    def check(self) -> None:
        """Raises Corrupted if the event's data, or what it says of itself, is not what was stored."""
        check_data(self._record)

    def opaque(self) -> Opaque:
        """The event undecoded, to pass on. Raises Corrupted."""
        record = check_data(self._record)
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
        return append_id if record.offset == 0 else uuid5(append_id, str(record.offset))

    @property
    def metadata(self) -> Json:
        """The metadata that the event was appended with. Raises Corrupted."""
        metadata = self._codec.decode_metadata(self._sound_rest().metadata)
        metadata.pop(REQUEST, None)  # type: ignore[attr-defined]
        return metadata

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

    def __reduce__(self) -> tuple[Any, ...]:
        # with the event's class, so that the module that declares it is imported where this is read
        known = self._codec.types.named(self.type)
        cls = known.cls if known is not None and has_name(known.cls) else None
        return _recorded, (self._record, self._codec, cls)

    def _decoded(self) -> E_co:
        _, stream, version, kind, _, data, data_crc, _ = self._record
        try:
            event: E_co = self._codec.decoder(kind)(data)
            if crc32(data, seed_of(stream, kind)) ^ version == data_crc:
                return event
        except Exception as error:
            event = self._decoded_with_care()
            if not isinstance(error, REFUSALS):  # nothing is wrong with the event
                raise
            return event
        return self._decoded_with_care()

    def _decoded_with_care(self) -> E_co:
        """Raises what is wrong with the data, if anything is, and says which event it is."""
        record = check_data(self._record)
        try:
            return cast("E_co", self._codec.decode(Encoded(record.kind, record.data)))
        except (UnknownEvent, Undecodable) as error:
            where = f" (position {record.position})" if record.position else ""
            raise type(error)(f"{record.stream}@{record.version}{where}: {error}") from error.__cause__

    def _whole(self) -> Record:
        record = self._record
        if not record.position:
            raise NotRead(f"only the data of {self!r} was read: read it with whole=True")
        return record

    def _sound_rest(self) -> Record:
        return check_rest(self._whole())


def _recorded(record: Record, codec: Codec, _: type | None) -> Recorded[Any]:
    return Recorded(record, codec)


_UNDECODED: Final = object()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
