"""The codec: events to bytes and back, by cattrs and JSON, exactly or not at all.

An event is encoded once, when it is appended, and decoded once by each reader that wants it. The
bytes that are stored are the bytes that were encoded here; the checksums beside them catch what a
database does not notice, such as a flipped bit.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args
from uuid import UUID

from eventsrc.errors import EventsrcError
from eventsrc.event import EVENTS, EventType, EventTypes, Opaque
from eventsrc.exact import NotStorable, check_for, check_json

if TYPE_CHECKING:
    from cattrs import Converter
    from cattrs.preconf.json import JsonConverter

MAX_BYTES: Final = 64 * 1024 * 1024
"""How many bytes an event's data, or an append's metadata, may take."""

Json = Mapping[str, Any]


class UnknownEvent(EventsrcError):
    """A stored event has a type, a newer version or a codec that this program does not know."""


class Undecodable(EventsrcError):
    """A stored event's data does not fit its type; what is wrong with it is the cause."""


class Encoded(NamedTuple):
    """An event as bytes, ready to be stored."""

    type: str
    schema: int
    codec: str
    data: bytes


def json_converter() -> JsonConverter:
    """The cattrs converter that a Codec uses unless it is given one, to register one's own hooks on."""
    # Imported where it is used: a quarter of the time that importing the library would take.
    from cattrs.cols import is_any_set
    from cattrs.preconf.json import make_converter

    converter = make_converter(detailed_validation=False)
    converter.register_unstructure_hook(UUID, str)
    converter.register_structure_hook(UUID, lambda text, _kind: UUID(text))
    converter.register_unstructure_hook(Decimal, str)
    converter.register_structure_hook(Decimal, lambda text, _kind: Decimal(text))
    converter.register_unstructure_hook(datetime.time, lambda time: time.isoformat())
    converter.register_structure_hook(
        datetime.time, lambda text, _kind: datetime.time.fromisoformat(text)
    )
    converter.register_unstructure_hook(datetime.timedelta, _microseconds)
    converter.register_structure_hook(
        datetime.timedelta, lambda number, _kind: datetime.timedelta(microseconds=number)
    )
    converter.register_unstructure_hook_factory(is_any_set, _sorted_set_hook)
    return converter


def _sorted_set_hook(kind: Any, converter: Converter) -> Callable[[Any], list[Any]]:
    """Sets are stored sorted, so that equal events have equal bytes."""
    (item_kind,) = get_args(kind) or (Any,)
    item_hook = converter.get_unstructure_hook(item_kind)
    return lambda items: sorted(map(item_hook, items), key=json.dumps)


def _microseconds(delta: datetime.timedelta) -> int:
    return delta // datetime.timedelta(microseconds=1)


