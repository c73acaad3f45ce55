"""The memory that a store has of its tables: the numbers of kinds and streams, and heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from eventsrc.events.codec import Kind

HEADS: Final = 100_000
"""The most streams whose heads are remembered."""


class Kinds:
    """The kinds that have numbers, as far as they have been seen committed."""

    def __init__(self) -> None:
        self.kinds: dict[Any, Kind] = {}
        self.numbers: dict[Kind, int] = {}

    def add(self, numbers: Mapping[Kind, int]) -> None:
        """Keeps numbers that are committed.

        If one contradicts what is kept, tables were emptied: all that was kept is forgotten.
        """
        if any(
            self.numbers.get(kind, number) != number or self.kinds.get(number, kind) != kind
            for kind, number in numbers.items()
        ):
            self.kinds, self.numbers = {}, {}  # new ones: pages that were read keep theirs
        for kind, number in numbers.items():
            self.kinds[number] = kind
            self.numbers[kind] = number

    def copy(self) -> Kinds:
        """For a transaction, which may see what is not committed yet."""
        copy = Kinds()
        copy.add(self.numbers)
        return copy


NOT_KNOWN: Final = (0, 0)
"""In place of a head."""


class Heads(dict[str, tuple[int, int]]):
    """The number and the version that streams were last seen to have; they may have moved since."""

    def of(self, stream: str) -> tuple[int, int]:
        """The head of a stream; zeros if it is not known."""
        return self.get(stream, NOT_KNOWN)

    def move(self, stream: str, number: int, version: int) -> None:
        """Keeps the head of a stream after a commit."""
        if len(self) > HEADS:
            self.clear()
        self[stream] = number, version

    def forget(self, stream: str) -> None:
        """Forgets a head that turned out to have moved."""
        self.pop(stream, None)
