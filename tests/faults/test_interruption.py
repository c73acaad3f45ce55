"""A signal's handler raises, anywhere, in the thread that appends.

Passed if afterwards the store can be written and closed at once, whatever was interrupted; if nothing
is stored twice; and if those who share a commit with it learn what became of theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from eventsrc import (
    Append,
    Codec,
    Failure,
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
from eventsrc.events import codec
from eventsrc.sqlite._file import SqliteFile, WriteTransaction
from eventsrc.stores._group_commit import ToRaise, _Waiter
from eventsrc.stores.operations import SaveSnapshot, Snapshot, StoreBusy, StoreClosed
from tests.faults import scaled
from tests.kits.events import CODEC, TYPES, Tick
from tests.kits.pages import ROOT

HERE = StreamId("here")

pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="signals of Unix"),
    # where nobody can catch it, as in the callback of a weak reference, Python only warns
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Soft(Exception):
    """What a handler raises for a limit of time."""


def tick(number: int = 0, count: int = 1) -> Append:
    return Append(HERE, (Tick(number, 0, 1),) * count)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(tmp_path / "store.db", CODEC, durability="process", timeout=5) as made:
        made.run(tick())
        yield made


def interrupt(work: Callable[[], object], by: type[BaseException], after: float) -> None:
    """Does some work again and again until a signal's handler raises; takes what comes of that.

    after: so many seconds of this process's work.
    Raises AssertionError if nothing comes.
    """
    fired: list[bool] = []

    def handle(_number: int, _frame: FrameType | None) -> None:
        fired.append(True)
        raise by("of the handler")

    is_unraisable: list[object] = []
    told, sys.unraisablehook = sys.unraisablehook, is_unraisable.append
    before = signal.signal(signal.SIGVTALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, after)
        _until(fired, work)
        assert is_unraisable, "it was swallowed"
    except by:
        assert fired
    finally:
        sys.unraisablehook = told
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _until(fired: list[bool], work: Callable[[], object]) -> None:
    """Works until a list is filled.

    Apart, since in Python 3.13.0 no `try` around a `while` sees what is raised as it jumps back.
    """
    while not fired:
        work()


@contextlib.contextmanager
def kept_busy(store: SqliteStore) -> Iterator[None]:
    """Others keep the file from being written."""
    path = store._file.path
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as rival:
        rival.execute("BEGIN IMMEDIATE")
        yield
        rival.execute("COMMIT")


def append_until_interrupted(store: SqliteStore, by: type[BaseException], seed: int) -> None:
    chance = random.Random(seed)
    ops = [tick(1), tick(1), tick(1, 3)]
    interrupt(lambda: store.run(chance.choice(ops)), by, chance.uniform(0.0002, 0.002))


def wedged(store: SqliteStore, by: type[BaseException], rounds: int) -> int | None:
    """After how many interruptions the store cannot be written; None if it always can."""
    store._file.timeout = 0.5  # type: ignore[misc]
    for seed in range(rounds):
        append_until_interrupted(store, by, seed)
        try:
            store.run(tick(2))
        except StoreBusy:
            return seed
    return None


@pytest.mark.parametrize("by", [KeyboardInterrupt, SystemExit, Soft])
def test_a_store_goes_on_after_interruptions(store: SqliteStore, by: type[BaseException]) -> None:
    assert wedged(store, by, scaled(50, 1_600)) is None
    assert closes_within(store, 2)


def swallowed(store: SqliteStore | MemoryStore, rounds: int) -> int | None:
    """In which round nothing came of what a handler raised, if in any."""

    def append_and_read(op: Append) -> None:
        store.run(op)
        page = store.run(Read(HERE, limit=20, whole=False))
        assert len(page.data) == len([event.data for event in page.events])

    for seed in range(rounds):
        chance = random.Random(seed)
        op = chance.choice([tick(1), tick(1, 3)])
        try:
            interrupt(partial(append_and_read, op), Soft, chance.uniform(0.0002, 0.002))
        except AssertionError:
            return seed
    return None


def test_what_a_handler_raises_comes_out(store: SqliteStore) -> None:
    assert swallowed(store, scaled(50, 1_600)) is None


def test_control_a_codec_that_tries_another_way_whatever_comes_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(codec, "REFUSALS", (Exception,))
    assert swallowed(MemoryStore(Codec(TYPES)), 10_000) is not None


def closes_within(store: SqliteStore, seconds: float) -> bool:
    began = time.monotonic()
    store.close()
    return time.monotonic() - began < seconds


def test_a_store_goes_on_after_interruptions_while_other_threads_append(store: SqliteStore) -> None:
    is_over = threading.Event()
    failed: list[BaseException] = []

    def append() -> None:
        try:
            while not is_over.is_set():
                store.run(tick(3))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=append) for _ in range(3)]
    for thread in threads:
        thread.start()
    for seed in range(scaled(60)):
        append_until_interrupted(store, KeyboardInterrupt, seed)
    is_over.set()
    for thread in threads:
        thread.join(10)
    assert failed == []
    assert isinstance(store.run(tick()), Success)
    assert closes_within(store, 2)


def test_control_a_lock_that_is_taken_before_the_try_is_caught(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(file: SqliteFile, sql: str, parameters: Any, deadline: float) -> int:
        writing = WriteTransaction(file, deadline)
        file._take_lock(writing)
        time.sleep(0.0001)
        try:
            return file._try(sql, parameters).lastrowid or 0
        finally:
            file._give_back_lock(writing)

    monkeypatch.setattr(SqliteFile, "write", write)
    assert wedged(store, KeyboardInterrupt, 500) is not None
    monkeypatch.undo()
    left = store._file._holder
    assert left is not None
    left.give_back()


APPENDING = """
import signal, sys
from eventsrc import Append, SqliteStore, StreamId
from tests.kits.events import CODEC, Tick
tick = Append(StreamId("here"), (Tick(0, 0, 1),))
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever is inherited
with SqliteStore(sys.argv[1], CODEC, durability="process") as store:
    store.run(tick)
    print("going", flush=True)
    while True:
        store.run(tick)
