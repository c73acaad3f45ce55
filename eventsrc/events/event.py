"""Events: facts, under names that never change.

`@event` makes a class a frozen attrs class and registers it under a name of the user's choosing, which
is what gets stored; the class may then be renamed and moved freely. When its fields change, the event
gets a new version, with a function for each older one that brings stored data one version forward:

    @event("user.name-set", version=2, upcast={1: lambda old: {**old, "name": old["nick"]}})
    class SetName:
        id: UserId
        name: str

Programs that run beside those of a newer version, as in a rolling deploy, read its events if they were
told before how to bring them back, `downcast={2: ...}`: see docs/runbook/deploy.md.
Events of which a rule across streams speaks have tags: see `eventsrc.events.tags`.
Events of style "set" (small, idempotent, one field each) need new versions least.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, cast, dataclass_transform

import attrs

from eventsrc._errors import EventsrcError
from eventsrc._pickling import ByName
from eventsrc.events.stream_id import CONTROLS, RESERVED
from eventsrc.events.tags import Tag, TagValue

C = TypeVar("C")

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes an event's stored data at one version and answers it as the next version has it."""

Downcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes an event's stored data at one version and answers it as the version before has it."""

MAX_NAME_BYTES: Final = 512
"""The most bytes of UTF-8 that the stored name of an event type has."""


def is_type_name(name: object) -> bool:
    """Whether events may be stored under a name: as long, and as odd, as foreign logs have them."""
    if not isinstance(name, str) or CONTROLS.search(name):
        return False
    try:
        return 1 <= len(name.encode()) <= MAX_NAME_BYTES
    except UnicodeEncodeError:
        return False


class EventTypeError(EventsrcError, TypeError):
    """An event type is declared wrongly, or is not declared at all."""


def _declared(kind: EventType) -> str:
    texts = (f"{field}={tag.name}{'~' * tag.is_hidden}" for field, tag in kind.tags.items())
    return ",".join(sorted(texts))


@attrs.frozen
class EventType:
    """A name under which events are stored, and the class that they become."""

    name: str
    version: int
    cls: type
    upcast: Mapping[int, Upcaster]
    downcast: Mapping[int, Downcaster] = attrs.field(factory=dict[int, Downcaster])
    tags: Mapping[str, Tag[Any]] = attrs.field(factory=dict[str, Tag[Any]])
    """The tags that its events have, by the fields that hold their keys."""

    declared: str = attrs.field(init=False, default=attrs.Factory(_declared, takes_self=True))
    """The tags as one text, which a store keeps; empty if there are none."""

    def tags_of(self, event: object) -> list[TagValue]:
        """The tags of an event of this type. Raises BadTag or TypeError for a key that can be none."""
        found: list[TagValue] = []
        for field, tag in self.tags.items():
            value = getattr(event, field)
            if type(value) in (tuple, list, frozenset, set):
                found += map(tag.__getitem__, value)
            elif value is not None:
                found.append(tag[value])
        return found

    @property
    def newest(self) -> int:
        """The newest version whose data can be read: this one, or a later one that is brought back."""
        return self.version + len(self.downcast)

    def in_this_version(self, data: dict[str, Any], version: int) -> dict[str, Any]:
        """Stored data of another version as this version has it."""
        for older in range(version, self.version):
            data = self._cast(self.upcast[older], data, "upcaster", older)
        for later in range(version, self.version, -1):
            data = self._cast(self.downcast[later], data, "downcaster", later)
        return data

    def _cast(self, cast: Upcaster, data: dict[str, Any], what: str, version: int) -> dict[str, Any]:
        try:
            return cast(data)
        except Exception as error:
            error.add_note(f"raised by the {what} of {self.name!r} from version {version}")
            raise


@attrs.frozen
class Opaque:
    """An event as it was stored, of a type or version that this program does not know.

    It can be appended again: what is stored is then the same to the byte.
    """

    type: str
    version: int
    codec: str
    data: bytes


class EventTypes(ByName):
    """A set of event types, each with a name and a class of its own.

    The library's own, which streams below `eventsrc/` have, are known in every set.
    """

    def __init__(self) -> None:
        self.revision = 0
        """Grows with each declaration that replaces one, as when a module is loaded again."""
        self._by_name: dict[str, EventType] = {}
        self._by_class: dict[type, EventType] = {}
        self.tagged: dict[str, EventType] = {}
        """The types whose events have tags, by their names."""
        self._declaring: dict[frozenset[str], dict[str, str]] = {}

    def __reduce__(self) -> str | tuple[Any, ...]:
        return "EVENTS" if self is EVENTS else super().__reduce__()

    def of(self, cls: type) -> EventType:
        """The event type of a class. Raises EventTypeError if it is none."""
        found = self._by_class.get(cls) or _OWN._by_class.get(cls)
        if found is None:
            raise EventTypeError(
                f"{cls.__qualname__} is not an event type: decorate it with @event('some.name')"
            )
        return found

    def named(self, name: str) -> EventType | None:
        """The event type of a stored name, if there is one."""
        return self._by_name.get(name) or _OWN._by_name.get(name)

    def declaring(self, tags: frozenset[str]) -> Mapping[str, str]:
        """The types whose events have all of some tags, by names: theirs, and their declarations."""
        found = self._declaring.get(tags)
        if found is None:
            found = self._declaring[tags] = {
                name: kind.declared
                for name, kind in self.tagged.items()
                if tags.issubset(tag.name for tag in kind.tags.values())
            }
        return found

    def add(self, kind: EventType) -> None:
        """Registers an event type. Raises EventTypeError for a name, or a class, that is taken."""
        other = self._by_name.get(kind.name)
        if other is not None and not _same_definition(other.cls, kind.cls):
            raise EventTypeError(
                f"{kind.cls.__qualname__} cannot be {kind.name!r}: "
                f"{other.cls.__module__}.{other.cls.__qualname__} has that name"
            )
        its = self._by_class.get(kind.cls)
        if its is not None and its.name != kind.name:
            raise EventTypeError(
                f"{kind.cls.__qualname__} is {its.name!r} already, and a class has one stored name: "
                f"declare another class for {kind.name!r}, and handle both"
            )
        self.revision += other is not None
        self._by_name[kind.name] = kind
        self._by_class[kind.cls] = kind
        self._declaring.clear()
        self.tagged.pop(kind.name, None)
        if kind.tags:
            self.tagged[kind.name] = kind


