"""The definition of a fold, which its snapshots carry: to tell two folds apart that share a name.

A fold is known by the name of its function, as its reader knows it, without the module, so that it can
be moved; by the plain values that the function has from the one that made it; and by its first state. A
lambda has no name: it is known by its code, for the version of Python that runs. What another function
is changed into under the same name is not seen: then raise the version of the snapshots.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import sys
from collections.abc import Callable
from decimal import Decimal
from types import CodeType
from typing import Any, Final

from eventsrc.programs.program import name_of
from eventsrc.streams.snapshots import Snapshots

_LONGEST: Final = 500
_PLAIN: Final = (bool, int, float, str, bytes, Decimal, type(None))

_log = logging.getLogger("eventsrc")
_warned: set[tuple[str, int, str, str]] = set()


def definition(evolve: Callable[..., Any], initial: bytes, unknown: str) -> str:
    """The text that a fold is known by, of at most 500 characters of ASCII.

    initial: its first state as JSON. unknown: what it does about events that are not known.
    """
    first = initial.decode("ascii", "backslashreplace")
    text = f"{_known_by(evolve)} from {first}" + (", unknown skipped" if unknown == "skip" else "")
    text = text.encode("ascii", "backslashreplace").decode()
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST - 40]} {hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"


def warn_once(snapshots: Snapshots[Any], mine: str, other: str) -> None:
    """Tells that two folds keep their states under one name, the first time that it is met."""
    pair = snapshots.name, snapshots.version, mine, other
    if pair not in _warned:
        _warned.add(pair)
        _log.warning(
            "snapshots %r of version %s were made by the fold %s, and are not used by %s, which begins "
            "at the first event: give one of them another name, or a higher version if it has changed",
            *pair[:2],
            other,
            mine,
        )


def _known_by(function: Any) -> str:
    if isinstance(function, functools.partial):
        given = [*map(_plain, function.args)]
        given += [f"{name}={_plain(value)}" for name, value in sorted(function.keywords.items())]
        return f"{_known_by(function.func)}({', '.join(given)})"
    plain = getattr(function, "__func__", function)
    code = getattr(plain, "__code__", None)
    if code is None:
        return name_of(function if hasattr(function, "__qualname__") else type(function))
    name = name_of(function)
    if name.endswith("<lambda>"):
        name += f" {_digest(code)}"
    cells = [*map(_held, plain.__closure__ or ())]
    return f"{name}[{', '.join(cells)}]" if cells else name


def _held(cell: Any) -> str:
    try:
        return _plain(cell.cell_contents)
    except ValueError:  # it is empty still
        return "nothing"


def _plain(value: Any) -> str:
    """A value that is the same text in every process: of others, the type."""
    if isinstance(value, _PLAIN) and type(value) in _PLAIN:
        return repr(value)
    return name_of(value if hasattr(value, "__qualname__") else type(value))


def _digest(code: CodeType) -> str:
    """A digest of what a function does, for one version of Python."""
    found = hashlib.blake2b(repr(sys.version_info[:2]).encode(), digest_size=8)

    def add(code: CodeType) -> None:
        found.update(code.co_code)
        found.update(repr((code.co_names, code.co_varnames, code.co_freevars)).encode())
        for const in code.co_consts:
            if isinstance(const, CodeType):
                add(const)
            else:
                found.update(
                    repr(sorted(const, key=repr) if isinstance(const, frozenset) else const).encode()
                )

    add(code)
    return found.hexdigest()
