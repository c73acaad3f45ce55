"""Decisions on a stream that goes back: a server took over that had not got the last commits."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsrc import (
    Append,
    AppendAll,
    Do,
    Effect,
    Interpreter,
    MemoryStore,
    SqliteStore,
    Success,
    program,
)
from eventsrc.events.positions import Token
from eventsrc.postgres import PostgresStore
from eventsrc.streams import decide as deciding
from eventsrc.streams.fold import Folded
from eventsrc.streams.remembering import remembering
from eventsrc.streams.serializable import serializable
from tests.kits.counting import Counted, SimulatedWorld, counter, total
from tests.kits.databases import _END_SESSIONS

App = Interpreter[Any]


class Forgetful(MemoryStore):
    """A memory store that loses the events after a position, as a server that was promised them and has
    not got them."""

    def lose(self, kept: int) -> None:
        """Keeps so many events of the feed."""
        for record in self._feed[kept:]:
            self._streams[record.stream] = self._streams[record.stream][: record.version - 1]
            self._appends.clear()
        del self._feed[kept:]


def losing_before_the_append(store: App, lose: Callable[[int], None], kept: int) -> App:
    """The store, which loses events once, as something is about to be appended."""
    has_lost: list[bool] = []

    @program
    def lose_first(op: Any) -> Do[Any, Any]:
        if not has_lost:
            has_lost.append(True)
            lose(kept)
        return (yield from op)

    return store.around(lose_first, only=(Append, AppendAll))


def doubled() -> Effect[Any, Any]:
    """Appends as much as there is: a decision on the whole state."""
    return counter.decide(total, lambda count: Success([Counted(count)]))


@program
def doubled_by_reading() -> Do[Any, Any]:
    folded: Folded[int] = yield from counter.get(total)
    return (yield from counter.append(Counted(folded.state)))


WAYS: dict[str, Callable[[], Effect[Any, Any]]] = {
    "decide": doubled,
    "serializable": lambda: serializable(doubled_by_reading()),
    "serializable decide": lambda: serializable(doubled()),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("remembers", [False, True])
@given(amounts=st.lists(st.integers(1, 9), min_size=1, max_size=5), data=st.data())
def test_what_is_decided_is_decided_on_what_there_is(
    way: Callable[[], Effect[Any, Any]], remembers: bool, amounts: list[int], data: st.DataObject
) -> None:
    kept = data.draw(st.integers(0, len(amounts)))
    assert count_after(way, remembers, amounts, kept) == 2 * sum(amounts[:kept])


def count_after(
    way: Callable[[], Effect[Any, Any]], remembers: bool, amounts: list[int], kept: int
) -> int:
    """The count after it was doubled, in a store that lost all but so many of its events."""
    store = Forgetful()
    return doubled_in(store, store.lose, way, remembers, amounts, kept)


def doubled_in(
    store: App,
    lose: Callable[[int], None],
    way: Callable[[], Effect[Any, Any]],
    remembers: bool,
    amounts: list[int],
    kept: int,
) -> int:
    for amount in amounts:
        store.run(counter.append(Counted(amount)))
    losing = losing_before_the_append(store, lose, kept)
    app = (remembering(losing) if remembers else losing) | SimulatedWorld()
    app.run(way())
    return store.run(counter.get(total)).state


@contextmanager
def sqlite_that_loses(path: Path) -> Iterator[tuple[App, Callable[[int], None]]]:
    """A store in a file whose last commits are taken back, as by a power cut."""
    with SqliteStore(path) as store, closing(sqlite3.connect(path, isolation_level=None)) as beside:

        def lose(kept: int) -> None:
            beside.execute("DELETE FROM eventsrc_event WHERE position > ?", (kept,))
            beside.execute(
                "DELETE FROM eventsrc_stream WHERE id NOT IN (SELECT stream FROM eventsrc_event)"
            )

        yield store, lose


@contextmanager
def postgres_that_loses(dsn: str, schema: str) -> Iterator[tuple[App, Callable[[int], None]]]:
    """A store on a server whose last commits are taken back as it ends all sessions: a failover."""
    with PostgresStore(dsn, schema=schema) as store, psycopg.connect(dsn, autocommit=True) as beside:

        def lose(kept: int) -> None:
            beside.execute("SET session_replication_role = replica")  # no trigger tells of it
            beside.execute(f"DELETE FROM {schema}.event WHERE position > {kept}")
            beside.execute(
                f"DELETE FROM {schema}.stream WHERE id NOT IN (SELECT stream FROM {schema}.event)"
            )
            beside.execute(_END_SESSIONS)

        yield store, lose


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("remembers", [False, True])
@pytest.mark.parametrize("where", ["sqlite", "postgres"])
def test_what_is_decided_is_decided_on_what_a_database_has(
    way: Callable[[], Effect[Any, Any]],
    remembers: bool,
    where: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    for kept in range(4):
        if where == "sqlite":
            opening = sqlite_that_loses(tmp_path / f"{kept}.db")
        else:
            opening = postgres_that_loses(request.getfixturevalue("postgres_dsn"), f"kept_{kept}")
        with opening as (store, lose):
            count = doubled_in(store, lose, way, remembers, [1, 2, 3], kept)
            assert count == 2 * sum([1, 2, 3][:kept])


def test_control_a_decision_that_keeps_what_it_folded_is_caught(tmp_path: Path) -> None:
    def as_folded(_: Any, folded: Folded[Any], conflict: Any) -> Do[Any, Folded[Any]]:
        yield from ()
        token = Token(folded.token.store_id, {conflict.stream: conflict.actual}, folded.token.epoch)
        return Folded(folded.state, conflict.actual, token)

    with patch.object(deciding, "_caught_up", as_folded):
        assert count_after(doubled, False, [1, 2, 3], kept=1) != 2
        with sqlite_that_loses(tmp_path / "store.db") as (store, lose):
            assert doubled_in(store, lose, doubled, False, [1, 2, 3], kept=1) != 2