class Codec:
    """Encodes and decodes the events of some types. One may be used from several threads."""

    name: Final = "json"

    def __init__(self, types: EventTypes = EVENTS, converter: JsonConverter | None = None) -> None:
        self.types = types
        self._converter = json_converter() if converter is None else converter
        self._dumps = json.JSONEncoder(
            ensure_ascii=False, allow_nan=False, separators=(",", ":")
        ).encode
        self._encoders: dict[type, Callable[[Any], Encoded]] = {Opaque: _same_bytes}
        self._decoders: dict[tuple[str, int, str], Callable[[bytes], Any]] = {}

    def encode(self, event: object) -> Encoded:
        """An event as bytes.

        Raises EventTypeError for an object that is no event, and NotStorable, with the path to the bad
        value, for an event that would not come back equal.
        """
        encoder = self._encoders.get(type(event))
        if encoder is None:
            encoder = self._encoders[type(event)] = self._encoder(self.types.of(type(event)))
        return encoder(event)

    def encode_all(self, events: Sequence[object]) -> list[Encoded]:
        """Several events as bytes; the path in a NotStorable begins with the event's index."""
        encoded = []
        for index, event in enumerate(events):
            try:
                encoded.append(self.encode(event))
            except NotStorable as bad:
                raise bad.within(f"events[{index}]") from None
        return encoded

    def knows(self, type: str, schema: int, codec: str) -> bool:
        """Whether such a stored event can be decoded."""
        if (type, schema, codec) in self._decoders:
            return True
        kind = self.types.named(type)
        return kind is not None and 1 <= schema <= kind.version and codec == self.name

    def decode(self, encoded: Encoded) -> Any:
        """The event that was stored, brought forward to the current version of its type.

        Raises UnknownEvent, and Undecodable if the data does not fit the type.
        """
        decoder = self._decoders.get(encoded[:3])
        if decoder is None:
            decoder = self._decoders[encoded[:3]] = self._decoder(*encoded[:3])
        try:
            return decoder(encoded.data)
        except Exception as error:
            raise Undecodable(
                f"stored data of {encoded.type!r} version {encoded.schema} does not fit: {error}"
            ) from error

    def encode_metadata(self, metadata: Json) -> bytes:
        """Metadata as bytes; none for no metadata. Raises NotStorable with the path to a bad value."""
        if not metadata:
            return b""
        plain = dict(metadata)
        try:
            check_json(plain)
        except NotStorable as bad:
            raise bad.within("metadata") from None
        return _bounded(self._dumps(plain).encode())

    def decode_metadata(self, data: bytes) -> Json:
        """What encode_metadata made bytes of."""
        decoded: Json = json.loads(data) if data else {}
        return decoded

    def _encoder(self, kind: EventType) -> Callable[[Any], Encoded]:
        check = check_for(kind.cls)
        # An event with a field whose type brings its own hook is compared with what comes back.
        decoder = None if check is not None else self._decoder(kind.name, kind.version, self.name)
        unstructure = self._converter.get_unstructure_hook(kind.cls)
        dumps, name, version, codec = self._dumps, kind.name, kind.version, self.name

        def encode(event: Any) -> Encoded:
            if check is not None:
                check(event)
            try:
                data = _bounded(dumps(unstructure(event)).encode())
            except NotStorable:
                raise
            except Exception as error:
                raise NotStorable(f"{event!r:.200} has no JSON form: {error}") from error
            if decoder is not None:
                _compare(event, data, decoder)
            return Encoded(name, version, codec, data)

        return encode

    def _decoder(self, type: str, schema: int, codec: str) -> Callable[[bytes], Any]:
        if not self.knows(type, schema, codec):
            raise UnknownEvent(_unknown(type, schema, codec, self.types.named(type)))
        kind = self.types.named(type)
        assert kind is not None
        structure, cls, loads = self._converter.get_structure_hook(kind.cls), kind.cls, json.loads
        if schema == kind.version:
            return lambda data: structure(loads(data), cls)
        return lambda data: structure(kind.brought_forward(loads(data), schema), cls)


def _compare(event: Any, data: bytes, decoder: Callable[[bytes], Any]) -> None:
    try:
        back = decoder(data)
    except Exception as error:
        raise NotStorable(f"{event!r:.200} could not be read back: {error}") from error
    if back != event:
        raise NotStorable(f"{event!r:.200} would come back as {back!r:.200}")


def _same_bytes(event: Opaque) -> Encoded:
    return Encoded(event.type, event.version, event.codec, event.data)


def _bounded(data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise NotStorable(
            f"it takes {len(data)} bytes, and {MAX_BYTES} is the most: store a reference to it"
        )
    return data


def _unknown(type: str, schema: int, codec: str, kind: EventType | None) -> str:
    if kind is None:
        return f"no event type is named {type!r}: import the module that declares it"
    if codec != Codec.name:
        return f"{type!r} was stored by the codec {codec!r}: give the store that codec"
    return (
        f"{type!r} was stored in version {schema}, and the newest known here is {kind.version}: "
        "update this program"
    )
