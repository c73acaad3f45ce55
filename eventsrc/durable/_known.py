"""The classes that a run's operations, their answers and its result are made of, by annotations.

A journal names them, and can be read only where they are known: they are found when runs are declared,
so that what cannot be written is refused then and not in the night.
"""

from __future__ import annotations

import enum
import typing
from collections.abc import Callable, Iterable
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import attrs
from returns.result import Result

from eventsrc._errors import EventsrcError
from eventsrc.events.codec import Codec
from eventsrc.events.event import EventTypeError
from eventsrc.programs.operation import Derived, Operation
from eventsrc.recording.portable import NotPortable

_PLAIN: Final = (
    *(bool, int, str, float, bytes, list, tuple, dict, set, frozenset),
    *(UUID, Decimal, date, time, timedelta, Result),
)
"""Classes that are written as they are; `datetime` is a `date`."""


def known_by(function: Callable[..., Any], others: Iterable[Any], codec: Codec) -> list[Any]:
    """The parts of a program's annotation, and of what else is given, as `Names` takes them.

    Raises NotPortable for an operation with an answer, or fields, that could not be read again.
    """
    found = _Found(codec)
    try:
        hints = typing.get_type_hints(getattr(function, "__wrapped__", function))
    except (NameError, TypeError):  # of what is local to a function, or only there for type checkers
        hints = {}
    for hint in hints.values():
        found.add(hint, "")
    for other in others:
        if getattr(other, "__program__", False):
            found.things[other] = None
        else:
            found.add(other, "")
    return [*found.things]


class _Found:
    """The classes that have been found."""

    def __init__(self, codec: Codec) -> None:
        self.things: dict[Any, None] = {}
        self._codec = codec
        self._seen: set[Any] = set()

    def add(self, hint: Any, where: str) -> None:
        """Adds what a type is made of. where: the operation and field that it is of; "" for none."""
        try:
            if hint in self._seen:
                return
            self._seen.add(hint)
        except TypeError:  # it has no hash
            return
        if hasattr(hint, "__value__"):
            self.add(hint.__value__, where)
        for part in typing.get_args(hint):
            for each in part if isinstance(part, list) else (part,):
                self.add(each, where)
        kind = typing.get_origin(hint) or hint
        if isinstance(kind, type):
            self._add_class(kind, where)

    def _add_class(self, kind: type, where: str) -> None:
        if kind.__module__.partition(".")[0] == "eventsrc" and not issubclass(kind, Operation):
            return
        if issubclass(kind, Operation):
            if kind.__subclasses__() or not issubclass(kind, Derived):
                self.things[kind] = None
            self._add_parts(kind, kind.__qualname__)
        elif issubclass(kind, enum.Enum | Exception):
            self.things[kind] = None
        elif attrs.has(kind):
            if not self._is_event(kind):
                self.things[kind] = None
            self._add_parts(kind, where and f"{where}: {kind.__qualname__}")
        elif where and kind.__module__ != "builtins" and self._is_foreign(kind):
            raise NotPortable(
                f"{where} has {kind.__module__}.{kind.__qualname__}, which a journal cannot hold: make "
                "it an attrs class"
            )

    def _add_parts(self, kind: Any, where: str) -> None:
        for base in kind.__mro__:
            for generic in vars(base).get("__orig_bases__", ()):
                if isinstance(typing.get_origin(generic), type):
                    for part in typing.get_args(generic):
                        self.add(part, where)
        try:
            hints = typing.get_type_hints(kind)
        except (NameError, TypeError):
            hints = {field.name: field.type for field in attrs.fields(kind)}
        for field in attrs.fields(kind):
            self.add(hints.get(field.name), where)

    def _is_event(self, kind: type) -> bool:
        try:
            self._codec.types.of(kind)
        except (EventsrcError, EventTypeError):
            return False
        return True

    @staticmethod
    def _is_foreign(kind: type) -> bool:
        """Whether instances of a class are sure to be refused: a class of its own, of no known kind."""
        if issubclass(kind, _PLAIN) or getattr(kind, "__abstractmethods__", None):
            return False
        return "__init__" in vars(kind) and not getattr(kind, "_is_protocol", False)
