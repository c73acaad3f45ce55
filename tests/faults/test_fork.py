"""Open stores in forked and spawned processes, and in other threads and event loops.

Passed if each use is refused with StoreClosed or works, none hangs, and the file is sound.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import pickle
import select
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from eventsrc import (
    Append,
    Head,
    MemoryStore,
    Read,
    ReadFeed,
    SqliteStore,
    SqliteViews,
    StreamId,
    Success,
    View,
    synchronise,
)
from eventsrc.sqlite import _forks
from eventsrc.sqlite._file import SqliteFile
from eventsrc.stores.operations import (
    FindAppend,
    LoadSnapshot,
    SaveSnapshot,
    Snapshot,
    StoreClosed,
)
from tests.faults import scaled
from tests.kits.events import CODEC, Tick
from tests.kits.feed import assert_sound, whole_feed

HERE = StreamId("ticks")
DEADLINE = 20.0
"""How many seconds a forked process may take for one use of the store."""

HANGING = 2.0
"""For how many seconds one that hangs is watched."""

UNPICKLABLE = (TypeError, AttributeError, pickle.PicklingError)

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(path, CODEC, timeout=1) as store:
        append(store, 0)
        yield store


def append(store: Any, number: int) -> None:
    assert isinstance(store.run(Append(HERE, (Tick(number, 0, 1),))), Success)


def numbers(store: Any) -> list[int]:
    return [recorded.data.batch for recorded in whole_feed(store)]


def in_a_fork(work: Callable[[], object], within: float = DEADLINE) -> str:
    """What becomes of some work in a forked process: the name of what it raised, or "done", or "hangs".

    The process is killed when it is over, or when its time is up.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
            told = "done"
        except BaseException as error:
            told = type(error).__name__
        os.write(writing, told.encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(writing)
    is_told, _, _ = select.select([reading], [], [], within)
    told = os.read(reading, 1000).decode() if is_told else "hangs"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(reading)
    return told


USES: dict[str, Callable[[SqliteStore], object]] = {
    "append": lambda store: append(store, -1),
    "append in a task": lambda store: asyncio.run(store.run_async(Append(HERE, (Tick(-1, 0, 1),)))),
    "read": lambda store: store.run(Read(HERE)),
    "read in a task": lambda store: asyncio.run(store.run_async(Read(HERE))),
    "head": lambda store: store.run(Head(HERE)),
    "feed": lambda store: store.run(ReadFeed()),
    "find": lambda store: store.run(FindAppend(UUID(int=1))),
    "load": lambda store: store.run(LoadSnapshot(HERE, "total", 1)),
    "save": lambda store: store.run(SaveSnapshot(Snapshot(HERE, "total", 1, 1, b""))),
}


@needs_fork
@pytest.mark.parametrize("use", USES)
def test_a_forked_process_is_refused_every_use_of_the_store(store: SqliteStore, use: str) -> None:
    assert in_a_fork(lambda: USES[use](store)) == "StoreClosed"
    append(store, 1)
    assert numbers(store) == [0, 1], "and the store is unharmed"


@needs_fork
def test_control_a_store_that_does_not_look_where_it_is_is_caught(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SqliteFile, "check_usable", lambda _: None)
    assert in_a_fork(lambda: USES["append"](store)) != "StoreClosed"


@needs_fork
def test_forked_processes_that_let_go_of_the_store_or_close_it_do_no_harm(path: Path) -> None:
    kept = [SqliteStore(path, CODEC)]
    rounds = scaled(10)
    gc.collect()  # so that a process has little to collect
    for number in range(rounds):
        append(kept[0], 2 * number)

        def let_go() -> None:
            kept.clear()
            gc.collect()

        assert in_a_fork(let_go if number % 2 else kept[0].close) == "done"
        append(kept[0], 2 * number + 1)
        with SqliteStore(path, CODEC) as other:
            assert numbers(other) == numbers(kept[0]) == [*range(2 * number + 2)]
    kept[0].close()
    assert_sound(path)


@needs_fork
def test_forked_processes_open_the_store_themselves(store: SqliteStore, path: Path) -> None:
    def open_it() -> None:
        with SqliteStore(path, CODEC) as mine:
            append(mine, 1)

    for _ in range(5):
        assert in_a_fork(open_it) == "done"
        append(store, 2)
    assert numbers(store) == [0, *[1, 2] * 5]
    assert_sound(path)


# --- stores and views of a forked process's own, whatever becomes of its parent's


def goes_on_with_its_own(path: Path, parent_closes: Callable[[], object]) -> tuple[int, list[int]]:
    """How many events a forked process was told to have stored, and which are there.

    Its parent closes what it has open in the midst of it.
    """
    opened, is_closed = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        stored = 0
        try:
            with SqliteStore(path, CODEC) as mine:
                for number in range(1, 6):
                    append(mine, number)
                    stored = number
                    if number == 1:
                        os.write(opened[1], b"x")
                        os.read(is_closed[0], 1)
        finally:
            os._exit(stored)
    os.read(opened[0], 1)
    parent_closes()
    os.write(is_closed[1], b"x")
    stored = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    for end in (*opened, *is_closed):
        os.close(end)
    with SqliteStore(path, CODEC) as other:
        return stored, numbers(other)


@needs_fork
@pytest.mark.parametrize("closes", [True, False], ids=["the parent closes", "the parent goes on"])
@pytest.mark.parametrize("reads", [True, False], ids=["after reading", ""])
def test_what_the_store_of_a_forked_process_stores_is_there(
    path: Path, closes: bool, reads: bool
) -> None:
    with SqliteStore(path, CODEC) as store:
        append(store, 0)
        if reads:
            assert numbers(store) == [0]
        then = store.close if closes else partial(append, store, 100)
        stored, found = goes_on_with_its_own(path, then)
    assert stored == 5
    assert found == [0, 1, *([] if closes else [100]), 2, 3, 4, 5]
    assert_sound(path)


@needs_fork
def test_control_connections_that_a_fork_copies_lose_what_was_acknowledged(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_forks, "watch", lambda _: None)
    store = SqliteStore(path, CODEC)
    append(store, 0)
    stored, found = goes_on_with_its_own(path, store.close)
    assert stored == 5
    assert len(found) < 6


@needs_fork
def test_what_the_views_of_a_forked_process_apply_is_there(path: Path) -> None:
    view: View[Any] = View("forked", types=CODEC.types)

    @view.on(Tick)
    def _(database: Any, recorded: Any) -> None:
        database["ticks"].insert({"batch": recorded.data.batch})

    folder = path.parent
    with SqliteStore(path, CODEC) as store, SqliteViews(folder / "views.db", [view]) as views:
        append(store, 0)
        (store | views).run(synchronise(view))
        with views.reading(view) as database:
            assert database["ticks"].count == 1

        def apply_one_more() -> None:
            with SqliteStore(path, CODEC) as mine, SqliteViews(folder / "views.db", [view]) as its:
                append(mine, 1)
                (mine | its).run(synchronise(view))
                views.close()

        assert in_a_fork(apply_one_more) == "done"
        views.close()
    with SqliteViews(folder / "views.db", [view]) as views, views.reading(view) as database:
        assert [row["batch"] for row in database["ticks"].rows] == [0, 1]


@needs_fork
def test_a_daemon_goes_on_when_the_process_that_opened_the_file_has_ended(path: Path) -> None:
    store = SqliteStore(path, CODEC)
    append(store, 0)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        if os.fork() == 0:
            with SqliteStore(path, CODEC) as mine:
                append(mine, 1)
                os.write(writing, b"x")
        os._exit(0)
    os.waitpid(pid, 0)
    store.close()
    assert select.select([reading], [], [], DEADLINE)[0]
    os.close(reading)
    os.close(writing)
    with SqliteStore(path, CODEC) as other:
        assert numbers(other) == [0, 1]


@needs_fork
def test_processes_forked_while_a_thread_appends_and_another_reads_store_what_they_say(
    store: SqliteStore, path: Path
) -> None:
    is_over = threading.Event()

    def keep(doing: Callable[[], object]) -> None:
        while not is_over.is_set():
            doing()

    threads = [
        threading.Thread(target=keep, args=(doing,))
        for doing in (lambda: append(store, 0), lambda: store.run(Read(HERE)))
    ]
    for thread in threads:
        thread.start()

    def append_own(number: int) -> None:
        with SqliteStore(path, CODEC, timeout=10) as mine:
            append(mine, number)

    told = [in_a_fork(partial(append_own, 1 + number)) for number in range(scaled(12))]
    is_over.set()
    for thread in threads:
        thread.join(60)
    assert {*told} == {"done"}
    assert sorted({*numbers(store)} - {0}) == [1 + number for number in range(len(told))]
    assert_sound(path)


@needs_fork
@pytest.mark.usefixtures("in_the_middle")
def test_a_file_that_was_in_use_at_the_fork_is_refused_with_the_remedy(path: Path) -> None:
    def open_own() -> None:
        with pytest.raises(StoreClosed, match="was in use by a thread when this process was forked"):
            SqliteStore(path, CODEC)

    assert in_a_fork(open_own) == "done"


# --- a fork while others are in the middle of something


@pytest.fixture
def in_the_middle(store: SqliteStore, path: Path) -> Iterator[None]:
    """A thread of this process is in the middle of an append."""
    with closing(sqlite3.connect(path, isolation_level=None)) as rival:
        rival.execute("BEGIN IMMEDIATE")
        appending = threading.Thread(target=append, args=(store, 1))
        store._file.timeout = 60.0  # type: ignore[misc]
        appending.start()
        while not store._file._lock.locked():
            time.sleep(0.001)
        try:
            yield
        finally:
            rival.execute("COMMIT")
            appending.join(60)
    assert numbers(store) == [0, 1]


@needs_fork
@pytest.mark.usefixtures("in_the_middle")
@pytest.mark.parametrize("use", ["read", "head", "feed", "save"])
def test_a_process_forked_during_an_append_is_refused_too(store: SqliteStore, use: str) -> None:
    assert in_a_fork(lambda: USES[use](store)) == "StoreClosed"


@needs_fork
@pytest.mark.usefixtures("in_the_middle")
@pytest.mark.parametrize("use", ["append", "append in a task"])
def test_a_process_forked_during_an_append_is_refused_its_own(store: SqliteStore, use: str) -> None:
    assert in_a_fork(lambda: USES[use](store)) == "StoreClosed"


@needs_fork
@pytest.mark.usefixtures("in_the_middle")
def test_a_process_forked_during_an_append_can_close_the_store(store: SqliteStore) -> None:
    assert in_a_fork(store.close) == "done"


@needs_fork
def test_a_process_forked_after_appends_of_tasks_can_close_the_store(store: SqliteStore) -> None:
    asyncio.run(store.run_async(Append(HERE, (Tick(1, 0, 1),))))
    assert in_a_fork(store.close) == "done"
    assert numbers(store) == [0, 1]


@needs_fork
def test_a_forked_process_that_lives_on_does_not_keep_others_from_writing(
    store: SqliteStore, path: Path
) -> None:
    reading, writing = os.pipe()

    def fork_while_insisting() -> None:
        with SqliteStore(path, CODEC) as mine:
            assert mine._file._turn.take(insisting=True)
            pid = os.fork()
            if pid == 0:
                signal.pause()
            os.write(writing, str(pid).encode())
            os.kill(os.getpid(), signal.SIGKILL)

    middle = os.fork()
    if middle == 0:
        fork_while_insisting()
    os.waitpid(middle, 0)
    living = int(os.read(reading, 100))
    try:
        append(store, 1)
    finally:
        os.kill(living, signal.SIGKILL)
        os.close(reading)
        os.close(writing)


@needs_fork
def test_a_memory_store_goes_on_in_a_forked_process_as_a_copy() -> None:
    store = MemoryStore(CODEC)
    append(store, 0)

    def go_on() -> None:
        append(store, 1)
        assert numbers(store) == [0, 1]

    assert in_a_fork(go_on) == "done"
    assert numbers(store) == [0]


@needs_fork
@pytest.mark.parametrize("is_kept", [True, False], ids=["", "control"])
def test_a_memory_store_that_another_thread_uses_goes_on_in_a_forked_process(is_kept: bool) -> None:
    store, is_in_use = MemoryStore(CODEC), threading.Event()
    if not is_kept:
        store._lock = threading.Lock()  # one that no fork waits for
    append(store, 0)

    is_over = threading.Event()

    def use() -> None:
        with store._lock:
            is_in_use.set()
            is_over.wait(0.2 if is_kept else DEADLINE)

    using = threading.Thread(target=use)
    using.start()
    assert is_in_use.wait(10)
    told = in_a_fork(lambda: append(store, 1), DEADLINE if is_kept else HANGING)
    is_over.set()
    assert told == ("done" if is_kept else "hangs")
    using.join(10)
    assert numbers(store) == [0]


# --- spawned processes


def append_there(path: str, number: int) -> None:
    with SqliteStore(path, CODEC) as mine:
        append(mine, number)


def test_an_open_store_cannot_be_sent_to_another_process(store: SqliteStore) -> None:
    with pytest.raises(UNPICKLABLE):
        pickle.dumps(store)
    child = multiprocessing.get_context("spawn").Process(target=append, args=(store, 1))
    with pytest.raises(UNPICKLABLE):
        child.start()
    assert numbers(store) == [0]


def test_spawned_processes_open_the_store_themselves(store: SqliteStore, path: Path) -> None:
    spawning = multiprocessing.get_context("spawn")
    children = [spawning.Process(target=append_there, args=(str(path), n)) for n in (1, 2)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    assert sorted(numbers(store)) == [0, 1, 2]


# --- threads and event loops


def test_threads_and_event_loops_may_use_one_store_at_once(store: SqliteStore, path: Path) -> None:
    store._file.timeout = 30.0  # type: ignore[misc]
    errors: list[BaseException] = []
    count = scaled(25)

    async def many(first: int) -> None:
        appends = [
            store.run_async(Append(HERE, (Tick(number, 0, 1),)))
            for number in range(first, first + count)
        ]
        assert all(isinstance(answer, Success) for answer in await asyncio.gather(*appends))

    def in_a_loop(first: int) -> None:
        try:
            asyncio.run(many(first))
            for number in range(first + count, first + 2 * count):
                append(store, number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=in_a_loop, args=(1000 * n * count,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    due = [1000 * n * count + number for n in range(1, 5) for number in range(2 * count)]
    assert sorted(numbers(store)) == [0, *due]
    assert_sound(path)


def test_an_event_loop_that_ends_early_leaves_the_store_to_others(
    store: SqliteStore, path: Path
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as rival:
        rival.execute("BEGIN IMMEDIATE")

        async def leave() -> None:
            tasks = [
                asyncio.create_task(store.run_async(Append(HERE, (Tick(-1, 0, 1),)))) for _ in "abc"
            ]
            await asyncio.sleep(0)
            assert not any(task.done() for task in tasks)

        asyncio.run(leave())
        rival.execute("COMMIT")
    append(store, 1)
    assert asyncio.run(store.run_async(Head(HERE))) == len(numbers(store))
    assert numbers(store)[-1] == 1
    assert_sound(path)
