"""There is no room for more on the disk of the server, and then there is again.

Passed if an append that finds no room is refused with StoreFull, or Unknown where the server ends for
want of room in its log; and if, when there is room and the server was started again, all that was
acknowledged is there, no batch is half, and appends work.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from eventsrc import Append, StreamId
from eventsrc.postgres import PostgresStore
from eventsrc.stores.operations import StoreFull, Unknown
from eventsrc.testing.postgres import PostgresServer
from tests.kits.events import CODEC, TYPES, Tick
from tests.kits.feed import batches_of, whole_feed
from tests.postgres.test_crash import _no_address, own_server
from tests.postgres.test_held import ask
from tests.postgres.witness import outcome

__all__ = ["TYPES", "_no_address"]

HERE = StreamId("ticks")
ROOM = 40
"""How many MiB the disk has when there is room."""


@pytest.fixture
def disks() -> Iterator[ExitStack]:
    """What unmounts file systems at the end."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    with ExitStack() as stack:
        yield stack


def mount(disks: ExitStack, folder: Path, size: int, owner: int) -> None:
    """Mounts a file system of so many MiB."""
    options = f"size={size}m,uid={owner},mode=0700"
    command = ["mount", "-t", "tmpfs", "-o", options, "eventsrc-test", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted: {mounted.stderr.strip()}")
    disks.callback(subprocess.run, ["umount", "-l", str(folder)], check=True)


def make_room(folder: Path) -> None:
    subprocess.run(["mount", "-o", f"remount,size={ROOM}m", str(folder)], check=True)


def batch(number: int, size: int) -> tuple[Tick, ...]:
    return tuple(Tick(number, n, size) for n in range(size))


def fill(store: PostgresStore, size: int) -> tuple[list[int], Any]:
    """Appends until something is not acknowledged; answers what was, and what that was told."""
    acknowledged: list[int] = []
    for number in range(5_000):
        told = outcome(store, Append(HERE, batch(number, size)))
        if isinstance(told, StoreFull | Unknown):
            return acknowledged, told
        assert not isinstance(told, Exception), told
        acknowledged.append(number)
    raise AssertionError("it never was full")


def check(dsn: str, acknowledged: list[int], told: Any) -> None:
    """All that was acknowledged is there, and what was not only if that is unknown; and it goes on."""
    with PostgresStore(dsn, codec=CODEC) as store:
        stored = [*batches_of(whole_feed(store))]
        unknown = [len(acknowledged)] if isinstance(told, Unknown) else []
        assert stored in (acknowledged, acknowledged + unknown)
        store.run(Append(HERE, batch(9_999, 10))).unwrap()
        assert [*batches_of(whole_feed(store))] == [*stored, 9_999]


def owner_of(server: PostgresServer) -> int:
    return (server.directory / "home" / "data").stat().st_uid


def test_tables_that_find_no_room_refuse_and_go_on_when_there_is_some(disks: ExitStack) -> None:
    server, dsn = disks.enter_context(own_server())
    folder = server.directory / "home" / "small"
    folder.mkdir()
    mount(disks, folder, 2, owner_of(server))
    ask(dsn, f"CREATE TABLESPACE small LOCATION '{folder}'")
    small = make_conninfo(dsn, options="-c default_tablespace=small")
    with PostgresStore(small, codec=CODEC) as store:
        acknowledged, told = fill(store, 100)
        assert isinstance(told, StoreFull)
        assert "53100" in str(told)
        assert isinstance(outcome(store, Append(HERE, batch(0, 2_000))), StoreFull), "and it goes on so"
        assert [*batches_of(whole_feed(store))] == acknowledged, "reading needs no room"
        make_room(folder)
        server.stop()
        server.start()
    check(small, acknowledged, told)


def test_a_log_that_finds_no_room_ends_the_server_and_loses_nothing(disks: ExitStack) -> None:
    server, dsn = disks.enter_context(own_server())
    server.stop()
    log = server.directory / "home" / "data" / "pg_wal"
    kept = shutil.move(log, server.directory / "kept")
    log.mkdir()
    used = sum(file.stat().st_size for file in Path(kept).rglob("*") if file.is_file())
    mount(disks, log, used // 2**20 + 4, owner_of(server))
    subprocess.run(["cp", "-a", f"{kept}/.", str(log)], check=True)
    server.start()
    with PostgresStore(dsn, codec=CODEC, timeout=1) as store:
        acknowledged, told = fill(store, 1_000)
    make_room(log)
    if server.is_running:
        server.kill()
    server.start()
    check(dsn, acknowledged, told)
