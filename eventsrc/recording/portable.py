"""Values as JSON that says what they are, to be read by another process, perhaps of a later version.

Events are written as stores keep them, by their registered name and version; attrs classes, enums and
functions by their qualified names. There is no pickle: reading makes values of classes that the program
has imported, and runs no code that the file names.
"""

from __future__ import annotations

import base64
import datetime
import enum
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import partial
from types import FunctionType
from typing import Any, Final, TypeAlias
from uuid import UUID

import attrs
from returns.result import Failure, Success

from eventsrc._errors import EventsrcError
from eventsrc.events._exact import shown
from eventsrc.events.codec import Codec, Encoded, Kind
from eventsrc.events.event import Opaque
from eventsrc.events.pages import Events
from eventsrc.events.record import make_record
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.program import Call
from eventsrc.views.view import View

Mask: TypeAlias = Callable[[Any, str, Any], Any]
"""What to write in place of a value, given the class (or program function), the name of its field (or
parameter) and the value; the value itself to leave it as it is."""


class NotPortable(EventsrcError, ValueError):
    """A value cannot be written so that it can be read again, or cannot be read here."""


@attrs.frozen
class Unwritten:
    """What stands for a value that was not written: only its class is known."""

    kind: str


def _anything(_owner: Any, _field: str, value: Any) -> Any:
    return value


