"""Source of functions that is put together from types and compiled once, as attrs and cattrs do."""

from __future__ import annotations

from textwrap import indent
from typing import Any


class Source:
    """Functions that are put together, and the values that they name."""

    def __init__(self, **names: Any) -> None:
        self.names = names
        self.functions: list[str] = []

    def name(self, value: Any) -> str:
        """A name for a value."""
        name = f"_{len(self.names)}"
        self.names[name] = value
        return name

    def function(self, name: str, lines: str) -> str:
        """Adds a function of one argument, v."""
        self.functions.append(f"def {name}(v):\n{indent(lines, '    ')}\n")
        return name

    def compiled(self, name: str, cls: type) -> Any:
        """One of the functions."""
        source = "\n".join(self.functions)
        exec(compile(source, f"<eventsrc compiled {cls.__qualname__}>", "exec"), self.names)
        return self.names[name]
