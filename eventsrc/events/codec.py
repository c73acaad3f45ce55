"""The codec: events to bytes and back, by cattrs and JSON, exactly or not at all.

An event is encoded once, when it is appended, and decoded once by each reader that wants it. The
bytes that are stored are the bytes that were encoded here; the checksums beside them catch what a
database does not notice, such as a flipped bit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, get_args

import attrs

from eventsrc._errors import REFUSALS, EventsrcError
from eventsrc._pickling import ByName
from eventsrc.events import _msgspec
from eventsrc.events._exact import MAX_DEPTH, check_for, check_json, is_alike, shown
from eventsrc.events._exact import NotStorable as NotStorable  # which `encode` raises
from eventsrc.events._json import dumps, loads, loads_all
from eventsrc.events._readers import Hooks, Misfit, Reader, reader
from eventsrc.events._writers import Writer, writer
from eventsrc.events.event import EVENTS, EventType, EventTypes, Opaque, is_type_name
from eventsrc.events.json_converter import default_converter

if TYPE_CHECKING:
    from cattrs.preconf.json import JsonConverter

MAX_DATA_BYTES: Final = 64 * 1024 * 1024
"""The most bytes that an event's data, or an append's metadata, may take."""

Json = Mapping[str, Any]


class UnknownEvent(EventsrcError):
    """A stored event has a type, a newer version or a codec that this program does not know."""


class Undecodable(EventsrcError):
    """A stored event's data does not fit its type; what is wrong with it is the cause."""


class Kind(NamedTuple):
    """The kind of a stored event's data: name, version and form."""

    type: str
    """The name of the event's type."""
    schema: int
    """The version of the type."""
    codec: str


class Encoded(NamedTuple):
    """An event as bytes, ready to be stored."""

    kind: Kind
    data: bytes


_encoded: Final[Callable[[tuple[Kind, bytes]], Encoded]] = partial(tuple.__new__, Encoded)
"""As Encoded, and twice as fast."""


_PageEncoder: TypeAlias = Callable[[Sequence[Any]], list[Encoded] | None]
"""Encodes several events at once; answers None, or raises, if each has to be looked at alone."""