"""


def test_an_interrupt_from_the_keyboard_ends_a_process_that_appends(tmp_path: Path) -> None:
    chance = random.Random(1)
    for number in range(scaled(3)):
        command = [sys.executable, "-c", APPENDING, str(tmp_path / f"{number}.db")]
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"going\n"
            time.sleep(chance.uniform(0, 0.02))
            process.send_signal(signal.SIGINT)
            try:
                assert process.wait(5) != 0
            finally:
                process.kill()


# --- those who wait, and those who share a commit


@pytest.mark.parametrize("by", [KeyboardInterrupt, SystemExit, Soft])
def test_a_thread_that_is_interrupted_in_line_leaves_it(
    store: SqliteStore, by: type[BaseException]
) -> None:
    answers: list[Any] = []
    leading = threading.Thread(target=lambda: answers.append(store.run(tick(1))))
    with kept_busy(store):
        leading.start()
        while store._line._leader is None:
            time.sleep(0.001)
        signalling = threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGVTALRM])
        signalling.start()
        interrupt(lambda: store.run(tick(2)), by, 60)
    leading.join(5)
    began = time.monotonic()
    answers.append(store.run(tick(3)))
    assert time.monotonic() - began < 1
    assert all(isinstance(answer, Success) for answer in answers)
    assert stored(store) == {0: 1, 1: 1, 3: 1}


def stored(store: SqliteStore) -> Counter[int]:
    return Counter(recorded.data.batch for recorded in store.run(ReadFeed(limit=10_000)).events)


def in_a_group(store: SqliteStore, count: int) -> dict[int, Any]:
    """What threads are answered whose appends wait together; the first leads their group."""
    told: dict[int, Any] = {}

    def append(number: int) -> None:
        try:
            told[number] = type(store.run(tick(number)))
        except BaseException as error:
            told[number] = type(error)

    threads = [threading.Thread(target=append, args=(number,)) for number in range(count + 1)]
    with kept_busy(store):
        for waiting, thread in enumerate(threads):
            thread.start()
            while store._line._leader is None or len(store._line._line) < waiting:
                time.sleep(0.001)
    for thread in threads:
        thread.join(10)
    return told


@pytest.mark.parametrize("by", [Soft, KeyboardInterrupt])
def test_what_is_raised_after_the_commit_stores_nothing_twice(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, by: type[BaseException]
) -> None:
    raise_once(monkeypatch, store, "_remember", by)
    told = in_a_group(store, 5)
    assert Counter(told.values()) == {Success: 5, by: 1}
    assert set(stored(store).values()) == {1, 2}, "0 was there before, and no other is twice"
    assert isinstance(store.run(tick(9)), Success)


def raise_once(
    monkeypatch: pytest.MonkeyPatch, store: SqliteStore, name: str, by: type[BaseException]
) -> None:
    """Has the thread that performs a group interrupted as it calls a method of the store."""
    original: Callable[..., Any] = getattr(store, name)

    def interrupt(*args: Any) -> Any:
        monkeypatch.setattr(store, name, original)
        raise by("of the handler")

    monkeypatch.setattr(store, name, interrupt)


@pytest.mark.parametrize(("by", "others"), [(Soft, Success), (KeyboardInterrupt, Failure)])
def test_what_is_raised_before_the_commit_is_raised_in_one_thread(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, by: type[BaseException], others: type
) -> None:
    transact = store._transact

    def interrupt(group: Any) -> Any:
        if len(group) > 1:
            monkeypatch.setattr(store, "_transact", transact)
            raise by("of the handler")
        return transact(group)

    monkeypatch.setattr(store, "_transact", interrupt)
    told = in_a_group(store, 5)
    assert Counter(told.values()) == Counter({Success: 1, by: 1}) + Counter({others: 4})
    assert sum(stored(store).values()) == 1 + list(told.values()).count(Success)
    began = time.monotonic()
    assert isinstance(store.run(tick(9)), Success)
    assert time.monotonic() - began < 1, "nobody who is gone has the lead"


# --- closing


def test_closing_refuses_those_who_wait_in_line(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(waiter: Any, answer: Any) -> None:
        if isinstance(answer, ToRaise):  # by `close`: another leads meanwhile
            time.sleep(0.05)
        settle(waiter, answer)

    settle = _Waiter.settle
    monkeypatch.setattr(_Waiter, "settle", slowly)

    async def close_meanwhile() -> list[object]:
        with kept_busy(store):
            tasks = [asyncio.create_task(store.run_async(tick(1)))]
            while not store._file._lock.locked():
                await asyncio.sleep(0.001)
            tasks += [asyncio.create_task(store.run_async(tick(2 + number))) for number in range(3)]
            await asyncio.sleep(0.01)
            closing = threading.Thread(target=store.close)
            closing.start()
            while not store._line._is_closed:
                await asyncio.sleep(0.001)
            tasks.append(asyncio.create_task(store.run_async(tick(9))))
            await asyncio.sleep(0)
        answers = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
        closing.join(5)
        assert not closing.is_alive()
        return list(answers)

    begun, *others = asyncio.run(close_meanwhile())
    assert isinstance(begun, Success)
    assert all(isinstance(answer, StoreClosed) for answer in others)
    with SqliteStore(store._file.path, CODEC) as again:
        assert stored(again) == {0: 1, 1: 1}


CLOSING = """
import signal, sys
from eventsrc import Append, SqliteStore, StreamId
from tests.kits.events import CODEC, Tick
store = SqliteStore(sys.argv[1], CODEC, timeout=60)
def close(*_):
    store.close()
    sys.exit(7)
