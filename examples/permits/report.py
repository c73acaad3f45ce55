"""The report: a program over queries, and so the same wherever the views are."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from eventsrc import Do, program
from examples.permits.views import MostSteps, PermitQuery, Total


@program
def report(limit: int = 5) -> Do[PermitQuery, str]:
    """The permits at a glance, as text; each list has at most so many entries."""
    totals = yield from Total()
    tables = [
        _table("Recorded", attrs.asdict(totals).items()),
        _table("Longest cases, in steps", (yield from MostSteps("case", limit))),
        _table("Most frequent steps", (yield from MostSteps("name", limit))),
        _table("Busiest people, by steps", (yield from MostSteps("user", limit))),
    ]
    return "\n\n".join(tables)


def _table(title: str, rows: Iterable[tuple[str, int]]) -> str:
    return "\n".join([title, *(f"{number:>8}  {name}" for name, number in rows)])
