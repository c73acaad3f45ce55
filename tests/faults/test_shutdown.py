"""A program is told to stop, whatever it is doing.

Passed if it stops within two seconds, if the view's position fits its rows, and if nothing is left: no
thread, no lock that would keep another process from writing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from eventsrc import Append, Head, SqliteStore, SqliteViews, Success, synchronise, world
from eventsrc.following.follow import follow
from eventsrc.views.operations import GetProgress
from tests.kits.events import CODEC, Tick
from tests.kits.pages import ROOT
from tests.processes.forked import Forked
from tests.processes.projector import counting_view
from tests.processes.told import HERE, main

ticks = counting_view()

DOINGS = [
    "appending",
    "appending in threads",
    "appending in tasks",
    "waiting to append",
    "reading",
    "synchronising",
    "following",
    "following in a task",
]


@contextmanager
def busy(path: Path) -> Iterator[None]:
    """Another connection keeps the file from being written."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as rival:
        rival.execute("BEGIN IMMEDIATE")
        yield
        rival.execute("ROLLBACK")


def left_in_order(path: Path) -> bool:
    """Whether the file can be written at once, and the view goes on from where its rows are."""
    with (
        SqliteStore(path, CODEC, timeout=0.5) as store,
        SqliteViews(f"{path}-views", [ticks], timeout=0.5) as views,
    ):
        assert isinstance(store.run(Append(HERE, (Tick(9, 0, 1),))), Success)
        (store | views).run(synchronise(ticks))
        with views.reading(ticks) as db:
            ((seen,),) = db.execute("SELECT events FROM count").fetchall()
        return bool(seen == store.run(Head(HERE)) == views.run(GetProgress(ticks)).applied)


@pytest.mark.parametrize("doing", DOINGS)
@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM], ids=lambda told: told.name)
def test_a_process_that_is_told_to_stop_does(doing: str, told: signal.Signals, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    SqliteStore(path, CODEC).close()
    with started(told, path, doing) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"going\n"
        if doing == "waiting to append":
            with busy(path):
                time.sleep(0.03)
                assert stopped(process, told) < 2
        else:
            time.sleep(0.03)
            assert stopped(process, told) < 2
    assert process.returncode != 0
    assert left_in_order(path)


Process: TypeAlias = subprocess.Popen[bytes] | Forked


def started(told: signal.Signals, path: Path, doing: str) -> Process:
    """A process that does it: for SIGINT an interpreter that ends as those of programs do.

    SIGTERM ends any process at once.
    """
    if told == signal.SIGTERM:
        return Forked(main, str(path), doing)
    code = "import sys; from tests.processes.told import main; main(*sys.argv[1:])"
    command = [sys.executable, "-c", code, str(path), doing]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def stopped(process: Process, told: signal.Signals) -> float:
    """How many seconds a process takes to stop when it is told to."""
    began = time.monotonic()
    os.kill(process.pid, told)
    with suppress(subprocess.TimeoutExpired):
        process.wait(10)
    process.kill()
    return time.monotonic() - began


def test_control_a_process_that_does_not_listen_is_caught() -> None:
    deaf = "from signal import *; signal(SIGINT, SIG_IGN); print('going', flush=True); pause()"
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"going\n"
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=2)
        process.kill()


def test_cancelled_tasks_leave_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    threads = set(threading.enumerate())

    async def cancelled(work: Any) -> float:
        task = asyncio.create_task(work)
        await asyncio.sleep(0.05)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - began

    with (
        SqliteStore(path, CODEC, timeout=30) as store,
        SqliteViews(f"{path}-views", [ticks]) as views,
    ):
        store.run(Append(HERE, (Tick(1, 0, 1),)))
        with busy(path):
            assert asyncio.run(cancelled(store.run_async(Append(HERE, (Tick(2, 0, 1),))))) < 1
        following = (store | views | world).run_async(follow(ticks, 0.001))
        assert asyncio.run(cancelled(following)) < 1
    assert set(threading.enumerate()) == threads
    assert left_in_order(path)