signal.signal(signal.SIGTERM, close)
print("going", flush=True)
while True:
    store.run(Append(StreamId("here"), (Tick(0, 0, 1),) * 300))
"""


def test_a_handler_of_a_signal_may_close_what_its_thread_is_writing(tmp_path: Path) -> None:
    for number in range(scaled(1)):
        path = tmp_path / f"{number}.db"
        command = [sys.executable, "-c", CLOSING, str(path)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"going\n"
            time.sleep(0.05)
            process.terminate()
            try:
                assert process.wait(10) == 7
            finally:
                process.kill()
        with SqliteStore(path, CODEC, timeout=0.5) as store:
            assert isinstance(store.run(tick()), Success)


def test_closing_in_a_transaction_of_ones_own_ends_with_it(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db", CODEC, timeout=60)
    with store._file.writing() as connection:
        connection.execute(
            "INSERT INTO eventsrc_snapshot (stream, fold, fold_version, version, data)"
            " VALUES ('a', 'f', 1, 1, x'00')"
        )
        assert closes_within(store, 2)
    assert store._file._writers == []
    with pytest.raises(StoreClosed):
        store.run(tick())


def test_a_handler_of_a_view_may_close_the_views(store: SqliteStore, tmp_path: Path) -> None:
    view: View[Any] = View("closing", types=TYPES, failing="stop")
    views = SqliteViews(tmp_path / "views.db", timeout=60)

    @view.on(Tick)
    def close(_db: object, _recorded: object) -> None:
        views.close()

    began = time.monotonic()
    with contextlib.suppress(StoreClosed):
        (store | views).run(synchronise(view))
    assert time.monotonic() - began < 5
    with pytest.raises(StoreClosed):
        (store | views).run(synchronise(view))


def test_closing_waits_no_longer_than_the_timeout(store: SqliteStore) -> None:
    store._file.timeout = 0.2  # type: ignore[misc]
    is_done = threading.Event()

    def hold() -> None:
        with store._file.writing():
            is_done.wait(10)

    holding = threading.Thread(target=hold)
    holding.start()
    while not store._file._lock.locked():
        time.sleep(0.001)
    assert closes_within(store, 2)
    is_done.set()
    holding.join(10)
    assert store._file._writers == [], "who held it closed it"


# --- event loops


def test_keeping_a_snapshot_does_not_stop_the_event_loop(store: SqliteStore) -> None:
    async def keep() -> float:
        with kept_busy(store):
            kept = SaveSnapshot(Snapshot(HERE, "fold", 1, 1, b""))
            saving = asyncio.create_task(store.run_async(kept))
            worst, before = 0.0, time.monotonic()
            for _ in range(10):
                await asyncio.sleep(0.02)
                worst = max(worst, time.monotonic() - before)
                before = time.monotonic()
        await saving
        return worst

    store._file.timeout = 3.0  # type: ignore[misc]
    assert asyncio.run(keep()) < 1.5
