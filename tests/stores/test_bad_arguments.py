"""What makes no sense is refused by every store alike, with an error that names it."""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from eventsrc import (
    Append,
    AppendAll,
    Cursor,
    MemoryStore,
    ReadFeed,
    SqliteStore,
    SqliteViews,
    StreamAppend,
    StreamId,
    Token,
)
from eventsrc.events.positions import BadCursor, BadToken
from eventsrc.events.record import Corrupted
from eventsrc.stores.operations import FindAppend, LoadSnapshot, SaveSnapshot, Snapshot
from eventsrc.testing._contract.samples import Noted

HERE = StreamId("here")
KEY = UUID(int=1)
EVENTS = (Noted("x"),)
bad: Any = None  # a value that type checkers would not let through


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    make = MemoryStore if request.param == "memory" else lambda: SqliteStore(tmp_path / "store.db")
    with make() as made:
        yield made


REFUSED: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "a type that is no text": (lambda _: ReadFeed(types=frozenset([bad])), TypeError, "types is None"),
    "a position that is no int": (
        lambda store: ReadFeed(Cursor(store.store_id, bad)),
        ValueError,
        "no position in a feed",
    ),
    "a half position": (
        lambda store: ReadFeed(Cursor(store.store_id, 1.0)),  # type: ignore[arg-type]
        ValueError,
        "no position in a feed",
    ),
    "no appends": (lambda _: AppendAll(bad), TypeError, "appends is None"),
    "no conditions": (
        lambda _: AppendAll((StreamAppend(HERE, EVENTS),), bad),
        TypeError,
        "conditions is None",
    ),
    "no metadata": (lambda _: Append(HERE, EVENTS, metadata=bad), TypeError, "metadata is None"),
    "metadata in a list": (
        lambda _: Append(HERE, EVENTS, metadata=[1]),  # type: ignore[arg-type]
        TypeError,
        r"metadata is \[1\]",
    ),
    "a token of nothing": (
        lambda store: Append(HERE, EVENTS, Token(store.store_id, bad)),
        TypeError,
        "the token is None",
    ),
    "one stream twice": (
        lambda _: AppendAll((StreamAppend(HERE, EVENTS),) * 2),
        ValueError,
        "appended to twice",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_operations_that_make_no_sense_are_refused(store: Any, what: str) -> None:
    make, kind, message = REFUSED[what]
    with pytest.raises(kind, match=message):
        store.run(make(store))


@pytest.mark.parametrize(("parse", "error"), [(Cursor.parse, BadCursor), (Token.parse, BadToken)])
def test_what_is_no_text_is_no_position(parse: Callable[[Any], object], error: type[Exception]) -> None:
    with pytest.raises(error, match="None is no"):
        parse(None)


@pytest.mark.parametrize("time", [1e12, -1e12, math.nan, math.inf, None, "now"])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_clock_that_tells_no_time_is_refused(tmp_path: Path, kind: str, time: Any) -> None:
    def clock() -> float:
        return time  # type: ignore[no-any-return]

    store: Any = MemoryStore(clock=clock)
    if kind == "sqlite":
        store = SqliteStore(tmp_path / "store.db", clock=clock)
    with store:
        with pytest.raises((ValueError, TypeError), match="clock"):
            store.run(Append(HERE, EVENTS))
        assert not store.run(ReadFeed()).events


@pytest.mark.parametrize("timeout", [math.inf, math.nan, -1, 1e9, None, "5", True])
@pytest.mark.parametrize("make", [SqliteStore, SqliteViews])
def test_a_timeout_that_nobody_can_wait_is_refused(tmp_path: Path, make: Any, timeout: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(f"timeout is {timeout!r}: it must be")):
        make(tmp_path / "some.db", timeout=timeout)
    assert not any(tmp_path.iterdir())


def test_a_name_of_memory_is_no_file() -> None:
    with pytest.raises(ValueError, match=r"use MemoryStore\(\)"):
        SqliteStore("file::memory:")


@pytest.mark.parametrize(
    ("damage", "asked"),
    [
        ("UPDATE eventsrc_event SET rest = 5", FindAppend(KEY)),
        ("UPDATE eventsrc_event SET rest = 5", Append(HERE, EVENTS, append_id=KEY)),
        ("UPDATE eventsrc_stream SET name = x'ff'", FindAppend(KEY)),
        ("UPDATE eventsrc_stream SET name = x'ff'", ReadFeed()),
        ("UPDATE eventsrc_snapshot SET version = 'q'", LoadSnapshot(HERE, "fold", 1)),
    ],
)
def test_rows_of_wrong_types_are_corrupted(tmp_path: Path, damage: str, asked: Any) -> None:
    path = tmp_path / "store.db"
    with SqliteStore(path) as store:
        store.run(Append(HERE, EVENTS, append_id=KEY))
        store.run(SaveSnapshot(Snapshot(HERE, "fold", 1, 1, b"")))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = 1")
        connection.execute(damage)
    with SqliteStore(path) as store, pytest.raises(Corrupted):
        store.run(asked)
