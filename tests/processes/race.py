"""Processes that begin at the same moment, once all of them are ready."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Sequence

from tests.processes.forked import Forked


def race(script: str, arguments: Callable[[int], Sequence[str]]) -> list[tuple[int, float]]:
    """Four processes append at once; answers how often each did, and its longest wait in seconds.

    script: says "ready", waits for a line, appends, and prints the two as JSON.
    arguments: of the script, by the number of the process.
    """
    with contextlib.ExitStack() as stack:
        hogs = [
            stack.enter_context(Forked(run_script, script, *arguments(number))) for number in range(4)
        ]
        assert [hog.stdout.readline() for hog in hogs] == [b"ready\n"] * 4
        for hog in hogs:
            hog.stdin.write(b"go\n")
        return [tuple(json.loads(hog.stdout.readall())) for hog in hogs]


def run_script(script: str, *arguments: str) -> None:
    """Does what `python -c script arguments` does."""
    sys.argv = ["-c", *arguments]
    exec(script, {"__name__": "__main__"})
