"""There is no room for more, and then there is again.

Passed if the append that finds no room is refused with the typed error, no batch is half, all that was
acknowledged is there, and appends work after space has returned.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventsrc import Append, SqliteStore, StreamId, Success
from eventsrc.sqlite._file import WriteTransaction
from eventsrc.stores.operations import StoreFull
from tests.faults import scaled
from tests.kits.events import CODEC, Tick
from tests.kits.feed import assert_sound, batches_of, whole_feed
from tests.kits.pages import ROOT

HERE = StreamId("ticks")


def batch(number: int) -> tuple[Tick, ...]:
    size = 1 + number % 5
    return tuple(Tick(number, n, size) for n in range(size))


def fill(store: SqliteStore, first: int) -> tuple[list[int], int]:
    """Appends until there is no room; answers what was acknowledged, and the batch that was refused."""
    acknowledged: list[int] = []
    for number in range(first, first + 100_000):
        try:
            assert isinstance(store.run(Append(HERE, batch(number))), Success)
        except StoreFull:
            return acknowledged, number
        acknowledged.append(number)
    raise AssertionError("it never was full")


def fill_again_and_again(
    path: Path,
    rounds: int,
    squeeze: Callable[[SqliteStore], None],
    relieve: Callable[[SqliteStore], None],
) -> int:
    """Fills the store, gives it room and fills it again; looks at what is stored each time.

    Answers how many batches there are in the end.
    """
    acknowledged: list[int] = []
    number = 0
    with SqliteStore(path, CODEC) as store:
        for _ in range(rounds):
            squeeze(store)
            stored, number = fill(store, number)
            acknowledged += stored
            with pytest.raises(StoreFull, match="no room for more"):
                store.run(Append(HERE, tuple(Tick(number, n, 2000) for n in range(2000))))
            assert [*batches_of(whole_feed(store))] == acknowledged, "reading needs no room"
            relieve(store)
            assert isinstance(store.run(Append(HERE, batch(number))), Success), "it works again"
            acknowledged.append(number)
            number += 1
    assert_sound(path)
    with SqliteStore(path, CODEC) as again:
        assert [*batches_of(whole_feed(again))] == acknowledged
    return len(acknowledged)


def limit_pages(store: SqliteStore) -> None:
    """Leaves the file a few pages to grow by."""
    with store._file.writing() as writer:
        ((pages,),) = writer.execute("PRAGMA page_count").fetchall()
        writer.execute(f"PRAGMA max_page_count = {pages + 5}")


def unlimit_pages(store: SqliteStore) -> None:
    with store._file.writing() as writer:
        writer.execute("PRAGMA max_page_count = 1000000")


def test_a_store_that_may_have_no_more_pages_refuses_and_goes_on_when_it_may(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    batches = fill_again_and_again(tmp_path / "store.db", scaled(5), limit_pages, unlimit_pages)
    figure(f"full {scaled(5)} times, {batches} batches acknowledged; 0 lost, 0 half")


def test_control_an_unconditional_rollback_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(writing: WriteTransaction, _kind: object, error: object, _traceback: object) -> None:
        end = "COMMIT" if error is None else "ROLLBACK"
        try:
            writing._file._writer.execute(end)  # SQLite has rolled back already
        finally:
            writing.give_back()

    monkeypatch.setattr(WriteTransaction, "__exit__", leave)
    with pytest.raises(sqlite3.OperationalError, match="no transaction is active"):
        fill_again_and_again(tmp_path / "store.db", 1, limit_pages, unlimit_pages)


# --- files that may not grow


@pytest.mark.skipif(sys.platform == "win32", reason="processes have no limits here")
@pytest.mark.parametrize("most", [100_000, 300_000, 1_000_000])
def test_a_process_whose_files_may_not_grow_is_told_and_loses_nothing(
    tmp_path: Path, most: int, figure: Callable[[str], None]
) -> None:
    path = tmp_path / "store.db"
    command = [sys.executable, "-m", "tests.processes.fill", str(path), str(most)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    acknowledged, refused, answers = json.loads(done.stdout)
    assert answers == ["Unknown"] * 3, "SQLite reports an error of the disk at the commit"
    assert len(acknowledged) + len(refused) == max(acknowledged) + 1
    assert_sound(path)
    with SqliteStore(path, CODEC) as store:
        assert [*batches_of(whole_feed(store))] == acknowledged
    figure(f"{len(acknowledged)} batches acknowledged, {len(refused)} refused; 0 lost, 0 half")


# --- a disk that is full


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "eventsrc-test", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_refuses_appends_until_there_is_space(small_disk: Path) -> None:
    ballast = small_disk / "ballast"

    def squeeze(_: SqliteStore) -> None:
        free = os.statvfs(small_disk)
        with contextlib.suppress(OSError):
            ballast.write_bytes(bytes(max(free.f_bavail * free.f_frsize - 100_000, 0)))

    def relieve(_: SqliteStore) -> None:
        ballast.unlink()

    fill_again_and_again(small_disk / "store.db", 3, squeeze, relieve)
