"""The doors of the library: whatever a user calls on a database, each of which may find it broken.

Passed if each answers, or raises an error of this library that says what is wrong with the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, TypeAlias, get_args
from uuid import uuid4

from eventsrc import START, Append, Failure, Head, Read, ReadFeed, Recorded, StreamId, View
from eventsrc.errors import StoreError
from eventsrc.events.epochs import Epochs
from eventsrc.programs.interpreter import AsyncInterpreter, Interpreter
from eventsrc.stores.copying import CopyOp, EndCopy, GetIdentity, Identity, KeepRecords
from eventsrc.stores.operations import (
    AppendAll,
    EpochOp,
    FindAppend,
    GetEpochs,
    LoadSnapshot,
    RaiseEpoch,
    SaveSnapshot,
    Snapshot,
    StoreOp,
    StreamAppend,
    Unknown,
)
from eventsrc.views.operations import (
    Apply,
    CarryOver,
    Claim,
    Discard,
    Failed,
    GetApplied,
    GetLive,
    GetParked,
    GetProgress,
    GoLive,
    Leave,
    Park,
    Skip,
    StartOver,
    Unpark,
    ViewOp,
)
from tests.kits.library import Noted

Door: TypeAlias = Callable[[], object]

HERE: Final = StreamId("books/1")


def of_store() -> Iterator[Any]:
    """Each operation of stores."""
    yield Append(HERE, (Noted(1),))
    yield Append(HERE, (Noted(1),), append_id=uuid4())
    yield AppendAll((StreamAppend(HERE, (Noted(2),)), StreamAppend(StreamId("books/2"), (Noted(3),))))
    yield Read(HERE)
    yield Read(HERE, backwards=True, whole=False)
    yield Head(HERE)
    yield ReadFeed()
    yield ReadFeed(START, 1, "books/", frozenset(["test.view.noted"]))
    yield LoadSnapshot(HERE, "fold", 1)
    yield SaveSnapshot(Snapshot(HERE, "fold", 1, 1, b"{}"))
    yield FindAppend(uuid4())
    yield GetEpochs()
    yield RaiseEpoch()
    yield GetIdentity()
    yield KeepRecords(Identity("another", b"-", Epochs()))
    yield EndCopy()


def of_views(view: View[Any], other: View[Any], events: Sequence[Recorded[Any]]) -> Iterator[Any]:
    """Each operation of views.

    other: a version that queries do not read.
    """
    yield GetProgress(view)
    yield GetApplied(view, (HERE,))
    yield GetParked(view)
    yield Apply(view, events)
    yield Apply(view, events, within=0.01)
    yield CarryOver(view, Epochs())
    yield Park(view, Failed(HERE, 9, 9, "test.view.noted", "it fails"))
    yield Unpark(view, HERE)
    yield Skip(view, HERE, 9)
    yield Claim(view, "me", 5.0)
    yield Leave(view, "me")
    yield GetLive(view)
    yield GoLive(view)
    yield Discard(other)
    yield StartOver(other)


def check_all_are_knocked_at() -> None:
    """Fails for an operation that has no door here."""
    view: View[Any] = View("some")
    there = {type(op) for op in [*of_store(), *of_views(view, view, ())]}
    assert there == {*get_args(StoreOp), *get_args(EpochOp), *get_args(CopyOp), *get_args(ViewOp)}


def doors(app: Interpreter[Any], ops: Iterator[Any]) -> Iterator[tuple[str, Door]]:
    """A door for each operation, by its name."""
    for op in ops:
        yield type(op).__name__, partial(app.run, op)


def doors_async(
    app: AsyncInterpreter[Any], ops: Iterator[Any], loop: asyncio.AbstractEventLoop
) -> Iterator[tuple[str, Door]]:
    """As `doors`, in an event loop."""
    for op in ops:
        yield type(op).__name__, partial(_in_loop, loop, app, op)


def _in_loop(loop: asyncio.AbstractEventLoop, app: AsyncInterpreter[Any], op: Any) -> object:
    return loop.run_until_complete(app.run_async(op))


def knock(door: Door) -> str:
    """The outcome at a door: "answered", or what is wrong, by name.

    Any error but those of this library's that tell of the database is raised.
    """
    try:
        answer = door()
    except StoreError as error:
        return type(error).__name__
    return "Unknown" if _is_unknown(answer) else "answered"


def _is_unknown(answer: object) -> bool:
    return isinstance(answer, Failure) and isinstance(answer.failure(), Unknown)
