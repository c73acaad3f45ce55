"""Postgres ends the connections of those who share a view, whatever they hold, at once.

Passed if no partition is without an owner at work for three leases, and the view is in the end what a
replay makes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import attrs
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from eventsrc import Append, follow, world
from eventsrc.stores.operations import StoreError
from eventsrc.views.operations import GetParked, GetProgress
from tests.contracts.failover import FOR_EVER, LEASE, PARTS, stream_of_each
from tests.faults import scaled
from tests.kits.library import Noted, folded
from tests.kits.views import Kit
from tests.processes.workers import Say, Worker, until

END_THEM = """
    SELECT count(pg_terminate_backend(pid)), count(*) FILTER (WHERE state <> 'idle')
    FROM pg_stat_activity WHERE application_name = 'sharer' AND datname = current_database()
"""


def sharing(kit: Kit, say: Say, owner: str, lease: float, goes_on: bool) -> None:
    """Shares a view, and goes on when its connections were ended, as followers do."""
    view = kit.notes(partitions=PARTS)
    with kit.open_store(timeout=10) as store, kit.open(view, timeout=10) as views:
        say("ready")
        app = store | views | world
        with contextlib.suppress(StoreError):
            (app if goes_on else app.around(giving_up)).run(
                follow(view, 0.001, owner=owner, lease=lease)
            )


def giving_up(op: Any) -> Any:
    """Has each error of a store be one that no waiting mends."""
    try:
        return (yield from op)
    except StoreError as error:
        error.may_pass = False
        raise


def longest_rest(
    kit: Kit, ends: int, lease: float = LEASE, *, goes_on: bool = True
) -> tuple[float, int]:
    """Ends all connections of three processes again and again, while events come for all partitions.

    Answers for how many seconds a partition had none at work at most, and how many of the connections
    were at work.
    """
    view = kit.notes(partitions=PARTS)
    streams = stream_of_each(view)
    named = attrs.evolve(kit, address=make_conninfo(kit.address, application_name="sharer"))
    longest, busy, number = 0.0, 0, 0
    with (
        kit.open_store() as store,
        kit.open(view) as views,
        psycopg.connect(kit.address, autocommit=True) as ender,
    ):
        workers = [Worker(sharing, named, f"{name}", lease, goes_on) for name in range(3)]
        try:
            for worker in workers:
                assert worker.says("ready")
            for _ in range(ends):
                for _ in range(10):
                    for stream in streams:
                        number += 1
                        store.run(Append(stream, (Noted(number),)))
                    ((_, held),) = ender.execute(END_THEM).fetchall()
                    busy += held
                wanted = number

                def is_done(wanted: int = wanted) -> bool:
                    return bool(views.run(GetProgress(view)).applied == wanted)

                longest = max(longest, until(is_done, "a partition at rest", 3 * LEASE + 1))
        finally:
            for worker in workers:
                worker.kill()
        assert kit.rows(views, view) == folded(store)
        assert views.run(GetParked(view)) == ()
    return longest, busy


@pytest.fixture
def kit(postgres_dsn: str) -> Kit:
    return Kit(postgres_dsn)


@pytest.mark.timeout(600)
def test_those_whose_connections_are_ended_go_on(kit: Kit, figure: Callable[[str], None]) -> None:
    ends = scaled(2, 64)
    longest, busy = longest_rest(kit, ends)
    assert longest < 3 * LEASE
    assert busy > 0, "some of them held locks"
    figure(f"{10 * ends} times, {busy} of them at work; a partition rested for {longest:.2f} s at most")


@pytest.mark.timeout(600)
def test_control_processes_that_do_not_go_on_and_keep_their_leases_are_caught(kit: Kit) -> None:
    with pytest.raises(AssertionError, match="a partition at rest"):
        longest_rest(kit, 4, FOR_EVER, goes_on=False)
