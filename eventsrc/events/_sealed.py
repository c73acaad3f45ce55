"""The JSON key `$sealed`, which is the library's own: values under it are to be sealed values.

No value of a user's is stored with this key, in an event's data, in metadata or in a snapshot. What was
stored before the key was reserved stays as it is, and can be read, recorded, and passed on as Opaque.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from eventsrc.events._exact import NotStorable

SEALED: Final = "$sealed"

_AS_KEY: Final = f'"{SEALED}":'.encode()
"""JSON is stored without spaces; in a text, the quotes would have backslashes before them."""


def check_unsealed(data: bytes) -> None:
    """Raises NotStorable, with the path to it, for JSON in which an object has the key."""
    if _AS_KEY in data:
        _search(data)


def _search(data: bytes) -> None:
    try:
        value = json.loads(data)
    except ValueError:  # what is no JSON has no keys
        return
    for path in _paths(value):
        raise NotStorable(f"the key {SEALED!r} is the library's own: choose another", path)


def _paths(value: Any) -> Iterator[str]:
    """The paths to the key, written as those of other values that cannot be stored."""
    todo: list[tuple[str, Any]] = [("", value)]
    while todo:
        path, value = todo.pop()
        if isinstance(value, dict):
            if SEALED in value:
                yield f"{path}[{SEALED!r}]"
            todo += [(f"{path}[{key!r}]" if path else key, item) for key, item in value.items()]
        elif isinstance(value, list):
            todo += [(f"{path}[{index}]", item) for index, item in enumerate(value)]
