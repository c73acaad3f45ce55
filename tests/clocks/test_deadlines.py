"""Every wait ends at its deadline, also where a test has stopped the time."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eventsrc import (
    Append,
    Cursor,
    MemoryStore,
    Sleep,
    SqliteStore,
    StreamId,
    View,
    _clock,
    force,
    rebuild,
    world,
)
from eventsrc.following.synchroniser import Stale
from eventsrc.following.waiting import WaitForEvents
from eventsrc.postgres import AsyncPostgresStore, PostgresListener, PostgresStore
from eventsrc.programs.world import Elapsed
from eventsrc.sqlite import _file, _turn
from eventsrc.sqlite import store as store_module
from eventsrc.stores.operations import StoreBusy, Unreachable
from eventsrc.views.memory import MemoryViews, Tables
from tests.clocks.frozen import End, Freeze, by_freezegun, each_way, in_a_loop, in_frozen_time
from tests.kits.events import CODEC, TYPES, Tick
from tests.kits.proxy import Frozen, Proxy
from tests.postgres.test_held import locked

HERE = StreamId("ticks/0")
TIMEOUT = 0.3
GRACE = 5.0
"""How long after its deadline a wait may end: a machine may be busy, and stopped time is for ever."""


def tick(number: int = 0) -> Append:
    return Append(HERE, (Tick(number, 0, 1),))


def assert_ended(end: End | None, answer: type[Any] | bool | None) -> None:
    """It ended at about its deadline, and like this."""
    assert end is not None, "it waits for ever"
    assert 0.9 * TIMEOUT <= end.seconds < TIMEOUT + GRACE
    if isinstance(answer, type):
        assert isinstance(end.answer, answer), end.answer
    else:
        assert end.answer is answer


# --- the world and the event loop


@each_way
def test_the_world_sleeps_and_its_clock_goes_on(freeze: Freeze) -> None:
    def act() -> bool:
        before = world.run(Elapsed())
        world.run(Sleep(TIMEOUT))
        return world.run(Elapsed()) - before >= 0.9 * TIMEOUT

    assert_ended(in_frozen_time(freeze, act), True)


@each_way
def test_the_world_sleeps_in_an_event_loop(freeze: Freeze) -> None:
    assert_ended(in_frozen_time(freeze, in_a_loop(lambda: world.run_async(Sleep(TIMEOUT)))), None)


@each_way
def test_what_takes_too_long_in_an_event_loop_is_cancelled(freeze: Freeze) -> None:
    async def act() -> object:
        with pytest.raises(TimeoutError):
            await _clock.within(TIMEOUT, asyncio.Event().wait())
        async with _clock.timeout(60):  # what is fast enough is left alone
            await asyncio.sleep(0)
        return await _clock.within(60, asyncio.sleep(0, "in time"))

    end = in_frozen_time(freeze, in_a_loop(act))
    assert_ended(end, str)


@each_way
def test_cancelling_a_sleeper_is_no_timeout(freeze: Freeze) -> None:
    async def act() -> bool:
        sleeper = asyncio.ensure_future(_clock.sleep(60))
        timed = asyncio.ensure_future(_clock.within(60, asyncio.Event().wait()))
        await _clock.sleep(TIMEOUT)
        for task in (sleeper, timed):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        return True

    assert_ended(in_frozen_time(freeze, in_a_loop(act)), True)


# --- stores and views


@contextlib.contextmanager
def written(path: Path) -> Iterator[None]:
    """Somebody else has the lock of a file."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@each_way
@pytest.mark.parametrize("is_async", [False, True])
def test_an_append_to_a_file_that_is_locked_ends(
    freeze: Freeze, tmp_path: Path, is_async: bool
) -> None:
    path = tmp_path / "store.db"
    with SqliteStore(path, CODEC, timeout=TIMEOUT) as store:
        store.run(tick())
        act: Callable[[], Any] = lambda: store.run(tick())  # noqa: E731
        if is_async:
            act = in_a_loop(lambda: store.run_async(tick()))
        with written(path):
            assert_ended(in_frozen_time(freeze, act), StoreBusy)


