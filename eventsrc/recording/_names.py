"""Names of operations, programs and values in recordings, and what a recording may make by them.

A name is the class's or function's own, or the `name=` that it was declared with; never the path of a
module. Reading knows what it was given and what is of the library, and nothing else: a name leads to
no module, and what is not known cannot be had by it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any

import attrs

from eventsrc._errors import EventsrcError
from eventsrc.events._exact import shown
from eventsrc.programs._declared import members_of
from eventsrc.recording import _library


class NotPortable(EventsrcError, ValueError):
    """A value cannot be written so that it can be read again, or cannot be read here."""


class Names:
    """The names of a recording.

    known: what may be read, beside what is of the library: operations, attrs classes, enums, exceptions
        and programs, or unions of such classes. Raises NotPortable for anything else, and for two of
        one name.
    """

    def __init__(self, known: Iterable[Any] = ()) -> None:
        self._known: dict[str, Any] = {}
        self._written: dict[str, Any] = {}
        for item in known:
            for thing in members_of(item) or (item,):
                _check(thing)
                name = self.of(thing)
                if _library.named(name) is None:
                    self._known[name] = thing

    def of(self, thing: Any) -> str:
        """The name of a class or program. Raises NotPortable if another one has it."""
        name = _library.stable_name(thing)
        if name is not None:
            if _library.named(name) not in (thing, None):
                raise NotPortable(f"{shown(thing)} is private to the library, and cannot be written")
            return name
        name = str(vars(thing).get("__stable_name__") or thing.__name__)
        if name == "<lambda>":
            raise NotPortable(f"{shown(thing)} has no name of its own: declare it by `class` or `def`")
        other = self._written.setdefault(name, thing)
        if other is not thing and _origin(other) != _origin(thing):
            raise NotPortable(
                f"{_origin(thing)} and {_origin(other)} are both named {name!r} in recordings: declare "
                "one of them with another `name=` (a value's class: with a `__stable_name__`), or "
                "leave one out by `opaque`"
            )
        return name

    def operation_or_value(self, name: str) -> Any:
        """The attrs class of a name."""
        return self._found(name, lambda kind: isinstance(kind, type) and attrs.has(kind), "class")

    def enum(self, name: str) -> Any:
        """The enum of a name."""
        return self._found(
            name, lambda kind: isinstance(kind, type) and issubclass(kind, enum.Enum), "enum"
        )

    def error(self, name: str) -> Any:
        """The class of an exception of a name."""
        return self._found(
            name, lambda kind: isinstance(kind, type) and issubclass(kind, Exception), "exception"
        )

    def program(self, name: str) -> Any:
        """The program of a name."""
        return self._found(name, is_program, "program")

    def function(self, name: str) -> Any:
        """The program, or harmless function of the library, of a name; None if none is known."""
        found = self._get(name)
        return found if is_program(found) or name in _library.FUNCTIONS else None

    def _get(self, name: Any) -> Any:
        if not isinstance(name, str):
            raise NotPortable(f"{shown(name)} is no name")
        found = _library.named(name)
        return self._known.get(name) if found is None else found

    def _found(self, name: Any, fits: Any, what: str) -> Any:
        found = self._get(name)
        if found is None:
            raise NotPortable(
                f"no {what} is known as {name!r:.200}: give it in `known`, or what took its place"
            )
        if not fits(found):
            raise NotPortable(f"{name} is no {what} here")
        return found


def is_program(thing: Any) -> bool:
    """Whether a thing is a program function."""
    return getattr(thing, "__program__", False) is True


def _check(thing: Any) -> None:
    is_value = isinstance(thing, type) and (
        attrs.has(thing) or issubclass(thing, Exception | enum.Enum)
    )
    if not (is_value or is_program(thing)):
        raise NotPortable(
            f"{shown(thing)} cannot be known: give classes of operations, attrs classes, enums, "
            "exceptions, or programs"
        )


def _origin(thing: Any) -> str:
    """Where a definition is: one that is executed again, as by a reload, has the same."""
    return f"{thing.__module__}.{thing.__qualname__}"
