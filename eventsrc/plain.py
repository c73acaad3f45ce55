"""Any values of a program as JSON, and back: operations, answers, events, arguments.

Unlike the codec, which stores events for years, this is for values of one program at one time: classes
go by their module and name, and what has no form of its own is refused, or kept as text.
"""

from __future__ import annotations

import datetime as dt
import enum
import importlib
import inspect
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from types import BuiltinFunctionType, FunctionType
from typing import Any, Final, TypeAlias
from uuid import UUID

import attrs
from returns.result import Failure, Success

from eventsrc.codec import Codec, Encoded, Kind
from eventsrc.errors import EventsrcError
from eventsrc.event import Opaque
from eventsrc.program import Call
from eventsrc.recorded import Recorded, make_record
from eventsrc.stream_id import StreamId
from eventsrc.view import View

Mask: TypeAlias = Callable[[str, Any], Any]
"""Is given the name and value of each field, key or argument; answers what to write in its place. Names
of streams are given to it as `stream`, wherever they are."""

_TAG: Final = "$"
_NUMBERS: Final = (int, float, str, bool, type(None))


class NotPlain(EventsrcError):
    """A value cannot be written; `path` leads to it."""

    def __init__(self, value: object, path: str) -> None:
        super().__init__(
            f"{path or 'the value'} is {value!r:.100}, of a type that cannot be written: make it an "
            "attrs class, or name its type in `opaque` to keep just its text"
        )
        self.path = path


class Lost(EventsrcError):
    """What was written cannot be made again, because its class or function is not where it was."""


@attrs.frozen
class Text:
    """What is left of a value that is written as text only."""

    text: str


def _kept(_name: str, value: Any) -> Any:
    """The mask that hides nothing."""
    return value


