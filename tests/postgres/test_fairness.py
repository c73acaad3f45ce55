"""Processes that append to a Postgres store without a pause all get their share.

Passed if none of four gets less than a tenth of the mean, and none waits for two seconds.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from eventsrc import Append, StreamId
from eventsrc.postgres import PostgresStore
from tests.kits.events import CODEC, Tick
from tests.postgres.transactions import ORDER_LOCK, in_scripts
from tests.processes.forked import Forked


def hog(dsn: str, name: str, seconds: str) -> None:
    """Appends for so many seconds; says how often it did, and its longest wait in seconds."""
    with PostgresStore(dsn, codec=CODEC, timeout=30) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        done, worst, end = 0, 0.0, time.monotonic() + float(seconds)
        while time.monotonic() < end:
            began = time.monotonic()
            store.run(Append(StreamId(name), (Tick(done, 0, 1),) * 20)).unwrap()
            worst = max(worst, time.monotonic() - began)
            done += 1
    print(json.dumps([done, worst]))


def compete(dsn: str, seconds: float) -> list[tuple[int, float]]:
    """Four processes append at once; answers what each says."""
    PostgresStore(dsn, codec=CODEC).close()
    with ExitStack() as stack:
        hogs = [
            stack.enter_context(Forked(hog, dsn, f"hog/{number}", str(seconds))) for number in range(4)
        ]
        for each in hogs:
            assert each.stdout.readline() == b"ready\n"
        for each in hogs:
            each.stdin.write(b"go\n")
        return [tuple(json.loads(each.stdout.readall())) for each in hogs]


@pytest.mark.timeout(120)
def test_no_process_starves_and_none_waits_long(
    postgres_dsn: str, figure: Callable[[str], None]
) -> None:
    shares = compete(postgres_dsn, 2.5)
    done, waits = zip(*shares, strict=True)
    figure(f"{min(done)} to {max(done)} appends each, and {max(waits):.2f} s the longest wait")
    assert min(done) >= 0.1 * sum(done) / len(done), shares
    assert max(waits) < 2.0, shares


@pytest.mark.timeout(120)
def test_control_a_lock_that_is_tried_now_and_again_is_less_fair(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = "WHILE NOT pg_try_advisory_xact_lock({lock}) LOOP PERFORM pg_sleep(0.5); END LOOP;"
    in_scripts(monkeypatch, ORDER_LOCK, tries)
    shares = compete(postgres_dsn, 1.2)
    assert max(wait for _, wait in shares) > 0.4, shares
