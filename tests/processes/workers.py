"""Processes that keep a view, for tests that kill them, stop them and tell them to stop.

They are forked from a server that has everything imported, so that one starts in milliseconds.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from tests.kits.views import Kit
from tests.processes.forked import CONTEXT

PATIENCE = 20.0
"""For how many seconds a worker is waited for before a test fails."""

Say = Callable[[str], None]
"""How a worker tells its test something."""


def until(is_so: Callable[[], bool], what: str, within: float = PATIENCE) -> float:
    """Waits for something, and answers for how many seconds."""
    began = time.monotonic()
    while not is_so():
        if time.monotonic() > began + within:
            raise AssertionError(f"waited {within:g} seconds in vain: {what}")
        time.sleep(0.005)
    return time.monotonic() - began


class Worker:
    """A process that runs work(kit, say, *args) until it is ended; it is killed at the end."""

    def __init__(self, work: Callable[..., None], kit: Kit, *args: Any) -> None:
        self._ear, mouth = CONTEXT.Pipe(duplex=False)
        self._process = CONTEXT.Process(target=_work, args=(work, kit, mouth, args), daemon=True)
        self._process.start()
        mouth.close()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def says(self, text: str, within: float = PATIENCE) -> bool:
        """Waits until it says this; answers False if it ended before."""
        deadline = time.monotonic() + within
        try:
            while self._ear.poll(max(deadline - time.monotonic(), 0)):
                if self._ear.recv() == text:
                    return True
        except (EOFError, ConnectionResetError):
            return False
        raise AssertionError(f"the worker has not said {text!r} for {PATIENCE:g} seconds")

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def send(self, told: signal.Signals) -> None:
        """Sends it a signal."""
        os.kill(self.pid, told)

    def ended(self, within: float = PATIENCE) -> int | None:
        """Waits for its end, and answers its exit code; None if it goes on."""
        self._process.join(within)
        return self._process.exitcode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """Kills it, unless it has ended, and waits for its end."""
        self._process.kill()
        self._process.join(PATIENCE)
        self._ear.close()


def _work(work: Callable[..., None], kit: Kit, mouth: Any, args: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which the server of forks ignores
    work(kit, mouth.send, *args)