class Plain:
    """Writes values as JSON and makes them again.

    opaque: types of which only the text is kept. mask: what is written in the place of values.
    names: where classes and functions are now, by what they were called, such as "app.users:rename".
    codec: of the events.
    """

    def __init__(
        self,
        *,
        opaque: tuple[type, ...] = (),
        mask: Mask | None = None,
        names: Mapping[str, Any] | None = None,
        codec: Codec | None = None,
    ) -> None:
        self._opaque = opaque
        self._mask = _kept if mask is None else mask
        self._names = dict(names or {})
        self._codec = Codec() if codec is None else codec

    # --- writing

    def write(self, value: Any, path: str = "") -> Any:
        """The value as JSON. Raises NotPlain."""
        kind = type(value)
        if kind in _NUMBERS:
            return (
                value if kind is not float or value - value == 0 else {_TAG: "float", "of": repr(value)}
            )
        if kind is list:
            return self._several(value, path)
        if kind in _CONTAINERS:
            items = self._several(value, path)
            return {_TAG: kind.__name__, "of": sorted(items, key=repr) if kind is not tuple else items}
        if isinstance(value, Mapping):
            pairs = [
                [self.write(key, path), self.write(self._masked(key, its), f"{path}[{key!r}]")]
                for key, its in value.items()
            ]
            return {_TAG: "dict", "of": pairs}
        if kind is StreamId:
            return {_TAG: "StreamId", "of": str(self._mask("stream", value))}
        if kind in _TEXTS:
            return {_TAG: kind.__name__, "of": _TEXTS[kind][0](value)}
        return self._tagged(value, kind, path)

    def _several(self, items: Any, path: str) -> list[Any]:
        return [self.write(item, f"{path}[{place}]") for place, item in enumerate(items)]

    def _masked(self, name: Any, value: Any) -> Any:
        is_masked_later = isinstance(value, StreamId)
        return self._mask(name, value) if isinstance(name, str) and not is_masked_later else value

    def _tagged(self, value: Any, kind: type, path: str) -> Any:
        if isinstance(value, self._opaque):
            return {_TAG: "text", "of": f"{kind.__qualname__} {value!r:.200}"}
        if isinstance(value, Success | Failure):
            inner = value.unwrap() if isinstance(value, Success) else value.failure()
            return {_TAG: kind.__name__, "of": self.write(inner, path)}
        if isinstance(value, Recorded):
            return self._recorded(value, path)
        if isinstance(value, Call):
            return self.write_call(value, path)
        if isinstance(value, enum.Enum):
            return {_TAG: "enum", "type": name_of_object(kind), "of": value.name}
        if isinstance(value, View):
            return {_TAG: "view", "of": [value.name, value.version]}
        if isinstance(value, BaseException):
            arguments = [self._or_text(its, path) for its in value.args]
            return {_TAG: "error", "type": name_of_object(kind), "of": arguments, "text": str(value)}
        if isinstance(value, type | FunctionType | BuiltinFunctionType):
            return {_TAG: "name", "of": name_of_object(value)}
        if attrs.has(kind):
            fields = {
                field.name: self.write(
                    self._masked(field.name, getattr(value, field.name)), f"{path}.{field.name}"
                )
                for field in attrs.fields(kind)
                if field.init
            }
            return {_TAG: "object", "type": name_of_object(kind), "of": fields}
        if isinstance(value, Sequence) and not isinstance(
            value, str | bytes
        ):  # events that are decoded when they are asked for
            return {_TAG: "tuple", "of": self._several(value, path)}
        raise NotPlain(value, path)

    def write_call(self, call: Call[Any, Any], path: str = "") -> Any:
        """A program: its function and its arguments."""
        names = [*inspect.signature(call.function).parameters]
        names += [""] * (len(call.args) - len(names))
        arguments = [
            self.write(self._masked(name, its), f"{path}argument {name}")
            for name, its in zip(names, call.args, strict=False)
        ]
        named = {
            name: self.write(self._masked(name, its), f"{path}argument {name}")
            for name, its in call.kwargs.items()
        }
        return {_TAG: "call", "type": name_of_object(call.function), "of": arguments, "named": named}

    def _or_text(self, value: Any, path: str) -> Any:
        try:
            return self.write(value, path)
        except NotPlain:
            return repr(value)

    def _recorded(self, event: Recorded[Any], path: str) -> Any:
        record = event.record
        where = f"{path}.{record.stream}@{record.version}"
        is_whole = bool(record.rest)  # readers who want just the data may be given no more
        return {
            _TAG: "recorded",
            "of": self.write(event.data if event.is_known else event.opaque(), where),
            "stream": self.write(event.stream),
            "place": [
                record.position,
                record.version,
                record.nth if is_whole else 0,
                record.recorded_at,
            ],
            "append": record.append_id.hex() if is_whole else None,
            "metadata": self.write(dict(event.metadata), f"{where}.metadata") if is_whole else None,
        }

    # --- making again

    def make(self, written: Any) -> Any:
        """The value that was written. Raises Lost if its class or function is not found."""
        if isinstance(written, list):
            return [self.make(item) for item in written]
        if not isinstance(written, dict):
            return written
        return self._made(written[_TAG], written.get("of"), written)

    def _made(self, tag: str, of: Any, written: Mapping[str, Any]) -> Any:
        match tag:
            case "float":
                return float(of)
            case "tuple" | "set" | "frozenset":
                return {"tuple": tuple, "set": set, "frozenset": frozenset}[tag](map(self.make, of))
            case "dict":
                return {self.make(key): self.make(value) for key, value in of}
            case "Success":
                return Success(self.make(of))
            case "Failure":
                return Failure(self.make(of))
            case "text":
                return Text(of)
            case "view":
                return View(of[0], version=of[1])
            case "enum":
                return self.found(written["type"])[of]
            case "name":
                return self.found(of)
            case "call":
                function = self.found(written["type"])
                named = {name: self.make(its) for name, its in written["named"].items()}
                return function(*map(self.make, of), **named)
            case "error":
                return self._error(written)
            case "recorded":
                return self._event(written)
            case "object":
                return self._object(self.found(written["type"]), of)
            case _:
                return _MAKERS[tag](of)

    def _object(self, kind: type, fields: Mapping[str, Any]) -> Any:
        """An object of a class; fields that it no longer has are left out."""
        has = {field.name: field.alias or field.name for field in attrs.fields(kind)}
        values = {has[name]: self.make(value) for name, value in fields.items() if name in has}
        try:
            return kind(**values)
        except TypeError as error:
            raise Lost(f"{kind.__qualname__} has other fields now: {error}") from error

    def _error(self, written: Mapping[str, Any]) -> Exception:
        try:
            made = self.found(written["type"])(*map(self.make, written["of"]))
        except Exception:
            made = None
        if isinstance(made, Exception) and str(made) == written["text"]:
            return made
        return AgainRaised(written["type"], written["text"])

    def _event(self, written: Mapping[str, Any]) -> Recorded[Any]:
        event = self.make(written["of"])
        encoded = self._codec.encode(event)
        if isinstance(event, Opaque):
            encoded = Encoded(Kind(event.type, event.version, event.codec), event.data)
        position, version, nth, at = written["place"]
        metadata = self._codec.encode_metadata(self.make(written["metadata"]) or {})
        append_id = bytes.fromhex(written["append"] or "00" * 16)
        stream = self.make(written["stream"])
        record = make_record(position, stream, version, append_id, nth, encoded, metadata, at)
        if written["append"] is None:
            record = record._replace(rest=b"")
        return Recorded(record, self._codec)

    def found(self, name: str) -> Any:
        """The class or function of this name. Raises Lost."""
        if name in self._names:
            return self._names[name]
        module, _, path = name.partition(":")
        try:
            found: Any = importlib.import_module(module)
            for part in path.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as error:
            raise Lost(
                f"{name} is not found: {error}. Say where it is now: names={{{name!r}: ...}}"
            ) from error
        return found


class AgainRaised(EventsrcError):
    """Stands for an exception that was recorded, and cannot be made again as it was."""

    def __init__(self, type: str, text: str) -> None:
        super().__init__(f"{type}: {text}")


def name_of_object(named: Any) -> str:
    """Where a class or function is found: its module and name, such as "app.users:rename"."""
    return f"{named.__module__}:{named.__qualname__}"


_CONTAINERS: Final = (tuple, set, frozenset)

_TEXTS: Final[Mapping[type, tuple[Callable[[Any], Any], Callable[[Any], Any]]]] = {
    bytes: (lambda data: b64encode(data).decode(), b64decode),
    UUID: (str, UUID),
    Decimal: (str, Decimal),
    StreamId: (str, StreamId),
    dt.datetime: (dt.datetime.isoformat, dt.datetime.fromisoformat),
    dt.date: (dt.date.isoformat, dt.date.fromisoformat),
    dt.time: (dt.time.isoformat, dt.time.fromisoformat),
    dt.timedelta: (
        lambda delta: delta // dt.timedelta(microseconds=1),
        lambda number: dt.timedelta(microseconds=number),
    ),
}
_MAKERS: Final = {kind.__name__: make for kind, (_, make) in _TEXTS.items()}
