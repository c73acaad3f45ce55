"""Values of an application's folds as JSON has them, and what differs between two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

DEEPEST: Final = 20
"""The depth below which a value is shown as its repr."""


def plain(value: Any, depth: int = 0) -> Any:
    """A value as JSON: attrs classes as objects, what JSON has no word for as its repr."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if depth < DEEPEST:
        if attrs.has(type(value)):
            names = (field.name for field in attrs.fields(type(value)))
            return {name: plain(getattr(value, name), depth + 1) for name in names}
        if isinstance(value, Mapping):
            return {_key(key): plain(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item, depth + 1) for item in value]
        if isinstance(value, set | frozenset):
            return sorted((plain(item, depth + 1) for item in value), key=repr)
    return repr(value)


def _key(key: Any) -> str:
    return key if isinstance(key, str) else repr(plain(key))


def differences(before: Any, after: Any) -> list[dict[str, Any]]:
    """The places in two JSON values that differ, each with what it was and is; None where it is not."""
    one, other = dict(_leaves(before)), dict(_leaves(after))
    return [
        {"path": path, "before": one.get(path), "after": other.get(path)}
        for path in dict.fromkeys([*one, *other])
        if path not in one or path not in other or one[path] != other[path]
    ]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    elif value is not None or path:
        yield path or "state", value