class Portable:
    """Writes and reads values; make one for each run that is written.

    codec: of the events. opaque: classes of which only the name is written, and no value.
    mask: replaces values, see Mask. `masked` then has the texts that it has replaced.
    views: those that may be read, which are written by name and version.
    """

    def __init__(
        self,
        codec: Codec | None = None,
        opaque: tuple[type, ...] = (),
        mask: Mask = _anything,
        views: Iterable[View[Any]] = (),
    ) -> None:
        self._codec = Codec() if codec is None else codec
        self._opaque = opaque
        self._mask = mask
        self._views = {(view.name, view.version): view for view in views}
        self.masked: dict[str, str] = {}

    def plain(self, value: Any) -> Any:
        """A value as JSON has it. Raises NotPortable, naming the value and the remedy."""
        kind = type(value)
        if value is None or kind in (bool, int, str):
            return value
        if kind is float:
            return value if value - value == 0 else {"$float": str(value)}
        write = _WRITE.get(kind)
        if write is not None:
            return write(self, value)
        if isinstance(value, self._opaque):
            return {"$unwritten": f"{kind.__module__}:{kind.__qualname__}"}
        if isinstance(value, enum.Enum):
            return {"$enum": name_of(kind), "name": value.name}
        if isinstance(value, Recorded):
            return self._plain_recorded(value)
        if isinstance(value, Events):
            return {"$events": [self._plain_recorded(each) for each in value]}
        if isinstance(value, Success):
            return {"$success": self.plain(value.unwrap())}
        if isinstance(value, Failure):
            return {"$failure": self.plain(value.failure())}
        if isinstance(value, BaseException):
            return self._plain_error(value)
        if isinstance(value, View):
            return {"$view": [value.name, value.version]}
        if isinstance(value, Mapping):
            return self._plain_dict(value)
        if isinstance(value, FunctionType | type):
            return {"$ref": name_of(value)}
        if self._is_event(kind):
            return self._plain_event(value)
        if attrs.has(kind):
            fields = [(each.name, getattr(value, each.name)) for each in attrs.fields(kind)]
            return {
                "$attrs": name_of(kind),
                "fields": {name: self.plain(self._masked(kind, name, part)) for name, part in fields},
            }
        raise NotPortable(
            f"{shown(value)} is a {kind.__module__}.{kind.__qualname__}, which cannot be written: make "
            "it an attrs class, or name its class in `opaque` to leave its values out"
        )

    def value(self, plain: Any) -> Any:
        """The value that was written. Raises NotPortable for one that cannot be had here."""
        if isinstance(plain, list):
            return [self.value(item) for item in plain]
        if not isinstance(plain, dict):
            return plain
        tag = next(iter(plain), "")
        if not tag.startswith("$"):
            return {key: self.value(item) for key, item in plain.items()}
        read = _READ.get(tag)
        if read is None:
            raise NotPortable(
                f"{tag} is no kind of value: the file is of a newer version of this library"
            )
        return read(self, plain[tag], plain)

    # --- writing ----------------------------------------------------------------------------------

    def _masked(self, owner: Any, field: str, value: Any) -> Any:
        new = self._mask(owner, field, value)
        if new is not value:
            self._remember(value, new)
        return new

    def _remember(self, value: Any, new: Any) -> None:
        """Keeps the texts that a mask has replaced."""
        if isinstance(value, str) and isinstance(new, str):
            if value and value != new:
                self.masked[str(value)] = str(new)
        elif isinstance(value, list | tuple) and isinstance(new, list | tuple):
            for part, its in zip(value, new, strict=False):
                self._remember(part, its)

    def _plain_dict(self, value: Mapping[Any, Any]) -> Any:
        if all(type(key) is str and not key.startswith("$") for key in value):
            return {key: self.plain(item) for key, item in value.items()}
        return {"$dict": [[self.plain(key), self.plain(item)] for key, item in value.items()]}

    def _plain_set(self, value: Any) -> list[Any]:
        return sorted(map(self.plain, value), key=json.dumps)

    def _is_event(self, kind: type) -> bool:
        try:
            self._codec.types.of(kind)
        except EventsrcError:
            return False
        return True

    def _plain_event(self, event: Any) -> Any:
        kind, data = self._codec.encode(self._evolved(event))
        return {"$event": list(kind), "data": _readable(kind, data)}

    def _evolved(self, value: Any) -> Any:
        """A value of an event with all masks applied."""
        kind = type(value)
        if attrs.has(kind) and kind is not Opaque:
            found = {each: getattr(value, each.name) for each in attrs.fields(kind) if each.init}
            new = {each: self._evolved(self._masked(kind, each.name, v)) for each, v in found.items()}
            changed = {each.alias: v for each, v in new.items() if v is not found[each]}
            return attrs.evolve(value, **changed) if changed else value
        if kind in (list, tuple, set, frozenset):
            items = [self._evolved(item) for item in value]
            return value if all(map(_is, items, value)) else kind(items)
        if kind is dict:
            return {key: self._evolved(item) for key, item in value.items()}
        return value

    def _plain_recorded(self, recorded: Recorded[Any]) -> Any:
        record = recorded.record
        event = recorded.data if recorded.is_known else recorded.opaque()
        about: dict[str, Any] = {"stream": record.stream, "version": record.version}
        if record.position:
            about |= {
                "position": record.position,
                "recorded_at": record.recorded_at,
                "append_id": str(recorded.append_id),
                "nth": record.nth,
                "metadata": self.plain(recorded.metadata),
            }
        return {"$recorded": about, "event": self._plain_event(event)}

    def _plain_error(self, error: BaseException) -> Any:
        kind = type(error)
        try:
            args = [self.plain(arg) for arg in error.args]
        except NotPortable:  # what it says is kept, and what it has besides is not
            return {"$error": name_of(kind), "text": str(error)}
        return {"$error": name_of(kind), "args": args}

    def _plain_call(self, call: Call[Any, Any]) -> Any:
        function: Any = call.function
        names = function.__wrapped__.__code__.co_varnames
        args = [
            self.plain(self._masked(function, names[index] if index < len(names) else "", arg))
            for index, arg in enumerate(call.args)
        ]
        kwargs = {
            name: self.plain(self._masked(function, name, arg)) for name, arg in call.kwargs.items()
        }
        return {"$call": name_of(function), "args": args, "kwargs": kwargs}

    def _plain_partial(self, given: Any) -> Any:
        kwargs = {name: self.plain(arg) for name, arg in given.keywords.items()}
        return {
            "$partial": self.plain(given.func),
            "args": self.plain(list(given.args)),
            "kwargs": kwargs,
        }

    # --- reading ----------------------------------------------------------------------------------

    def _event(self, kind: Any, plain: Any) -> Any:
        encoded = self._encoded(kind, plain["data"])
        known = self._codec.knows(encoded.kind)
        return self._codec.decode(encoded) if known else Opaque(*encoded.kind, encoded.data)

    def _encoded(self, kind: Any, data: Any) -> Encoded:
        if isinstance(data, dict) and "$bytes" in data:
            return Encoded(Kind(*kind), base64.b64decode(data["$bytes"]))
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        return Encoded(Kind(*kind), text.encode())

    def _recorded(self, about: Any, plain: Any) -> Recorded[Any]:
        encoded = self._encoded(plain["event"]["$event"], plain["event"]["data"])
        position, append_id = about.get("position", 0), UUID(about.get("append_id", _NO_ID))
        metadata = self._codec.encode_metadata(self.value(about.get("metadata", {})))
        stream, version, nth = about["stream"], about["version"], about.get("nth", 0)
        at = about.get("recorded_at", 0)
        record = make_record(position, stream, version, append_id.bytes, nth, encoded, metadata, at)
        return Recorded(record if position else record._replace(rest=b""), self._codec)

    def _attrs(self, name: str, plain: Any) -> Any:
        kind = found(name)
        if not (isinstance(kind, type) and attrs.has(kind)):
            raise NotPortable(f"{name} is no attrs class any more")
        written = {field: self.value(part) for field, part in plain["fields"].items()}
        given = {f.alias: written[f.name] for f in attrs.fields(kind) if f.init and f.name in written}
        try:
            made = kind(**given)
        except Exception as error:  # of a validator, too
            raise NotPortable(
                f"{name} cannot be made of {', '.join(written) or 'nothing'}, which it had when it was "
                f"written: {error}: give its new fields defaults"
            ) from error
        for field in attrs.fields(kind):
            if not field.init and field.name in written:
                object.__setattr__(made, field.name, written[field.name])
        return made

    def _enum(self, name: str, plain: Any) -> Any:
        kind = found(name)
        if not (isinstance(kind, type) and issubclass(kind, enum.Enum)):
            raise NotPortable(f"{name} is no enum any more")
        if plain["name"] not in kind.__members__:
            raise NotPortable(f"{name} has no member {plain['name']} any more")
        return kind[plain["name"]]

    def _error(self, name: str, plain: Any) -> BaseException:
        kind = found(name)
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise NotPortable(f"{name} is no exception any more")
        if "args" in plain:
            args = tuple(self.value(arg) for arg in plain["args"])
            try:
                return kind(*args)
            except (
                Exception
            ):  # its arguments are not those of its class: then it has no more than these
                error = kind.__new__(kind)
                error.args = args
        else:
            error = kind.__new__(kind)
            error.args = (plain["text"],)
        return error

    def _call(self, name: str, plain: Any) -> Any:
        function = found(name)
        if not getattr(function, "__program__", False):
            raise NotPortable(f"{name} is no program any more")
        args = [self.value(arg) for arg in plain["args"]]
        return function(*args, **{key: self.value(arg) for key, arg in plain["kwargs"].items()})

    def _view(self, name: str, version: int) -> View[Any]:
        view = self._views.get((name, version))
        if view is None:
            raise NotPortable(
                f"version {version} of the view {name!r} is not known: give it in `views`"
            )
        return view

    def _partial(self, function: Any, plain: Any) -> Any:
        kwargs = {key: self.value(arg) for key, arg in plain["kwargs"].items()}
        return partial(self.value(function), *self.value(plain["args"]), **kwargs)


