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
    ANY,
    EXISTS,
    NO_STREAM,
    Append,
    AppendAll,
    Appended,
    Condition,
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
    StreamAppend,
)
from eventsrc.stores.memory import MemoryStore
from eventsrc.stream_id import StreamId
from eventsrc.testing.notes import NOTES
from eventsrc.testing.strategies import batches

_streams = st.sampled_from([StreamId(name) for name in ("a", "a/b", "a/c", "ab", "%/x")])
_expected = st.sampled_from([ANY, ANY, NO_STREAM, EXISTS, 0, 1, 2, 5])
_ids = st.sampled_from([UUID(int=number) for number in range(1, 5)])  # few, so that they meet again


def store_machine(
    opened: Callable[[], AbstractContextManager[Interpreter[StoreOp]]],
) -> type[RuleBasedStateMachine]:
    """The class of a state machine for a store; its `TestCase` is what a test runner runs.

    opened: opens an empty store with the codec NOTES, for one example.
    """

    class StoreMachine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.model = MemoryStore(NOTES, store_id="model")
            self.context = opened()
            self.real = self.context.__enter__()
            self.cursors: list[tuple[Cursor, Cursor]] = [(START, START)]

        def teardown(self) -> None:
            self.context.__exit__(None, None, None)

        def both(self, op: Any) -> tuple[Any, Any]:
            """Performs an operation on the model and the store; their answers must say the same."""
            model, real = _answer(self.model, op), _answer(self.real, op)
            assert _plain(model) == _plain(real), f"{op!r}: {real!r}, and the model says {model!r}"
            return model, real

        @rule(stream=_streams, events=batches(3), expected=_expected, append_id=st.none() | _ids)
        def append(self, stream: StreamId, events: Any, expected: Any, append_id: UUID | None) -> None:
            self.both(Append(stream, events, expected, append_id))

        @rule(
            streams=st.lists(_streams, min_size=1, max_size=3, unique=True),
            condition=st.none() | st.tuples(_streams, _expected),
            events=batches(2),
            expected=_expected,
            append_id=st.none() | _ids,
        )
        def append_all(
            self, streams: Any, condition: Any, events: Any, expected: Any, append_id: UUID | None
        ) -> None:
            conditions = () if condition is None else (Condition(*condition),)
            parts = tuple(StreamAppend(stream, events, expected) for stream in streams)
            self.both(AppendAll(parts, conditions, append_id))

        @rule(
            stream=_streams, after=st.integers(0, 8), limit=st.integers(1, 8), backwards=st.booleans()
        )
        def read(self, stream: StreamId, after: int, limit: int, backwards: bool) -> None:
            self.both(Read(stream, after, limit, backwards))

        @rule(stream=_streams)
        def head(self, stream: StreamId) -> None:
            self.both(Head(stream))

        @rule(append_id=_ids)
        def find(self, append_id: UUID) -> None:
            self.both(FindAppend(append_id))

        @rule(
            place=st.integers(0, 50),
            limit=st.integers(1, 6),
            prefix=st.sampled_from(["", "", "a/", "%/", "x/"]),
            types=st.sampled_from(
                [None, None, frozenset({"eventsrc.testing.noted"}), frozenset[str]()]
            ),
        )
        def read_feed(self, place: int, limit: int, prefix: str, types: Any) -> None:
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
