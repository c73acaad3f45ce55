"""Folds: the state that events make, now or at any time before."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, Literal, TypeVar

import attrs

from eventsrc.errors import EventsrcError
from eventsrc.positions import Token
from eventsrc.program import Do, name_of, program
from eventsrc.recorded import Recorded, decoded
from eventsrc.store import Page, Read
from eventsrc.stream_id import StreamId

E_contra = TypeVar("E_contra", contravariant=True)
S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)

PAGE: Final = 1000
"""How many events of a stream a fold reads at a time."""


class NoSuchVersion(EventsrcError, LookupError):
    """A stream was asked for its state at a version that it has not reached."""


@attrs.frozen
class Fold(Generic[S, E_contra]):
    """How events make state: `initial` before the first, `evolve(state, event)` after each.

    `evolve` must be pure and must not change the state that it is given, which may be shared.
    unknown: what to do about an event whose type or version this program does not know: "fail" raises
        UnknownEvent, "skip" goes on without it.
    """

    initial: S
    evolve: Callable[[S, E_contra], S] = attrs.field(repr=name_of)
    unknown: Literal["fail", "skip"] = attrs.field(default="fail", repr=False)

    def apply(self, state: S, events: Sequence[Recorded[Any]]) -> S:
        """The state after some more events."""
        evolve = self.evolve
        if self.unknown == "skip":
            events = [recorded for recorded in events if recorded.is_known]
        for event in decoded(events):
            state = evolve(state, event)
        return state


@attrs.frozen
class Folded(Generic[S_co]):
    """A state, and what it was made of."""

    state: S_co
    version: int
    """The version of the stream that the state is of; 0 for the initial state of an empty stream."""
    token: Token


@program
def load(stream: StreamId, fold: Fold[S, Any], known: Folded[S] | None = None) -> Do[Read, Folded[S]]:
    """The state of a stream after its last event; read on from where it is known, if it is."""
    state, version = (fold.initial, 0) if known is None else (known.state, known.version)
    while True:
        page: Page[Any] = yield from Read(stream, version, PAGE, whole=False)
        state = fold.apply(state, page.events)
        version += len(page.events)
        if len(page.events) < PAGE:
            return Folded(state, version, Token(page.token.store, {stream: version}))


@program
def load_at(stream: StreamId, fold: Fold[S, Any], at: int | Token) -> Do[Read, Folded[S]]:
    """The state of a stream when it was at a version, or where a token has seen it.

    Raises NoSuchVersion if it has not got there, and WrongStore for a token of another store.
    """
    if isinstance(at, Token):
        at.check((yield from Read(stream, 0, 1)).token.store)
        at = at[stream]
    if at < 0:
        raise ValueError(f"{at} is no version: versions are numbers from 0")
    state, version = fold.initial, 0
    while True:
        wanted = min(PAGE, max(at - version, 1))
        page: Page[Any] = yield from Read(stream, version, wanted, whole=False)
        state = fold.apply(state, page.events[: at - version])
        version = min(version + len(page.events), at)
        if version == at:
            return Folded(state, version, Token(page.token.store, {stream: version}))
        if not page.events:
            raise NoSuchVersion(f"{stream} is at version {version}: it has no version {at} yet")


@program
def load_as_of(stream: StreamId, fold: Fold[S, Any], time: datetime.datetime) -> Do[Read, Folded[S]]:
    """The state of a stream at a time: of the events before the first that was recorded after it.

    Raises ValueError for a time without a time zone.
    """
    if time.tzinfo is None:
        raise ValueError(f"{time} has no time zone: write datetime(..., tzinfo=UTC)")
    state, version = fold.initial, 0
    while True:
        page: Page[Any] = yield from Read(stream, version, PAGE)
        until = next((n for n, event in enumerate(page.events) if event.recorded_at > time), PAGE)
        state = fold.apply(state, page.events[:until])
        version += min(until, len(page.events))
        if len(page.events) < PAGE or until < PAGE:
            return Folded(state, version, Token(page.token.store, {stream: version}))
