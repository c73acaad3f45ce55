"""A real outage, longer than every timeout that is configured, through which a follower lives.

It runs in a thread, or in an event loop. Passed if it applies what came before the outage and after it,
says once that it waits and once that it goes on, and tells of it meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

import pytest

from eventsrc import Interpreter, View, follow, world
from eventsrc.following.outages import followers
from eventsrc.programs.world import Sleep

TIMEOUT: Final = 0.2
"""Seconds: of everything that has a timeout."""

LONG: Final = 1.5
"""Seconds that an outage lasts."""


class Over(Exception):
    """Ends the follower."""


def until(is_so: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Waits until something is so."""
    pause = threading.Event()
    for _ in range(int(seconds * 100)):
        if is_so():
            return
        pause.wait(0.01)
    pytest.fail(f"{what}: not within {seconds} s")


def check_lives_through(
    app: Interpreter[Any],
    view: View[Any],
    write: Callable[[], object],
    applied: Callable[[], int],
    outage: AbstractContextManager[object],
    caplog: pytest.LogCaptureFixture,
    *,
    is_async: bool,
    owner: str | None = None,
    extra: int = 0,
    long: float = LONG,
) -> None:
    """Fails unless a follower of a view lives through an outage.

    write: appends one event. applied: the number that the view has. outage: lasts as long as a `with`.
    extra: the number of events that are written as it begins. long: its seconds.
    """
    over = threading.Event()
    ended: list[BaseException] = []

    def stopping(op: Sleep) -> Any:
        if over.is_set():
            raise Over
        return op

    app = app.but(world.around(stopping, only=Sleep))
    following = follow(view, 0.01, owner=owner, lease=2.0)

    def work() -> None:
        try:
            asyncio.run(app.run_async(following)) if is_async else app.run(following)
        except BaseException as error:
            ended.append(error)

    def has(number: int) -> bool:
        assert not ended, ended
        return applied() == number

    thread = threading.Thread(target=work)
    with caplog.at_level(logging.WARNING, "eventsrc"):
        thread.start()
        write()
        until(lambda: has(1), "an event before the outage is applied")
        with outage:
            until(lambda: any(its.trouble or its.ended_by for its in followers(view)), "it tells of it")
            threading.Event().wait(long)
            (its,) = followers(view)
            assert its.trouble is not None
            assert its.ended_by is None
        assert not ended, ended
        write()
        until(lambda: has(2 + extra), "an event after the outage is applied")
        until(lambda: not any(its.trouble for its in followers(view)), "it says that all is well")
        over.set()
        thread.join(20)
    assert [type(error) for error in ended] == [Over]
    told = [record.message for record in caplog.records if "the follower of" in record.message]
    assert ["waits" in line or "goes on" in line for line in told] == [True] * 2, told
