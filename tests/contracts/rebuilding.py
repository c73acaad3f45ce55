"""A view is rebuilt while others write and read; a slow view harms nobody.

Passed if no reader ever sees a part of a view, though the process that rebuilds is killed again and
again, and right at the swap; if the old version is whole after each kill; and if the new one has all
events in the end. And if a view that is slow, and far behind, makes its process grow by less than 20
MiB, says how far behind it is, and does not slow those who append.
"""

from __future__ import annotations

import math
import os
import random
import resource
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from eventsrc import (
    START,
    Append,
    ReadFeed,
    Recorded,
    StreamId,
    on,
    rebuild,
    status,
    synchronise,
    world,
)
from eventsrc.following.parking import retry
from eventsrc.views.operations import Discard, GetLive, GoLive
from eventsrc.views.view import View
from tests.faults import scaled
from tests.kits.library import Noted, folded
from tests.kits.views import Kit, Views
from tests.processes.workers import Say, Worker, until

EVENTS = scaled(200, 400)
GROWTH = scaled(8, 20) * 1024
"""KiB."""
WAITING = scaled(20_000, 100_000)
SLOW = 0.01
SOME = 100
"""How many appends are timed in a phase."""
PHASES = scaled(1, 6)
MEASURED = scaled(20, 3000)
"""After how many slow events it is looked how much the process grew: in the longer tier, pages."""


def slowly(kit: Kit, version: int = 2) -> View[Any]:
    """A view of notes that takes 0.2 ms an event, so that it can be killed."""
    return kit.notes(lambda _, event: time.sleep(0.0002), version=version)


def rebuilding(kit: Kit, say: Say, dies_at: str) -> None:
    """Rebuilds the second version; dies right before or after the swap, if it shall."""

    def go_live(op: GoLive) -> None:
        if dies_at == "before the swap":
            os.kill(os.getpid(), signal.SIGKILL)
        views.run(op)
        if dies_at == "after the swap":
            os.kill(os.getpid(), signal.SIGKILL)

    def read(op: ReadFeed) -> Any:
        return store.run(ReadFeed(op.after, 20, op.prefix))  # smaller pages: more places to die at

    view = slowly(kit)
    with kit.open_store(timeout=10) as store, kit.open(timeout=10) as views:
        say("ready")
        app = (store | views | world).but(on(GoLive).run(go_live) | on(ReadFeed).run(read))
        app.run(rebuild(view))
        say("done")


def rebuilding_in_place(kit: Kit, say: Say, _: str) -> None:
    """Broken, for the control: empties the version that queries read, and fills it again."""
    view = slowly(kit, version=1)
    with kit.open_store(timeout=10) as store, kit.open(timeout=10) as views:
        other = kit.notes(version=9)
        views.run(synchronise_nothing(views, other))
        views.run(Discard(view))
        views.run(synchronise_nothing(views, view))
        say("ready")
        (store | views).run(synchronise(view))
        say("done")


def synchronise_nothing(views: Views, view: View[Any]) -> GoLive:
    """Has an empty version of a view made, to go live."""
    with views.writing(view):
        pass
    return GoLive(view)


class Reader(threading.Thread):
    """Counts what queries see, on and on: in a whole view it never becomes less."""

    def __init__(self, kit: Kit) -> None:
        super().__init__(daemon=True)
        self._kit = kit
        self.counts: list[int] = []
        self.errors: list[Exception] = []
        self.is_over = threading.Event()

    def run(self) -> None:
        view = self._kit.notes()
        with self._kit.open() as views:
            while not self.is_over.is_set():
                try:
                    self.counts.append(counted(self._kit.rows(views, view)))
                except Exception as error:
                    self.errors.append(error)
                time.sleep(0.001)

    def __enter__(self) -> Reader:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        self.join(10)
        assert not self.is_alive()

    def has_looked_since(self, looks: int) -> bool:
        """Whether it has looked more often than so."""
        return len(self.counts) > looks

    @property
    def went_back(self) -> bool:
        return any(later < sooner for sooner, later in zip(self.counts, self.counts[1:], strict=False))


def counted(rows: dict[str, str]) -> int:
    """How many notes a view holds."""
    return sum(numbers.count(",") + 1 for numbers in rows.values())


def append(store: Any, number: int) -> None:
    store.run(Append(StreamId(f"books/{number % 7}"), (Noted(number),)))


def following_slowly(kit: Kit, say: Say, is_broken: bool) -> None:
    """Synchronises a slow view, and says by how many KiB it grew; broken, it reads all of it first."""
    places: list[int] = []

    def slow(_: Any, event: Recorded[Noted]) -> None:
        time.sleep(SLOW)
        places.append(event.position)
        if len(places) == MEASURED:
            say("too much" if grown() - before > GROWTH else "little")

    view = kit.notes(slow)
    with kit.open_store(timeout=10) as store, kit.open(view, timeout=10) as views:
        (store | views).run(synchronise(kit.notes(version=9), 1))  # the caches are warm now
        before = grown()
        say("ready")
        events: list[Recorded[Any]] = []
        if is_broken:
            cursor = START
            while len(events) < WAITING:
                page = store.run(ReadFeed(cursor, 10_000))
                cursor = page.next
                events += [recorded for recorded in page.events if recorded.data is not None]
        (store | views).run(synchronise(view))


