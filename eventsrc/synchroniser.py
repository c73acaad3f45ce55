"""The synchroniser: programs that bring views up to date.

`synchronise` follows the store's feed; `deliver` takes recorded events from anywhere else, such as a
queue or a file; `force` makes a view at least as new as a token, now. The guard (guard.py) makes all
of them safe to repeat, to mix and to run at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Final, TypeAlias

import attrs
from returns.result import Failure, Success

from eventsrc.errors import EventsrcError
from eventsrc.guard import Gap
from eventsrc.positions import BadToken, Cursor, Token
from eventsrc.program import Do, Try, program
from eventsrc.recorded import Recorded
from eventsrc.store import Page, Read, ReadFeed
from eventsrc.stream_id import StreamId
from eventsrc.view import Applied, Apply, GetApplied, GetProgress, View
from eventsrc.world import Elapsed, Sleep

PAGE: Final = 1000
"""How many events are read, and applied in one transaction, at a time."""

ROUNDS: Final = 3
"""How often a gap is filled before it is believed to remain."""

SyncOp: TypeAlias = ReadFeed | Read | GetProgress | GetApplied | Apply
"""What synchronising performs: on the store and on the database of the view."""


@attrs.frozen
class Synchronised:
    """How far a view has come."""

    applied: int
    """How many events it was given that it had not applied before."""
    ignored: int
    """How many it was given again."""
    cursor: Cursor
    end: Cursor
    """The end of the feed when it was last read."""

    @property
    def lag(self) -> int:
        """How many events of the store it has not looked at yet."""
        return self.end.position - self.cursor.position


class GapRemains(EventsrcError):
    """Events were delivered whose predecessors the store does not have, or the view does not keep."""

    def __init__(self, gap: Gap) -> None:
        super().__init__(
            f"event {gap.came} of {gap.stream} was delivered, the view has applied {gap.applied}, and "
            "what is in between is not in the store, or is not kept: deliver events of the store that "
            "the view follows"
        )
        self.gap = gap


@attrs.frozen
class Late:
    """A view did not become as new as a token in time."""

    view: View[Any]
    missing: Token
    """What it should have applied and has not."""


@program
def synchronise(view: View[Any], pages: int | None = None) -> Do[SyncOp, Synchronised]:
    """Applies the store's feed to a view, from where it stopped to the end.

    pages: stop after so many pages of 1 000 events, to report progress; until the end if not given.
    """
    at = (yield from GetProgress(view)).cursor
    applied = ignored = read = 0
    while True:
        page = yield from ReadFeed(at, PAGE, view.prefix)
        if page.next != at:
            done = yield from _apply(view, page.events, page.next)
            applied += done.applied
            ignored += done.ignored
        at = page.next
        read += 1
        if at >= page.end or read == pages:
            return Synchronised(applied, ignored, at, page.end)


@program
def deliver(view: View[Any], events: Iterable[Recorded[Any]]) -> Do[SyncOp, Applied]:
    """Applies events to a view that come from elsewhere: in any order, any number of times.

    What is missing in between is read from the store.
    """
    applied = ignored = 0
    rest = iter(events)
    while batch := tuple(islice(rest, PAGE)):
        done = yield from _apply(view, batch, None)
        applied += done.applied
        ignored += done.ignored
    return Applied(applied, ignored, ())


@program
def force(view: View[Any], token: Token, within: float = 5.0) -> Try[SyncOp | Elapsed, Late, Token]:
    """Makes a view at least as new as a token, by reading just the token's streams.

    These are then ahead of others that were recorded before them: a handler must not count on the order
    of events of different streams.

    within: for how many seconds to go on; then the answer is Failure of Late.
    Answers what the view has applied of those streams. Raises WrongStore for a token of another store,
    and BadToken for one that is ahead of its store (which was restored, or did not make the token).
    """
    deadline = (yield from Elapsed()) + within
    streams = tuple(stream for stream in token.versions if stream.startswith(view.prefix))
    for stream in streams:
        yield from _check_token(token, stream)
    while True:
        applied = yield from GetApplied(view, streams)
        behind = {stream: token[stream] for stream in streams if applied[stream] < token[stream]}
        if not behind:
            return Success(Token(token.store, dict(applied)))
        if (yield from Elapsed()) > deadline:
            return Failure(Late(view, Token(token.store, behind)))
        for stream in behind:
            page: Page[Any] = yield from Read(stream, applied[stream], PAGE)
            yield from _apply(view, page.events, None)


@program
def follow(view: View[Any], every: float = 0.05) -> Do[SyncOp | Sleep, None]:
    """Synchronises a view for ever, looking for new events every so many seconds.

    Run it in a thread or task of its own. It ends by being cancelled, or by what a handler raises.
    """
    while True:
        yield from synchronise(view)
        yield from Sleep(every)


def _check_token(token: Token, stream: StreamId) -> Do[SyncOp, None]:
    """Raises WrongStore or BadToken for a token that the store cannot have made."""
    page: Page[Any] = yield from Read(stream, token[stream], 1)
    token.check(page.token.store)
    if page.head < token[stream]:
        raise BadToken(
            f"the token has seen version {token[stream]} of {stream}, which is at {page.head}: the "
            "store was restored from a backup, or the token was not made by it"
        )


def _apply(
    view: View[Any], events: Sequence[Recorded[Any]], cursor: Cursor | None
) -> Do[SyncOp, Applied]:
    """Applies events; where some are missing in between, fills the gaps from the store first."""
    done = yield from Apply(view, events, cursor)
    applied, ignored = done.applied, done.ignored
    gaps, rounds = done.gaps, 0
    while done.gaps:
        for gap in done.gaps:
            applied += yield from _fill(view, gap)
        done = yield from Apply(view, events, cursor)
        applied += done.applied
        gaps, rounds = done.gaps, rounds + 1 if done.gaps == gaps else 0
        if rounds == ROUNDS:
            raise GapRemains(gaps[0])
    return Applied(applied, ignored, ())


def _fill(view: View[Any], gap: Gap) -> Do[SyncOp, int]:
    """Applies what the store has of a gap's stream, up to the event that came too early."""
    applied, at = 0, gap.applied
    while at < gap.came - 1:
        page: Page[Any] = yield from Read(gap.stream, at, min(PAGE, gap.came - 1 - at))
        if not page.events:
            raise GapRemains(gap)
        applied += (yield from Apply(view, page.events)).applied
        at = page.events[-1].version
    return applied
