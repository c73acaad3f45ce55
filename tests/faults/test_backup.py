"""Copies of a SQLite store that are made while it is written to.

Passed if a copy has every event that was acknowledged before it was begun, in the same order, no batch
in half, and cursors that were kept go on in it with nothing skipped.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

import attrs
import pytest

from eventsrc import START, Append, Cursor, Head, ReadFeed, Recorded, SqliteStore, StreamId, Success
from eventsrc._errors import EventsrcError
from eventsrc.events.positions import BadCursor
from tests.faults import scaled
from tests.kits.events import CODEC, Tick
from tests.kits.feed import assert_sound, batches_of, whole_feed
from tests.processes.forked import Forked
from tests.processes.writer import main

Copy = Callable[[Path, Path], None]


def online_backup(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as from_, closing(sqlite3.connect(target)) as to:
        from_.backup(to)


def vacuum_into(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("VACUUM INTO ?", (str(target),))


def copy_without_log(source: Path, target: Path) -> None:
    """The file, and not the -wal beside it."""
    shutil.copy(source, target)


@attrs.frozen
class Backup:
    """A copy, and what was known when it was begun."""

    path: Path
    acknowledged: frozenset[int]
    cursor: Cursor
    """Where a follower of the original had got to."""


@contextmanager
def writing(path: Path) -> Iterator[FileIO]:
    """Another process appends; gives the lines in which it acknowledges its batches."""
    with Forked(main, str(path), "0") as writer:
        yield writer.stdout


def back_up(folder: Path, copies: int, copy: Copy) -> tuple[Path, list[Backup]]:
    """Copies a store again and again while another process appends to it."""
    path = folder / "store.db"
    made: list[Backup] = []
    acknowledged: set[int] = set()
    cursor = START
    with writing(path) as lines:
        acknowledged.add(int(lines.readline()))
        with SqliteStore(path, CODEC) as follower:
            for number in range(copies):
                acknowledged |= {int(lines.readline()) for _ in range(50)}
                cursor = follower.run(ReadFeed(cursor, 37)).next
                backup = Backup(folder / f"copy-{number}.db", frozenset(acknowledged), cursor)
                copy(path, backup.path)
                made.append(backup)
    return path, made


def shown(events: Iterator[Recorded[Any]]) -> list[tuple[object, ...]]:
    return [tuple(recorded.record) for recorded in events]


def wrong_with(path: Path, backups: list[Backup]) -> list[str]:
    """What is missing or changed in the copies of a store."""
    wrong: list[str] = []
    with SqliteStore(path, CODEC) as store:
        original, name = shown(whole_feed(store)), store.store_id
    for backup in backups:
        with SqliteStore(backup.path, CODEC) as copy:
            if copy.store_id != name:
                wrong.append(f"{backup.path.name} is another store")
                continue
            events = shown(whole_feed(copy))
            if events != original[: len(events)]:
                wrong.append(f"{backup.path.name} is not how the store begins")
            if missing := backup.acknowledged - batches_of(whole_feed(copy)).keys():
                wrong.append(f"{backup.path.name} lacks {len(missing)} acknowledged batches")
            if shown(whole_feed(copy, backup.cursor)) != events[backup.cursor.position :]:
                wrong.append(f"a reader of {backup.path.name} that goes on skips events")
    return wrong


@pytest.mark.parametrize("copy", [online_backup, vacuum_into])
def test_a_copy_made_by_sqlite_during_load_has_all_that_was_acknowledged(
    tmp_path: Path, copy: Copy, figure: Callable[[str], None]
) -> None:
    path, backups = back_up(tmp_path, scaled(10), copy)
    assert wrong_with(path, backups) == []
    for backup in backups:
        assert_sound(backup.path)
    figure(f"{len(backups)} copies, the last of {len(backups[-1].acknowledged)} batches or more")


def test_control_a_copy_during_load_without_the_log_lacks_events(tmp_path: Path) -> None:
    path, backups = back_up(tmp_path, 3, copy_without_log)
    try:
        wrong = wrong_with(path, backups)
    except EventsrcError as error:  # a copy in the middle of a checkpoint may be damaged
        wrong = [str(error)]
    assert wrong != []


def test_a_copy_is_a_store_that_goes_on(tmp_path: Path) -> None:
    _, (backup,) = back_up(tmp_path, 1, online_backup)
    with SqliteStore(backup.path, CODEC) as copy:
        before = [*whole_feed(copy)]
        stream = before[-1].stream
        head = copy.run(Head(stream))
        assert isinstance(copy.run(Append(stream, (Tick(-1, 0, 1),), head)), Success)
        after = [*whole_feed(copy)]
        assert after[:-1] == before
        assert after[-1].version == head + 1


def filled(path: Path, appends: int) -> list[tuple[object, ...]]:
    with SqliteStore(path, CODEC) as store:
        for number in range(appends):
            store.run(Append(StreamId(f"ticks/{number % 4}"), (Tick(number, 0, 2), Tick(number, 1, 2))))
        return shown(whole_feed(store))


def test_the_file_of_a_closed_store_is_all_that_need_be_copied(tmp_path: Path) -> None:
    events = filled(tmp_path / "store.db", 300)
    assert not (tmp_path / "store.db-wal").exists()
    copy_without_log(tmp_path / "store.db", tmp_path / "copy.db")
    with SqliteStore(tmp_path / "copy.db", CODEC) as copy:
        assert shown(whole_feed(copy)) == events


def test_the_file_and_its_log_can_be_copied_while_nobody_writes(tmp_path: Path) -> None:
    path, copied = tmp_path / "store.db", tmp_path / "copy.db"
    with SqliteStore(path, CODEC) as store:
        for number in range(300):
            store.run(Append(StreamId("ticks"), (Tick(number, 0, 1),)))
        shutil.copy(path, copied)
        shutil.copy(f"{path}-wal", f"{copied}-wal")
        with SqliteStore(copied, CODEC) as copy:
            assert shown(whole_feed(copy)) == shown(whole_feed(store))


def test_a_reader_that_is_ahead_of_a_restored_store_skips_nothing_silently(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with SqliteStore(path, CODEC) as store:
        store.run(Append(StreamId("ticks"), (Tick(0, 0, 1),)))
        online_backup(path, tmp_path / "copy.db")
        store.run(Append(StreamId("ticks"), (Tick(1, 0, 1),)))
        store.run(Append(StreamId("ticks"), (Tick(2, 0, 1),)))
        ahead = store.run(ReadFeed()).next
    with SqliteStore(tmp_path / "copy.db", CODEC) as restored:
        restored.run(Append(StreamId("ticks"), (Tick(3, 0, 1),)))
        with pytest.raises(BadCursor, match="restored"):
            restored.run(ReadFeed(ahead))
