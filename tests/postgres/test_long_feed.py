"""Some of a feed that is too long to be looked through before a deadline."""

from __future__ import annotations

from typing import Any

import pytest

from eventsrc import Append, Read, ReadFeed, StreamId
from eventsrc.events.record import Corrupted
from eventsrc.postgres import _questions
from eventsrc.postgres.store import PostgresStore
from tests.kits.events import CODEC, Tick
from tests.postgres.test_held import ask

MANY = 300_000
TIMEOUT = 0.3


def fill(dsn: str, store: PostgresStore) -> None:
    """Stores very many events, and then one whose stream has a prefix."""
    store.run(Append(StreamId("here"), (Tick(0, 0, 1),))).unwrap()
    ask(
        dsn,
        "INSERT INTO eventsrc.event SELECT position + n, stream, version + n, kind, recorded_at, data, "
        f"data_crc, rest FROM eventsrc.event, generate_series(1, {MANY}) AS n",
    )
    store.run(Append(StreamId("rare/1"), (Tick(1, 0, 1),))).unwrap()


def pages(store: PostgresStore, **wanted: Any) -> list[Any]:
    """The pages up to the end of the feed."""
    found = [store.run(ReadFeed(**wanted))]
    while found[-1].next < found[-1].end:
        found.append(store.run(ReadFeed(found[-1].next, **wanted)))
        assert found[-1].next > found[-2].next
    return found


def test_the_rarest_events_are_reached_however_short_the_time(postgres_dsn: str) -> None:
    with PostgresStore(postgres_dsn, codec=CODEC, timeout=60) as store:
        fill(postgres_dsn, store)
    with PostgresStore(postgres_dsn, codec=CODEC, timeout=TIMEOUT) as store:
        found = pages(store, prefix="rare/")
        assert [event.data.batch for page in found for event in page.events] == [1]
        assert len(found) > 1
        found = pages(store, types=frozenset(["none"]))
        assert not any(page.events for page in found)


def test_control_without_a_bound_one_statement_looks_at_all(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_questions, "WINDOW", 10**9)
    with PostgresStore(postgres_dsn, codec=CODEC, timeout=60) as store:
        fill(postgres_dsn, store)
        (page,) = pages(store, prefix="rare/")  # all of the feed by one statement, however long it is
        assert [event.data.batch for event in page.events] == [1]


@pytest.mark.parametrize("missing", [1, 3, 5], ids=["first", "amid", "last"])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "data"])
def test_events_that_are_missing_from_a_page_are_told(
    postgres_dsn: str, missing: int, whole: bool
) -> None:
    here = StreamId("here")
    with PostgresStore(postgres_dsn, codec=CODEC) as store:
        store.run(Append(here, tuple(Tick(number, 0, 1) for number in range(7))))
        feed = store.run(ReadFeed(limit=5, whole=whole))
        assert [event.batch for event in feed.data] == [0, 1, 2, 3, 4]
        assert feed.next.position == 5
        ask(postgres_dsn, "DELETE FROM eventsrc.event WHERE position = %s", missing)
        for op in (ReadFeed(limit=5, whole=whole), Read(here, limit=5, whole=whole)):
            with pytest.raises(Corrupted, match="from 1 on are missing"):
                store.run(op)
