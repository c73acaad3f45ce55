"""Lines that are pasted into a test to run again what was found."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Final

_HERE: Final = "eventsrc.testing."


def name_in_callers(thing: object, otherwise: str = "scenario") -> str:
    """The name that the nearest caller which has one gives to a thing."""
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        if not str(frame.f_globals.get("__name__", "")).startswith(_HERE):
            for names in (frame.f_locals, frame.f_globals):
                for name, value in list(names.items()):
                    if value is thing and name.isidentifier():
                        return name
        frame = frame.f_back
    return otherwise


def decorator_of_this_example() -> str:
    """The decorator that makes Hypothesis run this example again, to be put above its test."""
    try:
        from hypothesis import __version__
        from hypothesis.control import current_build_context
        from hypothesis.core import encode_failure

        choices = current_build_context().data.choices
        return f"@reproduce_failure({__version__!r}, {encode_failure(choices)!r})"
    except (ImportError, AttributeError):  # these are Hypothesis' own, and have been elsewhere
        return "@settings(print_blob=True) has Hypothesis say how"
