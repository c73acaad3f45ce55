"""Programs that copy a store into another, keep a copy up to date, and make it a store of its own.

They are run by `both(store, other)`. Either may be a store, or a file by ExportReader and ExportWriter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Never, TypeAlias, TypeVar, cast, overload

import attrs

from eventsrc.events.pages import records_of
from eventsrc.events.positions import START, Cursor
from eventsrc.following.outages import Outage
from eventsrc.following.waiting import wait_for_events
from eventsrc.programs.interpreter import AsyncInterpreter, Interpreter, on
from eventsrc.programs.operation import Command, Operation
from eventsrc.programs.program import Do, Program, program
from eventsrc.programs.world import Chance, Elapsed, Sleep
from eventsrc.stores.copying import EndCopy, GetIdentity, Identity, KeepRecords
from eventsrc.stores.operations import ReadFeed, StoreError

O = TypeVar("O")

PAGE: Final = 1000
"""The most events that are copied at a time."""


class There(Command[Any], name="There"):
    """Performs an operation on the other of two stores."""

    operation: Operation[Any]


CopyingOp: TypeAlias = GetIdentity | ReadFeed | There
"""The operations of copying one store into another."""

FollowingOp: TypeAlias = CopyingOp | Elapsed | Chance | Sleep
"""The operations of keeping a copy up to date."""


@overload
def both(store: Interpreter[O], other: Interpreter[Any]) -> Interpreter[O | There]: ...
@overload
def both(store: AsyncInterpreter[O], other: AsyncInterpreter[Any]) -> AsyncInterpreter[O | There]: ...
def both(store: AsyncInterpreter[O], other: AsyncInterpreter[Any]) -> AsyncInterpreter[O | There]:
    """The interpreter of programs about two stores: the one, and `There` the other.

    If one of them is asynchronous only, so is this.
    """
    if isinstance(store, Interpreter) and isinstance(other, Interpreter):
        return store | on(There).either(
            lambda op: other.run(op.operation), lambda op: other.run_async(op.operation)
        )
    return store | on(There).run_async(lambda op: other.run_async(op.operation))


@attrs.frozen
class Copied:
    """A copy that was made: the events that it has, and the epoch that it is in."""

    events: int
    epoch: int


def _tell_nobody(_position: int, _end: int) -> None:
    pass


@program
def copy(tell: Callable[[int, int], None] = _tell_nobody) -> Do[CopyingOp, Copied]:
    """Copies a store into the other, as it is when this begins, and has the copy take appends.

    tell: called with the position that was reached and the last one, after each page.
    One that was broken off goes on where it was, if it is run again. What is appended to the store
    meanwhile is not copied: to move a store, have nobody append to it, or `follow_copy` and `promote`.
    Raises NotACopy if the other has events that are not the store's, and Corrupted for a damaged one.
    """
    identity = yield from GetIdentity()
    end: int = yield from There(KeepRecords(identity))
    goal = (yield from ReadFeed(START, 1, all_streams=True)).end.position
    if end > goal:  # which a store that was restored may have lost: the comparison of its last tells
        goal = end
    yield from _copy_to(identity, end, goal, tell)
    now = yield from GetIdentity()
    if now != identity:  # a copy is of one epoch from its begin to its end
        yield from There(KeepRecords(now))
    epoch: int = yield from There(EndCopy())
    return Copied(goal, epoch)


@program
def follow_copy(
    tell: Callable[[int, int], None] = _tell_nobody, every: float = 0.05
) -> Do[FollowingOp, Never]:
    """Keeps the other store a copy, for ever: a warm standby, that can be read and takes no appends.

    tell: as of `copy`. every: seconds between two looks at the feed, where nothing calls.
    What goes wrong and may pass is waited for, with a warning in the log; anything else is raised.
    """
    outage = Outage("a copy", every)
    while True:
        try:
            identity = yield from GetIdentity()
            end: int = yield from There(KeepRecords(identity))
            page = yield from ReadFeed(START, 1, all_streams=True)
            reached = yield from _copy_to(identity, end, max(page.end.position, end), tell)
            yield from outage.end()
            yield from cast("Program[Any, bool]", wait_for_events(reached, 1.0, every))
        except StoreError as error:
            if not error.may_pass:
                raise
            yield from outage.wait(error)


@program
def promote() -> Do[EndCopy, int]:
    """Makes a copy the store, in another epoch, whose number is the answer.

    Cursors and tokens of what has arrived stay valid; those of what never arrived are errors. The store
    that it was a copy of must not go on. Doing it twice does no harm.
    """
    return (yield from EndCopy(raise_epoch=True))


def _copy_to(
    identity: Identity, end: int, goal: int, tell: Callable[[int, int], None]
) -> Do[CopyingOp, Cursor]:
    """Copies what is missing up to a position; answers the cursor there.

    The last event that the copy has is sent once more: so the copy sees that it is the same.
    """
    epoch = identity.epochs.current
    sent = max(end - 1, 0)
    while sent < goal:
        after = Cursor(identity.store_id, sent, epoch)
        page = yield from ReadFeed(after, min(PAGE, goal - sent), all_streams=True)
        records = tuple(records_of(page.events))
        if not records:
            break
        yield from There(KeepRecords(identity, records))
        sent = page.next.position
        tell(sent, goal)
    return Cursor(identity.store_id, sent, epoch)
