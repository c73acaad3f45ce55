"""What an event costs on disk: the figures of docs/explanation/growth.md.

Passed if they are at most a tenth off, for events of 100 bytes that are appended to 1 000 streams in
random order.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from uuid import UUID

import apsw
import psycopg
import pytest

from eventsrc import Append, Codec, Interpreter, SqliteStore, StoreOp, StreamAppend, StreamId
from eventsrc.events.event import EventTypes, event
from eventsrc.events.tags import Tag
from eventsrc.postgres import PostgresStore
from eventsrc.stores.operations import AppendAll
from tests.faults import scaled
from tests.kits.pages import ROOT

PAGE = ROOT / "docs" / "explanation" / "growth.md"
TYPES = EventTypes()
CODEC = Codec(TYPES)
STREAMS = [StreamId(f"customers/{number:05d}/notes") for number in range(1_000)]
EVENTS = min(scaled(10_000, 320_000), 200_000)
KEYED = 2_000


@event("growth.noted", types=TYPES)
class Noted:
    text: str


@event("growth.tagged", types=TYPES, tags={"key": Tag("tags", key=int)})
class Tagged:
    key: int


NOTED = Noted("x" * (100 - len('{"text":""}')))


def fill(store: Interpreter[StoreOp]) -> None:
    """Appends events to streams in random order, 100 at a time; an event's row is the same for one."""
    chance = random.Random(5)
    for _ in range(EVENTS // 100):
        appends = tuple(StreamAppend(stream, (NOTED,)) for stream in chance.sample(STREAMS, 100))
        store.run(AppendAll(appends)).unwrap()


def append_keyed(store: Interpreter[StoreOp]) -> None:
    """Appends with ids that the caller has chosen."""
    chance = random.Random(6)
    for number in range(KEYED):
        append_id = UUID(int=chance.getrandbits(128), version=4)
        store.run(Append(STREAMS[number % 1_000], (NOTED,), append_id=append_id)).unwrap()


def stated(engine: str) -> list[int]:
    """What the page says that an event costs: its row, its indexes, a chosen id, all in bytes."""
    row = re.search(rf"^\| {engine} \|(.*)\|$", PAGE.read_text(), re.MULTILINE)
    assert row is not None
    return [int(cell) for cell in row[1].split("|")]


def test_an_event_in_postgres_costs_what_the_page_says(
    postgres_dsn: str, figure: Callable[[str], None]
) -> None:
    sizes = b"SELECT pg_table_size('eventsrc.event'), pg_indexes_size('eventsrc.event')"
    with PostgresStore(postgres_dsn, codec=CODEC) as store, psycopg.connect(postgres_dsn) as db:
        fill(store)
        row = db.execute(sizes).fetchone()
        assert row is not None
        append_keyed(store)
        keyed = db.execute(b"SELECT pg_total_relation_size('eventsrc.append')").fetchone()
        assert keyed is not None
    found = [row[0] / EVENTS, row[1] / EVENTS, keyed[0] / KEYED]
    figure(f"{', '.join(f'{size:.0f}' for size in found)} bytes for a row, its indexes, a chosen id")
    assert found == pytest.approx(stated("Postgres"), rel=0.1)


def test_a_tag_in_postgres_costs_what_the_page_says(
    postgres_dsn: str, figure: Callable[[str], None]
) -> None:
    chance = random.Random(7)
    with PostgresStore(postgres_dsn, codec=CODEC) as store, psycopg.connect(postgres_dsn) as db:
        for number in range(EVENTS // 200):
            keys = [chance.randrange(10**14, 10**15) for _ in range(100)]
            store.run(Append(STREAMS[number % 1_000], tuple(map(Tagged, keys)))).unwrap()
        size = db.execute(b"SELECT pg_total_relation_size('eventsrc.tagged')").fetchone()
        assert size is not None
    found = size[0] / (EVENTS // 200 * 100)
    figure(f"{found:.0f} bytes for a tag")
    stated = re.search(r"with 20 letters, .* (\d+) bytes in Postgres", PAGE.read_text())
    assert stated is not None
    assert found == pytest.approx(int(stated[1]), rel=0.1)


def test_an_event_in_sqlite_costs_what_the_page_says(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    path = tmp_path / "store.db"
    with SqliteStore(path, CODEC, durability="process") as store:
        fill(store)
        before = _sizes(path)
        append_keyed(store)
        after = _sizes(path)
    keyed = after["eventsrc_append"] - before.get("eventsrc_append", 0)
    found = [
        before["eventsrc_event"] / EVENTS,
        before["eventsrc_event_by_stream"] / EVENTS,
        keyed / KEYED,
    ]
    figure(f"{', '.join(f'{size:.0f}' for size in found)} bytes for a row, its index, a chosen id")
    assert found == pytest.approx(stated("SQLite"), rel=0.1)


def _sizes(path: Path) -> dict[str, int]:
    """How many bytes the pages of each table and index take."""
    with closing(apsw.Connection(str(path))) as db:  # Python's own SQLite may lack this table
        return dict(db.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"))
