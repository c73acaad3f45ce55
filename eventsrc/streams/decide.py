"""Load, decide, append: how a command handler changes a stream that others change too.

1. Load the state that the decision needs, and the version that it is of.
2. Decide: the events to append, or a failure.
3. Append them if the stream is still at that version.
4. If it is not, somebody was faster: wait a little, fold in what they appended, and decide again.

The waits are random and grow ("full jitter": Brooker, Exponential Backoff and Jitter, 2015), and stop
at a deadline. An append whose answer was lost is tried again under the same append_id, which cannot
store its events twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeAlias, TypeVar
from uuid import UUID

import attrs
from returns.result import Failure, Success

from eventsrc._errors import EventsrcError
from eventsrc.events.codec import Json
from eventsrc.events.positions import Token
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.program import Do, Outcome, Try, name_of, program
from eventsrc.programs.world import Chance, Elapsed, Sleep
from eventsrc.stores.operations import (
    Append,
    Appended,
    Conflict,
    FindAppend,
    LoadSnapshot,
    NotAppended,
    Page,
    Read,
    Rejected,
    Unknown,
)
from eventsrc.stores.requests import request_of
from eventsrc.streams.fold import Fold, Folded, FoldOp, load, load_at

E = TypeVar("E")
F = TypeVar("F")
S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)
E_co = TypeVar("E_co", covariant=True)

DecideOp: TypeAlias = FoldOp | Append | FindAppend | Elapsed | Chance | Sleep
"""The operations of load, decide, append: the store's, and the clock and chance of its retries."""

WITHIN: Final = 5.0
"""For how many seconds a decision is tried again, unless the caller says otherwise."""

_FIRST_WAIT: Final = 0.001
_LONGEST_WAIT: Final = 0.02


class NotDecided(EventsrcError):
    """Others kept changing the stream, or an append stayed Unknown, until the deadline: see `why`."""

    def __init__(self, stream: StreamId, attempts: int, why: NotAppended) -> None:
        super().__init__(
            f"gave up on {stream} after {attempts} attempts; the last met {why}: "
            "give it more time (within=), or fewer writers to one stream"
        )
        self.why = why


class AppendFailed(EventsrcError):
    """An append that was not expected to fail was rejected, or its result is unknown: see `why`."""

    def __init__(self, why: NotAppended) -> None:
        super().__init__(str(why))
        self.why = why


@attrs.frozen
class Decided(Generic[S_co, E_co]):
    """The result of a decision."""

    state: S_co
    """The state with the events in it."""
    events: tuple[E_co, ...]
    """The events that were appended; none if there was nothing to do."""
    version: int
    """The version of the stream that the state is of."""
    token: Token


@program
def decide(
    stream: StreamId,
    fold: Fold[S, Any],
    decider: Callable[[S], Outcome[Sequence[E], F]],
    within: float = WITHIN,
    metadata: Json | None = None,
    append_id: UUID | None = None,
    request: object = None,
) -> Try[DecideOp, Decided[S, E], F]:
    """Appends what the decider makes of the stream's state, or ends with the decider's failure.

    decider: answers Success of the events to append, none if there is nothing to do, or a Failure.
        It may be called several times, with newer states, and must be pure.
    within: for how many seconds to try again when others are faster.
    append_id: makes a retry safe: what was decided under this id before is answered again, whatever
        the state is now.
    request: what is asked for, as `eventsrc.stores.requests.request_of` takes it: it is answered again
        for this request alone. None: for any under this id.
    Raises NotDecided at the deadline, OtherRequest if the id was used before and not for this request,
    and AppendFailed if the store rejects the events, or the id was used for another stream.
    """
    asked = key_of(append_id, request)
    if append_id is not None:
        before = yield from _before(stream, fold, append_id, asked)
        if before is not None:
            return Success(before)
    folded = yield from load(stream, fold)
    deadline: float | None = None
    attempt = 0
    while True:
        match decider(folded.state):
            case Success(decided):
                events = tuple(decided)
            case Failure() as refused:
                # perhaps because of what was stored under the id meanwhile
                before = yield from _before(stream, fold, append_id, asked)
                return refused if before is None else Success(before)
            case answer:
                raise TypeError(
                    f"{name_of(decider)} answered {answer!r:.200}: a decider answers Success(events) "
                    "or Failure(why)"
                )
        if not events:
            return Success(Decided(folded.state, events, folded.version, folded.token))
        state = folded.state  # folded before the append: what `evolve` refuses is not stored
        for event in events:
            state = fold.evolve(state, event)
        if deadline is None:
            deadline = (yield from Elapsed()) + within
        wanted = Append(stream, events, folded.version, append_id, metadata or {}, asked)
        outcome = yield from wanted
        if type(outcome) is not Success and isinstance(outcome.failure(), Unknown):
            outcome = yield from settle(wanted, outcome, deadline)
        match outcome:
            case Success(appended) if appended.version == folded.version + len(events):
                return Success(Decided(state, events, appended.version, appended.token))
            case Success():  # the same events were stored under the id meanwhile, on an earlier state
                before = yield from _before(stream, fold, append_id, asked)
                assert before is not None
                return Success(before)
            case Failure(Conflict() as conflict):
                yield from _wait(attempt, deadline, wanted, conflict)
                folded = yield from _caught_up(fold, folded, conflict)
                attempt += 1
            case Failure(why):  # perhaps because another decision was stored under the id meanwhile
                before = yield from _before(stream, fold, append_id, asked)
                if before is None:
                    raise AppendFailed(why)
                return Success(before)


