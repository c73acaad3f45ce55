"""Processes that start in a moment: forked from a server of forks, which has everything imported.

They are for tests that start many. What runs in one is a function that could be the `main` of a
program: it has an input and an output of its own, and nobody else's memory.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from io import FileIO
from types import TracebackType
from typing import Any, Final, Self

CONTEXT: Final = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "msgspec",
        "tests.processes.replaying",
        "tests.processes.contender",
        "tests.processes.joiner",
        "tests.processes.migrant",
        "tests.processes.projector",
        "tests.processes.told",
        "tests.processes.postgres.contender",
        "tests.contracts.failover",
        "tests.contracts.lag",
        "tests.contracts.rebuilding",
    ]
)


class Forked:
    """A process that runs main(*arguments) until it is done or killed; it is killed at the end.

    pid: its id. stdin, stdout: the other ends of its input and its output, without buffers.
    """

    def __init__(self, main: Callable[..., object], *arguments: str) -> None:
        its_input, mouth = CONTEXT.Pipe(duplex=False)
        ear, its_output = CONTEXT.Pipe(duplex=False)
        asked = main, its_input, its_output, arguments
        self._process = CONTEXT.Process(target=_run, args=asked, daemon=True)
        self._process.start()
        its_input.close()
        its_output.close()
        assert self._process.pid is not None
        self.pid: Final[int] = self._process.pid
        self.stdin: Final = FileIO(os.dup(mouth.fileno()), "w")
        self.stdout: Final = FileIO(os.dup(ear.fileno()))
        mouth.close()
        ear.close()

    @property
    def returncode(self) -> int | None:
        """As that of subprocess.Popen: minus the signal that ended it; None as long as it runs."""
        return self._process.exitcode

    def wait(self, seconds: float | None = None) -> int | None:
        """Waits for its end."""
        self._process.join(seconds)
        return self._process.exitcode

    def kill(self) -> None:
        """Kills it (SIGKILL), unless it has ended, and waits for its end."""
        self._process.kill()
        self._process.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.kill()
        self.stdin.close()
        self.stdout.close()


def _run(
    main: Callable[..., object], its_input: Any, its_output: Any, arguments: tuple[str, ...]
) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which the server of forks ignores
    os.dup2(its_input.fileno(), 0)
    os.dup2(its_output.fileno(), 1)
    its_input.close()
    its_output.close()
    with open(0, closefd=False) as sys.stdin, open(1, "w", closefd=False) as sys.stdout:
        main(*arguments)