def ticks_view(version: int) -> View[Tables]:
    view: View[Tables] = View("ticks", version=version, types=TYPES)
    view.on(Tick)(lambda _tables, _event: None)
    return view


@each_way
@pytest.mark.parametrize("is_async", [False, True])
def test_a_view_that_others_keep_and_that_stays_behind_is_not_waited_for(
    freeze: Freeze, is_async: bool
) -> None:
    app = MemoryStore(CODEC) | MemoryViews() | world
    app.run(rebuild(ticks_view(1)))
    token = app.run(tick()).unwrap().token
    asked = force(ticks_view(2), token, TIMEOUT)  # queries read version 1, which nobody follows
    act = in_a_loop(lambda: app.run_async(asked)) if is_async else lambda: app.run(asked)
    assert_ended(in_frozen_time(freeze, lambda: act().failure()), Stale)


@each_way
@pytest.mark.parametrize("is_async", [False, True])
def test_an_append_to_postgres_that_others_hold_up_ends(
    freeze: Freeze, postgres_dsn: str, is_async: bool
) -> None:
    with PostgresStore(postgres_dsn, codec=CODEC, timeout=TIMEOUT) as store, locked(postgres_dsn):

        async def act() -> object:
            async with AsyncPostgresStore(postgres_dsn, codec=CODEC, timeout=TIMEOUT) as mine:
                return await mine.run_async(tick())

        alone: Callable[[], Any] = lambda: store.run(tick())  # noqa: E731
        end = in_frozen_time(freeze, in_a_loop(act) if is_async else alone)
    assert_ended(end, StoreBusy)


@each_way
@pytest.mark.parametrize("is_async", [False, True])
def test_a_server_that_does_not_answer_is_given_up(
    freeze: Freeze, postgres_dsn: str, is_async: bool
) -> None:
    def alone() -> object:
        return PostgresStore(proxy.dsn, codec=CODEC, timeout=TIMEOUT)

    async def act() -> object:
        async with AsyncPostgresStore(proxy.dsn, codec=CODEC, timeout=TIMEOUT):
            return None

    with Proxy(postgres_dsn) as proxy:
        proxy.fault = Frozen()
        end = in_frozen_time(freeze, in_a_loop(act) if is_async else alone)
    assert_ended(end, Unreachable)


@each_way
@pytest.mark.parametrize("is_async", [False, True])
def test_a_listener_waits_no_longer_than_it_is_told_to(
    freeze: Freeze, postgres_dsn: str, is_async: bool
) -> None:
    with PostgresStore(postgres_dsn, codec=CODEC) as store:
        place: Cursor = store.run(tick()).unwrap().cursor
        with PostgresListener(postgres_dsn) as listener:
            wait = WaitForEvents(place, TIMEOUT)
            act: Callable[[], Any] = lambda: listener.run(wait)  # noqa: E731
            if is_async:
                act = in_a_loop(lambda: listener.run_async(wait))
            assert_ended(in_frozen_time(freeze, act), False)


# --- controls


def test_control_with_the_clock_that_is_frozen_a_wait_never_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (_turn, _file, store_module):
        monkeypatch.setattr(module, "monotonic", lambda: time.monotonic())
    path = tmp_path / "store.db"
    with SqliteStore(path, CODEC, timeout=TIMEOUT) as store:
        store.run(tick())
        with written(path):
            assert in_frozen_time(by_freezegun, lambda: store.run(tick()), patience=1.0) is None


def test_control_a_timer_of_a_frozen_event_loop_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_clock, "_is_frozen", lambda: False)
    asleep = in_a_loop(lambda: world.run_async(Sleep(0.05)))
    assert in_frozen_time(by_freezegun, asleep, patience=1.0) is None
