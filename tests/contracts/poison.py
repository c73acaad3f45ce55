"""Events that a view cannot take, of every kind.

Passed if all of them, and nothing else, are reported with their positions; if all other streams are
complete; if one that ends the process is parked, as deadly, at the fourth start at the latest; and if,
after a fix, `retry` makes the view what a replay makes.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import attrs
import pytest

import eventsrc.views._applying
from eventsrc import Append, Head, Recorded, Sleep, View, event, follow, on, synchronise, world
from eventsrc.events.event import Opaque
from eventsrc.following.parking import retry
from eventsrc.stores.operations import StoreBusy
from eventsrc.views.operations import Applied, Apply, GetParked
from tests.contracts.upkeep import Clock, Enough
from tests.faults import scaled
from tests.kits.library import TYPES, Noted, books
from tests.kits.views import Kit, Views
from tests.processes.workers import Say, Worker

BAD = 666
STARTS = 4
"""How often a follower may start until an event that ends it is parked."""


class Bug:
    """Whether the upcaster is broken."""

    is_there = True


def brought_forward(old: dict[str, Any]) -> dict[str, Any]:
    if Bug.is_there:
        raise KeyError("count")
    return {"count": old["number"]}


@event("test.view.counted", version=2, upcast={1: brought_forward}, types=TYPES)
class Counted:
    count: int


KINDS = {
    "its handler raises": Noted(BAD),
    "its upcaster raises": Opaque("test.view.counted", 1, "json", b'{"number":5}'),
    "its bytes are no JSON": Opaque("test.view.noted", 1, "json", b"\xff\xfe"),
    "its data do not fit": Opaque("test.view.noted", 1, "json", b'{"number":[]}'),
    "its version is newer": Opaque("test.view.noted", 9, "json", b'{"number":5}'),
}


@contextmanager
def fixed_upcaster() -> Iterator[None]:
    Bug.is_there = False
    try:
        yield
    finally:
        Bug.is_there = True


def poisoned(store: Any) -> set[int]:
    """Appends to a sound stream and one with each kind of poison; answers the places of the poison."""
    places = set()
    for number in range(3):
        store.run(books[0].append(Noted(number)))
        for book, bad in enumerate(KINDS.values(), 1):
            if number == 1:
                answer = store.run(Append(books[book].id, (bad,)))
                places.add(answer.unwrap().cursor.position)
            store.run(books[book].append(Noted(number)))
    return places


def notes(
    kit: Kit,
    version: int = 1,
    *,
    is_fixed: bool,
    name: str = "notes",
    prefix: str = "",
    before: Callable[[Recorded[Any]], None] = lambda _: None,
) -> View[Any]:
    """A view that takes events as they come; fixed, it has a word for those that it cannot take.

    before: is called before each event is handled, and may raise.
    """

    view: View[Any] = View(name, version=version, prefix=prefix, types=TYPES)

    @view.schema
    def create(db: Any) -> None:
        db.execute("CREATE TABLE note (stream TEXT PRIMARY KEY, numbers TEXT NOT NULL)")

    def noted(db: Any, event: Recorded[Any]) -> None:
        before(event)
        try:
            number = str(attrs.astuple(event.data)[0])
        except Exception:
            if not is_fixed:
                raise
            number = "?"
        if number == str(BAD) and not is_fixed:
            raise ValueError(f"cannot take {BAD}")
        kit.execute(
            db,
            "INSERT INTO note VALUES (?, ?) ON CONFLICT (stream) DO UPDATE "
            "SET numbers = note.numbers || ',' || excluded.numbers",
            str(event.stream),
            number,
        )

    view.on(Noted)(noted)
    view.on(Counted)(noted)

    @view.on(Opaque)
    def opaque(db: Any, event: Recorded[Opaque]) -> None:
        if not is_fixed:
            raise ValueError("cannot take what is newer")
        kit.execute(
            db, "UPDATE note SET numbers = numbers || ',newer' WHERE stream = ?", str(event.stream)
        )

    return view


def kill_on(*deadly: int) -> Callable[[Any, Recorded[Noted]], None]:
    def kill(_: Any, event: Recorded[Noted]) -> None:
        if event.data.number in deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    return kill


EXITED: Final = 3


def exit_on(*deadly: int) -> Callable[[Any, Recorded[Noted]], None]:
    def leave(_: Any, event: Recorded[Noted]) -> None:
        if event.data.number in deadly:
            sys.exit(EXITED)

    return leave


def following(
    kit: Kit, say: Say, deadly: tuple[int, ...], is_broken: bool, exits: bool = False
) -> None:
    """Follows a view, saying "idle" when it has caught up; broken, it never parks."""
    if is_broken:
        eventsrc.views._applying.VAIN_TRIES = 10**9  # type: ignore[misc]

    def sleep(op: Sleep) -> None:
        say("idle")
        time.sleep(op.seconds)

    view = kit.notes((exit_on if exits else kill_on)(*deadly))
    with kit.open_store() as store, kit.open(view) as views:
        (store | views | world.but(on(Sleep).run(sleep))).run(follow(view))


def starts_until_idle(
    kit: Kit, deadly: tuple[int, ...], most: int, *, is_broken: bool = False, exits: bool = False
) -> int:
    """How often a follower starts until one catches up; one more than the most if none does."""
    for start in range(1, most + 1):
        with Worker(following, kit, deadly, is_broken, exits) as worker:
            if worker.says("idle"):
                return start
            assert worker.ended() == (EXITED if exits else -signal.SIGKILL)
    return most + 1


def skip(views: Views, op: Apply) -> Applied:
    """Broken, for the control: the event is passed over, and nobody hears of it."""
    done: Applied = views.apply(op)
    if not done.failed:
        return done
    with views.writing(op.view) as ledger:
        for failed in done.failed:
            ledger.move_guards({str(failed.stream): 10**6})
            ledger.unpark(failed.stream)
            ledger.move_guards({str(failed.stream): failed.version})
    return skip(views, op)


class PoisonContract:
    """The experiment, over a fixture `kit`."""

    def found(self, kit: Kit, *, skips: bool = False) -> tuple[set[int], set[int], bool, bool]:
        """The poison that there is, that which is reported, whether the others are complete, and
        whether the view is right after a fix."""
        broken = notes(kit, is_fixed=False)
        with kit.open_store() as store, kit.open() as views:
            places = poisoned(store)
            app = store | views | Clock().world
            if skips:
                app = app.but(on(Apply).run(lambda op: skip(views, op)))
            with pytest.raises(Enough):
                app.run(follow(broken))
            reported = {parked.position for parked in views.run(GetParked(broken))}
            sound = {books[0].id: "0,1,2"} | {books[book].id: "0" for book in range(1, len(KINDS) + 1)}
            is_complete = kit.rows(views, broken) == sound
            with fixed_upcaster():
                fixed, fresh = notes(kit, is_fixed=True), notes(kit, 2, is_fixed=True)
                left = (store | views).run(retry(fixed))
                (store | views).run(synchronise(fresh))
            rows = kit.rows(views, fixed, live=False)
            is_right = not left and rows == kit.rows(views, fresh, live=False)
            return places, reported, is_complete, is_right

    def test_all_poison_is_reported_and_a_fix_makes_the_view_what_a_replay_makes(
        self, kit: Kit
    ) -> None:
        places, reported, is_complete, is_right = self.found(kit)
        assert reported == places
        assert is_complete
        assert is_right

    def test_control_poison_that_is_skipped_is_caught(self, kit: Kit) -> None:
        places, reported, is_complete, is_right = self.found(kit, skips=True)
        assert len(places) == len(KINDS)
        assert not reported
        assert not is_complete
        assert not is_right

    def test_control_poison_that_is_tried_for_ever_is_caught(
        self, kit: Kit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tries = iter(range(100))

        def again(_: Any, error: Exception) -> None:
            if next(tries, None) is None:
                raise Enough
            raise StoreBusy from error

        view = notes(kit, is_fixed=False)
        monkeypatch.setattr(eventsrc.views._applying, "_check_blame", again)
        with kit.open_store() as store, kit.open() as views:
            poisoned(store)
            app = store | views | Clock().world

            with pytest.raises(Enough):
                app.run(follow(view))
            assert views.run(GetParked(view)) == ()
            assert kit.rows(views, view).get(books[0].id) != "0,1,2"

    def test_a_handler_that_raises_three_times_and_then_does_not_leaves_nothing_parked(
        self, kit: Kit
    ) -> None:
        tries = iter(range(3))

        def fail(_: Any, event: Recorded[Noted]) -> None:
            if event.data.number == BAD and next(tries, None) is not None:
                raise ConnectionError("try again")

        view = kit.notes(fail)
        with kit.open_store() as store, kit.open() as views:
            for number in (1, BAD, 2):
                store.run(books[1].append(Noted(number)))
                store.run(books[0].append(Noted(number + 1000)))
            with pytest.raises(Enough):
                (store | views | Clock().world).run(follow(view))
            assert views.run(GetParked(view)) == ()
            assert kit.rows(views, view)[books[1].id] == f"1,{BAD},2"

    @pytest.mark.timeout(600)
    def test_an_event_that_ends_processes_is_parked_at_the_fourth_start(self, kit: Kit) -> None:
        numbers = range(scaled(40))
        deadly = (7,)
        view = kit.notes()
        with kit.open_store() as store, kit.open(view) as views:
            places = []
            for number in numbers:
                answer = store.run(books[number % 4].append(Noted(number)))
                places += [answer.cursor.position] if number in deadly else []
            assert starts_until_idle(kit, deadly, STARTS) <= STARTS
            (parked,) = views.run(GetParked(view))
            assert [parked.position] == places
            assert parked.is_deadly
            wanted = {books[book].id: ",".join(map(str, numbers[book::4])) for book in range(4)}
            assert kit.rows(views, view) == {**wanted, books[3].id: "3"}
            assert parked.held == store.run(Head(books[3].id))
            assert (store | views).run(retry(view)) == ()
            assert kit.rows(views, view) == wanted

    @pytest.mark.timeout(600)
    def test_of_two_events_that_end_processes_each_is_parked(self, kit: Kit) -> None:
        view = kit.notes()
        with kit.open_store() as store, kit.open(view) as views:
            for number in range(12):
                store.run(books[number % 4].append(Noted(number)))
            assert starts_until_idle(kit, (2, 7), 2 * STARTS) <= 2 * STARTS
            assert [parked.position for parked in views.run(GetParked(view))] == [3, 8]
            assert all(parked.is_deadly for parked in views.run(GetParked(view)))
            assert kit.rows(views, view) == {"books/0": "0,4,8", "books/1": "1,5,9", "books/3": "3"}

    @pytest.mark.timeout(600)
    def test_an_event_whose_handler_exits_is_parked_at_the_fourth_start(self, kit: Kit) -> None:
        view = kit.notes()
        with kit.open_store() as store, kit.open(view) as views:
            for number in range(12):
                store.run(books[number % 4].append(Noted(number)))
            assert starts_until_idle(kit, (7,), STARTS, exits=True) <= STARTS
            (parked,) = views.run(GetParked(view))
            assert (parked.stream, parked.is_deadly) == (books[3].id, True)
            assert kit.rows(views, view)[books[0].id] == "0,4,8"

    def test_control_a_process_that_never_parks_what_ends_it_is_caught(self, kit: Kit) -> None:
        with kit.open_store() as store:
            store.run(books[0].append(Noted(7)))
        assert starts_until_idle(kit, (7,), STARTS + 2, is_broken=True) > STARTS