_NO_ID: Final = str(UUID(int=0))


def _is(one: Any, other: Any) -> bool:
    return one is other


def _readable(kind: Kind, data: bytes) -> Any:
    """Stored data to look at, if it is JSON."""
    if kind.codec == Codec.name:
        try:
            return json.loads(data)
        except ValueError:
            pass
    return {"$bytes": base64.b64encode(data).decode()}


def name_of(thing: Any) -> str:
    """The qualified name of a class or function. Raises NotPortable if it does not lead there."""
    name = f"{thing.__module__}:{thing.__qualname__}"
    try:
        same = found(name) is thing
    except NotPortable:
        same = False
    if not same:
        raise NotPortable(
            f"{name} does not lead to {shown(thing)}, which is local or has no name of its own: "
            "declare it in a module"
        )
    return name


def found(name: str) -> Any:
    """What a qualified name leads to, in the modules that are imported. Raises NotPortable."""
    module, _, path = name.partition(":")
    thing: Any = sys.modules.get(module)
    if thing is None:
        raise NotPortable(f"{name} cannot be found: import {module} first, or name what took its place")
    for part in path.split("."):
        thing = getattr(thing, part, None)
    if thing is None:
        raise NotPortable(f"{module} has no {path} any more: name what took its place")
    return thing


