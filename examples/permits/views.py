"""What is asked about the permits, and the tables that answer it."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import attrs

from eventsrc import Interpreter, Query, Recorded, View, on
from examples.identity import views as identity
from examples.permits.cases import CaseOpened, StepTaken
from examples.places import Views
from examples.tables import Database, Row, tables

permits: View[Any] = View("permits", prefix="permits/")

VIEWS: Final = (permits, *identity.VIEWS)


@permits.schema
def create_permits(db: Database) -> None:
    tables(db).create("permit", {"id": str, "channel": str, "department": str}, "id")
    texts = dict.fromkeys(("case", "task", "name", "user", "group", "at"), str)
    tables(db).create("step", {**texts, "version": int}, "case", "version")


@permits.on(CaseOpened)
def case_opened(db: Database, event: Recorded[CaseOpened]) -> None:
    case = event.data
    row = {"id": case.case, "channel": case.channel, "department": case.department}
    tables(db).insert("permit", row)


@permits.on(StepTaken)
def step_taken(db: Database, event: Recorded[StepTaken]) -> None:
    step = event.data
    row: Row = {
        "case": step.case,
        "version": event.version,  # in the stream of the case: the order of its steps
        "task": step.task,
        "name": step.name,
        "user": step.user,
        "group": step.group,
        "at": step.at.isoformat(" "),
    }
    tables(db).insert("step", row)


@attrs.frozen
class Totals:
    """How many there are of everything."""

    cases: int
    steps: int
    users: int
    groups: int
    memberships: int


Ranking: TypeAlias = tuple[tuple[str, int], ...]
"""Names with numbers, the greatest first."""


class Total(Query[Totals]):
    """How many there are of everything."""


class MostSteps(Query[Ranking]):
    """The cases, the names of steps, or the users with most steps: at most so many."""

    by: Literal["case", "name", "user"]
    limit: int


PermitQuery: TypeAlias = Total | MostSteps

_TOTALS: Final = """
    SELECT (SELECT count(*) FROM permit), (SELECT count(*) FROM step),
        (SELECT count(*) FROM users), (SELECT count(*) FROM groups), (SELECT count(*) FROM memberships)
"""
_MOST_STEPS: Final = """
    SELECT {by}, count(*) FROM step WHERE {by} <> '' GROUP BY {by} ORDER BY count(*) DESC, {by} LIMIT ?
"""


class PermitQueries(Interpreter[PermitQuery]):
    def __init__(self, views: Views) -> None:
        self.views = views

    @on(Total)
    def total(self, op: Total) -> Totals:
        with self.views.reading(*VIEWS) as db:
            return Totals(*tables(db).rows(_TOTALS)[0])

    @on(MostSteps)
    def most_steps(self, op: MostSteps) -> Ranking:
        sql = _MOST_STEPS.replace("{by}", f'"{op.by}"')
        with self.views.reading(*VIEWS) as db:
            return tuple(tables(db).rows(sql, op.limit))
