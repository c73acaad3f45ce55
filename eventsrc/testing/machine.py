"""A state machine that holds a store against the memory store, operation by operation."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from returns.result import Failure, Success

from eventsrc.errors import EventsrcError
from eventsrc.interpreter import Interpreter
from eventsrc.positions import START, Cursor
from eventsrc.recorded import Recorded
from eventsrc.store import (
    Append,
    AppendAll,
    Appended,
    Conflict,
    FeedPage,
    FindAppend,
    Head,
    LoadSnapshot,
    Page,
    Read,
    ReadFeed,
    SaveSnapshot,
    Snapshot,
    StoreOp,
)
from eventsrc.stores.memory import MemoryStore
from eventsrc.stream_id import StreamId
from eventsrc.testing.strategies import appends, appends_to_several

_streams = st.sampled_from([StreamId(name) for name in ("a", "a/b", "a/c", "ab", "%/x")])
_ids = st.sampled_from([UUID(int=number) for number in range(1, 5)])  # few, so that they meet again


def store_machine(
    opened: Callable[[], AbstractContextManager[Interpreter[StoreOp]]],
) -> type[RuleBasedStateMachine]:
    """The class of a state machine for a store; its `TestCase` is what a test runner runs.

    opened: opens an empty store, for one example.
    """

    class StoreMachine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.model = MemoryStore()
            self.context = opened()
            self.real = self.context.__enter__()
            self.cursors: list[tuple[Cursor, Cursor]] = [(START, START)]

        def teardown(self) -> None:
            self.context.__exit__(None, None, None)

        def both(self, op: Any) -> None:
            """Performs an operation on the model and the store; their answers must say the same."""
            model, real = _answer(self.model, op), _answer(self.real, op)
            assert _plain(model) == _plain(real), f"{op!r}: {real!r}, and the model says {model!r}"

        @rule(op=appends(_streams, st.none() | _ids))
        def append(self, op: Append) -> None:
            self.both(op)

        @rule(op=appends_to_several(_streams, st.none() | _ids))
        def append_all(self, op: AppendAll) -> None:
            self.both(op)

        @rule(op=st.builds(Read, _streams, st.integers(0, 8), st.integers(1, 8), st.booleans()))
        def read(self, op: Read) -> None:
            self.both(op)

        @rule(op=st.builds(Head, _streams) | st.builds(FindAppend, _ids))
        def ask(self, op: Head | FindAppend) -> None:
            self.both(op)

        @rule(
            place=st.integers(0, 50),
            limit=st.integers(1, 6),
            prefix=st.sampled_from(["", "", "a/", "%/", "x/"]),
            types=st.none() | st.frozensets(st.sampled_from(["eventsrc.testing.noted", "other"])),
        )
        def read_feed(self, place: int, limit: int, prefix: str, types: frozenset[str] | None) -> None:
            model_at, real_at = self.cursors[place % len(self.cursors)]
            model = self.model.run(ReadFeed(model_at, limit, prefix, types))
            real = self.real.run(ReadFeed(real_at, limit, prefix, types))
            assert _plain(model) == _plain(real)
            self.cursors.append((model.next, real.next))

        @rule(stream=_streams, fold_version=st.integers(1, 2), version=st.integers(0, 9))
        def save_snapshot(self, stream: StreamId, fold_version: int, version: int) -> None:
            self.both(SaveSnapshot(Snapshot(stream, "fold", fold_version, version, bytes([version]))))

        @rule(stream=_streams, fold_version=st.integers(1, 2))
        def load_snapshot(self, stream: StreamId, fold_version: int) -> None:
            self.both(LoadSnapshot(stream, "fold", fold_version))

    return StoreMachine


def _answer(store: Interpreter[StoreOp], op: Any) -> Any:
    try:
        return store.run(op)
    except EventsrcError as error:
        return type(error)


def _plain(answer: Any) -> Any:
    """An answer without what differs between stores: their ids, times, and ids of their own making."""
    match answer:
        case Success(value):
            return "success", _plain(value)
        case Failure(why):
            return "failure", _plain(why)
        case Appended(token=token, cursor=cursor):
            return dict(token.versions), cursor.position
        case Conflict(stream=stream, expected=expected, actual=actual, events=events):
            return stream, expected, actual, [_plain(event) for event in events]
        case Page(events=events, head=head, token=token):
            return [_plain(event) for event in events], head, dict(token.versions)
        case FeedPage(events=events, next=at, end=end):
            return [_plain(event) for event in events], at.position, end.position
        case Recorded():
            return answer.stream, answer.version, answer.position, answer.data, answer.metadata
        case _:
            return answer