def key_of(append_id: UUID | None, request: object) -> bytes | None:
    """A request as the store operations take it. Raises ValueError for one without an append_id."""
    if request is None:
        return None
    if append_id is None:
        raise ValueError(
            "a request is given, and no append_id under which a retry would come: give one"
        )
    return request_of(request)


def _before(
    stream: StreamId, fold: Fold[S, Any], append_id: UUID | None, request: bytes | None
) -> Do[FindAppend | Read | LoadSnapshot, Decided[S, Any] | None]:
    """The decision made before under an append_id, if there is one and any was."""
    if append_id is None:
        return None
    found = yield from FindAppend(append_id, request)
    if found is None:
        return None
    if found.token.versions.keys() != {stream}:
        others = ", ".join(found.token.versions)
        raise AppendFailed(
            Rejected(f"append_id {append_id} was used for an append to {others}: choose one for each")
        )
    version = found.version
    folded = yield from load_at(stream, fold, version)
    events: list[Any] = []
    while True:
        page: Page[Any] = yield from Read(stream, version - len(events) + 1, backwards=True)
        its = [event for event in page.events if event.append_id == append_id]
        events += [event.data for event in its]
        if len(its) < len(page.events) or page.is_last:
            return Decided(folded.state, tuple(reversed(events)), version, found.token)


def _caught_up(fold: Fold[S, Any], folded: Folded[S], conflict: Conflict) -> Do[FoldOp, Folded[S]]:
    """The state with what others appended: from the conflict, or read if that is not all of it.

    A stream that is below the version that was read has lost events, as by a failover to a server that
    had not got them: nothing that was folded counts.
    """
    if conflict.actual < folded.version:
        return (yield from load(conflict.stream, fold))
    if folded.version + len(conflict.events) < conflict.actual:
        return (yield from load(conflict.stream, fold, folded))
    state = fold.apply(folded.state, conflict.events)
    return Folded(
        state,
        conflict.actual,
        Token(folded.token.store_id, {conflict.stream: conflict.actual}, folded.token.epoch),
    )


def settle(
    wanted: Append, outcome: Outcome[Appended, NotAppended], deadline: float
) -> Do[Append | Elapsed | Chance | Sleep, Outcome[Appended, NotAppended]]:
    """Settles an append whose answer was lost: it is made again, under the same append_id."""
    attempt = 0
    while isinstance(outcome, Failure) and isinstance(unknown := outcome.failure(), Unknown):
        yield from _wait(attempt, deadline, wanted, unknown)
        wanted = attrs.evolve(wanted, append_id=unknown.append_id)  # type: ignore[misc]
        outcome = yield from wanted
        attempt += 1
    return outcome


def _wait(
    attempt: int, deadline: float, wanted: Append, why: NotAppended
) -> Do[Elapsed | Chance | Sleep, None]:
    """Waits before the next attempt; raises NotDecided if it would be too late."""
    if not (yield from pause(attempt, deadline)):
        raise NotDecided(wanted.stream, attempt + 1, why)


def pause(attempt: int, deadline: float) -> Do[Elapsed | Chance | Sleep, bool]:
    """Waits before the next attempt, but the first; answers False at once if it would be too late."""
    longest = min(_FIRST_WAIT * (2 ** min(attempt, 20) - 1), _LONGEST_WAIT)
    seconds = (yield from Chance()) * longest
    if (yield from Elapsed()) + seconds >= deadline:
        return False
    yield from Sleep(seconds)
    return True
