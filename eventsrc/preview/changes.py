"""Changes that events would make in a view: its handlers run in a transaction that is rolled back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from eventsrc.events.positions import Cursor
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId, stored_id
from eventsrc.following.synchroniser import PAGE, GapRemains
from eventsrc.programs.interpreter import Interpreter
from eventsrc.stores.operations import ReadFeed, StoreOp
from eventsrc.views._applying import LedgerViews, blamed, described
from eventsrc.views._ledger import Ledger
from eventsrc.views.guard import sort_out
from eventsrc.views.operations import Failed
from eventsrc.views.rows import RowChange
from eventsrc.views.view import View, ViewError


@attrs.frozen
class Changes:
    """The changes that events would make in a view."""

    view: View[Any]
    rows: tuple[RowChange, ...]
    held: tuple[StreamId, ...] = ()
    """The streams of which nothing would be applied, because they are parked."""
    failed: Failed | None = None
    """The event that a handler cannot apply; of the rows nothing is known then."""

    def __str__(self) -> str:
        lines = [f"{self.view!r}:", *(f"  {row}" for row in self.rows)]
        lines += [f"  {stream} is parked" for stream in self.held]
        if self.failed is not None:
            failed = self.failed
            lines.append(f"  {failed.stream} {failed.version} fails: {failed.error}")
        return "\n".join(lines if len(lines) > 1 else [*lines, "  nothing"])


def changes_of(
    view: View[Any], views: LedgerViews, store: Interpreter[StoreOp], end: Cursor
) -> Changes:
    """The changes that the events of a store after a cursor would make in a view.

    The events before it are applied first, as far as the view lacks them. Others cannot write to the
    view meanwhile. Raises ViewError for a view that was never built, since that is not undone
    everywhere, for one in an external target, where nothing can be rolled back, and for one that has
    come past other events of the same streams meanwhile.
    """
    with views.looking(view) as ledger:
        if ledger is None:
            raise ViewError(f"{view!r} was never built: synchronise it before a preview of it")
    if views.target is not None:
        raise ViewError(
            f"{view!r} is in an external target, where nothing is rolled back: leave it out"
        )
    try:
        with views.writing(view) as ledger:
            raise _RollBack(_run(_Run(view, ledger, store), end))
    except _RollBack as rolled_back:
        return rolled_back.changes


class _RollBack(BaseException):
    """Ends the transaction with what was found in it. No Exception: nothing takes it for a failure."""

    def __init__(self, changes: Changes) -> None:
        super().__init__(changes)
        self.changes = changes


class _Stuck(Exception):
    """A handler raised."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed)
        self.failed = failed


def _run(run: _Run, end: Cursor) -> Changes:
    try:
        for events in _pages(run.store, run.view, run.start(), end):
            run.apply(events)
        copy = run.ledger.copy()
        run.held.clear()
        run.is_strict = True
        for events in _pages(run.store, run.view, end, None):
            run.apply(events)
    except _Stuck as stuck:  # half of its work is left, in a transaction that may be at its end
        return Changes(run.view, (), tuple(run.held), stuck.failed)
    return Changes(run.view, tuple(copy.differences()), tuple(run.held))


def _pages(
    store: Interpreter[StoreOp], view: View[Any], after: Cursor, until: Cursor | None
) -> Iterator[Sequence[Recorded[Any]]]:
    """The events of a view between two positions of the feed; to its end if there is no second."""
    while True:
        limit = PAGE if until is None else min(PAGE, until.position - after.position)
        if limit < 1:
            return
        page = store.run(ReadFeed(after, limit, view.prefix, all_streams=view.all_streams))
        yield [event for event in page.events if until is None or event.position <= until.position]
        after = page.next
        if after >= page.end:
            return


class _Run:
    """Events applied to a view in a transaction."""

    def __init__(self, view: View[Any], ledger: Ledger, store: Interpreter[StoreOp]) -> None:
        self.view = view
        self.ledger = ledger
        self.store = store
        self.held: dict[StreamId, None] = {}
        self.is_strict = False
        """True if no event can have been applied before."""

    def start(self) -> Cursor:
        """The cursor of the view, which from here on no other brings forward."""
        for partition in range(self.view.partitions):
            self.ledger.lock_partition(partition, None, applies=True)
        return min(
            (each.cursor for each in self.ledger.partitions()), key=lambda cursor: cursor.position
        )

    def apply(self, events: Sequence[Recorded[Any]]) -> None:
        """Applies those events that are not applied yet."""
        streams = sorted({event.record.stream for event in events})
        guards, parked = self.ledger.guards(streams)
        work = sort_out(guards, events, parked)
        if work.gaps:
            raise GapRemains(work.gaps[0])
        if work.ignored and self.is_strict:
            raise ViewError(
                f"{self.view!r} went on with other events of {', '.join(streams)}: preview again"
            )
        with self.ledger.handling(self.view):
            for event in work.to_apply:
                try:
                    self.view.apply(self.ledger.database, event)
                    self.ledger.check_handled()
                except BaseException as error:
                    what = blamed(self.ledger, self.view, event, error)
                    place = event.stream, event.version, event.position, event.type
                    raise _Stuck(Failed(*place, described(what))) from error
        if work.applied:
            self.ledger.move_guards(work.applied)
        self.held |= {stored_id(stream): None for stream in work.held}
