"""Decisions about boundaries: the state of events that tags gather from many streams.

`serializable` makes an append conditional on every boundary that its program has read, so that no
program has to say it. `decide_about` is the short form for one boundary and one stream to append to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar
from uuid import UUID

import attrs
from returns.result import Failure, Success

from eventsrc.events.codec import Json
from eventsrc.events.positions import START, Cursor
from eventsrc.events.tags import Boundary
from eventsrc.programs.program import Do, Outcome, Program, Try, program
from eventsrc.programs.world import Elapsed
from eventsrc.stores.operations import Append, Appended
from eventsrc.stores.tags import AppendIf, ReadTagged
from eventsrc.streams.decide import WITHIN, AppendFailed, settle
from eventsrc.streams.fold import PAGE, Fold
from eventsrc.streams.serializable import SerializableOp, serializable
from eventsrc.streams.stream import Stream

E = TypeVar("E")
E_co = TypeVar("E_co", covariant=True)
F = TypeVar("F")
S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)

BoundaryOp = SerializableOp | ReadTagged | AppendIf
"""The operations that a decision about a boundary performs."""


@attrs.frozen
class Gathered(Generic[S_co]):
    """The state that a fold makes of a boundary's events."""

    state: S_co
    cursor: Cursor
    """The end of the feed when it was read: what to expect no change since."""


@attrs.frozen
class DecidedAbout(Generic[S_co, E_co]):
    """The result of a decision about a boundary."""

    state: S_co
    """The state with the events in it."""
    events: tuple[E_co, ...]
    """The events that were appended; none if there was nothing to do."""
    appended: Appended | None
    """The answer to their append; None if there was nothing to do."""


@program
def gather_about(boundary: Boundary, fold: Fold[S, Any]) -> Do[ReadTagged, Gathered[S]]:
    """The state that a fold makes of all events of a boundary, in the order of the feed.

    Raises as the operation ReadTagged, and what `evolve` raises.
    """
    state, at = fold.initial, START
    while True:
        page = yield from ReadTagged(boundary, at, PAGE)
        state = fold.apply(state, page.events)
        if page.next >= page.end:
            return Gathered(state, page.end)
        at = page.next


def decide_about(
    boundary: Boundary,
    fold: Fold[S, Any],
    decider: Callable[[S], Outcome[Sequence[E], F]],
    *,
    to: Stream[E],
    within: float = WITHIN,
    append_id: UUID | None = None,
    request: object = None,
    metadata: Json | None = None,
) -> Program[BoundaryOp, Outcome[DecidedAbout[S, E], F]]:
    """Gathers the state, decides, and appends if the boundary is unchanged; again if it is not.

    decider: of the state, Success of the events to append, or a Failure. It must be pure.
    to: the stream that they are appended to, whatever its version.
    within: for how many seconds to try again. Raises NotSerialized then.
    append_id, request: as of `serializable`.
    Raises AppendFailed if the store rejects the events, and as ReadTagged.
    """
    decision = _decision(boundary, fold, decider, to, within, metadata)
    return serializable(decision, within=within, append_id=append_id, request=request)


@program
def _decision(
    boundary: Boundary,
    fold: Fold[S, Any],
    decider: Callable[[S], Outcome[Sequence[E], F]],
    to: Stream[E],
    within: float,
    metadata: Json | None,
) -> Try[BoundaryOp, DecidedAbout[S, E], F]:
    gathered = yield from gather_about(boundary, fold)
    answer = decider(gathered.state)
    if isinstance(answer, Failure):
        return answer
    part = to.part(*answer.unwrap())
    if not part.events:
        return Success(DecidedAbout(gathered.state, (), None))
    state = gathered.state  # folded before the append: what `evolve` refuses is not stored
    for event in part.events:
        state = fold.evolve(state, event)
    deadline = (yield from Elapsed()) + within
    wanted = Append(part.stream, part.events, metadata=metadata or {})
    outcome = yield from settle(wanted, (yield from wanted), deadline)
    if isinstance(outcome, Failure):
        raise AppendFailed(outcome.failure())
    events: tuple[Any, ...] = part.events
    return Success(DecidedAbout(state, events, outcome.unwrap()))
