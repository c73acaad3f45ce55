"""A store that can be read and not written.

Passed if all reads work, each write is refused with StoreReadOnly at once, and none is tried again.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

import eventsrc.sqlite._errors
import eventsrc.sqlite._file
from eventsrc import Append, AppendAll, Head, Read, SqliteStore, StoreOp, StreamId, Success
from eventsrc.stores.operations import (
    FindAppend,
    LoadSnapshot,
    SaveSnapshot,
    Snapshot,
    StoreBusy,
    StoreError,
    StoreReadOnly,
    StreamAppend,
)
from tests.kits.events import CODEC, Tick
from tests.kits.feed import whole_feed
from tests.kits.pages import ROOT

HERE = StreamId("ticks")
TICKS = (Tick(0, 0, 2), Tick(0, 1, 2))
PATIENCE = 0.5
"""The timeout of the stores: whoever is refused at once waits for much less."""

WRITES: list[StoreOp] = [
    Append(HERE, TICKS),
    Append(HERE, TICKS, 2),
    AppendAll((StreamAppend(HERE, TICKS), StreamAppend(StreamId("other"), TICKS))),
    SaveSnapshot(Snapshot(HERE, "total", 1, 2, b"")),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a stream of two events and a snapshot."""
    path = tmp_path / "store.db"
    with SqliteStore(path, CODEC) as store:
        assert isinstance(store.run(Append(HERE, TICKS, append_id=uuid4())), Success)
        store.run(SaveSnapshot(Snapshot(HERE, "total", 1, 1, b"kept")))
    return path


def assert_only_readable(store: SqliteStore) -> None:
    """Every read works and every write is refused at once, with nothing stored."""
    for write in WRITES:
        began = time.monotonic()
        with pytest.raises(StoreReadOnly):
            store.run(write)
        assert time.monotonic() - began < PATIENCE / 2
    events = [*whole_feed(store)]
    assert tuple(recorded.data for recorded in events) == TICKS
    assert store.run(Read(HERE)).events == tuple(events)
    assert store.run(Head(HERE)) == 2
    found = store.run(FindAppend(events[0].append_id))
    assert found is not None
    assert found.version == 2
    assert store.run(LoadSnapshot(HERE, "total", 1)) == Snapshot(HERE, "total", 1, 1, b"kept")


def test_a_store_opened_to_read_reads_and_refuses_to_write(path: Path) -> None:
    with SqliteStore(path, CODEC, read_only=True, timeout=PATIENCE) as reader:
        assert_only_readable(reader)


def test_a_store_opened_to_read_sees_what_others_append(path: Path) -> None:
    with SqliteStore(path, CODEC, read_only=True) as reader, SqliteStore(path, CODEC) as writer:
        for number in range(3, 10):
            assert isinstance(writer.run(Append(HERE, (Tick(number, 0, 1),))), Success)
            assert reader.run(Head(HERE)) == len([*whole_feed(reader)]) == number


def test_reading_only_does_not_make_a_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        SqliteStore(tmp_path / "store.db", read_only=True)
    assert [*tmp_path.iterdir()] == []


def refuse_writing(store: SqliteStore) -> list[str]:
    """Makes SQLite refuse to write; answers a list of the statements that are tried from then on."""
    tried: list[str] = []
    with store._file.writing() as writer:
        writer.set_trace_callback(tried.append)
    store._file._writer.execute("PRAGMA query_only = ON")
    tried.clear()
    return tried


def test_an_append_that_sqlite_refuses_is_tried_once(path: Path) -> None:
    with SqliteStore(path, CODEC, timeout=PATIENCE) as store:
        tried = refuse_writing(store)
        assert_only_readable(store)
        assert tried == ["BEGIN IMMEDIATE"] * len(WRITES)


def test_control_trying_again_is_caught(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    is_busy = eventsrc.sqlite._errors.is_busy

    def is_busy_or_read_only(error: sqlite3.Error) -> bool:
        return is_busy(error) or error.sqlite_errorcode == sqlite3.SQLITE_READONLY

    with SqliteStore(path, CODEC, timeout=PATIENCE) as store:
        tried = refuse_writing(store)
        monkeypatch.setattr(eventsrc.sqlite._file, "is_busy", is_busy_or_read_only)
        with pytest.raises(StoreBusy):
            assert_only_readable(store)
        assert len(tried) > 1


# --- what the system does not let us write


UNPRIVILEGED = """
import os, sys
from pathlib import Path
from eventsrc import SqliteStore
from tests.kits.events import CODEC, Tick
from tests.faults.test_read_only import PATIENCE, assert_only_readable
CODEC.decode(CODEC.encode(Tick(0, 0, 1)))  # imports what only root may be able to read
if os.geteuid() == 0:
    os.setuid(65534)
for read_only in (True, False):
    with SqliteStore(Path(sys.argv[1]), CODEC, read_only=read_only, timeout=PATIENCE) as store:
        assert_only_readable(store)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="files have other permissions here")
def test_a_file_that_this_user_may_not_write_can_be_read(path: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(path, folder / "store.db")
        folder.chmod(0o777)
        (folder / "store.db").chmod(0o444)
        command = [sys.executable, "-c", UNPRIVILEGED, str(folder / "store.db")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def read_only_disk(tmp_path: Path, path: Path) -> Iterator[Callable[[], Path]]:
    """Mounts a file system with the store, which then cannot be written."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "eventsrc-test", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a file system cannot be mounted: {mounted.stderr.strip()}")

    def remount() -> Path:
        shutil.copy(path, folder / "store.db")
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        return folder / "store.db"

    try:
        yield remount
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("read_only", [True, False])
def test_a_store_on_a_disk_that_cannot_be_written_is_refused_with_what_to_do(
    read_only_disk: Callable[[], Path], read_only: bool
) -> None:
    with pytest.raises(StoreError, match="from a read-only disk, copy it"):
        SqliteStore(read_only_disk(), CODEC, read_only=read_only, timeout=PATIENCE)
