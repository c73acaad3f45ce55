"""Tables that are emptied under an open store, as test suites do between their tests.

Passed if what is acknowledged afterwards is there, in its stream, whatever was known of the tables.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventsrc import Append, Read, ReadFeed, SqliteStore, StreamId, Success, event
from eventsrc.events.codec import Codec
from eventsrc.events.event import EventTypes
from eventsrc.postgres import PostgresStore
from eventsrc.sqlite import _sql
from eventsrc.sqlite.store import SqliteStore as Store
from eventsrc.stores.operations import FindAppend, LoadSnapshot, SaveSnapshot, Snapshot

TYPES = EventTypes()
KINDS: list[Any] = [
    event(f"test.emptied-{number}", types=TYPES)(
        attrs.make_class("Emptied", {"n": attrs.field(type=int)}, frozen=True)
    )
    for number in range(3)
]
CODEC = Codec(TYPES)
TABLES = ("append", "snapshot", "event", "stream", "kind")

Stores = tuple[list[Any], Callable[..., None]]


@pytest.fixture(params=["SQLite", "Postgres"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    """Two stores of the same tables, as two processes have, and what empties these."""
    if request.param == "SQLite":
        path = tmp_path / "store.db"

        def empty(tables: Sequence[str] = TABLES) -> None:
            with closing(sqlite3.connect(path)) as db, db:
                for table in tables:
                    db.execute(f"DELETE FROM eventsrc_{table}")

        with SqliteStore(path, CODEC) as first, SqliteStore(path, CODEC) as second:
            yield [first, second], empty
        return
    dsn = request.getfixturevalue("postgres_dsn")

    def truncate(tables: Sequence[str] = TABLES) -> None:
        names = ", ".join(f"eventsrc.{table}" for table in tables)
        with psycopg.connect(dsn) as db:
            db.execute(f"TRUNCATE {names} RESTART IDENTITY")

    with PostgresStore(dsn, codec=CODEC) as one, PostgresStore(dsn, codec=CODEC) as other:
        yield [one, other], truncate


appends = st.tuples(
    st.integers(0, 1), st.sampled_from(["a", "b", "c"]), st.lists(st.sampled_from(KINDS), min_size=1)
)
rounds = st.lists(st.lists(appends, max_size=6), min_size=1, max_size=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds)
def test_what_is_acknowledged_after_the_tables_were_emptied_is_there(
    stores: Stores, rounds: list[list[tuple[int, str, list[Any]]]]
) -> None:
    both, empty = stores
    empty()
    for each in rounds:
        check_round(both, each)
        empty()


def check_round(both: list[Any], each: list[tuple[int, str, list[Any]]]) -> None:
    """Appends by one store or the other, and reads what is there by both."""
    expected: dict[str, list[Any]] = {}
    ids: list[Any] = []
    for number, (which, name, kinds) in enumerate(each):
        events = tuple(kind(number) for kind in kinds)
        outcome = both[which].run(Append(StreamId(name), events))
        assert isinstance(outcome, Success)
        ids.append(outcome.unwrap())
        expected.setdefault(name, []).extend(events)
    for store in both:
        for name, events_of in expected.items():
            page = store.run(Read(StreamId(name)))
            assert [recorded.data for recorded in page.events] == events_of
            assert [recorded.version for recorded in page.events] == [*range(1, len(events_of) + 1)]
        assert len(store.run(ReadFeed()).events) == sum(map(len, expected.values()))
        assert [store.run(FindAppend(appended.append_id)) for appended in ids] == ids


def test_snapshots_go_with_the_events(stores: Stores) -> None:
    both, empty = stores
    for _ in range(2):
        for number in range(3):
            both[0].run(Append(StreamId("s"), (KINDS[0](number),))).unwrap()
        both[0].run(SaveSnapshot(Snapshot(StreamId("s"), "fold", 1, 3, b"state")))
        assert both[1].run(LoadSnapshot(StreamId("s"), "fold", 1)) is not None
        empty(("append", "event", "stream", "kind"))
        assert both[1].run(LoadSnapshot(StreamId("s"), "fold", 1)) is None


def test_control_an_append_that_goes_by_what_it_knew_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    believing = _sql.ADD_EVENT_IN.split("WHERE (SELECT max")[0]
    monkeypatch.setattr(_sql, "ADD_EVENT_IN", believing)
    path = tmp_path / "store.db"
    one = [(0, "a", KINDS[:1])] * 2
    with Store(path, CODEC) as store:
        check_round([store], one)
        with closing(sqlite3.connect(path)) as db, db:
            for table in TABLES:
                db.execute(f"DELETE FROM eventsrc_{table}")
        with pytest.raises(AssertionError):
            check_round([store], one)
