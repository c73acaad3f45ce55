"""Folds: the state that events make, now or at any time before.

`Load` is the operation that answers it. It means a program over the store (read on from a snapshot,
fold, perhaps save the next), which the run loop performs where no interpreter has something better:
see remembering.py.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, cast

import attrs

from eventsrc._errors import EventsrcError
from eventsrc.events.epochs import WrongEpoch
from eventsrc.events.pages import decoded
from eventsrc.events.positions import Token
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.operation import Derived
from eventsrc.programs.program import Do, Program, name_of, program
from eventsrc.stores.epochs import check_token
from eventsrc.stores.operations import LoadSnapshot, Page, Read, SaveSnapshot
from eventsrc.streams._makers import definition, warn_once
from eventsrc.streams.snapshots import MadeByAnother, Snapshots

E_contra = TypeVar("E_contra", contravariant=True)
S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)

FoldOp: TypeAlias = Read | LoadSnapshot | SaveSnapshot
"""The operations that answering a state performs."""

PAGE: Final = 1000
"""The events of a stream that a fold reads at a time."""


class Consistency(enum.Enum):
    """The age that a state may have."""

    LATEST_EVENT = "the state after the last event"
    LATEST_SNAPSHOT = "the state of the newest snapshot, whatever came since"

    def __repr__(self) -> str:
        return self.name


LATEST_EVENT: Final = Consistency.LATEST_EVENT
LATEST_SNAPSHOT: Final = Consistency.LATEST_SNAPSHOT


class NoSuchVersion(EventsrcError, LookupError):
    """A stream was asked for its state at a version that it has not reached."""


@attrs.frozen
class Fold(Generic[S, E_contra]):
    """A state made of events: `initial` before the first, `evolve(state, event)` after each.

    `evolve` must be pure and must not change the state that it is given, which may be shared.
    unknown: what to do about an event whose type or version this program does not know: "fail" raises
        UnknownEvent, "skip" goes on without it.
    snapshots: how states are kept in the store; None if they are not. Raises NotStorable if the initial
        state could not be.
    """

    initial: S
    evolve: Callable[[S, E_contra], S] = attrs.field(repr=name_of)
    unknown: Literal["fail", "skip"] = attrs.field(default="fail", repr=False)
    snapshots: Snapshots[S] | None = attrs.field(default=None, repr=False)
    _definition: str = attrs.field(default="", init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.snapshots is not None:
            initial = self.snapshots.encode(self.initial)
            object.__setattr__(self, "_definition", definition(self.evolve, initial, self.unknown))

    def apply(self, state: S, events: Sequence[Recorded[Any]]) -> S:
        """The state after some more events."""
        if self.unknown == "skip":
            events = [recorded for recorded in events if recorded.is_known]
        return reduce(self.evolve, decoded(events), state)

    def without_saving(self) -> Fold[S, E_contra]:
        """This fold, using the snapshots that are there and saving none."""
        if self.snapshots is None or self.snapshots.every is None:
            return self
        return attrs.evolve(self, snapshots=attrs.evolve(self.snapshots, every=None))


@attrs.frozen
class Folded(Generic[S_co]):
    """A state, and what it was made of."""

    state: S_co
    version: int
    """The version of the stream that the state is of; 0 for the initial state of an empty stream."""
    token: Token


class Load(Derived[Folded[Any]]):
    """The state that a fold makes of a stream.

    known: a state of this stream and fold to read on from, of the same store. If it is of events that
        the store lost when it was restored, it is not relied on.
    consistency: LATEST_SNAPSHOT for the state of the newest snapshot as it is; if there is none, as
        LATEST_EVENT.
    """

    lower = (Read, LoadSnapshot, SaveSnapshot)

    stream: StreamId
    fold: Fold[Any, Any]
    known: Folded[Any] | None = None
    consistency: Consistency = LATEST_EVENT

    def meaning(self) -> Do[FoldOp, Folded[Any]]:
        """Reads on from what is known, or else from the newest snapshot; saves one if it is due."""
        stream, fold, known = self.stream, self.fold, self.known
        if known is None:
            state, version = yield from _kept(stream, fold)
        else:
            state, version = known.state, known.version
        latest = self.consistency is LATEST_SNAPSHOT and version > 0 and known is None
        start = version
        while True:
            page: Page[Any] = yield from Read(stream, version, 1 if latest else PAGE, whole=False)
            is_lost = page.head < version  # ahead of the stream: the store was restored from a backup
            if known is not None and not is_lost:
                is_lost = not (yield from _has_seen(known.token, stream, page))
            known = None
            if is_lost:
                state, version, start, latest = fold.initial, 0, 0, False
                continue
            if latest:
                break
            state = fold.apply(state, page.events)
            version += len(page.events)
            if page.is_last:
                break
        if fold.snapshots is not None and fold.snapshots.is_due(start, version):
            maker = fold._definition
            yield from SaveSnapshot(fold.snapshots.snapshot(stream, version, state, maker))
        return Folded(state, version, Token(page.token.store_id, {stream: version}, page.token.epoch))


def load(
    stream: StreamId,
    fold: Fold[S, Any],
    known: Folded[S] | None = None,
    consistency: Consistency = LATEST_EVENT,
) -> Program[FoldOp, Folded[S]]:
    """The state of a stream, typed: see the operation Load.

    Raises ValueError if the newest snapshot is asked for of a fold that keeps none.
    """
    if not isinstance(consistency, Consistency):
        raise TypeError(f"{consistency!r:.100} is no consistency: LATEST_EVENT or LATEST_SNAPSHOT is")
    if consistency is LATEST_SNAPSHOT and fold.snapshots is None:
        raise ValueError(f"{fold!r} keeps no snapshots: give it snapshots=, or ask for LATEST_EVENT")
    return cast("Program[FoldOp, Folded[S]]", Load(stream, fold, known, consistency))


def _has_seen(token: Token, stream: StreamId, page: Page[Any]) -> Do[Read, bool]:
    """Whether the store still has what a token has seen of a stream. page: any of the store."""
    try:
        yield from check_token(token, page, stream)
    except WrongEpoch:
        return False
    return True


def _kept(
    stream: StreamId, fold: Fold[S, Any], until: int | None = None
) -> Do[LoadSnapshot, tuple[S, int]]:
    """The state of the newest snapshot, if there is one and it is not too new, and its version."""
    if fold.snapshots is not None:
        kept = yield from LoadSnapshot(stream, fold.snapshots.name, fold.snapshots.version)
        if kept is not None and (until is None or kept.version <= until):
            try:
                return fold.snapshots.state(kept, fold._definition), kept.version
            except MadeByAnother as other:
                warn_once(fold.snapshots, fold._definition, str(other))
    return fold.initial, 0


@program
def load_at(
    stream: StreamId, fold: Fold[S, Any], at: int | Token
) -> Do[Read | LoadSnapshot, Folded[S]]:
    """The state of a stream when it was at a version, or where a token has seen it.

    Raises NoSuchVersion if it has not got there, WrongStore for a token of another store, WrongEpoch
    for one of what the store had before it was restored, and NotInToken for one that does not name the
    stream.
    """
    if isinstance(at, Token):
        its_page: Page[Any] = yield from Read(stream, 0, 1)
        yield from check_token(at, its_page, stream)
        at = at.of(stream)
    if not isinstance(at, int):
        raise TypeError(
            f"{at!r:.100} is no version and no token: for a time or a position in the feed, ask `as_of`"
        )
    if at < 0:
        raise ValueError(f"{at} is no version: versions are numbers from 0")
    state, version = yield from _kept(stream, fold, at)
    while True:
        wanted = min(PAGE, max(at - version, 1))
        page: Page[Any] = yield from Read(stream, version, wanted, whole=False)
        if page.head < at:
            raise NoSuchVersion(f"{stream} is at version {page.head}: it has no version {at} yet")
        state = fold.apply(state, page.events[: at - version])
        version = min(version + len(page.events), at)
        if version == at:
            return Folded(
                state, version, Token(page.token.store_id, {stream: version}, page.token.epoch)
            )


@program
def load_as_of(stream: StreamId, fold: Fold[S, Any], time: datetime.datetime) -> Do[Read, Folded[S]]:
    """The state of a stream at a time: of the events before the first that was recorded after it.

    It reads from the first event, with or without snapshots: clocks may go back, so that only reading
    tells which event was the first recorded later.
    Raises ValueError for a time without a time zone.
    """
    if not isinstance(time, datetime.datetime):
        raise TypeError(f"{time!r:.100} is no time: write datetime(..., tzinfo=UTC)")
    if time.tzinfo is None:
        raise ValueError(f"{time} has no time zone: write datetime(..., tzinfo=UTC)")
    state, version = fold.initial, 0
    while True:
        page: Page[Any] = yield from Read(stream, version, PAGE)
        until = next((n for n, event in enumerate(page.events) if event.recorded_at > time), PAGE)
        state = fold.apply(state, page.events[:until])
        version += min(until, len(page.events))
        if page.is_last or until < len(page.events):
            return Folded(
                state, version, Token(page.token.store_id, {stream: version}, page.token.epoch)
            )