_WRITE: Final[Mapping[type, Callable[[Portable, Any], Any]]] = {
    StreamId: lambda _, value: {"$stream": str(value)},
    list: lambda p, value: [p.plain(item) for item in value],
    tuple: lambda p, value: {"$tuple": [p.plain(item) for item in value]},
    dict: lambda p, value: p._plain_dict(value),
    set: lambda p, value: {"$set": p._plain_set(value)},
    frozenset: lambda p, value: {"$frozenset": p._plain_set(value)},
    bytes: lambda _, value: {"$bytes": base64.b64encode(value).decode()},
    UUID: lambda _, value: {"$uuid": str(value)},
    Decimal: lambda _, value: {"$decimal": str(value)},
    datetime.datetime: lambda _, value: {"$datetime": value.isoformat()},
    datetime.date: lambda _, value: {"$date": value.isoformat()},
    datetime.time: lambda _, value: {"$time": value.isoformat()},
    datetime.timedelta: lambda _, value: {
        "$timedelta": [value.days, value.seconds, value.microseconds]
    },
    Opaque: lambda p, value: p._plain_event(value),
    Call: lambda p, value: p._plain_call(value),
    partial: lambda p, value: p._plain_partial(value),
    Unwritten: lambda _, value: {"$unwritten": value.kind},
}

_READ: Final[Mapping[str, Callable[[Portable, Any, Any], Any]]] = {
    "$float": lambda _, value, __: float(value),
    "$stream": lambda _, value, __: StreamId(value),
    "$tuple": lambda p, value, _: tuple(p.value(value)),
    "$dict": lambda p, value, _: {p.value(key): p.value(item) for key, item in value},
    "$set": lambda p, value, _: set(p.value(value)),
    "$frozenset": lambda p, value, _: frozenset(p.value(value)),
    "$bytes": lambda _, value, __: base64.b64decode(value),
    "$uuid": lambda _, value, __: UUID(value),
    "$decimal": lambda _, value, __: Decimal(value),
    "$datetime": lambda _, value, __: datetime.datetime.fromisoformat(value),
    "$date": lambda _, value, __: datetime.date.fromisoformat(value),
    "$time": lambda _, value, __: datetime.time.fromisoformat(value),
    "$timedelta": lambda _, value, __: datetime.timedelta(*value),
    "$success": lambda p, value, _: Success(p.value(value)),
    "$failure": lambda p, value, _: Failure(p.value(value)),
    "$events": lambda p, value, _: Events([p.value(each).record for each in value], p._codec),
    "$recorded": lambda p, value, plain: p._recorded(value, plain),
    "$event": lambda p, value, plain: p._event(value, plain),
    "$attrs": lambda p, value, plain: p._attrs(value, plain),
    "$enum": lambda p, value, plain: p._enum(value, plain),
    "$error": lambda p, value, plain: p._error(value, plain),
    "$call": lambda p, value, plain: p._call(value, plain),
    "$partial": lambda p, value, plain: p._partial(value, plain),
    "$ref": lambda _, value, __: found(value),
    "$view": lambda p, value, _: p._view(*value),
    "$unwritten": lambda _, value, __: Unwritten(value),
}
