"""The owner of a view's partitions is stopped for longer than its lease, and wakes up.

Passed if, wherever it was stopped, another owner has its partitions in less than two leases and a
margin, nothing that the first does under its old lease takes effect after that, and no event takes
effect twice.

In SQLite a process that is stopped inside its transaction keeps the file from being written until it
goes on: nobody can take over meanwhile, and those who try are told so by their deadline.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from eventsrc import Do, Read, ReadFeed, Recorded, View, follow, on, program, synchronise, world
from eventsrc.following.parking import retry
from eventsrc.following.synchroniser import synchronise_partition
from eventsrc.stores.operations import StoreBusy
from eventsrc.views.operations import Apply, Claim, Failed, GetParked, Lease, Leave, Park, Unpark
from tests.contracts.upkeep import failing_on
from tests.faults import scaled
from tests.kits.library import TYPES, Noted, books, folded
from tests.kits.views import Kit, Views
from tests.processes.workers import Say, Worker, until

LEASE = 0.5
MARGIN = 0.5
PARTS = 2

POINTS = [
    "before Claim",
    "after Claim",
    "after ReadFeed",
    "before Apply",
    "in a handler",
    "after Apply",
]


@attrs.define
class Name:
    """Who writes: an owner, and whether under a lease that it has claimed since it woke up."""

    text: str


def effects(
    kit: Kit, name: Name, also: Callable[[Recorded[Noted]], None] = lambda _: None
) -> View[Any]:
    """A view that keeps who applied each event, in the order of that."""
    view: View[Any] = View("effects", types=TYPES, partitions=PARTS)
    number = "bigserial" if kit.is_postgres else "integer"

    @view.schema
    def create(db: Any) -> None:
        db.execute(
            f"CREATE TABLE effect (id {number} PRIMARY KEY, position bigint, owner text, part int)"
        )

    @view.on(Noted)
    def noted(db: Any, event: Recorded[Noted]) -> None:
        partition = view.partition_of(event.stream)
        kit.execute(
            db,
            "INSERT INTO effect (position, owner, part) VALUES (?, ?, ?)",
            event.position,
            name.text,
            partition,
        )
        also(event)

    return view


def owning(kit: Kit, say: Say, point: str, is_broken: bool) -> None:
    """Shares a view, and stops itself once, at a point, when there are events; broken, without a token.

    What it does under a lease that it claims after that is done in another name.
    """
    name = Name("first")
    has_worked = is_asleep = is_awake = False

    def stop(at: str, *, has_events: bool = True) -> None:
        nonlocal is_asleep, is_awake
        if at == point and has_events and not is_asleep:
            is_asleep = True
            say("stopped")
            os.kill(os.getpid(), signal.SIGSTOP)
            is_awake = True

    def claim(op: Claim) -> tuple[Lease, ...]:
        stop("before Claim", has_events=has_worked)
        if is_awake:
            name.text = "first again"
            say("awake")
        leases: tuple[Lease, ...] = views.claim(op)
        stop("after Claim", has_events=has_worked)
        return leases

    def read(op: ReadFeed) -> Any:
        page = store.run(op)
        stop("after ReadFeed", has_events=op.limit > 1 and bool(page.events))  # no mere look
        return page

    def apply(op: Apply) -> Any:
        nonlocal has_worked
        stop("before Apply", has_events=bool(op.events) and op.partition == 0)  # the other is to come
        done = views.apply(without_token(op) if is_broken else op)
        has_worked = has_worked or bool(op.events)
        stop("after Apply", has_events=bool(op.events))
        return done

    view = effects(kit, name, lambda event: stop("in a handler"))
    with kit.open_store() as store, kit.open(view) as views:
        app = (store | views | world).but(
            on(Claim).run(claim) | on(ReadFeed).run(read) | on(Apply).run(apply)
        )
        say("ready")
        app.run(follow(view, 0.01, owner="first", lease=LEASE))


def without_token(op: Apply) -> Apply:
    return Apply(op.view, op.events, op.cursor, op.partition)


@attrs.frozen
class Found:
    """What came of a stop."""

    takeover: float
    """How many seconds it took until the partitions were another's."""
    stale: int
    """Effects of the old owner, under its old lease, after that."""
    double: int
    missing: int


