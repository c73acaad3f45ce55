"""Pages of the feed cost no more than so much work: rows that Postgres looks at are counted."""

from __future__ import annotations

from operator import methodcaller

import pytest

from eventsrc import Append, ReadFeed, StreamId
from eventsrc.postgres import _questions
from eventsrc.postgres.store import PostgresStore
from tests.kits.events import CODEC, Tick
from tests.postgres.test_ids import fill, touched
from tests.sqlite.test_work import each_filter

LONG = 20_000
WINDOW = 1_000
"""In place of twenty times as many."""
MOST = _questions._WINDOWS * WINDOW


@each_filter
def test_a_page_of_a_few_events_looks_at_so_many_rows(
    postgres_dsn: str, op: ReadFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_questions, "WINDOW", WINDOW)
    with PostgresStore(postgres_dsn, codec=CODEC) as store:
        fill(postgres_dsn, LONG)
        store.run(Append(StreamId("rare/1"), (Tick(1, 0, 1),))).unwrap()
        page = store.run(op)
        assert page.next.position <= MOST
        assert page.end.position == LONG + 1
        assert touched(store, postgres_dsn, methodcaller("run", op)) < 2 * MOST
        found = [*page.events]
        while page.next != page.end:
            page = store.run(ReadFeed(page.next, op.limit, op.prefix, op.types))
            found += page.events
    assert [event.stream for event in found] == (["rare/1"] if op.prefix == "rare/" else [])


def test_control_the_rows_of_a_page_without_a_bound_are_counted(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_questions, "WINDOW", 10**9)
    with PostgresStore(postgres_dsn, codec=CODEC) as store:
        fill(postgres_dsn, LONG)
        op = ReadFeed(prefix="nothing/")
        assert touched(store, postgres_dsn, methodcaller("run", op)) > 2 * MOST
