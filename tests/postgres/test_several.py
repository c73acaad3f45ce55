"""Streams that are read side by side are read by one statement, and each as it is by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsrc import (
    Append,
    AppendAll,
    Read,
    StreamAppend,
    force,
    gather_all,
    on,
    world,
)
from eventsrc.events.pages import Events
from eventsrc.events.record import Corrupted
from eventsrc.postgres import AsyncPostgresStore, PostgresStore, PostgresViews, _questions
from eventsrc.postgres._conversation import Conversation
from eventsrc.programs.interpreter import Interpreter
from eventsrc.stores.operations import Page
from eventsrc.stores.prepare import page_of
from tests.kits.library import CODEC, Noted, books
from tests.kits.views import Kit
from tests.postgres.test_held import ask

MANY = 2_000
FEW = 12


@pytest.fixture(scope="module")
def dsn(shared_dsn: str) -> str:
    """A database with streams of 0 to 5 events, of 10 to 50 bytes each."""
    with PostgresStore(shared_dsn, schema="several", codec=CODEC) as store:
        for number in range(FEW):
            notes = tuple(Noted(10 ** (3 * n)) for n in range(number % 6))
            if notes:
                store.run(Append(books[number].id, notes)).unwrap()
    return shared_dsn


reads = st.builds(
    Read,
    stream=st.integers(0, FEW).map(lambda number: books[number].id),
    after=st.integers(0, 7),
    limit=st.sampled_from([1, 2, 3, 500, 10_000]),
    backwards=st.sampled_from([False, False, False, True]),
    whole=st.booleans(),
)


def shown(pages: Sequence[Any]) -> list[object]:
    return [(page.head, page.token, [*page.data]) for page in pages]


@given(st.lists(reads, min_size=2, max_size=20), st.sampled_from([0, 100, 300, 2**24]))
def test_pages_read_side_by_side_are_as_those_that_are_read_alone(
    dsn: str, ops: list[Read], room: int
) -> None:
    async def main() -> list[Any]:
        async with AsyncPostgresStore(dsn, schema="several", codec=CODEC) as store:
            return await store.run_async(gather_all(ops))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_questions, "MAX_PAGE_BYTES", room)
        with PostgresStore(dsn, schema="several", codec=CODEC) as store:
            alone = shown([store.run(op) for op in ops])
            assert shown(store.run(gather_all(ops))) == alone
            whole = [event.record for op in ops for event in store.run(op).events if op.whole]
            together = zip(ops, store.run(gather_all(ops)), strict=True)
            assert [e.record for op, page in together for e in page.events if op.whole] == whole
        assert shown(asyncio.run(main())) == alone


def test_control_pages_for_which_there_is_no_room_are_seen(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_questions, "MAX_PAGE_BYTES", 100)
    monkeypatch.setattr(_questions.Questions, "_page_of", careless)
    ops = [Read(books[number].id) for number in range(3, 6)]
    with PostgresStore(dsn, schema="several", codec=CODEC) as store:
        alone = shown([store.run(op) for op in ops])
        assert shown(store.run(gather_all(ops))) != alone


def careless(questions: Any, op: Read, rows: Any) -> Conversation[Page[Any]]:
    """A page with what had room, as if that were all."""
    _, head, epoch = rows[0][:3]
    records = yield from questions._records(rows, op.stream)
    return page_of(op, Events(records, CODEC), questions.store_id, head, epoch)


def test_an_event_that_is_missing_from_one_of_several_pages_is_told(postgres_dsn: str) -> None:
    with PostgresStore(postgres_dsn, codec=CODEC) as store:
        for number in range(3):
            store.run(Append(books[number].id, (Noted(1), Noted(2)))).unwrap()
        ask(postgres_dsn, "DELETE FROM eventsrc.event WHERE position = 3")
        with pytest.raises(Corrupted, match="books/1 from 1 on are missing"):
            store.run(gather_all([Read(books[number].id) for number in range(3)]))


# --- forcing a view


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is waited for on connections: a round trip each."""
    found: list[str] = []
    for kind in (psycopg.Connection, psycopg.AsyncConnection):
        wait: Any = kind.wait

        def counted(self: Any, *about: Any, wait: Any = wait, **more: Any) -> Any:
            found.append(type(self).__name__)
            return wait(self, *about, **more)

        monkeypatch.setattr(kind, "wait", counted)
    return found


def new_view(dsn: str) -> tuple[Any, Any]:
    """A view of many streams, all of which it has applied, and a token that has seen them."""
    view = Kit(dsn).notes()
    appends = tuple(StreamAppend(books[number].id, (Noted(number),)) for number in range(MANY))
    with PostgresStore(dsn, codec=CODEC) as store, PostgresViews(dsn, (view,)) as views:
        token = store.run(AppendAll(appends)).unwrap().token
        (store | views | world).run(force(view, token, 60)).unwrap()
    return view, token


def test_where_nothing_is_missing_forcing_many_streams_takes_four_round_trips(
    postgres_dsn: str, waits: list[str]
) -> None:
    view, token = new_view(postgres_dsn)
    with (
        PostgresStore(postgres_dsn, codec=CODEC) as store,
        PostgresViews(postgres_dsn, (view,)) as views,
    ):
        app = store | views | world
        for _ in range(WARM):
            waits.clear()
            app.run(force(view, token, 5)).unwrap()
        assert len(waits) <= 4
        one_by_one: Interpreter[Read] = on(Read).run(lambda op: store.run(op))
        waits.clear()
        (store.but(one_by_one) | views | world).run(force(view, token, 5))  # the control
        assert len(waits) > MANY


def test_in_an_event_loop_it_takes_four_as_well(postgres_dsn: str, waits: list[str]) -> None:
    view, token = new_view(postgres_dsn)

    async def main() -> None:
        async with AsyncPostgresStore(postgres_dsn, codec=CODEC) as store:
            app = store | views | world
            for _ in range(WARM):
                waits.clear()
                (await app.run_async(force(view, token, 5))).unwrap()
            assert len(waits) <= 4

    with PostgresViews(postgres_dsn, (view,)) as views:
        asyncio.run(main())


WARM = 6
"""Times that it is done: the first ones have psycopg prepare its statements, by a round trip each."""