def stop_an_owner(kit: Kit, point: str, *, is_broken: bool = False) -> Found:
    """Stops an owner at a point, takes its partitions over, and lets it go on."""
    view = effects(kit, Name("second"))
    streams = [
        next(b for b in books_of() if view.partition_of(b.id) == partition)
        for partition in range(PARTS)
    ]
    with kit.open_store() as store, kit.open(view) as views:

        def more() -> None:
            for stream in streams:
                store.run(stream.append(Noted(1)))

        def take_over() -> float:
            """Claims as a follower does, until it has all of them."""
            began = time.monotonic()
            while len(leases := views.run(Claim(view, "second", 60))) < PARTS:
                assert time.monotonic() < began + 10 * LEASE, "nobody can take the partitions over"
                time.sleep(LEASE / 3)
            took = time.monotonic() - began
            for lease in leases:
                (store | views).run(synchronise_partition(view, lease.partition, None, lease))
            return took

        with Worker(owning, kit, point, is_broken) as owner:
            assert owner.says("ready")
            more()
            assert owner.says("stopped")
            more()
            is_locked = point == "in a handler" and not kit.is_postgres
            if is_locked:
                refused_by_its_deadline(kit)
                owner.send(signal.SIGCONT)
            takeover = take_over() if not is_locked else 0.0
            last = rows(kit, views, view)[-1][0] if not is_locked else None
            more()
            owner.send(signal.SIGCONT)
            assert owner.says("awake")
        if is_locked:
            until(lambda: bool(views.run(Claim(view, "second", 60))), "the lease ends", 3)
            take_over()
        for partition in range(PARTS):
            (store | views).run(synchronise_partition(view, partition))
        views.run(Leave(view, "second"))
        done = rows(kit, views, view)
        times = Counter(position for _, position, _ in done)
        return Found(
            takeover,
            sum(1 for id, _, owner in done if last is not None and id > last and owner == "first"),
            sum(times.values()) - len(times),
            store.run(ReadFeed()).end.position - len(times),
        )


def books_of() -> list[Any]:
    return [books[number] for number in range(100)]


def rows(kit: Kit, views: Views, view: View[Any]) -> list[tuple[int, int, str]]:
    with views.reading(view) as db:
        found = kit.execute(db, "SELECT id, position, owner FROM effect ORDER BY id")
    return [(id, position, owner) for id, position, owner in found]


def refused_by_its_deadline(kit: Kit) -> None:
    """Another process is told, by its own deadline, that the file is kept from it."""
    view = effects(kit, Name("third"))
    began = time.monotonic()
    with pytest.raises(StoreBusy), kit.open(timeout=1.2 * LEASE) as views:
        views.run(Claim(view, "third", LEASE))
    assert time.monotonic() - began < 1.2 * LEASE + 1


class FenceContract:
    """The experiment, over a fixture `kit`."""

    @pytest.mark.timeout(600)
    @pytest.mark.parametrize("point", POINTS)
    def test_an_owner_that_wakes_up_has_no_effect_under_its_old_lease(
        self, kit: Kit, point: str, figure: Callable[[str], None]
    ) -> None:
        rounds, longest = scaled(1, 50), 0.0
        for _ in range(rounds):
            found = stop_an_owner(kit, point)
            assert found.takeover < 2 * LEASE + MARGIN
            assert (found.stale, found.double, found.missing) == (0, 0, 0)
            longest = max(longest, found.takeover)
        took = f"taken over in {longest:.2f} s at most" if longest else "taken over once it went on"
        figure(f"{rounds} owners stopped: no effect of theirs, {took}")

    @pytest.mark.timeout(600)
    @pytest.mark.parametrize("point", ["after Claim", "before Apply"])
    def test_control_an_owner_without_its_token_is_caught(self, kit: Kit, point: str) -> None:
        assert stop_an_owner(kit, point, is_broken=True).stale

    def test_an_event_that_another_has_applied_meanwhile_is_not_parked(self, kit: Kit) -> None:
        with kit.open_store() as store, kit.open() as views:
            for number in (1, 2):
                store.run(books[0].append(Noted(number)))

            view = kit.notes()
            (store | views).run(synchronise(view))
            late = Failed(books[0].id, 1, 1, "test.view.noted", "came late")
            views.run(Park(view, late))
            assert views.run(GetParked(view)) == ()
            assert kit.rows(views, view) == {"books/0": "1,2"}

    def test_what_is_held_back_while_its_stream_is_let_go_is_not_lost(self, kit: Kit) -> None:
        with kit.open_store() as store, kit.open() as views:
            app = store | views
            store.run(books[0].append(Noted(1)))
            app.run(synchronise(kit.notes(failing_on(1))))
            letting_go: list[threading.Thread] = []

            def meanwhile(_: Any, event: Recorded[Noted]) -> None:
                if event.data.number == 7:
                    thread = threading.Thread(target=views.run, args=[Unpark(view, books[0].id)])
                    letting_go.append(thread)
                    thread.start()
                    thread.join(0.3)  # if it has to wait for this transaction, it does

            app.run(retried_but_for_unpark(kit.notes()))
            view = kit.notes(meanwhile)
            store.run(books[1].append(Noted(7)))
            store.run(books[0].append(Noted(2)))
            app.run(synchronise(view))
            for thread in letting_go:
                thread.join()
            assert letting_go
            app.run(retry(view))
            assert kit.rows(views, view) == folded(store)


@program
def retried_but_for_unpark(view: View[Any]) -> Do[Read | Apply, None]:
    """A retry that has applied all that was held back, and has not let the stream go yet."""
    page: Any = yield from Read(books[0].id)
    yield from Apply(view, page.events, parked_too=True)
