"""The time stands still, by either of the two packages with which tests freeze it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import attrs
import pytest

MISSING = "not installed: pip install -e '.[test-clocks]'"

freezegun: Any = pytest.importorskip("freezegun", reason=f"freezegun is {MISSING}")
time_machine: Any = pytest.importorskip("time_machine", reason=f"time-machine is {MISSING}")

Freeze: TypeAlias = Callable[[str], AbstractContextManager[object]]


def by_freezegun(moment: str) -> AbstractContextManager[object]:
    frozen: AbstractContextManager[object] = freezegun.freeze_time(moment)
    return frozen


def by_time_machine(moment: str) -> AbstractContextManager[object]:
    frozen: AbstractContextManager[object] = time_machine.travel(moment, tick=False)
    return frozen


each_way = pytest.mark.parametrize("freeze", [by_freezegun, by_time_machine])

MOMENT = "2024-05-05"


@attrs.frozen
class End:
    """An answer, or what was raised; and the seconds of a clock that nobody freezes until then."""

    answer: Any
    seconds: float


def in_frozen_time(freeze: Freeze, act: Callable[[], Any], patience: float = 15.0) -> End | None:
    """How something ends that is done while the time stands still; None if it does not by then."""
    ends: list[End] = []

    def run() -> None:
        began = time.clock_gettime(time.CLOCK_MONOTONIC)
        try:
            answer = act()
        except Exception as error:
            answer = error
        ends.append(End(answer, time.clock_gettime(time.CLOCK_MONOTONIC) - began))

    with freeze(MOMENT):
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(patience)
    return ends[0] if ends else None


def in_a_loop(act: Callable[[], Awaitable[Any]]) -> Callable[[], Any]:
    """The same in an event loop of its own."""

    async def main() -> Any:
        return await act()

    return lambda: asyncio.run(main())
