"""A rolling deploy with a changed event: old and new processes at work on the same streams."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from eventsrc import Fold, StreamId
from eventsrc.events.codec import Codec
from eventsrc.opening import open_store
from eventsrc.streams.stream import Stream
from tests.faults import scaled
from tests.kits.pages import ROOT
from tests.processes.rolling import STREAMS, amount, moved

EACH = scaled(10)
PATIENCE = 60


@pytest.fixture(params=["sqlite", "postgres"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'store.db'}"
    of = conninfo_to_dict(request.getfixturevalue("shared_dsn"))
    return f"postgresql://{of['user']}@/{of['dbname']}?host={of['host']}&port={of['port']}"


@contextmanager
def process(code: str, address: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.processes.rolling", code, address]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "begins\n"
            yield running
        finally:
            running.kill()


def outcomes(*processes: subprocess.Popen[str]) -> list[Any]:
    """What the processes did, which were all told to begin before the first is waited for."""
    for each in processes:
        assert each.stdin is not None
        each.stdin.write("go\n" * EACH)
        each.stdin.flush()
    return [json.loads(each.communicate(timeout=PATIENCE)[0]) for each in processes]


def total(address: str) -> int:
    types, cls = moved("new")
    fold: Fold[int, Any] = Fold(0, lambda so_far, each: so_far + amount(each))
    with open_store(address, codec=Codec(types)) as store:
        streams: list[Stream[Any]] = [
            Stream(StreamId(f"rolling/{number}"), events=cls) for number in range(STREAMS)
        ]
        return sum(store.run(stream.get(fold)).state for stream in streams)


def test_old_processes_that_were_told_before_go_on_beside_new_ones(address: str) -> None:
    before = total(address)
    with (
        process("old", address) as one,
        process("old", address) as two,
        process("new", address) as new,
    ):
        assert outcomes(one, two, new) == [[EACH, ""]] * 3
    assert total(address) - before == 3 * EACH


def test_control_old_processes_that_were_not_told_fail(tmp_path: Path) -> None:
    address = f"sqlite:{tmp_path / 'store.db'}"
    with process("new", address) as new:
        assert outcomes(new) == [[EACH, ""]]
    with process("unready", address) as old:
        assert outcomes(old) == [[0, "UnknownEvent"]]
