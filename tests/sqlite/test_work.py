"""Pages of the feed cost no more than so much work, however few of its events are asked for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from eventsrc import Append, ReadFeed, SqliteStore, StreamId
from eventsrc.sqlite import store as store_module
from eventsrc.stores.operations import MAX_PAGE
from tests.kits.events import CODEC, Tick
from tests.sqlite.work import Work, work

__all__ = ["work"]

RARE = StreamId("rare/1")
LONG = 30_000
FILTERS = {
    "a rare stream": ReadFeed(prefix="rare/"),
    "no stream": ReadFeed(prefix="nothing/"),
    "a type that there is not": ReadFeed(types=frozenset(["test.none"])),
    "a few of many": ReadFeed(prefix="rare/", limit=MAX_PAGE),
}
each_filter = pytest.mark.parametrize("op", FILTERS.values(), ids=FILTERS)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file whose feed is long, with a rare event at its end."""
    path = tmp_path_factory.mktemp("long") / "store.db"
    with SqliteStore(path, codec=CODEC, durability="process") as store:
        for _ in range(LONG // 1000):
            ticks = tuple(Tick(0, n, 1000) for n in range(1000))
            store.run(Append(StreamId("log"), ticks)).unwrap()
        store.run(Append(RARE, (Tick(1, 0, 1),))).unwrap()
    return path


MOST = 20 * MAX_PAGE
"""Steps of SQLite's machine, of which an event that is looked at takes nine."""


@each_filter
def test_a_page_of_a_few_events_takes_no_more_steps_than_there_are_in_a_page(
    path: Path, work: Work, op: ReadFeed
) -> None:
    with SqliteStore(path, codec=CODEC) as store:
        store.run(ReadFeed(limit=1))
        assert work.of(lambda: store.run(op)) < MOST
        assert work.of(lambda: asyncio.run(store.run_async(op))) < MOST
        page = store.run(op)
        assert page.next.position == MAX_PAGE
        assert page.end.position == LONG + 1


@each_filter
def test_whoever_goes_on_from_page_to_page_finds_all_that_was_asked_for(
    path: Path, op: ReadFeed
) -> None:
    found, after, end = [], op.after, None
    with SqliteStore(path, codec=CODEC) as store:
        while after != end:
            page = store.run(ReadFeed(after, op.limit, op.prefix, op.types))
            found += [event.stream for event in page.events]
            after, end = page.next, page.end
    assert found == ([RARE] if op.prefix == "rare/" else [])


def test_control_the_work_of_a_page_without_a_bound_is_counted(
    path: Path, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "MAX_PAGE", 10**9)
    with SqliteStore(path, codec=CODEC) as store:
        store.run(ReadFeed(limit=1))
        assert work.of(lambda: store.run(FILTERS["no stream"])) > MOST
