"""The write-ahead log is made large early, and nothing else is changed by that."""

from __future__ import annotations

import shutil
import sqlite3
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from eventsrc import ReadFeed, SqliteStore, StreamId, Success
from eventsrc.sqlite import _wal
from eventsrc.stores.operations import Append, StoreFull
from tests.kits.events import CODEC, Tick

SIZE = 1000 * 4096
A = StreamId("a")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that counts as no temporary one."""
    monkeypatch.setattr(_wal, "is_temporary", lambda path: False)
    return tmp_path


def append(store: SqliteStore, count: int) -> None:
    for _ in range(count):
        assert isinstance(store.run(Append(A, (Tick(0, 0, 10),))), Success)


def size_of_log(store: SqliteStore) -> int:
    return Path(f"{store._file.path}-wal").stat().st_size


def objects(path: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
    connection.close()
    return found


def test_the_log_is_made_large_after_sixteen_commits_and_the_file_is_not(place: Path) -> None:
    path = place / "store.db"
    with SqliteStore(path, CODEC) as store:
        size, made = path.stat().st_size, objects(path)
        append(store, _wal.SEVERAL - store._file._commits - 1)
        assert size_of_log(store) < SIZE / 4
        append(store, 1)
        assert size_of_log(store) >= SIZE
        assert path.stat().st_size == size
        append(store, 30)
        assert store.run(ReadFeed(limit=1)).end.position > 30
        assert objects(path) == made
    assert path.stat().st_size < SIZE / 4
    assert objects(path) == made


def test_what_was_appended_beside_it_is_there_after_a_crash(place: Path) -> None:
    path = place / "store.db"
    with SqliteStore(path, CODEC) as store:
        append(store, 20)
        assert size_of_log(store) >= SIZE
        copy = place / "copy.db"
        for end in ("", "-wal"):
            shutil.copyfile(f"{path}{end}", f"{copy}{end}")
        expected = store.run(ReadFeed()).events
    with SqliteStore(copy, CODEC) as found:
        assert found.run(ReadFeed()).events == expected
        append(found, 20)
    objects(copy)


def test_a_reader_of_an_earlier_moment_sees_that_moment(place: Path) -> None:
    path = place / "store.db"
    with SqliteStore(path, CODEC) as store:
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM eventsrc_event").fetchone() == (0,)
        append(store, 40)
        assert size_of_log(store) >= SIZE
        assert reader.execute("SELECT count(*) FROM eventsrc_event").fetchone() == (0,)
        reader.execute("COMMIT")
        assert reader.execute("SELECT count(*) FROM eventsrc_event").fetchone() == (40,)
        reader.close()


Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize("why", ["temporary", "full", "another writes"])
def test_the_log_stays_small(place: Path, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    undone: Callable[[], object] = bool
    path = place / "store.db"
    with SqliteStore(path, CODEC) as store:
        append(store, _wal.SEVERAL - store._file._commits - 1)
        match why:
            case "temporary":
                monkeypatch.undo()
            case "full":
                monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(SIZE, 0, 15 * SIZE))
            case _:
                other = sqlite3.connect(path, isolation_level=None)
                fill = _wal._fill

                def beside(connection: sqlite3.Connection, size: int) -> None:
                    other.execute("BEGIN IMMEDIATE")
                    fill(connection, size)

                monkeypatch.setattr(_wal, "_fill", beside)
                undone = other.close
        append(store, 1)
        undone()
        append(store, 30)
        assert size_of_log(store) < SIZE / 2


def test_a_disk_that_is_full_at_that_moment_costs_no_append(place: Path) -> None:
    path = place / "store.db"
    with SqliteStore(path, CODEC) as store:
        ((pages,),) = store._file._writer.execute("PRAGMA page_count").fetchall()
        store._file._writer.execute(f"PRAGMA max_page_count = {pages + 40}")
        with pytest.raises(StoreFull):
            append(store, 2_000)
        stored = store.run(ReadFeed(limit=1)).end.position
        assert stored > _wal.SEVERAL
        store._file._writer.execute("PRAGMA max_page_count = 1000000")
        append(store, 1)
        assert store.run(ReadFeed(limit=1)).end.position == stored + 1
    objects(path)
