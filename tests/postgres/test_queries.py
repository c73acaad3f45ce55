"""Folds with snapshots, the past and decisions over several streams, on a real server."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

from eventsrc import Append, Cursor, Failure, Read, ReadFeed, StreamId, Success, world
from eventsrc.events.codec import Codec
from eventsrc.postgres import AsyncPostgresStore, PostgresStore
from eventsrc.stores.operations import LoadSnapshot
from eventsrc.streams.past import as_of
from eventsrc.streams.remembering import remembering
from eventsrc.streams.serializable import serializable
from tests.kits.counting import Counted, total
from tests.kits.library import TYPES, Closed
from tests.postgres.test_held import ask
from tests.streams.test_past import NAMES, fill, kept, streams
from tests.streams.test_serializable import Moved, left, money, right, withdraw, withdraw_by_decision

CODEC = Codec(TYPES)


def test_the_past_has_the_states_that_were_loaded_then(postgres_dsn: str) -> None:
    chosen = random.Random(1)
    with PostgresStore(postgres_dsn) as store:
        places: list[Cursor] = []
        states = []
        for number in range(25):
            parts = [(name, chosen.randint(1, 3)) for name in chosen.sample(NAMES, 2)]
            (done,) = fill(store, [parts], number)
            places.append(done.cursor)
            states.append([store.run(stream.get(total)) for stream in streams.values()])
        for place, then in zip(places, states, strict=True):
            past = as_of(store, place)
            assert [past.run(stream.get(kept)) for stream in streams.values()] == then
            feed = past.run(ReadFeed())
            assert feed.events[-1].position == place.position
            assert feed.next == feed.end == place
            assert past.run(ReadFeed(whole=False)).data == feed.data
        last = max(event.recorded_at for event in store.run(ReadFeed()).events)
        for stream in streams.values():
            assert as_of(store, last).run(stream.get(total)) == store.run(stream.get(total))
            assert as_of(store, last - timedelta(days=1)).run(stream.head()) == 0


def test_loads_save_snapshots_and_remembered_states_are_read_on(postgres_dsn: str) -> None:
    async def work() -> None:
        async with AsyncPostgresStore(postgres_dsn) as store:
            counter = streams["a"]
            place = (await store.run_async(counter.append(*fill_with(5)))).cursor
            assert (await store.run_async(counter.get(kept))).state == 5
            snapshot = await store.run_async(LoadSnapshot(counter.id, "total", 1))
            assert snapshot is not None
            assert snapshot.version == 5
            await store.run_async(counter.append(*fill_with(2)))
            assert (await store.run_async(counter.get(kept))).state == 7
            assert (await as_of(store, place).run_async(counter.get(kept))).state == 5

    asyncio.run(work())


def fill_with(length: int) -> list[Counted]:
    return [Counted()] * length


def test_two_accounts_are_not_overdrawn(postgres_dsn: str) -> None:
    with PostgresStore(postgres_dsn) as store:
        store.run(left.append(Moved(50)))
        store.run(right.append(Moved(50)))
        app = remembering(store) | world
        outcomes = [
            app.run(serializable(service(account, 30)))
            for service in (withdraw, withdraw_by_decision)
            for account in (left, right)
        ]
        assert [isinstance(outcome, Success) for outcome in outcomes] == [True, True, True, False]
        assert outcomes[-1] == Failure("too little")
        assert money(store) == 10


def test_the_view_of_events_shows_texts_that_postgres_cannot_hold(postgres_dsn: str) -> None:
    texts = ["plain", "nul \0 and \0", "\\u0000 and \\\0", '"\\\\u0000"']
    shown = ["plain", "nul \ufffd and \ufffd", "\\u0000 and \\\ufffd", '"\\\\u0000"']
    with PostgresStore(postgres_dsn, codec=CODEC) as store:
        for text in texts:
            store.run(Append(StreamId("texts"), (Closed(text),), metadata={"why": text}))
        assert [event.data.why for event in store.run(Read(StreamId("texts"))).events] == texts
    rows = ask(
        postgres_dsn, "SELECT data->>'why', metadata->>'why' FROM eventsrc.events ORDER BY position"
    )
    assert rows == [(text, text) for text in shown]
