"""E-SHUT: a program is told to stop, whatever it is doing.

Passed if it stops within two seconds, if the view's position fits its rows, and if nothing is left: no
thread, no lock that would keep another process from writing.
"""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from eventsrc import Append, Head, SqliteStore, SqliteViews, StreamId, Success, synchronise, world
from eventsrc.parking import follow
from eventsrc.view import GetProgress
from tests.docs.pages import ROOT
from tests.faults.events import CODEC, Tick
from tests.faults.projector import counting_view

HERE = StreamId("ticks/0")
ticks = counting_view()

WORKER = """
import asyncio, itertools, sys, threading
from eventsrc import Append, Read, SqliteStore, SqliteViews, StreamId, synchronise, world
from eventsrc.parking import follow
from tests.faults.events import CODEC, Tick
from tests.faults.projector import counting_view

path, what = sys.argv[1:]
ticks = counting_view()
here = StreamId("ticks/0")
with SqliteStore(path, CODEC, timeout=60) as store, SqliteViews(path + "-views", [ticks]) as views:
    app = store | views | world

    def append():
        store.run(Append(here, (Tick(1, 0, 1),) * 3))

    def append_for_ever():
        while True:
            append()

    async def tasks():
        async def work():
            while True:
                await store.run_async(Append(here, (Tick(1, 0, 1),)))
        await asyncio.gather(*[work() for _ in range(20)])

    append()
    print("going", flush=True)
    match what:
        case "appending":
            append_for_ever()
        case "appending in threads":
            for _ in range(8):
                threading.Thread(target=append_for_ever, daemon=True).start()
            append_for_ever()
        case "appending in tasks":
            asyncio.run(tasks())
        case "waiting to append":
            append_for_ever()
        case "reading":
            while True:
                store.run(Read(here, limit=10_000))
        case "synchronising":
            while True:
                append()
                app.run(synchronise(ticks))
        case "following":
            threading.Thread(target=append_for_ever, daemon=True).start()
            app.run(follow(ticks, 0.001))
        case "following in a task":
            asyncio.run(app.run_async(follow(ticks, 0.001)))
"""

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
    command = [sys.executable, "-c", WORKER, str(path), doing]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
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


def stopped(process: subprocess.Popen[bytes], told: signal.Signals) -> float:
    """How many seconds a process takes to stop when it is told to."""
    began = time.monotonic()
    process.send_signal(told)
    try:
        process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
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
