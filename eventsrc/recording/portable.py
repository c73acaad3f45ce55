"""Values as JSON that says what they are, to be read by another process, perhaps of a later version.

Events are written as stores keep them, by their registered name and version; operations, attrs classes,
enums, exceptions and programs by their names in recordings. Reading makes what is known by these names,
and nothing else: there is no pickle, and no name leads to a module.
"""

from __future__ import annotations

import base64
import datetime
import enum
import json
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import partial, reduce
from operator import or_
from types import FunctionType
from typing import Any, Final, TypeAlias
from uuid import UUID

import attrs
from returns.result import Failure, Success

from eventsrc._errors import EventsrcError
from eventsrc.events._exact import shown
from eventsrc.events._shapes import REAL, real
from eventsrc.events.codec import Codec, Encoded, Kind
from eventsrc.events.event import Opaque
from eventsrc.events.pages import Events
from eventsrc.events.record import make_record
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId, stored_id
from eventsrc.programs.operation import Operation
from eventsrc.programs.program import Bind, Call, Gather, Map, Program, following, ignoring
from eventsrc.recording import _library
from eventsrc.recording._names import Names as Names
from eventsrc.recording._names import NotPortable as NotPortable
from eventsrc.recording._names import is_program
from eventsrc.views.view import View

Mask: TypeAlias = Callable[[Any, str, Any], Any]
"""Answers the value to write in place of another, given the class (or program function), the name of
its field (or parameter) and the value; the value itself to leave it as it is."""


@attrs.frozen
class Unwritten:
    """A value that was not written: only the name of its class is known."""

    kind: str


def _anything(_owner: Any, _field: str, value: Any) -> Any:
    return value


