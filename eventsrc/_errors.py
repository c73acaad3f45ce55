"""The root of the library's exceptions, and what others raise for values that do not fit.

What a caller is expected to handle is a value: a `Conflict`, a `Failure`. Exceptions are for bugs and
for infrastructure that does not work; each is raised by the module that defines it.
"""

from __future__ import annotations

import unicodedata
from typing import Any, Final


class EventsrcError(Exception):
    """Every exception that the library raises on purpose is one of these.

    It can be pickled, with its attributes and notes, and so be raised in a pool of processes.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # By default Python calls the class with `args`, which are not what its __init__ took.
        return _again, (type(self), self.args), vars(self)


def harmless(text: str) -> str:
    """A text whose control and formatting characters are escapes, such as \\x1b."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _HOSTILE
        else character
        for character in text
    )


_HOSTILE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories of characters that a terminal or a log takes for more than a character."""


def with_article(kind: type | str) -> str:
    """A type's name for a sentence, with its article: a str, an int."""
    name = kind if isinstance(kind, str) else kind.__qualname__
    return f"an {name}" if name[0] in "aeiouAEIO" else f"a {name}"


def _again(kind: type[EventsrcError], args: tuple[Any, ...]) -> EventsrcError:
    """An exception, without its attributes, of which `__init__` does not run."""
    return kind.__new__(kind, *args)


REFUSALS: Final = (
    ArithmeticError,
    AttributeError,
    EventsrcError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""The errors of a value that cannot be encoded, and of data that cannot be decoded.

Anything else that comes meanwhile may be about something else, such as what a signal's handler raises.
"""