def _same_definition(one: type, other: type) -> bool:
    """Whether a class is a definition executed again, as by a reload or in a notebook."""
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


_OWN: Final = EventTypes()
"""The event types of the library's own streams."""

EVENTS: Final = EventTypes()
"""The event types that `@event` registers, and that stores know unless they are told otherwise."""


@dataclass_transform(frozen_default=True, field_specifiers=(attrs.field,))
def event(
    name: str,
    *,
    version: int = 1,
    upcast: Mapping[int, Upcaster] | None = None,
    downcast: Mapping[int, Downcaster] | None = None,
    tags: Mapping[str, Tag[Any]] | None = None,
    types: EventTypes = EVENTS,
) -> Callable[[type[C]], type[C]]:
    """Makes a class an event.

    name: what is stored; 1 to 512 bytes of UTF-8, without control characters. Never change it. Names
        that begin with `eventsrc/` are the library's own.
    version: of the fields, from 1.
    upcast: for each version before this one, the function that makes its data the next version's.
    downcast: for versions after this one, which newer programs will store, the function that makes its
        data that of the version before it. This program reads them so, and stores its own version.
    tags: for a field that holds a key, or several, or None, the tag that is made of it.
    types: the set of types that it joins.
    Raises EventTypeError for a bad or taken name, a bad version, a missing upcaster or downcaster, or a
    tag of what is no field.
    """
    if name.startswith(RESERVED):
        raise EventTypeError(
            f"{name!r} cannot name an event: names that begin with {RESERVED} are the library's own"
        )
    return _registering(
        name, version, dict(upcast or {}), types, dict(tags or {}), dict(downcast or {})
    )


@dataclass_transform(frozen_default=True, field_specifiers=(attrs.field,))
def own_event(
    name: str, *, version: int = 1, upcast: Mapping[int, Upcaster] | None = None
) -> Callable[[type[C]], type[C]]:
    """As `event`, for the library itself: only such events are appended below `eventsrc/`.

    name: what is stored, behind `eventsrc/`.
    """
    return _registering(RESERVED + name, version, dict(upcast or {}), _OWN, {})


def is_own_event(cls: type) -> bool:
    """Whether a class is an event of the library's own."""
    return cls in _OWN._by_class


def _registering(
    name: str,
    version: int,
    upcast: Mapping[int, Upcaster],
    types: EventTypes,
    tags: Mapping[str, Tag[Any]],
    downcast: Mapping[int, Downcaster] | None = None,
) -> Callable[[type[C]], type[C]]:
    if not is_type_name(name):
        raise EventTypeError(
            f"{name!r:.200} cannot name an event: use a text of 1 to {MAX_NAME_BYTES} bytes of UTF-8 "
            "without control characters, such as user.name-set"
        )
    if version < 1:
        raise EventTypeError(f"{name} has version {version}: versions begin at 1")
    if upcast.keys() != set(range(1, version)):
        raise EventTypeError(
            f"{name} version {version} needs an upcaster for each of versions "
            f"{list(range(1, version))}, and has them for {sorted(upcast)}"
        )

    later = downcast or {}
    if later.keys() != set(range(version + 1, version + 1 + len(later))):
        raise EventTypeError(
            f"{name} version {version} needs a downcaster for each version from {version + 1} on, and "
            f"has them for {sorted(later)}"
        )

    def register(cls: type[C]) -> type[C]:
        made = cls if "__attrs_attrs__" in vars(cls) else attrs.frozen(cls)
        if made.__setattr__ is object.__setattr__ or "frozen" not in made.__setattr__.__name__:
            raise EventTypeError(
                f"{cls.__qualname__} can be changed, and events cannot: make it @attrs.frozen, or "
                "leave that to @event"
            )
        fields = {field.name for field in attrs.fields(cast("Any", made))}
        for field, tag in tags.items():
            if field not in fields or type(tag) is not Tag:
                raise EventTypeError(
                    f"{cls.__qualname__} cannot have {tag!r:.100} by {field!r}: name a field of it, "
                    f"of {sorted(fields)}, and give a Tag"
                )
        types.add(EventType(name, version, made, upcast, later, tags))
        return made

    return register