class Portable:
    """Writes and reads values; make one for each run that is written.

    codec: of the events. opaque: classes of which only the name is written, and no value.
    mask: replaces values, see Mask. `masked` then has the texts that it has replaced, those of numbers,
        ids and times too, and `fields` the names that are no texts of anybody's.
    views: those that may be read, which are written by name and version.
    names: of all else, and what may be read of it; only what is of the library if not given.
    """

    def __init__(
        self,
        codec: Codec | None = None,
        opaque: tuple[type, ...] = (),
        mask: Mask = _anything,
        views: Iterable[View[Any]] = (),
        names: Names | None = None,
    ) -> None:
        self._codec = Codec() if codec is None else codec
        self._opaque = opaque
        self._mask = mask
        self._names = Names() if names is None else names
        self._views = {(view.name, view.version): view for view in views}
        self.masked: dict[str, str] = {}
        self.fields: set[str] = set()

    def plain(self, value: Any) -> Any:
        """A value as JSON has it. Raises NotPortable, naming the value and the remedy."""
        kind = type(value)
        if value is None or kind in (bool, int, str):
            return value
        if kind is float:
            return value if value - value == 0 else {"$float": str(value)}
        write = _WRITE.get(kind) or _WRITE.get(real(kind))
        if write is not None:
            return write(self, value)
        if isinstance(value, self._opaque):
            return {"$unwritten": kind.__name__}
        if isinstance(value, enum.Enum):
            return {"$enum": self._names.of(kind), "name": _member_name(value)}
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
            return self._plain_function(value)
        if self._is_event(kind):
            return self._plain_event(value)
        if attrs.has(kind):
            fields = [(each.name, getattr(value, each.name)) for each in attrs.fields(kind)]
            return {
                "$attrs": self._names.of(kind),
                "fields": {name: self.plain(self._masked(kind, name, part)) for name, part in fields},
            }
        raise NotPortable(
            f"{shown(value)}, of {kind.__module__}.{kind.__qualname__}, cannot be written: make it an "
            "attrs class, or name its class in `opaque` to leave its values out"
        )

    def value(self, plain: Any) -> Any:
        """The value that was written. Raises NotPortable for one that cannot be had here."""
        try:
            return self._value(plain)
        except EventsrcError:
            raise
        except Exception as error:  # of whatever is built of it
            raise NotPortable(f"{plain!r:.300} was not written by a recording: {error!r}") from error

    def _value(self, plain: Any) -> Any:
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
        try:
            new = self._mask(owner, field, value)
        except NotPortable:
            raise
        except Exception as error:
            name = getattr(owner, "__qualname__", owner)
            raise NotPortable(f"the mask of {name}, {field!r}, failed: {error!r}") from error
        if new is not value:
            self._remember(value, new)
        return new

    def _remember(self, value: Any, new: Any) -> None:
        """Keeps the texts that a mask has replaced, however deep in a value they are."""
        kind = type(value)
        if value is None or kind is bool or value is new:
            return
        if isinstance(value, Mapping):
            others = list(new.items()) if isinstance(new, Mapping) and len(new) == len(value) else []
            for index, item in enumerate(value.items()):
                its = others[index] if others else (new, new)
                self._remember(item[0], its[0])
                self._remember(item[1], its[1])
        elif isinstance(value, list | tuple | set | frozenset):
            is_alike = type(new) is kind and isinstance(new, list | tuple) and len(new) == len(value)
            for index, part in enumerate(value):
                self._remember(part, new[index] if is_alike else new)
        elif attrs.has(kind):
            for field in attrs.fields(kind):
                its = getattr(new, field.name) if type(new) is kind else new
                self._remember(getattr(value, field.name), its)
        else:
            for text, other in zip(_texts(value), _texts(new), strict=False):
                if text and text != other:
                    self.masked[text] = other

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
        try:
            kind, data = self._codec.encode(self._evolved(event))
        except NotPortable:
            raise
        except Exception as error:  # of a validator, too
            raise NotPortable(
                f"{type(event).__qualname__} cannot hold what its masks made: {error}: let them answer "
                "values of the fields' types"
            ) from error
        return {"$event": list(kind), **_readable(kind, data)}

    def _evolved(self, value: Any) -> Any:
        """A value of an event with all masks applied."""
        kind = type(value)
        if attrs.has(kind) and kind is not Opaque:
            self.fields.update(each.name for each in attrs.fields(kind))
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
                "nth": record.offset,
                "metadata": self.plain(self._codec.decode_metadata(record.metadata)),
            }
        return {"$recorded": about, "event": self._plain_event(event)}

    def _plain_error(self, error: BaseException) -> Any:
        kind = type(error)
        try:
            args = [self.plain(arg) for arg in error.args]
        except NotPortable:  # what it says is kept, and what it has besides is not
            return {"$error": self._names.of(kind), "text": str(error)}
        return {"$error": self._names.of(kind), "args": args}

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
        return {"$call": self._names.of(function), "args": args, "kwargs": kwargs}

    def _plain_function(self, function: Any) -> Any:
        if is_program(function):
            return {"$function": self._names.of(function)}
        for name, known in _library.FUNCTIONS.items():
            if known is function:
                return {"$function": name}
        raise NotPortable(
            f"{shown(function)} cannot be written, since recordings name no functions and classes to "
            "call: write it as a @program, or name its type in `opaque` to leave it out"
        )

    def _plain_bind(self, bind: Bind[Any, Any]) -> Any:
        function: Any = bind.function
        if isinstance(function, partial) and function.func is ignoring:
            return {"$then": [self.plain(bind.source), self.plain(function.args[0])]}
        fields = {"source": self.plain(bind.source), "function": self.plain(function)}
        return {"$attrs": self._names.of(Bind), "fields": fields}

    # --- reading ----------------------------------------------------------------------------------

    def _event(self, kind: Any, plain: Any) -> Any:
        encoded = self._encoded(plain)
        known = self._codec.knows(encoded.kind)
        return self._codec.decode(encoded) if known else Opaque(*encoded.kind, encoded.data)

    def _encoded(self, plain: Any) -> Encoded:
        name, schema, codec = plain["$event"]
        if not (type(name) is str and type(schema) is int and type(codec) is str):
            raise NotPortable(f"{plain['$event']!r:.300} is no type, version and codec of an event")
        kind = Kind(name, schema, codec)
        if "bytes" in plain:
            return Encoded(kind, base64.b64decode(plain["bytes"]))
        text = json.dumps(plain["data"], ensure_ascii=False, separators=(",", ":"))
        return Encoded(kind, text.encode())

    def _recorded(self, about: Any, plain: Any) -> Recorded[Any]:
        encoded = self._encoded(plain["event"])
        position, append_id = about.get("position", 0), UUID(about.get("append_id", _NO_ID))
        metadata = self._codec.encode_metadata(self.value(about.get("metadata", {})))
        stream, version, offset = about["stream"], about["version"], about.get("nth", 0)
        at = about.get("recorded_at", 0)
        record = make_record(position, stream, version, append_id.bytes, offset, encoded, metadata, at)
        return Recorded(record if position else record._replace(rest=b""), self._codec)

    def _attrs(self, name: str, plain: Any) -> Any:
        kind = self._names.operation_or_value(name)
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
        if isinstance(made, Map | Bind | Gather) and not self._may_run(made):
            raise NotPortable(f"{name} cannot be made of a function that is neither known nor harmless")
        return made

    def _may_run(self, made: Map[Any, Any] | Bind[Any, Any] | Gather[Any, Any]) -> bool:
        """Whether the run loop may call what a node of a program calls, as a file has it."""
        if isinstance(made, Bind):
            return is_program(made.function)
        function: Any = made.function if isinstance(made, Map) else made.collect
        harmless = _library.FUNCTIONS.values()
        return any(function is each for each in harmless) or type(function) is _library.OrConflict

    def _enum(self, name: str, plain: Any) -> Any:
        kind = self._names.enum(name)
        members = [kind.__members__.get(each) for each in plain["name"].split("|")]
        if None in members:
            raise NotPortable(f"{name} has no member {plain['name']} any more")
        return reduce(or_, members)

    def _error(self, name: str, plain: Any) -> Exception:
        kind = self._names.error(name)
        if "args" in plain:
            args = tuple(self.value(arg) for arg in plain["args"])
            try:
                return kind(*args)  # type: ignore[no-any-return]
            except Exception:  # they are not those of its class: then it has no more than these
                pass
        else:
            args = (plain["text"],)
        error: Exception = kind.__new__(kind)
        error.args = args
        return error

    def _call(self, name: str, plain: Any) -> Any:
        function = self._names.program(name)
        args = [self.value(arg) for arg in plain["args"]]
        return function(*args, **{key: self.value(arg) for key, arg in plain["kwargs"].items()})

    def _view(self, name: str, version: int) -> View[Any]:
        view = self._views.get((name, version))
        if view is None:
            raise NotPortable(
                f"version {version} of the view {name!r} is not known: give it in `views`"
            )
        return view

    def _then(self, source: Any, other: Any) -> Any:
        return following(effect(self.value(source)), effect(self.value(other)))

    def _function(self, name: str) -> Any:
        found = self._names.function(name)
        return Unwritten(name) if found is None else found


