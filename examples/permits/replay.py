"""Replaying a log: what its rows say, as commands of the two services.

Rows are taken in batches. The steps of one become one command for each case; these do not depend on
each other, so they run side by side and share a commit. Thus a batch costs few commits, and still each
case has an append of its own, which is all or nothing. Users, groups and memberships follow one by one:
they meet in few streams, and most are there already.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, TypeAlias

from eventsrc import (
    AsyncInterpreter,
    Do,
    Failure,
    Operation,
    StoreOp,
    Success,
    gather_all,
    program,
    synchronise,
    world,
)
from examples.identity.commands import IdentityCommands
from examples.identity.events import GroupId, UserId
from examples.identity.operations import AddGroup, AddUser, Join
from examples.permits.cases import CaseCommands, RecordSteps
from examples.permits.log import BadRow, Row
from examples.permits.views import VIEWS
from examples.places import Views

Services: TypeAlias = RecordSteps | AddUser | AddGroup | Join


@program
def record(rows: Sequence[Row]) -> Do[Services, list[BadRow]]:
    """Records what rows say, as far as it is not recorded yet. Answers those that contradict it."""
    contradicting = yield from gather_all(_commands(rows))
    wrong = {step for steps in contradicting for step in steps}
    good = [row.step for row in rows if row.step not in wrong]
    for user, group in dict.fromkeys((step.user, step.group) for step in good):
        yield from introduce(user, group)
    return [BadRow(row.line, _CONTRADICTS.format(row.step.task)) for row in rows if row.step in wrong]


_CONTRADICTS: Final = "{} is recorded already, and this row says something else about it"


@program
def introduce(user: str, group: str) -> Do[Services, None]:
    """Has a user, a group and the membership recorded; an empty name is nobody's."""
    user_id = (yield from user_called(user)) if user else None
    group_id = (yield from group_called(group)) if group else None
    if user_id is not None and group_id is not None:
        (yield from Join(user_id, group_id)).unwrap()


@program
def user_called(name: str) -> Do[AddUser, UserId]:
    """The user of a name, who is added if there is none."""
    match (yield from AddUser(name)):
        case Success(added):
            return added.user
        case Failure(taken):
            return UserId(taken.by)


@program
def group_called(name: str) -> Do[AddGroup, GroupId]:
    """The group of a name, which is added if there is none."""
    match (yield from AddGroup(name)):
        case Success(added):
            return added.group
        case Failure(taken):
            return GroupId(taken.by)


def _commands(rows: Sequence[Row]) -> Iterator[RecordSteps]:
    of_case: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        of_case[row.step.case].append(row)
    for found in of_case.values():
        yield RecordSteps(found[0].opened, tuple(row.step for row in found))


async def replay(
    store: AsyncInterpreter[StoreOp], views: Views, rows: Iterable[Row | BadRow], batch: int = 500
) -> list[BadRow]:
    """Records all rows, so many at a time, and brings the views up to date. Answers the bad rows.

    It is asynchronous for the sake of the appends: `run` would perform them one after the other, each
    with its own commit.
    """
    services = (CaseCommands() | IdentityCommands()).into(store | world)
    services = services.around(_once(), only=(AddUser, AddGroup, Join))
    bad: list[BadRow] = []
    left = iter(rows)
    while taken := list(islice(left, batch)):
        bad += [row for row in taken if isinstance(row, BadRow)]
        bad += await services.run_async(record([row for row in taken if isinstance(row, Row)]))
    for view in VIEWS:
        await (store | views).run_async(synchronise(view))
    return sorted(bad, key=lambda row: row.line)


def _once() -> Callable[[Operation[Any]], Do[Any, Any]]:
    """Middleware that answers an operation that was performed before as it was answered then."""
    answers: dict[Operation[Any], Any] = {}

    def once(op: Operation[Any]) -> Do[Any, Any]:
        if op not in answers:
            answers[op] = yield from op
        return answers[op]

    return once
