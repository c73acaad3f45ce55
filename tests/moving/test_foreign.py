"""Tables that the library `eventsourcing` wrote are imported, as they are or not at all."""

from __future__ import annotations

import importlib.util
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from eventsrc import Append, Codec, MemoryStore, Read, ReadFeed, SqliteStore, StreamId, event
from eventsrc.errors import BadImport, NotACopy
from eventsrc.events.event import EventTypes
from eventsrc.moving import both, compare, copy, verify
from eventsrc.moving.foreign import EventsourcingTables, Foreign, ForeignStore, Topic

TYPES = EventTypes()
CODEC = Codec(TYPES)
FILE = Path(__file__).parent / "eventsourcing_9" / "bank.sql"


@event("bank.opened", types=TYPES)
class Opened:
    owner: str


@event("bank.paid-in", types=TYPES)
class PaidIn:
    amount: Decimal
    by: UUID


@event("bank.renamed", types=TYPES)
class Renamed:
    owner: str


def topics(module: str) -> dict[str, type | Topic]:
    def change(told: dict[str, Any]) -> dict[str, Any]:
        return {"amount": told["amount"], "by": told["reference"]}

    return {
        f"{module}:Account.Opened": Opened,
        f"{module}:Account.Credited": Topic(PaidIn, change),
        f"{module}:Account.Renamed": Renamed,
    }


def stream(account: UUID, _: str) -> str:
    return f"accounts/{account}"


@pytest.fixture
def tables() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(FILE.read_text())
        yield connection


def check_bank(store: Any) -> None:
    """Holds what was imported against what the bank did."""
    first, second = dict.fromkeys(each.stream for each in store.run(ReadFeed()).events)
    paid = [PaidIn(Decimal(f"{number}.50"), UUID(int=number)) for number in range(6)]
    assert store.run(Read(first)).data == [Opened("Höm\u2028er"), *paid[::2], Renamed("Homer")]
    expected = [Opened("Marge"), *paid[1::2], PaidIn(Decimal("1e3"), UUID(int=99))]
    assert store.run(Read(second)).data == expected


def test_a_bank_is_imported_and_goes_on(tables: sqlite3.Connection, tmp_path: Path) -> None:
    source = EventsourcingTables(tables, topics("__main__"), stream, codec=CODEC)
    assert source.survey()["__main__:Account.Credited"] == 7
    with SqliteStore(tmp_path / "it.db", CODEC) as store:
        assert both(source, store).run(copy()).events == 10
        check_bank(store)
        assert store.run(verify()) == 10
        assert both(source, store).run(compare(whole=True)) is None
        (last,) = store.run(ReadFeed(limit=1)).events
        assert last.recorded_at.year == 2026
        assert last.metadata == {"origin": "eventsourcing"}
        assert store.run(Append(last.stream, (Renamed("Max"),), 5)).unwrap().version == 6
        tables.execute(
            "INSERT INTO stored_events SELECT originator_id, 6, topic, state FROM stored_events LIMIT 1"
        )
        with pytest.raises(NotACopy):
            both(source, store).run(copy())


def test_an_import_goes_on_where_it_was_broken_off(tables: sqlite3.Connection) -> None:
    class Broken(EventsourcingTables):
        left = 2

        def page(self, after: int, limit: int) -> Sequence[Foreign]:
            if after:
                self.left -= 1
                if not self.left:
                    raise KeyboardInterrupt
            return super().page(after, min(limit, 3))

    store = MemoryStore(CODEC)
    source = Broken(tables, topics("__main__"), stream, codec=CODEC)
    with pytest.raises(KeyboardInterrupt):
        both(source, store).run(copy())
    assert 0 < store.run(ReadFeed()).end.position < 10
    both(EventsourcingTables(tables, topics("__main__"), stream, codec=CODEC), store).run(copy())
    check_bank(store)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("UPDATE stored_events SET topic = 'x:Y' WHERE rowid = 4", "rowid 4.* no class is given"),
        ("UPDATE stored_events SET state = 'x' WHERE rowid = 4", "rowid 4.* has no form here"),
        ("UPDATE stored_events SET state = '{}' WHERE rowid = 4", "rowid 4.* has no form here"),
        (
            "UPDATE stored_events SET state = replace(state, 'decimal_str', 'money') WHERE rowid = 4",
            "'money': give `read`",
        ),
        ("DELETE FROM stored_events WHERE rowid = 4", "does not follow version 1"),
    ],
)
def test_what_has_no_form_here_is_named_and_nothing_of_its_page_is_kept(
    tables: sqlite3.Connection, damage: str, said: str
) -> None:
    tables.execute(damage)
    store = MemoryStore(CODEC)
    with pytest.raises((BadImport, NotACopy), match=said):
        both(EventsourcingTables(tables, topics("__main__"), stream, codec=CODEC), store).run(copy())
    assert store.run(ReadFeed()).end.position == 0


def test_a_table_is_named_by_a_name() -> None:
    with pytest.raises(ValueError, match="no name"):
        EventsourcingTables(None, {}, stream, table="a; DROP TABLE b")


@pytest.mark.skipif(
    importlib.util.find_spec("eventsourcing") is None, reason="`pip install eventsourcing` to run it"
)
def test_tables_that_the_library_writes_now_are_imported(tmp_path: Path) -> None:
    from tests.moving.eventsourcing_9.make import write

    write(str(tmp_path / "bank.db"))
    with closing(sqlite3.connect(tmp_path / "bank.db")) as connection:
        module = "tests.moving.eventsourcing_9.make"
        store = MemoryStore(CODEC)
        both(EventsourcingTables(connection, topics(module), stream, codec=CODEC), store).run(copy())
        check_bank(store)


class Lines(ForeignStore):
    """A source of one's own: a list."""

    def count(self) -> int:
        return 3

    def page(self, after: int, limit: int) -> Sequence[Foreign]:
        at = datetime(2020, 1, 1, tzinfo=UTC)
        every = [Foreign("lines", number, Renamed(f"{number}"), at) for number in (1, 2, 3)]
        return every[after : after + limit]


def test_a_source_of_ones_own_is_a_class_of_two_methods() -> None:
    store = MemoryStore(CODEC)
    both(Lines(CODEC), store).run(copy())
    assert store.run(Read(StreamId("lines"))).data == [Renamed("1"), Renamed("2"), Renamed("3")]
    assert store.run(ReadFeed()).events[0].recorded_at == datetime(2020, 1, 1, tzinfo=UTC)
