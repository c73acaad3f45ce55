"""Processes that begin at the same moment, once all of them are ready."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence

from tests.docs.pages import ROOT


def race(script: str, arguments: Callable[[int], Sequence[str]]) -> list[tuple[int, float]]:
    """Four processes append at once; answers how often each did, and its longest wait in seconds.

    script: says "ready", waits for a line, appends, and prints the two as JSON.
    arguments: of the script, by the number of the process.
    """
    with contextlib.ExitStack() as stack:
        hogs = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", script, *arguments(number)],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for number in range(4)
        ]
        ready = [hog.stdout.readline() for hog in hogs if hog.stdout is not None]
        assert ready == ["ready\n"] * 4
        for hog in hogs:
            assert hog.stdin is not None
            hog.stdin.write("go\n")
            hog.stdin.flush()
        return [tuple(json.loads(hog.communicate(timeout=60)[0])) for hog in hogs]
