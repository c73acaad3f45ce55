"""Workers in processes that are killed: books are kept once, and mails have one key for each step."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from eventsrc import SqliteStore, world
from eventsrc.durable.work import work_off
from tests.faults import scaled
from tests.processes.worker import CODEC, Post, booking, books

RUNS = 40


def test_workers_that_are_killed_again_and_again_leave_the_same_books_and_mails(tmp_path: Path) -> None:
    path, mails = tmp_path / "store.db", tmp_path / "mails"
    chosen, kills = random.Random(7), scaled(6)
    with SqliteStore(path, CODEC) as store:
        for number in range(RUNS):
            store.run(booking.start(f"{number}"))
    command = [sys.executable, "-m", "tests.processes.worker", str(path), str(mails)]
    for _ in range(kills):
        with ExitStack() as stack:
            workers = [stack.enter_context(subprocess.Popen(command)) for _ in range(2)]
            before, deadline = _lines(mails), time.monotonic() + 20
            while _lines(mails) - before < chosen.randint(1, 20) and time.monotonic() < deadline:
                time.sleep(0.005)
            for worker in workers:
                worker.kill()
    with SqliteStore(path, CODEC) as store:
        app = store | world | Post(str(mails))
        app.run(work_off(booking))
        assert {app.run(booking.status(f"{number}")).state for number in range(RUNS)} == {"ended"}
        found = [(each.data.order, each.data.step) for each in app.run(books.history())]
    assert sorted(found) == sorted((f"{number}", step) for number in range(RUNS) for step in range(3))
    sent = [line.split() for line in mails.read_text().splitlines()]
    assert len({key for _, key in sent}) == len({(to, key) for to, key in sent}) == 3 * RUNS
    assert len(sent) <= 3 * RUNS + 2 * 2 * kills, "only what was under way comes twice"


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0
