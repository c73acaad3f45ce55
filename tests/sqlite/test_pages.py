"""A page of large events is bounded in what is read of the file for it, too."""

from __future__ import annotations

import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eventsrc import Append, Codec, Read, ReadFeed, SqliteStore, StreamId, event
from eventsrc.events.event import EventTypes
from eventsrc.sqlite import _rows, store

TYPES = EventTypes()
HERE = StreamId("files/1")
MIB = 2**20
COUNT = 40


@event("test.pages.stored", types=TYPES)
class Stored:
    """An event that is large."""

    text: str


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteStore]:
    """A store with 40 events of a megabyte."""
    folder: Path = tmp_path_factory.mktemp("pages")
    with SqliteStore(folder / "store.db", Codec(TYPES), durability="process") as store:
        for number in range(COUNT):
            store.run(Append(HERE, (Stored(chr(97 + number % 26) * MIB),))).unwrap()
        yield store


def mebibytes_for(ask: Callable[[], Any]) -> float:
    """The most memory that is taken at a time meanwhile."""
    tracemalloc.start()
    try:
        ask()
        return tracemalloc.get_traced_memory()[1] / MIB
    finally:
        tracemalloc.stop()


ASKED = [
    Read(HERE),
    Read(HERE, whole=False),
    Read(HERE, backwards=True),
    ReadFeed(),
    ReadFeed(whole=False),
    ReadFeed(prefix="files/"),
    ReadFeed(types=frozenset({"test.pages.stored"})),
    Append(HERE, (Stored("too late"),), 1),
]


@pytest.mark.parametrize("asked", ASKED, ids=repr)
def test_what_has_no_room_in_a_page_is_not_read(large: SqliteStore, asked: Any) -> None:
    assert mebibytes_for(lambda: large.run(asked)) < 12


@pytest.mark.parametrize("asked", ASKED[:-1], ids=repr)
def test_control_a_page_that_is_cut_after_reading_is_caught(
    large: SqliteStore, asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounded = _rows.of_one_page

    def of_one_page(cursor: sqlite3.Cursor, data: int, rest: int | None = None) -> Any:
        rows: Any = iter(cursor.fetchall())
        rows = _Rows(rows)
        return bounded(rows, data, rest)

    monkeypatch.setattr(store, "of_one_page", of_one_page)
    assert mebibytes_for(lambda: large.run(asked)) > 30


class _Rows:
    """Rows that were all read, as a cursor."""

    def __init__(self, rows: Iterator[Any]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[Any]:
        return self._rows

    def close(self) -> None:
        """Does nothing."""


@pytest.mark.parametrize("backwards", [False, True])
def test_a_page_is_of_one_moment_though_others_append_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backwards: bool
) -> None:
    path, batch = tmp_path / "store.db", (Stored("a"), Stored("b"))
    with SqliteStore(path, Codec(TYPES)) as ours, SqliteStore(path, Codec(TYPES)) as others:
        ours.run(Append(HERE, batch)).unwrap()
        head_of, late = _rows.head_of, [batch]

        def then_they_append(*asked: Any) -> Any:
            found = head_of(*asked)
            while late:
                others.run(Append(HERE, late.pop())).unwrap()
            return found

        monkeypatch.setattr(store, "head_of", then_they_append)
        page = ours.run(Read(HERE, 4 if backwards else 0, 3, backwards))
        assert page.head == page.token[HERE] == 4
        assert [event.version for event in page.events] == ([3, 2, 1] if backwards else [1, 2, 3])
        assert page.is_last == backwards
