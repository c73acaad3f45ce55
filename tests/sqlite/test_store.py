"""The SQLite store keeps the contract. What is particular to it is in test_sqlite_file.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from returns.result import Failure, Success

from eventsrc import (
    ANY,
    EXISTS,
    NO_STREAM,
    Append,
    Appended,
    Conflict,
    MemoryStore,
    SqliteStore,
    StreamId,
)
from eventsrc.stores.operations import Expect
from eventsrc.testing import StoreContract, StoreMachine
from eventsrc.testing._contract.samples import Noted


class TestSqliteStore(StoreContract):
    tags = True

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SqliteStore]:
        with SqliteStore(tmp_path / "store.db") as store:
            yield store

    @pytest.fixture
    def reopen(self, store: SqliteStore, tmp_path: Path) -> Iterator[Callable[[], SqliteStore]]:
        with ExitStack() as opened:

            def reopen() -> SqliteStore:
                store.close()
                return opened.enter_context(SqliteStore(tmp_path / "store.db"))

            yield reopen


TestSqliteStoreAgainstMemory = StoreMachine.for_store(
    lambda folder: SqliteStore(folder / "store.db"), durable=True
).TestCase


@settings(deadline=None)  # each example makes a file
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.sampled_from(["a", "b", "c"]),
            st.integers(0, 6) | st.sampled_from([ANY, NO_STREAM, EXISTS]),
            st.integers(1, 3),
        ),
        max_size=40,
    )
)
def test_two_stores_that_share_a_file_answer_as_one_does_in_memory(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str, int | Expect, int]]
) -> None:
    path = tmp_path_factory.mktemp("shared") / "store.db"
    memory = MemoryStore(store_id="x")
    with SqliteStore(path, durability="process") as one, SqliteStore(path, durability="process") as two:
        for which, stream, expected, count in steps:
            append = Append(StreamId(stream), (Noted("x"),) * count, expected)
            assert _shape((one, two)[which].run(append)) == _shape(memory.run(append))


def _shape(answer: object) -> object:
    """What two stores answer alike."""
    match answer:
        case Success(Appended() as appended):
            return dict(appended.token.versions), appended.cursor.position
        case Failure(Conflict() as conflict):
            events = [(event.version, event.position, event.data) for event in conflict.events]
            return conflict.stream, conflict.expected, conflict.actual, events
        case _:
            return answer
