"""What is particular to the SQLite store: its file, its lock, its processes."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eventsrc import (
    NO_STREAM,
    Append,
    Codec,
    Conflict,
    Failure,
    Head,
    Read,
    ReadFeed,
    SqliteStore,
    StreamId,
    Success,
    event,
)
from eventsrc.events.event import EventTypes
from eventsrc.sqlite._file import SqliteFile
from eventsrc.sqlite._schema import Schema
from eventsrc.sqlite._sql import STAMP
from eventsrc.stores.operations import (
    StoreBusy,
    StoreClosed,
    StoreError,
    StoreFull,
)

TYPES = EventTypes()
CODEC = Codec(TYPES)
HERE = StreamId("here")


@event("test.sqlite.noted", types=TYPES)
class Noted:
    text: str


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(path, CODEC, timeout=10) as made:
        yield made


@pytest.fixture
def rival(path: Path, store: SqliteStore) -> Iterator[sqlite3.Connection]:
    """Another process's connection, as far as SQLite can tell."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    yield connection
    connection.close()


def append(store: SqliteStore, text: str = "", stream: StreamId = HERE) -> None:
    assert isinstance(store.run(Append(stream, (Noted(text),))), Success)


def texts(store: SqliteStore) -> list[str]:
    return [recorded.data.text for recorded in store.run(ReadFeed(limit=10_000)).events]


# --- the file


def test_the_file_keeps_what_was_stored_and_its_identity(path: Path) -> None:
    with SqliteStore(path, CODEC) as store:
        append(store, "kept")
        cursor, name = store.run(ReadFeed()).next, store.store_id
    with SqliteStore(path, CODEC) as store:
        assert store.store_id == name
        assert texts(store) == ["kept"]
        append(store, "later")
        (later,) = store.run(ReadFeed(cursor)).events
        assert later.data == Noted("later")


def test_the_file_is_stamped_and_in_the_durable_profile(store: SqliteStore, path: Path) -> None:
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA application_id").fetchone() == (STAMP,)
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    with store._file.writing() as writer:
        assert writer.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_a_store_that_need_only_survive_its_process_syncs_less(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "fast.db", CODEC, durability="process") as store:
        assert store.durability == "process"
        with store._file.writing() as writer:
            assert writer.execute("PRAGMA synchronous").fetchone() == (1,)  # NORMAL


def test_events_can_be_read_with_sql(store: SqliteStore, path: Path) -> None:
    append(store, "plain", StreamId("users/4"))
    connection = sqlite3.connect(path)
    row = connection.execute(
        "SELECT position, stream, version, type, schema, data ->> 'text' FROM eventsrc_events"
    ).fetchone()
    connection.close()
    assert row == (1, "users/4", 1, "test.sqlite.noted", 1, "plain")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere/store.db cannot be opened: does its folder exist"):
        SqliteStore(tmp_path / "nowhere" / "store.db")


def test_a_store_in_memory_is_another_store() -> None:
    with pytest.raises(ValueError, match=r"use MemoryStore\(\)"):
        SqliteStore(":memory:")


def test_names_with_characters_that_mean_something_to_sqlite_are_just_names(tmp_path: Path) -> None:
    odd = tmp_path / "50% of ?mode=memory #1.db"
    with SqliteStore(odd, CODEC) as store:
        append(store, "here")
    assert odd.exists()


# --- waiting for others


def test_an_append_waits_for_another_writer(store: SqliteStore, rival: sqlite3.Connection) -> None:
    rival.execute("BEGIN IMMEDIATE")
    waiting = threading.Thread(target=append, args=(store, "after"))
    waiting.start()
    assert store.run(Head(HERE)) == 0, "reading waits for nobody"
    rival.execute("COMMIT")
    waiting.join(10)
    assert texts(store) == ["after"]


def test_an_append_gives_up_at_its_deadline_and_stores_nothing(
    path: Path, store: SqliteStore, rival: sqlite3.Connection
) -> None:
    with SqliteStore(path, CODEC, timeout=0.2) as impatient:
        rival.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with pytest.raises(StoreBusy, match=r"for 0.2 seconds, as another process.*longer timeout"):
            impatient.run(Append(HERE, (Noted("never"),)))
        assert time.monotonic() - began < 1.0
        rival.execute("COMMIT")
        assert texts(impatient) == []
        append(impatient, "now")


def test_who_waits_for_this_process_alone_is_not_told_of_others(path: Path) -> None:
    with SqliteStore(path, CODEC, timeout=0.2) as store, ThreadPoolExecutor() as threads:
        writing = store._file.writing()
        with writing:
            told = threads.submit(store.run, Append(HERE, (Noted("never"),))).exception(10)
        writing.give_back()
        assert isinstance(told, StoreBusy)
        assert "other threads of this process" in str(told)
        assert texts(store) == []