_NO_ID: Final = str(UUID(int=0))


def effect(value: Any) -> Any:
    """A value that is a program or an operation. Raises NotPortable for any other."""
    if isinstance(value, Program | Operation):
        return value  # pyright: ignore[reportUnknownVariableType]
    raise NotPortable(f"{shown(value)} is neither a program nor an operation")


def _is(one: Any, other: Any) -> bool:
    return one is other


def _readable(kind: Kind, data: bytes) -> dict[str, Any]:
    """Stored data to look at, if it is JSON; else its bytes, under a key of their own."""
    if kind.codec == Codec.name:
        try:
            return {"data": json.loads(data)}
        except ValueError:
            pass
    return {"bytes": base64.b64encode(data).decode()}


def _member_name(member: enum.Enum) -> str:
    """The name of a member, or the names of those that a Flag is made of."""
    name: str | None = member.name
    if name is None:
        raise NotPortable(f"{member!r} has no name: give each of its values a member")
    return name


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
    REAL.datetime: lambda _, value: {"$datetime": value.isoformat()},
    REAL.date: lambda _, value: {"$date": value.isoformat()},
    datetime.time: lambda _, value: {"$time": value.isoformat()},
    datetime.timedelta: lambda _, value: {
        "$timedelta": [value.days, value.seconds, value.microseconds]
    },
    Opaque: lambda p, value: p._plain_event(value),
    Call: lambda p, value: p._plain_call(value),
    Bind: lambda p, value: p._plain_bind(value),
    Unwritten: lambda _, value: {"$unwritten": value.kind},
}


def _texts(value: Any) -> tuple[str, ...]:
    """The forms of a value that may stand in a text or a stream's id; "***" for what has none."""
    if isinstance(value, str):
        return (str(value),) * 3
    if isinstance(value, UUID):
        return str(value), value.hex, value.urn
    if isinstance(value, datetime.date | datetime.time):
        return (value.isoformat(), str(value), value.isoformat().replace("+00:00", "Z"))
    if isinstance(value, bytes):
        return (base64.b64encode(value).decode(),) * 3
    if isinstance(value, int | float | Decimal | enum.Enum):
        return (str(value.value if isinstance(value, enum.Enum) else value),) * 3
    return ("***",) * 3


def _stream(value: Any) -> StreamId:
    """The id of a stream, which may be one that was stored when ids could have control characters."""
    return stored_id(value) if type(value) is str else StreamId(value)


_READ: Final[Mapping[str, Callable[[Portable, Any, Any], Any]]] = {
    "$float": lambda _, value, __: float(value),
    "$stream": lambda _, value, __: _stream(value),
    "$tuple": lambda p, value, _: tuple(p.value(value)),
    "$dict": lambda p, value, _: {p.value(key): p.value(item) for key, item in value},
    "$set": lambda p, value, _: set(p.value(value)),
    "$frozenset": lambda p, value, _: frozenset(p.value(value)),
    "$bytes": lambda _, value, __: base64.b64decode(value),
    "$uuid": lambda _, value, __: UUID(value),
    "$decimal": lambda _, value, __: Decimal(value),
    "$datetime": lambda _, value, __: REAL.datetime.fromisoformat(value),
    "$date": lambda _, value, __: REAL.date.fromisoformat(value),
    "$time": lambda _, value, __: datetime.time.fromisoformat(value),
    "$timedelta": lambda _, value, __: datetime.timedelta(*value),
    "$success": lambda p, value, _: Success(p.value(value)),
    "$failure": lambda p, value, _: Failure(p.value(value)),
    "$events": lambda p, value, _: Events(
        [p._recorded(each["$recorded"], each).record for each in value], p._codec
    ),
    "$recorded": lambda p, value, plain: p._recorded(value, plain),
    "$event": lambda p, value, plain: p._event(value, plain),
    "$attrs": lambda p, value, plain: p._attrs(value, plain),
    "$enum": lambda p, value, plain: p._enum(value, plain),
    "$error": lambda p, value, plain: p._error(value, plain),
    "$call": lambda p, value, plain: p._call(value, plain),
    "$function": lambda p, value, _: p._function(value),
    "$then": lambda p, value, _: p._then(*value),
    "$view": lambda p, value, _: p._view(*value),
    "$unwritten": lambda _, value, __: Unwritten(value),
}