class Codec(ByName):
    """Encodes and decodes the events of some types. One may be used from several threads.

    types: which; those that `@event` registers if not given.
    converter: the cattrs converter to use; see json_converter.
    fast: whether msgspec may read and write JSON where it is installed (the extra `fast`). With a
        converter of one's own it does not.
    """

    name: Final = "json"

    def __init__(
        self,
        types: EventTypes = EVENTS,
        converter: JsonConverter | None = None,
        *,
        fast: bool = True,
    ) -> None:
        self.types = types
        self._converter = default_converter() if converter is None else converter
        self._is_default = converter is None
        self._is_fast = fast and converter is None
        self._revision = types.revision
        self._encoders: dict[type, Callable[[Any], Encoded]] = {Opaque: _same_bytes}
        self._writers: dict[type, tuple[Kind, Writer]] = {}
        self._decoders: dict[Kind, Callable[[bytes], Any]] = {}
        self._page_encoders: dict[type, _PageEncoder] = {}  # of the classes that have been encoded
        self._page_decoders: dict[Kind, Callable[[Sequence[bytes]], list[Any]]] = {}
        self._readers: dict[type, Reader] = {}

    def __reduce__(self) -> str | tuple[Any, ...]:
        if type(self) is Codec and self._is_default:
            return _codec, (self.types, self._is_fast)
        return super().__reduce__()

    def encode(self, event: object) -> Encoded:
        """An event as bytes.

        Raises EventTypeError for an object that is no event, and NotStorable, with the path to the bad
        value, for an event that would not come back equal.
        """
        quickly = self.glance(event)
        if quickly is not None:
            return quickly
        encoder = self._encoders.get(type(event))
        if encoder is None or self._revision != self.types.revision:
            self._refresh()
            kind = self.types.of(type(event)) if type(event) is not Opaque else None
            encoder = _same_bytes if kind is None else self._encoder(kind)
            self._encoders[type(event)] = encoder
        return encoder(event)

    def glance(self, event: object) -> Encoded | None:
        """An event as bytes, where a writer was made for its class that is sure; else None."""
        known = self._writers.get(type(event))
        if known is None or self._revision != self.types.revision:
            return None
        kind, write = known
        try:
            data = write(event)
        except REFUSALS:  # what is wrong with it is for `encode` to say
            return None
        return None if data is None or len(data) > MAX_DATA_BYTES else _encoded((kind, data))

    def encode_all(self, events: Sequence[object]) -> list[Encoded]:
        """Several events as bytes; the path in a NotStorable begins with the event's index."""
        if len(events) > 1:
            together = self._encoded_together(events)
            if together is not None:
                return together
        encoded: list[Encoded] = []
        try:
            for event in events:
                encoded.append(self.encode(event))  # noqa: PERF401  how many tells where it ended
        except NotStorable as bad:
            raise bad.within(f"events[{len(encoded)}]") from None
        return encoded

    def _encoded_together(self, events: Sequence[Any]) -> list[Encoded] | None:
        """Several events as bytes, if they are of one class, and none need be looked at alone."""
        encoder = self._page_encoders.get(type(events[0]))
        if encoder is None or self._revision != self.types.revision:
            return None
        try:
            return encoder(events)
        except REFUSALS:  # whichever event is at fault says better what is wrong
            return None

    def knows(self, kind: Kind) -> bool:
        """Whether such a stored event can be decoded."""
        known = self.types.named(kind.type)
        return known is not None and 1 <= kind.schema <= known.newest and kind.codec == self.name

    def decoder(self, kind: Kind) -> Callable[[bytes], Any]:
        """A function that makes events of a kind's data; it raises anything for data that does not fit.

        Raises UnknownEvent.
        """
        decoder = self._decoders.get(kind)
        if decoder is None or self._revision != self.types.revision:
            self._refresh()
            decoder = self._decoders[kind] = self._decoder(kind)
        return decoder

    def page_decoder(self, kind: Kind) -> Callable[[Sequence[bytes]], list[Any]]:
        """As `decoder`, of several data at once; it may raise for data that do fit: then ask that one.

        Raises UnknownEvent.
        """
        decoder = self._page_decoders.get(kind)
        if decoder is None or self._revision != self.types.revision:
            self._refresh()
            decoder = self._page_decoders[kind] = self._page_decoder(kind)
        return decoder

    def decode(self, encoded: Encoded) -> Any:
        """The event that was stored, brought forward to the current version of its type.

        Raises UnknownEvent, and Undecodable if the data does not fit the type.
        """
        kind, data = encoded
        try:
            return self.decoder(kind)(data)
        except UnknownEvent:
            raise
        except Exception as error:
            raise Undecodable(
                f"stored data of {kind.type!r} version {kind.schema} does not fit: {_said(error)}"
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
        return _bounded(self._write(plain))

    def decode_metadata(self, data: bytes) -> Json:
        """The metadata that encode_metadata made bytes of."""
        decoded: Json = json.loads(data) if data else {}
        return decoded

    def _write(self, unstructured: Any) -> bytes:
        return dumps(unstructured).encode()

    def _refresh(self) -> None:
        """Forgets what was made of event types that have been declared anew since, as in a notebook."""
        if self._revision != self.types.revision:
            self._revision = self.types.revision
            self._encoders.clear()
            self._writers.clear()
            self._page_encoders.clear()
            self._decoders.clear()
            self._page_decoders.clear()
            self._readers.clear()

    def _encoder(self, kind: EventType) -> Callable[[Any], Encoded]:
        try:
            check, is_complete = check_for(kind.cls)
            stored_as = Kind(kind.name, kind.version, self.name)
            decode = self._decoder(stored_as)
            unstructure = self._converter.get_unstructure_hook(kind.cls)
        except Exception as error:
            if not _is_of_types(error):
                raise
            raise NotStorable(
                f"{kind.cls.__qualname__} has a field that cannot be stored: {error}: change its type, "
                "or give the codec a converter with hooks for it"
            ) from error
        if not self._is_default:  # with hooks of the user's own, nothing is known of what they store
            check, is_complete = _anything, False

        def write(event: Any) -> bytes:
            return self._write(unstructure(event))

        def encode(event: Any) -> Encoded:
            try:
                check(event)
                data = write(event)
                if len(data) > MAX_DATA_BYTES:
                    _bounded(data)
                if not is_complete:
                    _compare(event, data, decode, write)
            except NotStorable as bad:
                if not bad.path:
                    raise bad.within(self._culprit(event, kind.cls)) from bad.__cause__
                raise
            except Exception as error:
                if not isinstance(error, REFUSALS) and _can(write, event):
                    raise  # nothing is wrong with the event
                path = self._culprit(event, kind.cls)
                raise NotStorable(f"{shown(event)} has no JSON form: {error}", path) from error
            return _encoded((stored_as, data))

        swift = self._swift()
        swiftly = writer(kind.cls, swift and swift.write) if is_complete else None
        if swiftly is not None:
            self._writers[kind.cls] = stored_as, swiftly
            self._page_encoders[kind.cls] = _page_encoder(stored_as, swiftly)
        return encode

    def _culprit(self, value: Any, kind: Any, depth: int = MAX_DEPTH) -> str:
        """The path to the part of a value that does not come back as it was, as far as it is found."""
        parts: list[tuple[str, Any, Any]] = []
        args = get_args(kind)
        if attrs.has(type(value)):
            parts = [(f.name, getattr(value, f.name), f.type) for f in attrs.fields(type(value))]
        elif isinstance(value, list | tuple):
            each = args[:1] * len(value) if len(args) != len(value) else args
            parts = [
                (f"[{index}]", item, each[index] if each else Any) for index, item in enumerate(value)
            ]
        elif isinstance(value, dict) and len(args) == 2:
            parts = [(f"[{key!r}]", item, args[1]) for key, item in value.items()]
        for place, part, part_kind in parts:
            if depth and not self._comes_back(part, part_kind):
                inside = NotStorable("", self._culprit(part, part_kind, depth - 1))
                return inside.within(place).path
        return ""

    def _comes_back(self, value: Any, kind: Any) -> bool:
        try:
            check_for(kind).check(value)
            data = dumps(self._converter.unstructure(value, unstructure_as=kind))
            back = self._converter.structure(json.loads(data), kind)
            again = dumps(self._converter.unstructure(back, unstructure_as=kind))
        except Exception:
            return False
        return is_alike(back, value) and again == data

    def _decoder(self, kind: Kind) -> Callable[[bytes], Any]:
        make = self._maker(kind)

        def decode(data: bytes) -> Any:
            return make(loads(data))

        swift = self._swift()
        if swift is None:
            return decode
        parse, read_all = swift.parse, self._page_reader(kind, swift)
        if read_all is None:
            return _either(lambda data: make(parse(data)), decode)
        return _either(lambda data: read_all((data,))[0], decode)

    def _page_decoder(self, kind: Kind) -> Callable[[Sequence[bytes]], list[Any]]:
        make, swift = self._maker(kind), self._swift()
        if swift is None:
            return lambda datas: [*map(make, loads_all(datas))]
        parse = swift.parse
        return self._page_reader(kind, swift) or (lambda datas: [*map(make, map(parse, datas))])

    def _swift(self) -> _msgspec.Functions | None:
        """The functions of msgspec for this codec, imported when they are first needed."""
        return _msgspec.functions() if self._is_fast else None

    def _page_reader(self, kind: Kind, swift: _msgspec.Functions) -> _msgspec.PageReader | None:
        """A function that makes events by msgspec alone, if the data is of the type's own version."""
        known = self.types.named(kind.type)
        is_current = known is not None and kind.schema == known.version
        return swift.reader(known.cls) if known is not None and is_current else None

    def _maker(self, kind: Kind) -> Callable[[Any], Any]:
        """The function that makes events of a kind of parsed JSON. Raises UnknownEvent."""
        known = self.types.named(kind.type)
        if known is None or not self.knows(kind):
            raise UnknownEvent(_unknown(kind, known))
        make, schema = self._reader(known.cls), kind.schema
        if schema == known.version:
            return make

        def make_of_another(value: Any) -> Any:
            own = known.in_this_version(value, schema)
            try:
                return make(own)
            except REFUSALS as error:
                how = "forward" if schema < known.version else "back"
                by = "upcasters" if schema < known.version else "downcasters"
                error.add_note(f"brought {how} from version {schema} by its {by}")
                raise

        return make_of_another

    def _reader(self, cls: type) -> Reader:
        converter = self._converter
        if not self._is_default:  # the user's own hooks say what fits
            return partial(_structured, converter.get_structure_hook(cls), cls)
        made = self._readers.get(cls)
        if made is None:
            hooks = Hooks(converter.get_structure_hook, converter.get_unstructure_hook)
            made = self._readers[cls] = reader(cls, hooks)
        return made


def _codec(types: EventTypes, fast: bool) -> Codec:
    return Codec(types, fast=fast)


def _structured(structure: Callable[[Any, Any], Any], cls: type, value: Any) -> Any:
    return structure(value, cls)


def _either(swiftly: Callable[[bytes], Any], plainly: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """The function that answers swiftly or, if that raises, plainly."""

    def answer(data: bytes) -> Any:
        try:
            return swiftly(data)
        except REFUSALS:
            return plainly(data)

    return answer


def _page_encoder(stored_as: Kind, write: Writer) -> _PageEncoder:
    """The function that encodes several events of a class at once."""

    def encode(events: Sequence[Any]) -> list[Encoded] | None:
        datas = [data for data in map(write, events) if data is not None]
        if len(datas) < len(events) or max(map(len, datas)) > MAX_DATA_BYTES:
            return None
        return [*map(_encoded, zip(repeat(stored_as), datas, strict=False))]

    return encode


def _said(error: Exception) -> str:
    """The text of an error with its notes, and its type where the text alone says little."""
    text = str(error) if isinstance(error, Misfit) else f"{type(error).__name__}: {error}"
    return "; ".join([text, *getattr(error, "__notes__", ())])


def _is_of_types(error: Exception) -> bool:
    """Whether it says that a class cannot be encoded; a signal's handler may have raised it as well."""
    from cattrs.errors import CattrsError  # which has been imported by now

    return isinstance(error, (CattrsError, NameError, *REFUSALS))


def _can(write: Callable[[Any], bytes], event: Any) -> bool:
    try:
        write(event)
    except Exception:
        return False
    return True


def _compare(
    event: Any, data: bytes, decode: Callable[[bytes], Any], write: Callable[[Any], bytes]
) -> None:
    """Raises NotStorable unless the event comes back equal, and as what it was: True is not 1."""
    try:
        back = decode(data)
        is_same = is_alike(back, event) and write(back) == data
    except Exception as error:
        raise NotStorable(f"{shown(event)} could not be read back: {error}") from error
    if not is_same:
        raise NotStorable(f"{shown(event)} would come back as {shown(back)}")


def _anything(_: Any) -> None:
    """The check that all values pass."""


def _same_bytes(event: Any) -> Encoded:
    kind = Kind(event.type, event.version, event.codec)
    for field, text in (("type", kind.type), ("codec", kind.codec)):
        if not is_type_name(text):
            raise NotStorable(f"{shown(text)} is no name", field)
    if type(kind.schema) is not int or not 1 <= kind.schema < 2**63:
        raise NotStorable(f"{shown(kind.schema)} is no version of an event type", "version")
    if type(event.data) is not bytes:
        raise NotStorable(f"{shown(event.data)} is no bytes", "data")
    return Encoded(kind, _bounded(event.data))


def _bounded(data: bytes) -> bytes:
    if len(data) > MAX_DATA_BYTES:
        raise NotStorable(
            f"it takes {len(data)} bytes, and {MAX_DATA_BYTES} is the most: store a reference to it"
        )
    return data


def _unknown(kind: Kind, known: EventType | None) -> str:
    type, schema, codec = kind
    if known is None:
        return f"no event type is named {type!r}: import the module that declares it"
    if codec != Codec.name:
        return f"{type!r} was stored by the codec {codec!r}: give the store that codec"
    return (
        f"{type!r} was stored in version {schema}, and the newest known here is {known.newest}: "
        "update this program"
    )
