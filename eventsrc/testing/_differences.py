"""Where two values differ, said in lines: for messages of tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
from returns.result import Failure, Success

from eventsrc.testing._scenarios.story import shown

MOST: Final = 20
"""The most differences that are told."""

_NOTHING: Any = object()


def differences(expected: Any, found: Any, name: str = "") -> list[str]:
    """A line for each place at which the values differ; none if they are equal.

    name: what the whole is called, which each line begins with.
    """
    lines = [*_differences(expected, found, name)]
    return lines if len(lines) <= MOST else [*lines[:MOST], f"and {len(lines) - MOST} more"]


def _differences(expected: Any, found: Any, name: str) -> Iterator[str]:
    if expected is _NOTHING:
        yield f"{_named(name)}{shown(found)} was not expected"
    elif found is _NOTHING:
        yield f"{_named(name)}{shown(expected)} is missing"
    elif type(expected) is not type(found) or not (parts := _parts(expected, found)):
        if expected != found:
            yield f"{_named(name)}{shown(expected)} was expected, and it is {shown(found)}"
    elif expected != found:
        lines = [
            line
            for part, its, other in parts
            for line in _differences(its, other, f"{name}{part}" if name else part.lstrip("."))
        ]
        yield from lines or [f"{_named(name)}{shown(expected)} is not equal to {shown(found)}"]


def _named(name: str) -> str:
    return f"{name}: " if name else ""


def _parts(one: Any, other: Any) -> list[tuple[str, Any, Any]]:
    """The parts of two values of a type, by their names; none of those without parts."""
    if isinstance(one, Success | Failure):
        inner = [its.unwrap() if isinstance(its, Success) else its.failure() for its in (one, other)]
        return [(f".{type(one).__name__.lower()}", *inner)]
    if isinstance(one, Mapping):
        return [
            (f"[{shown(key)}]", one.get(key, _NOTHING), other.get(key, _NOTHING))
            for key in {**one, **other}
        ]
    if isinstance(one, Sequence) and not isinstance(one, str | bytes):
        longest = range(max(len(one), len(other)))
        return [(f"[{n}]", _at(one, n), _at(other, n)) for n in longest]
    if attrs.has(type(one)):
        return [
            (f".{field.name}", getattr(one, field.name), getattr(other, field.name))
            for field in attrs.fields(type(one))
            if field.eq
        ]
    return []


def _at(items: Sequence[Any], place: int) -> Any:
    return items[place] if place < len(items) else _NOTHING
