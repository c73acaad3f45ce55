"""Pickling: which values go to other processes, and which refuse to.

An exception comes back as it was by `EventsrcError.__reduce__`, whatever its `__init__` takes. What
functions and classes are attached to, such as a view, is pickled as the name that it has in a module,
as functions and classes themselves are. What holds connections, files or locks is not pickled.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, NoReturn, Self

from eventsrc._errors import EventsrcError, with_article


class Unpicklable(EventsrcError, TypeError):
    """An object belongs to this process, or to no module that another could import it from."""


class OfOneProcess:
    """A base for what cannot be used by another process."""

    def __reduce__(self) -> NoReturn:
        raise Unpicklable(
            f"{with_article(type(self))} belongs to this process, and cannot be pickled or copied: "
            "open another where it is needed, with the same path or address"
        )


class ByName:
    """A base for what is pickled as the name that it has in a module."""

    def __reduce__(self) -> str | tuple[Any, ...]:
        return named, _name_of(self)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


def named(module: str, name: str) -> Any:
    """The object that a name of a module stands for, which is imported if need be."""
    return getattr(importlib.import_module(module), name)


def has_name(cls: type) -> bool:
    """Whether a class can be found by its module and name."""
    found: Any = sys.modules.get(cls.__module__)
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is cls


_MAIN = ("__main__", "__mp_main__")
"""The module that is run; it is another one in another program."""


def _name_of(value: object) -> tuple[str, str]:
    """A module, and the name that an object has in it."""
    found = [
        (module_name in _MAIN, module_name, name)
        for module_name, module in list(sys.modules.items())
        for name, its in list(getattr(module, "__dict__", {}).items())
        if its is value
    ]
    if not found:
        raise Unpicklable(
            f"{value!r} has no name in a module, by which another process could find it: assign it to "
            "one at the top of a module, outside of functions"
        )
    _, module_name, name = min(found)
    return module_name, name