def test_those_who_wait_in_line_have_deadlines_too(path: Path, rival: sqlite3.Connection) -> None:
    with SqliteStore(path, CODEC, timeout=0.3) as impatient:
        rival.execute("BEGIN IMMEDIATE")
        errors: list[Exception] = []

        def try_it() -> None:
            try:
                append(impatient)
            except StoreBusy as error:
                errors.append(error)

        threads = [threading.Thread(target=try_it) for _ in range(8)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert time.monotonic() - began < 3.0
        rival.execute("COMMIT")
        assert len(errors) == 8
        assert texts(impatient) == []


# --- sharing commits


def count_commits(store: SqliteStore) -> list[str]:
    statements: list[str] = []
    with store._file.writing() as writer:
        writer.set_trace_callback(lambda sql: statements.append(sql) if sql == "COMMIT" else None)
    statements.clear()
    return statements


def test_threads_that_wait_share_a_commit(store: SqliteStore, rival: sqlite3.Connection) -> None:
    commits = count_commits(store)
    rival.execute("BEGIN IMMEDIATE")
    threads = [threading.Thread(target=append, args=(store, str(number))) for number in range(20)]
    for thread in threads:
        thread.start()
    while len(store._line._line) < 19:  # the first leads, and waits for the rival
        time.sleep(0.001)
    rival.execute("COMMIT")
    for thread in threads:
        thread.join(10)
    assert sorted(map(int, texts(store))) == list(range(20))
    assert len(commits) <= 3


def test_tasks_that_wait_share_commits(store: SqliteStore) -> None:
    commits = count_commits(store)

    async def many() -> None:
        appends = [store.run_async(Append(HERE, (Noted(str(number)),))) for number in range(200)]
        await asyncio.gather(*appends)

    asyncio.run(many())
    assert sorted(map(int, texts(store))) == list(range(200))
    assert len(commits) < 20


def test_each_of_a_group_has_its_own_condition_and_answer(
    store: SqliteStore, rival: sqlite3.Connection
) -> None:
    rival.execute("BEGIN IMMEDIATE")
    outcomes: list[object] = []

    def create() -> None:
        outcomes.append(store.run(Append(HERE, (Noted("first"),), NO_STREAM)))

    threads = [threading.Thread(target=create) for _ in range(10)]
    for thread in threads:
        thread.start()
    while len(store._line._line) < 9:
        time.sleep(0.001)
    rival.execute("COMMIT")
    for thread in threads:
        thread.join(10)
    conflicts = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert len(conflicts) == 9
    assert all(isinstance(conflict.failure(), Conflict) for conflict in conflicts)
    assert texts(store) == ["first"]


def test_one_that_fails_does_not_spoil_its_group(store: SqliteStore, rival: sqlite3.Connection) -> None:
    with store._file.writing() as writer:
        ((pages,),) = writer.execute("PRAGMA page_count").fetchall()
        writer.execute(f"PRAGMA max_page_count = {pages + 20}")
    rival.execute("BEGIN IMMEDIATE")
    errors: list[Exception] = []

    def try_it(text: str) -> None:
        try:
            append(store, text)
        except StoreFull as error:
            errors.append(error)

    sizes = ["x" * 1_000_000 if number == 5 else f"{number}" for number in range(10)]
    threads = [threading.Thread(target=try_it, args=(text,)) for text in sizes]
    for thread in threads:
        thread.start()
    while len(store._line._line) < 9:
        time.sleep(0.001)
    rival.execute("COMMIT")
    for thread in threads:
        thread.join(10)
    assert len(errors) == 1
    assert sorted(texts(store)) == ["0", "1", "2", "3", "4", "6", "7", "8", "9"]


def test_a_cancelled_append_that_had_not_begun_never_does(
    store: SqliteStore, rival: sqlite3.Connection
) -> None:
    async def cancel_one() -> None:
        rival.execute("BEGIN IMMEDIATE")
        leading = asyncio.create_task(store.run_async(Append(HERE, (Noted("leads"),))))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(store.run_async(Append(HERE, (Noted("waits"),))))
        while len(store._line._line) < 1 or not store._line._executor:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)  # the leader takes only what is there when it begins
        late = asyncio.create_task(store.run_async(Append(HERE, (Noted("late"),))))
        await asyncio.sleep(0.05)
        late.cancel()
        await asyncio.wait([late])
        rival.execute("COMMIT")
        await asyncio.gather(leading, waiting)

    asyncio.run(cancel_one())
    assert "late" not in texts(store)


# --- wrong hands


def test_closing_does_not_wait_for_those_who_come_later(path: Path) -> None:
    file = SqliteFile(path, Schema("test", ()), timeout=10)
    with file.writing():
        closing = threading.Thread(target=file.close)
        closing.start()
        end = time.monotonic() + 5
        while not is_refused(file):  # one who writes on and on would keep the file from being closed
            assert time.monotonic() < end
    closing.join(5)
    assert not closing.is_alive()


def is_refused(file: SqliteFile) -> bool:
    """Whether who tries to write now is told that the file is closed."""
    try:
        with file.writing(time.monotonic() + 0.01):
            return False
    except StoreBusy:
        return False
    except StoreClosed:
        return True


def test_a_closed_store_says_so(path: Path) -> None:
    store = SqliteStore(path, CODEC)
    store.close()
    store.close()
    with pytest.raises(StoreClosed, match="was closed: open it again"):
        store.run(Read(HERE))
    with pytest.raises(StoreClosed, match="was closed"):
        store.run(Append(HERE, (Noted("x"),)))


def test_reading_needs_no_more_connections_than_read_at_once(store: SqliteStore) -> None:
    for _ in range(50):
        store.run(Read(HERE))
    assert store._file._readers._count == 1


def test_the_sqlite_file_rolls_back_what_raises(path: Path) -> None:
    file = SqliteFile(path, Schema("test", ()))

    def half() -> None:
        with file.writing() as connection:
            connection.execute("CREATE TABLE half (done)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    with file.reading() as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    file.close()
