"""The works: what there is to do, how it is done, and how long that took.

Each module makes one part of the report: its works, and the table that shows what came of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import attrs

from benchmarks.rounds import Result, Work


@attrs.frozen
class Part:
    """A part of the report.

    table: the lines that show the results of those of its works that were measured.
    """

    title: str
    works: Sequence[Work]
    table: Callable[[Sequence[Result]], Iterator[str]]


def scaled(count: int, scale: float, least: int = 1) -> int:
    """A count at a scale, and not less than the least that makes sense."""
    return max(round(count * scale), least)
