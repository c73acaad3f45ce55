"""Processes that write to one table: killed at any moment, and racing with each other."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import pytest

from tests.faults import scaled
from tests.processes.servers.writer import WARM_UP
from tests.servers import judging
from tests.servers.tables import Tables

LATENCY = 0.012
SECONDS = 5.0
"""For how long processes race."""


class Writer:
    """A process that appends."""

    def __init__(
        self,
        tables: Tables,
        table: str,
        me: str,
        *,
        threads: int,
        seconds: float,
        latency: float = 0.0,
        cheat: str = "-",
    ) -> None:
        arguments = [tables.url, table, me, str(threads), str(seconds), str(latency), cheat]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.processes.servers.writer", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_until_ready(self) -> None:
        """Returns once it has opened its store."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def begin(self) -> None:
        """Has it append."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def kill(self) -> list[str]:
        """Kills it, and answers which events it said are stored."""
        self._process.kill()
        out, _ = self._process.communicate(timeout=30)
        return [line for line in out.split("\n")[:-1] if line[:1] != "["]

    def end(self) -> tuple[list[str], list[tuple[float, float]], int, int]:
        """Which events it said are stored, how long each took, its transactions, and its lost races."""
        out, _ = self._process.communicate(timeout=60)
        assert self._process.returncode == 0
        *texts, figures = out.split("\n")[:-1]
        took, commits, lost = json.loads(figures)
        return texts, took, commits, lost


def kill(tables: Tables, table: str, seed: int, rounds: int, cheat: str = "-") -> list[str]:
    """Kills writers again and again; answers what is wrong with their table."""
    dice = random.Random(seed)
    acknowledged: list[str] = []
    for number in range(rounds):
        made = [
            Writer(tables, table, f"{number}-{nth}", threads=4, seconds=30, latency=0.004, cheat=cheat)
            for nth in range(2)
        ]
        for writer in made:
            writer.wait_until_ready()
        for writer in made:
            writer.begin()
        time.sleep(0.05 + dice.random() * 0.5)
        for writer in made:
            acknowledged += writer.kill()
    found = judging.scan(tables.client, table)
    assert len(found.texts) > rounds
    return judging.faults(found, acknowledged)


def test_writers_that_are_killed_lose_nothing_that_they_acknowledged(quick: Tables) -> None:
    assert kill(quick, quick.new(), seed=1, rounds=scaled(3, 50)) == []


def test_control_a_writer_that_acknowledges_too_early_is_caught(quick: Tables) -> None:
    wrong = kill(quick, quick.new(), seed=1, rounds=2, cheat="early")
    assert any("was acknowledged, and is not there" in line for line in wrong)


STARVED = 60
"""The commits of others that nobody waits for where turns are taken, whatever else the machine does."""


def race(
    tables: Tables, processes: int, threads: int, cheat: str = "-"
) -> tuple[list[str], int, int, Sequence[float]]:
    """Processes append at once: what is wrong then, transactions, lost races, and times in order."""
    table = tables.new()
    writers = [
        Writer(tables, table, f"{nth}", threads=threads, seconds=SECONDS, latency=LATENCY, cheat=cheat)
        for nth in range(processes)
    ]
    for writer in writers:
        writer.wait_until_ready()
    for writer in writers:
        writer.begin()
    ended: list[Any] = [writer.end() for writer in writers]
    acknowledged = [text for texts, *_ in ended for text in texts]
    took = sorted(each for _, times, _, _ in ended for began, each in times if began > WARM_UP)
    wrong = judging.faults(judging.scan(tables.client, table), acknowledged)
    return wrong, sum(one[2] for one in ended), sum(one[3] for one in ended), took


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_take_turns_and_lose_few_races(quick: Tables, processes: int) -> None:
    seen: list[tuple[float, float]] = []
    for _ in range(3):  # whatever else this machine does makes single runs slower
        wrong, commits, lost, took = race(quick, processes, 32 // processes)
        assert wrong == []
        p99 = took[len(took) * 99 // 100] * commits / (SECONDS - WARM_UP)
        seen.append((lost / commits, p99))
        if lost < 0.1 * commits and p99 < STARVED:
            return
    pytest.fail(f"races lost for each commit, and the p99 in commits: {seen}")


def test_control_without_turns_processes_lose_races(quick: Tables) -> None:
    wrong, commits, lost, _ = race(quick, 4, 8, cheat="rude")
    assert wrong == []
    assert lost > 0.1 * commits
