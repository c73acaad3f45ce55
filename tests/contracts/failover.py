"""Of the processes that share a view, one is killed again and again; and they are told to stop.

Passed if no partition is without an owner at work for three leases, and the view is in the end what a
replay makes; and if a process that is told to stop does within two seconds, with the view whole.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from eventsrc import Append, StreamId, View, follow, synchronise, world
from eventsrc.views.operations import GetParked, GetProgress, Leave
from tests.faults import SCALE, scaled
from tests.kits.library import Noted, folded
from tests.kits.views import Kit, Views
from tests.processes.workers import Say, Worker, until

LEASE = 0.5
PARTS = 6
FOR_EVER = 1e6


def sharing(kit: Kit, say: Say, owner: str, lease: float) -> None:
    """Shares a view until it is killed."""
    view = kit.notes(partitions=PARTS)
    with kit.open_store(timeout=10) as store, kit.open(view, timeout=10) as views:
        say("ready")
        (store | views | world).run(follow(view, 0.01, owner=owner, lease=lease))


_ASKED = ("follow", "share", "follow in a task", "share in a task")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
TOLD = [
    pytest.param(what, told, id=f"{what}-{told.name}")
    for number, what in enumerate(_ASKED)
    for told in (_SIGNALS if SCALE > 1 else [_SIGNALS[number // 2]])
]
"""What processes do, and how they are told to stop; for every commit each one way."""


def going_on(kit: Kit, say: Say, what: str) -> None:
    """Keeps a view of several partitions up to date, and gives its share of them back."""
    view = kit.notes(partitions=PARTS)
    with kit.open_store(timeout=10) as store, kit.open(view, timeout=10) as views:
        app = store | views | world
        program = follow(view, 0.001, owner="it" if "share" in what else None)
        say("ready")
        try:
            if "task" in what:
                asyncio.run(app.run_async(program))
            else:
                app.run(program)
        finally:
            app.run(Leave(view, "it"))


def stream_of_each(view: View[Any]) -> list[StreamId]:
    """A stream of each partition."""
    streams = [StreamId(f"books/{number}") for number in range(200)]
    return [next(s for s in streams if view.partition_of(s) == partition) for partition in range(PARTS)]


def longest_rest(kit: Kit, kills: int, lease: float = LEASE) -> float:
    """Kills one of three processes, that has partitions, again and again, while events come for all.

    Answers for how many seconds a partition had none at work at most: from the moment that an event
    came until it was applied.
    """
    view = kit.notes(partitions=PARTS)
    streams = stream_of_each(view)
    longest = 0.0
    with kit.open_store() as store, kit.open(view) as views:
        workers = {f"{number}": Worker(sharing, kit, f"{number}", lease) for number in range(3)}
        try:
            for worker in workers.values():
                assert worker.says("ready")
            for kill in range(kills):
                until(lambda: owners(views, view) <= workers.keys(), "an owner for each partition")
                workers.pop(str(views.run(GetProgress(view)).partitions[kill % PARTS].owner)).kill()
                for number in range(3):
                    for stream in streams:
                        store.run(Append(stream, (Noted(kill * 10 + number),)))
                wanted = (kill + 1) * 3 * PARTS

                def is_done(wanted: int = wanted) -> bool:
                    return bool(views.run(GetProgress(view)).applied == wanted)

                longest = max(longest, until(is_done, "a partition at rest", 3 * LEASE + 1))
                another = workers[f"after {kill}"] = Worker(sharing, kit, f"after {kill}", lease)
                assert another.says("ready")
        finally:
            for worker in workers.values():
                worker.kill()
        assert kit.rows(views, view) == folded(store)
        assert views.run(GetParked(view)) == ()
    return longest


def owners(views: Views, view: View[Any]) -> set[str | None]:
    return {partition.owner for partition in views.run(GetProgress(view)).partitions}


class FailoverContract:
    """The experiment, over a fixture `kit`."""

    @pytest.mark.timeout(600)
    def test_the_partitions_of_a_process_that_is_killed_are_taken_over(
        self, kit: Kit, figure: Callable[[str], None]
    ) -> None:
        kills = scaled(2, 40)
        longest = longest_rest(kit, kills)
        assert longest < 3 * LEASE
        figure(f"{kills} kills; a partition rested for {longest:.2f} s at most, a lease is {LEASE:g} s")

    @pytest.mark.timeout(600)
    def test_control_leases_that_never_end_are_caught(self, kit: Kit) -> None:
        with pytest.raises(AssertionError, match="a partition at rest"):
            longest_rest(kit, 2, FOR_EVER)

    @pytest.mark.parametrize(("what", "told"), TOLD)
    def test_a_process_that_is_told_to_stop_does(
        self, kit: Kit, what: str, told: signal.Signals
    ) -> None:
        view = kit.notes(partitions=PARTS)
        with kit.open_store() as store, kit.open(view) as views, Worker(going_on, kit, what) as worker:
            assert worker.says("ready")
            for number in range(5):
                for stream in stream_of_each(view):
                    store.run(Append(stream, (Noted(number),) * 20))
            until(lambda: bool(kit.rows(views, view)), "it is at work")  # with all that it imports
            began = time.monotonic()
            worker.send(told)
            assert worker.ended(10) not in (None, 0)
            assert time.monotonic() - began < 2
            if told == signal.SIGINT:
                assert [partition.owner for partition in views.run(GetProgress(view)).partitions] == [
                    None
                ] * PARTS
            (store | views).run(synchronise(view))
            assert kit.rows(views, view) == folded(store)
            assert views.run(GetParked(view)) == ()

    def test_control_a_process_that_does_not_listen_is_caught(self, kit: Kit) -> None:
        with Worker(deaf, kit) as worker:
            assert worker.says("ready")
            worker.send(signal.SIGTERM)
            assert worker.ended(2) is None


def deaf(_: Kit, say: Say) -> None:
    """Does not listen."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say("ready")
    time.sleep(60)
