"""Many append to the same streams at once, and others read.

Passed if the checker of histories finds no violation (in at least 20 000 operations by each of 3 seeds
in the longer tier), if unconditional appends leave stored just what was acknowledged, and if what a
reader sees is always how the stream begins, and never becomes less.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from eventsrc import Append, Interpreter, MemoryStore, Read, SqliteStore, StoreOp, StreamId
from eventsrc.events.record import Corrupted, Record
from eventsrc.programs.program import Outcome
from eventsrc.stores.operations import MAX_PAGE, Appended, NotAppended
from eventsrc.stores.prepare import Prepared
from eventsrc.testing._contract.history import check_reads, check_stream
from tests.faults import SCALE, scaled
from tests.kits.events import CODEC, Tick
from tests.processes.contender import HOT, STREAMS, Contender, Kind, Notes, main
from tests.processes.forked import Forked

DEADLINE = 300.0
SEEDS = [1, 2, 3] if SCALE > 1 else [1]
"""For what syncs a file; memory is quick enough for all three."""


@contextlib.contextmanager
def switched_often() -> Iterator[None]:
    """Threads interrupt one another much more often than usual."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def at_once(*works: Callable[[], object]) -> None:
    """Runs functions in threads; raises the first error of any."""
    start = threading.Barrier(len(works))
    errors: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            start.wait(DEADLINE)
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    with switched_often():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
    assert not any(thread.is_alive() for thread in threads)
    for error in errors:
        raise error