def grown() -> int:
    """The most memory that this process has had, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def appends(store: Any) -> list[float]:
    """How long some appends take, in seconds."""
    took = []
    for number in range(SOME):
        began = time.perf_counter()
        append(store, number)
        took.append(time.perf_counter() - began)
    return took


def p99(took: list[float]) -> float:
    return sorted(took)[math.ceil(0.99 * len(took)) - 1]


class RebuildContract:
    """The experiments, over a fixture `kit`."""

    @pytest.mark.timeout(600)
    def test_no_reader_sees_a_part_of_a_view_that_is_rebuilt(
        self, kit: Kit, figure: Callable[[str], None]
    ) -> None:
        chance = random.Random(3)
        old, new = kit.notes(), slowly(kit)
        kills = [*[""] * scaled(3), "before the swap", "after the swap", ""]
        with kit.open_store() as store, kit.open(old) as views:
            for number in range(EVENTS):
                append(store, number)
            (store | views).run(synchronise(old))
            with Reader(kit) as reader:
                for kill, dies_at in enumerate(kills):
                    for number in range(10):
                        append(store, number)
                    (store | views).run(synchronise(old))
                    whole = folded(store)
                    if dies_at or kill == len(kills) - 1:
                        # where starting takes long, an event may have seen three processes killed,
                        # and the next one parks it
                        (store | views).run(synchronise(new, 1, 20))
                        assert (store | views).run(retry(new)) == ()
                    with Worker(rebuilding, kit, dies_at) as worker:
                        assert worker.says("ready")
                        if dies_at:
                            assert worker.ended() == -signal.SIGKILL
                        elif kill < len(kills) - 1:
                            time.sleep(chance.uniform(0, 0.05))
                            worker.send(signal.SIGKILL)
                            assert worker.ended() == -signal.SIGKILL
                        else:
                            assert worker.says("done")
                    assert kit.rows(views, old, live=False) == whole
                    live = views.run(GetLive(old))
                    assert (live == 2) == (dies_at == "after the swap" or kill == len(kills) - 1)
            assert not reader.went_back
            assert reader.errors == []
            assert reader.counts[0] >= EVENTS
            assert (store | views | world).run(status(new)).lag == 0
            assert kit.rows(views, new) == folded(store)
            figure(f"{len(kills) - 1} kills; {len(reader.counts)} times a whole view was read")

    @pytest.mark.timeout(600)
    def test_no_reader_notices_that_old_versions_are_discarded(self, kit: Kit) -> None:
        old = kit.notes()
        with kit.open_store() as store, kit.open(old, timeout=30) as views:
            for number in range(20):
                append(store, number)
            app = store | views | world
            app.run(synchronise(old))
            with Reader(kit) as one, Reader(kit) as other:
                for version in range(2, 2 + scaled(8, 320)):
                    before = len(one.counts)
                    new = kit.notes(version=version)
                    assert app.run(rebuild(new)).unwrap().lag == 0
                    views.run(Discard(old))
                    old = new
                    until(partial(one.has_looked_since, before), "a look")
            for reader in (one, other):
                assert reader.errors == []
                assert set(reader.counts) == {20}

    def test_control_a_view_that_is_rebuilt_in_place_is_caught(self, kit: Kit) -> None:
        old = kit.notes()
        with kit.open_store() as store, kit.open(old) as views:
            for number in range(EVENTS):
                append(store, number)
            (store | views).run(synchronise(old))
            with Reader(kit) as reader:
                until(lambda: bool(reader.counts), "a first look")
                with Worker(rebuilding_in_place, kit, "") as worker:
                    assert worker.says("done")
            assert reader.went_back

    @pytest.mark.timeout(600)
    def test_a_slow_view_that_is_far_behind_harms_nobody(
        self, kit: Kit, figure: Callable[[str], None]
    ) -> None:
        view = kit.notes()
        with kit.open_store() as store, kit.open(view) as views:
            fill(store)
            alone: list[float] = []
            beside: list[float] = []
            with Worker(following_slowly, kit, False) as worker:
                assert worker.says("ready")
                assert worker.says("little", within=120)
                for _ in range(PHASES):
                    beside += appends(store)
                    worker.send(signal.SIGSTOP)
                    alone += appends(store)
                    worker.send(signal.SIGCONT)
                found = (store | views | world).run(status(view))
                assert found.lag == found.end.position - found.partitions[0].cursor.position
                assert WAITING - 2 * MEASURED - 1000 <= found.lag <= WAITING + 2 * PHASES * SOME
                assert worker.is_alive
            assert p99(beside) < 3 * p99(alone) + 0.01
            figure(f"p99 of appends {p99(alone) * 1e3:.2f} ms, beside it {p99(beside) * 1e3:.2f} ms")

    @pytest.mark.timeout(600)
    def test_control_a_follower_that_reads_all_of_the_feed_first_is_caught(self, kit: Kit) -> None:
        with kit.open_store() as store:
            fill(store)
            with Worker(following_slowly, kit, True) as worker:
                assert worker.says("too much", within=120)


def fill(store: Any) -> None:
    """Appends many events."""
    for number in range(WAITING // 1000):
        store.run(Append(StreamId(f"books/{number % 7}"), tuple(Noted(each) for each in range(1000))))