def by_threads(store: Interpreter[StoreOp], appends: int, kind: Kind, seed: int) -> Notes:
    """16 threads."""
    contenders = [Contender(100 * seed + number, kind) for number in range(16)]
    at_once(*[lambda one=one: one.contend(store, appends // 16) for one in contenders])
    return together([one.notes for one in contenders])


def by_tasks(store: Interpreter[StoreOp], appends: int, kind: Kind, seed: int) -> Notes:
    """16 tasks of one event loop."""
    contenders = [Contender(100 * seed + number, kind) for number in range(16)]

    async def contend(one: Contender) -> None:
        while one.done < appends // 16:
            op = one.next()
            began = time.perf_counter()
            answer: Any = await store.run_async(op)
            one.note(op, answer, began, time.perf_counter())
            await asyncio.sleep(0)

    async def everybody() -> None:
        await asyncio.gather(*map(contend, contenders))

    asyncio.run(everybody())
    return together([one.notes for one in contenders])


@contextlib.contextmanager
def processes(
    path: Path, appends: int, kind: Kind, *broken: str, seed: int = 1
) -> Iterator[list[Forked]]:
    """4 processes at work; they are done when their output is at its end."""
    with contextlib.ExitStack() as stack:
        running: list[Forked] = []
        for number in range(4):
            asked = [str(path), str(100 * seed + number), str(appends // 4), kind, *broken]
            running.append(stack.enter_context(Forked(main, *asked)))
        for process in running:
            assert process.stdout.readline() == b"ready\n"
        for process in running:
            process.stdin.write(b"go\n")
        yield running


def by_processes(path: Path, appends: int, kind: Kind, *broken: str, seed: int = 1) -> Notes:
    """4 processes."""
    with processes(path, appends, kind, *broken, seed=seed) as running:
        return together([pickle.loads(one.stdout.readall()) for one in running])


def together(notes: Sequence[Notes]) -> Notes:
    all_notes = Notes()
    for some in notes:
        all_notes.add(some)
    return all_notes


def ids(store: Interpreter[StoreOp], stream: StreamId) -> list[tuple[int, int]]:
    """What is in a stream, told apart as in the attempts."""
    found: list[tuple[int, int]] = []
    while True:
        page = store.run(Read(stream, len(found), MAX_PAGE))
        versions = [recorded.version for recorded in page.events]
        assert versions == [*range(len(found) + 1, len(found) + len(versions) + 1)]
        found += [(recorded.data.batch, recorded.data.number) for recorded in page.events]
        if len(page.events) < MAX_PAGE:
            return found


def wrong_with(notes: Notes, store: Interpreter[StoreOp]) -> list[str]:
    """What no store that does one thing after the other could have answered, or would have kept."""
    wrong = [*notes.wrong]
    for stream in STREAMS:
        attempts = notes.attempts.get(stream, [])
        try:
            final = ids(store, stream)
        except (Corrupted, AssertionError) as error:
            wrong.append(f"{stream} cannot be read: {error}")
            continue
        wrong += check_stream(stream, attempts, final, notes.looks.get(stream, []))
        acknowledged = sum(isinstance(attempt.answer, Appended) for attempt in attempts)
        if acknowledged != len(final):
            wrong.append(f"{acknowledged} were acknowledged in {stream}, and {len(final)} are there")
    return wrong


# --- appends that expect a version


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("contend", [by_threads, by_tasks])
def test_appends_to_a_memory_store_are_linearizable(
    contend: Callable[..., Notes], seed: int, figure: Callable[[str], None]
) -> None:
    store = MemoryStore(CODEC)
    notes = contend(store, scaled(800, 32_000), "exact", seed)
    assert wrong_with(notes, store) == []
    figure(f"{notes.operations} operations")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("contend", [by_threads, by_tasks])
def test_appends_to_a_sqlite_store_are_linearizable(
    tmp_path: Path, contend: Callable[..., Notes], seed: int, figure: Callable[[str], None]
) -> None:
    with SqliteStore(tmp_path / "store.db", CODEC, timeout=30) as store:
        notes = contend(store, scaled(800, 32_000), "exact", seed)
        assert wrong_with(notes, store) == []
    figure(f"{notes.operations} operations")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", SEEDS)
def test_appends_of_several_processes_are_linearizable(
    tmp_path: Path, seed: int, figure: Callable[[str], None]
) -> None:
    path = tmp_path / "store.db"
    notes = by_processes(path, scaled(250, 20_000), "exact", seed=seed)
    with SqliteStore(path, CODEC) as store:
        assert wrong_with(notes, store) == []
    figure(f"{notes.operations} operations")


class ReadsChecksInserts(MemoryStore):
    """Looks at versions before it has the lock."""

    def _append(self, asked: Prepared) -> Outcome[Appended, NotAppended]:
        versions = {part.stream: self._version(part.stream) for part in asked.parts}
        time.sleep(0)
        for part in asked.parts:
            if part.expected == versions[part.stream]:
                part.expected = self._version(part.stream)
        return super()._append(asked)


def test_control_reading_then_checking_then_inserting_is_caught() -> None:
    store = ReadsChecksInserts(CODEC)
    assert wrong_with(by_threads(store, 1_600, "exact", 1), store) != []


def without_uniqueness(path: Path) -> Path:
    """A store whose versions need not be unique."""
    SqliteStore(path, CODEC).close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP INDEX eventsrc_event_by_stream")
        connection.execute("CREATE INDEX eventsrc_event_by_stream ON eventsrc_event (stream, version)")
    return path


def test_control_processes_that_read_check_and_insert_are_caught(tmp_path: Path) -> None:
    path = without_uniqueness(tmp_path / "store.db")
    notes = by_processes(path, 400, "exact", "careless")
    with SqliteStore(path, CODEC) as store:
        assert wrong_with(notes, store) != []


# --- unconditional appends


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_parallel_appends_at_any_version_are_all_stored(tmp_path: Path, kind: str) -> None:
    store: Any = MemoryStore(CODEC) if kind == "memory" else SqliteStore(tmp_path / "s.db", CODEC)
    rounds, together = scaled(40), threading.Barrier(20)
    acknowledged: list[tuple[int, int, int]] = []

    def append(writer: int) -> None:
        for number in range(rounds):
            together.wait(DEADLINE)
            answer = store.run(Append(HOT, (Tick(writer, number, 1),)))
            acknowledged.append((answer.unwrap().version, writer, number))

    with store:
        at_once(*[lambda writer=writer: append(writer) for writer in range(20)])
        stored = [(version, *one) for version, one in enumerate(ids(store, HOT), 1)]
    assert sorted(acknowledged) == stored
    assert len(stored) == 20 * rounds


@pytest.mark.timeout(600)
def test_appends_of_several_processes_at_any_version_are_all_stored(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    path = tmp_path / "store.db"
    notes = by_processes(path, scaled(200, 6_400), "any")
    with SqliteStore(path, CODEC) as store:
        assert wrong_with(notes, store) == []
    figure(f"{notes.operations} operations")


def test_control_rows_that_are_dropped_in_silence_are_caught(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    notes = by_processes(path, 400, "any", "careless", "ignoring")
    with SqliteStore(path, CODEC) as store:
        assert any("were acknowledged" in wrong for wrong in wrong_with(notes, store))


# --- readers


def watch(store: Interpreter[StoreOp], is_over: Callable[[], bool]) -> list[list[tuple[int, int]]]:
    """Reads the hot stream again and again, and once more when it is over."""
    seen: list[list[tuple[int, int]]] = []
    over = False
    while not over:
        over = is_over()
        seen.append(ids(store, HOT))
    return seen


@pytest.mark.timeout(600)
def test_a_reader_sees_the_beginning_of_what_other_processes_append(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    path = tmp_path / "store.db"
    with SqliteStore(path, CODEC) as store, processes(path, scaled(240), "any") as running:
        outputs: list[bytes] = []
        collecting = threading.Thread(
            target=lambda: outputs.extend(one.stdout.readall() for one in running)
        )
        collecting.start()
        seen = watch(store, lambda: not collecting.is_alive())
        collecting.join()
        notes = together([pickle.loads(output) for output in outputs])
        assert check_reads(seen, ids(store, HOT)) == []
        assert wrong_with(notes, store) == []
    assert len({len(read) for read in seen}) > 5, "it was read while it grew"
    figure(f"{len(seen)} reads")


class ShowsWhatIsNotStored(MemoryStore):
    """Puts events into the stream, and then looks whether they may be there."""

    def _append(self, asked: Prepared) -> Outcome[Appended, NotAppended]:
        (part,) = asked.parts
        shown: list[Record] = self._streams.setdefault(part.stream, [])
        early = asked.records(len(self._feed), self._version, 0)
        shown += early
        time.sleep(0.0001)
        with self._lock:
            shown[:] = [record for record in shown if record not in early]
        return super()._append(asked)


def test_control_a_reader_who_sees_what_is_taken_back_is_caught() -> None:
    store = ShowsWhatIsNotStored(CODEC)
    done = threading.Event()
    seen: list[list[tuple[int, int]]] = []

    def write() -> None:
        try:
            for number in range(200):
                store.run(Append(HOT, (Tick(0, number, 1),), 0))
        finally:
            done.set()

    at_once(write, lambda: seen.extend(watch(store, done.is_set)))
    assert check_reads(seen, ids(store, HOT)) != []
