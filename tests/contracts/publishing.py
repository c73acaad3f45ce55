"""Publishers over a database of views: nothing is skipped, and what comes again is of the last batch.

The same for every database: a class of tests, which is given a Kit.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest

from eventsrc import (
    Interpreter,
    MemoryStore,
    ReadFeed,
    Recorded,
    Sleep,
    SqliteStore,
    StreamId,
    on,
    rebuild,
    status,
    synchronise,
    world,
)
from eventsrc.events.epochs import WrongEpoch
from eventsrc.following.parking import OPERATORS
from eventsrc.publishing import (
    CloudEvent,
    MemoryBroker,
    Publish,
    Published,
    Publisher,
    Transformer,
    by_subject,
    publish,
    publish_once,
    retry,
    skip,
)
from eventsrc.publishing._sending import Sending
from eventsrc.publishing._sink import all_well
from eventsrc.publishing._tries import Tries
from eventsrc.stores.epochs import restored
from eventsrc.stores.operations import Read, StoreBusy, Unreachable
from eventsrc.views.memory import MemoryViews
from eventsrc.views.operations import Apply, GetParked
from tests.contracts.upkeep import Clock, Enough
from tests.faults import scaled
from tests.kits.dying import Died, Dying
from tests.kits.library import CODEC, TYPES, Closed, Noted, books
from tests.kits.views import Kit
from tests.processes.workers import Say, Worker, until

names = (f"main-{number}" for number in itertools.count())


@attrs.frozen
class Note:
    """A note was made in a book."""

    number: int


def notes(is_bad: Callable[[int], bool] = lambda _number: False) -> Transformer:
    """Tells of even numbers; odd ones, and that a book is closed, are nobody's business."""
    public = Transformer("https://test.example/books", types=TYPES)

    @public.of(Noted, name="example.noted")
    def noted(event: Recorded[Noted]) -> Note | None:
        number = event.data.number
        if is_bad(number):
            raise ValueError(f"cannot tell {number}")
        return Note(number) if number % 2 == 0 else None

    return public


def numbers_of(events: Sequence[CloudEvent]) -> list[int]:
    return [event.data["number"] for event in events]


def expected_of(store: Any) -> dict[str, list[int]]:
    """The numbers that are to be published of each stream, by a plain look at the feed."""
    found: dict[str, list[int]] = {}
    for event in store.run(ReadFeed(limit=10_000)).events:
        if isinstance(event.data, Noted) and event.data.number % 2 == 0:
            found.setdefault(event.stream, []).append(event.data.number)
    return found


def missing_in(came: Sequence[CloudEvent], store: Any) -> str:
    """What is wrong with the events that came, first comings alone."""
    first = {event.id: event for event in reversed(came)}
    its = {key: numbers_of(events) for key, events in by_subject([*first.values()][::-1]).items()}
    return "" if its == expected_of(store) else f"{its} came, of {expected_of(store)}"


class PublishingContract:
    """Tests over a fixture `kit`."""

    def test_a_new_publisher_begins_at_the_end(self, kit: Kit) -> None:
        store, broker, out = (
            MemoryStore(CODEC),
            MemoryBroker(),
            Publisher(next(names), notes(), batch=3),
        )
        for number in range(2_500):
            store.run(books[number % 2].append(Noted(number)))
        with kit.open() as views:
            app = store | views | world | broker
            assert app.run(publish_once(out)).lag == 0
            assert not broker.came
            for number in range(2_500, 2_520):
                store.run(books[number % 4].append(Noted(number)))
            app.run(publish_once(out))
            assert sorted(numbers_of(broker.came)) == [*range(2_500, 2_520, 2)]

    def test_a_publisher_that_began_with_nothing_tells_all_that_comes(self, kit: Kit) -> None:
        store, broker, clock = MemoryStore(CODEC), MemoryBroker(), Clock(60.0)
        once, running = Publisher(next(names), notes()), Publisher(next(names), notes())

        def sleep(op: Sleep) -> None:
            before = clock.now
            clock.world.run(op)
            if before < 30 <= clock.now:
                store.run(books[0].append(Noted(2)))

        with kit.open() as views:
            app = store | views | world | broker
            app.run(publish_once(once))
            live: Any = (store | views | clock.world | broker).but(on(Sleep).run(sleep))
            with pytest.raises(Enough):
                live.run(publish(running, 1.0))
            assert numbers_of(broker.came) == [2]
            app.run(publish_once(once))
            assert numbers_of(broker.came) == [2, 2]

    def test_a_publisher_begins_while_the_store_is_away(self, kit: Kit) -> None:
        store, broker, clock = MemoryStore(CODEC), MemoryBroker(), Clock(60.0)
        store.run(books[0].append(Noted(2)))

        def away(op: Any) -> Any:
            if clock.now < 30:
                raise Unreachable("nobody answers")
            return (yield from op)

        with kit.open() as views:
            app = store.around(away) | views | clock.world | broker
            with pytest.raises(Enough):
                app.run(publish(Publisher(next(names), notes(), begin="start"), 1.0))
        assert numbers_of(broker.came) == [2]

    def test_a_publisher_begins_where_it_is_told_the_first_time(self, kit: Kit) -> None:
        store, broker, name = MemoryStore(CODEC), MemoryBroker(), next(names)
        with kit.open() as views:
            app = store | views | world | broker
            for number in range(10):
                store.run(books[number % 2].append(Noted(number)))
            place = store.run(ReadFeed(limit=4)).next
            app.run(publish_once(Publisher(name, notes(), begin=place)))
            assert numbers_of(broker.came) == [4, 6, 8]
            app.run(publish_once(Publisher(name, notes(), begin="start")))
            assert numbers_of(broker.came) == [4, 6, 8]
            app.run(publish_once(Publisher(next(names), notes(), begin="start")))
            assert numbers_of(broker.came) == [4, 6, 8, 0, 2, 4, 6, 8]

    def test_a_rule_that_fails_parks_its_stream_alone(self, kit: Kit) -> None:
        bad = {4}
        out = Publisher(next(names), notes(lambda number: number in bad), begin="start", batch=2)
        store, broker = MemoryStore(CODEC), MemoryBroker()
        for number in range(12):
            store.run(books[number % 3].append(Noted(number)))
        with kit.open() as views:
            app = store | views | world | broker
            app.run(publish_once(out))
            assert numbers_of(broker.came) == [0, 2, 6, 8]
            (parked,) = app.run(status(out.view)).parked
            assert (parked.stream, parked.version) == ("books/1", 2)
            assert "cannot tell 4" in parked.error
            assert app.run(retry(out))[0].attempts == 2
            bad.clear()
            assert app.run(retry(out)) == ()
            assert numbers_of(broker.came) == [0, 2, 6, 8, 4, 10]
            assert missing_in(broker.came, store) == ""

    def test_what_the_broker_refuses_parks_its_stream_alone_until_it_is_skipped(self, kit: Kit) -> None:
        out = Publisher(next(names), notes(), begin="start")
        store = MemoryStore(CODEC)
        broker = MemoryBroker(lambda event: "too odd" if event.data["number"] == 4 else None)
        for number in range(12):
            store.run(books[number % 3].append(Noted(number)))
        with kit.open() as views:
            app = store | views | world | broker
            app.run(publish_once(out))
            (parked,) = app.run(GetParked(out.view))
            assert "NotPublished: too odd" in parked.error
            assert app.run(skip(out, StreamId("books/1"), "never mind")) == ()
            assert numbers_of(broker.came) == [0, 2, 6, 8, 10]
            page = store.run(Read(OPERATORS))
            assert [event.data.why for event in page.events] == ["never mind"]

    def test_the_program_of_a_follower_passes_over_nothing(self, kit: Kit) -> None:
        store, broker, out = (
            MemoryStore(CODEC),
            MemoryBroker(),
            Publisher(next(names), notes(), begin="start"),
        )
        for number in range(6):
            store.run(books[number % 3].append(Noted(number)))
        with kit.open() as views:
            app = store | views | world | broker
            for other in (synchronise(out.view), rebuild(out.view, in_place=True)):
                with pytest.raises(StoreBusy, match="was not published"):
                    app.run(other)
            assert not broker.came
            app.run(publish_once(out))
            assert missing_in(broker.came, store) == ""

    def test_a_view_that_is_built_anew_publishes_nothing(self, kit: Kit) -> None:
        store, broker = MemoryStore(CODEC), MemoryBroker()
        out = Publisher(next(names), notes(), begin="start")
        for number in range(6):
            store.run(books[number % 3].append(Noted(number)))
        with kit.open() as views:
            app = store | views | world | broker
            app.run(publish_once(out))
            came = broker.came
            view = kit.notes()
            app.run(synchronise(view))
            app.run(rebuild(view, in_place=True))
            assert broker.came == came

    def test_a_broker_that_is_away_for_an_hour_costs_lag_and_nothing_else(
        self, kit: Kit, caplog: pytest.LogCaptureFixture
    ) -> None:
        store, broker, clock = MemoryStore(CODEC), MemoryBroker(), Clock(2 * 3600.0)
        out = Publisher(next(names), notes(), begin="start", batch=10)
        lags: list[int] = []
        tries: list[float] = []
        sizes: set[int] = set()

        def sleep(op: Sleep) -> None:
            hour = 600 <= clock.now < 4200
            before = clock.now
            clock.world.run(op)
            if before // 60 != clock.now // 60:
                store.run(books[int(clock.now) % 3].append(Noted(2 * int(clock.now))))
                told = app.run(status(out.view))
                lags.append(told.lag)
                assert not hour or told.followers[0].trouble or told.lag <= 1
            broker.is_away = 600 <= clock.now < 4200

        def sent(op: Publish) -> Any:
            tries.append(clock.now)
            sizes.add(len(op.events))
            return (yield from op)

        with kit.open() as views:
            app: Any = (store | views | clock.world | broker.around(sent)).but(on(Sleep).run(sleep))
            with pytest.raises(Enough):
                app.run(publish(out, 5.0))
            app.run(publish_once(out))
        assert missing_in(broker.came, store) == ""
        assert len({event.id for event in broker.came}) == len(broker.came)
        assert max(lags) >= 59
        assert max(sizes) == 10
        assert 500 < sum(600 <= each < 4200 for each in tries) < 1_000
        told = [record.message for record in caplog.records if "broker" in record.message]
        assert [" waits: " in told[0], " goes on" in told[1], len(told)] == [True, True, 2]

    def test_a_publisher_whose_progress_was_lost_begins_where_it_began(self, kit: Kit) -> None:
        store, broker, name = MemoryStore(CODEC), MemoryBroker(), next(names)
        for number in range(4):
            store.run(books[number % 2].append(Noted(number)))
        with kit.open() as views:
            for lost in (views, MemoryViews()):
                (store | lost | world | broker).run(publish_once(Publisher(name, notes())))
                for number in range(4, 8):
                    store.run(books[number % 2].append(Noted(number)))
                (store | lost | world | broker).run(publish_once(Publisher(name, notes())))
        assert numbers_of(broker.came) == [4, 6, 4, 6, 4, 6]
        assert len({event.id for event in broker.came}) == 4

    def test_a_publisher_of_what_a_restored_store_lost_stops(self, kit: Kit, tmp_path: Path) -> None:
        out, broker = Publisher(next(names), notes()), MemoryBroker()
        late = Publisher(next(names), notes())
        path = tmp_path / "restored.db"
        with kit.open() as views:
            with SqliteStore(path, CODEC, durability="process") as store:
                app = store | views | world | broker
                for each in (out, late):
                    app.run(publish_once(each))
                store.run(books[0].append(Noted(2)))
                with sqlite3.connect(path) as connection:
                    connection.execute("VACUUM INTO ?", (str(tmp_path / "backup.db"),))
                connection.close()
                store.run(books[0].append(Noted(4)))
                app.run(publish_once(out))
            with SqliteStore(tmp_path / "backup.db", CODEC, durability="process") as store:
                store.run(restored())
                store.run(books[0].append(Noted(6)))
                app = store | views | world | broker
                with pytest.raises(WrongEpoch):
                    app.run(publish_once(out))
                assert numbers_of(broker.came) == [2, 4]
                app.run(publish_once(late))
                assert numbers_of(broker.came) == [2, 4, 2, 6]

    def test_a_process_that_dies_at_any_operation_skips_nothing(self, kit: Kit) -> None:
        found = [*deaths(kit)]
        assert len(found) > 20
        assert not [*filter(None, found)]

    def test_control_progress_that_is_noted_first_is_seen_to_skip(
        self, kit: Kit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Sending, "_apply", careless)
        assert any(deaths(kit))

    def test_an_event_whose_stream_is_let_go_on_meanwhile_is_not_passed_over(self, kit: Kit) -> None:
        bad = {4}
        store, broker = MemoryStore(CODEC), MemoryBroker()
        out = Publisher(next(names), notes(lambda number: number in bad), begin="start")
        for number in range(6):
            store.run(books[number % 3].append(Noted(number)))
        with kit.open() as views:
            plain = store | views | world | broker
            plain.run(publish_once(out))
            store.run(books[1].append(Noted(100)))
            store.run(books[0].append(Noted(102)))
            bad.clear()

            def meanwhile(op: Publish) -> Any:
                other = Publisher(out.name, notes())
                if numbers_of(op.events) == [102]:  # it was decided that 100 is held back
                    plain.run(retry(other))
                return (yield from op)

            app = store | views | world | broker.around(meanwhile)
            app.run(publish_once(out))
            assert app.run(GetParked(out.view)) == ()
            assert missing_in(broker.came, store) == ""

    def test_a_stream_that_another_process_let_go_on_is_published_by_the_one_that_runs(
        self, kit: Kit, caplog: pytest.LogCaptureFixture
    ) -> None:
        bad = {4}
        store, broker, clock = MemoryStore(CODEC), MemoryBroker(), Clock(300.0)
        out = Publisher(next(names), notes(lambda number: number in bad), begin="start")
        for number in range(6):
            store.run(books[number % 3].append(Noted(number)))

        def sleep(op: Sleep) -> None:
            before = clock.now
            clock.world.run(op)
            if before < 200 <= clock.now:  # it has given up
                bad.clear()
                assert plain.run(retry(Publisher(out.name, notes()))) == ()
                store.run(books[1].append(Noted(100)))

        with kit.open() as views:
            plain = store | views | world | broker
            app: Any = (store | views | clock.world | broker).but(on(Sleep).run(sleep))
            with pytest.raises(Enough):
                app.run(publish(out, 1.0))
            assert (missing_in(broker.came, store), app.run(GetParked(out.view))) == ("", ())
        assert not [record.message for record in caplog.records if " waits: " in record.message]

    def test_how_much_is_asked_does_not_grow_with_what_is_parked(self, kit: Kit) -> None:
        store, broker, asked = MemoryStore(CODEC), MemoryBroker(), list[Any]()
        out = Publisher(next(names), notes(lambda number: number == 4), begin="start", batch=2)
        for number in range(60):
            store.run(books[number % 30].append(Noted(4 if number < 20 else 2 * number)))

        def noted(op: GetParked) -> Any:
            asked.append(op)
            return (yield from op)

        with kit.open() as views:
            app = store | views.around(noted, only=GetParked) | world | broker
            assert len(app.run(publish_once(out)).parked) == 20
        assert len(asked) == 1
        assert len(broker.came) == 20

    @pytest.mark.parametrize("number", [0, 6, 22])
    def test_an_event_whose_rule_ends_the_process_is_parked_by_the_fifth(
        self, kit: Kit, number: int
    ) -> None:
        deadly, store, broker = {number}, MemoryStore(CODEC), MemoryBroker()
        for each in range(0, 24, 2):
            store.run(books[each % 3].append(Noted(each)))
        with kit.open() as views:
            starts, out = ended_by(deadly, store | views | world | broker)
            assert 2 < starts <= 5
            (parked,) = views.run(GetParked(out.view))
            assert (parked.is_deadly, parked.stream) == (True, f"books/{number % 3}")
            others = {key: its for key, its in expected_of(store).items() if key != parked.stream}
            came = {key: numbers_of(its) for key, its in by_subject(broker.came).items()}
            assert {key: its for key, its in came.items() if key != parked.stream} == others
            deadly.clear()
            app = store | views | world | broker
            assert app.run(retry(out)) == ()
            assert missing_in(broker.came, store) == ""
            assert len(broker.came) == 12

    def test_control_without_marks_it_ends_every_process(
        self, kit: Kit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Tries, "is_over", lambda _self, _partition: True)
        store = MemoryStore(CODEC)
        store.run(books[0].append(Noted(2)))
        with kit.open() as views:
            starts, _ = ended_by({2}, store | views | world | MemoryBroker())
        assert starts == 8

    def test_a_rule_that_waits_is_not_taken_for_one_that_ends_the_process(self, kit: Kit) -> None:
        def is_bad(_number: int) -> bool:
            raise StoreBusy("not yet")

        store, broker, name = MemoryStore(CODEC), MemoryBroker(), next(names)
        store.run(books[0].append(Noted(2)))
        with kit.open() as views:
            app = store | views | world | broker
            for _ in range(5):
                with pytest.raises(StoreBusy, match="not yet"):
                    app.run(publish_once(Publisher(name, notes(is_bad), begin="start")))
            assert app.run(publish_once(Publisher(name, notes()))).parked == ()
        assert numbers_of(broker.came) == [2]

    def test_both_loops_publish_the_same(self, kit: Kit) -> None:
        store = MemoryStore(CODEC)
        for number in range(12):
            store.run(books[number % 3].append(Noted(number)))
            store.run(books[number % 3].append(Closed("for lunch")))
        came: list[tuple[CloudEvent, ...]] = []
        with kit.open() as views:
            for is_async in (False, True):
                broker, out = MemoryBroker(), Publisher(next(names), notes(), begin="start", batch=5)
                app = store | views | world | broker
                its = publish_once(out)
                asyncio.run(app.run_async(its)) if is_async else app.run(its)
                came.append(broker.came)
        assert came[0] == came[1]
        assert len(came[0]) == 6


def ended_by(deadly: set[int], app: Any) -> tuple[int, Publisher]:
    """Publishes by one process after another, which end at some events; answers how many, at most 8."""

    def is_bad(number: int) -> bool:
        if number in deadly:
            raise Died
        return False

    name, starts, is_over = next(names), 0, False
    while not is_over and starts < 8:
        starts += 1
        out = Publisher(name, notes(is_bad), begin="start", batch=5)
        with suppress(Died):
            app.run(publish_once(out))
            is_over = True
    return starts, out


def careless(self: Any, op: Apply) -> Any:
    """The broken variant: it notes progress, and then publishes."""
    transformed = map(self._out.public.transform, op.events)
    with self._out.view.knowing(all_well(op.events)):
        done = yield from op
    yield from Publish(tuple(event for event in transformed if event is not None))
    return done


def deaths(kit: Kit) -> Iterator[str]:
    """What is wrong after a process has died, before or after each of its operations."""
    for after in (False, True):
        for at in range(1, 1_000):
            store, broker = MemoryStore(CODEC), MemoryBroker()
            for number in range(0, 12, 2):
                store.run(books[number % 3].append(Noted(number)))
            dying = Dying(at, after=after)
            out = Publisher(next(names), notes(), begin="start", batch=4)
            with kit.open() as views:
                whole = store | views | world | broker
                try:
                    dying.around(whole).run(publish_once(out))
                except Died:
                    came = len(broker.came)
                    whole.run(publish_once(Publisher(out.name, notes(), begin="start", batch=4)))
                    again = len(broker.came) - len({event.id for event in broker.came})
                    wrong = missing_in(broker.came, store)
                    if again > 4:
                        wrong = f"{again} events came again, of {came}"
                    yield f"died {'after' if after else 'before'} {at}: {wrong}" if wrong else ""
            if not dying.has_died:
                assert at > 8
                break


# --- processes --------------------------------------------------------------------------------------


class FileBroker(Interpreter[Publish]):
    """A broker that outlives the process: a line in a file for each event, written one by one.

    dies_after: the number of lines after which the process is killed; 0 for never.
    """

    def __init__(self, path: str, dies_after: int) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._left = dies_after

    @on(Publish)
    def publish(self, op: Publish) -> Published:
        for event in op.events:
            os.write(self._file, event.to_json() + b"\n")
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return Published()


BATCH = 8
PARTITIONS = 4


def sending(
    kit: Kit, say: Say, path: str, name: str, owner: str, dies_after: int, is_careless: bool
) -> None:
    """A process that publishes until it is killed."""
    if is_careless:
        Sending._apply = careless  # type: ignore[method-assign]
    with kit.open_store() as store, kit.open() as views:
        out = Publisher(name, notes(), begin="start", batch=BATCH, partitions=PARTITIONS)
        app = store | views | world | FileBroker(path, dies_after)
        app.run(publish(out, 0.01, owner=owner, lease=0.5))


def came_in(path: Path) -> list[CloudEvent]:
    """The events in a broker's file."""
    return [CloudEvent.parse(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def killed_again_and_again(
    kit: Kit, path: Path, kills: int, *, is_careless: bool = False
) -> tuple[list[CloudEvent], str]:
    """Publishes by pairs of processes that are killed; answers what came, and what is wrong with it."""
    chosen, name = random.Random(7), next(names)
    with kit.open_store() as store:
        for number in range(60 * (kills + 1)):
            store.run(books[chosen.randrange(9)].append(Noted(2 * number)))
        for death in range(kills):
            told = [(f"{owner}{death}", chosen.randint(1, 40), is_careless) for owner in "ab"]
            with ExitStack() as stack:
                workers = [
                    stack.enter_context(Worker(sending, kit, str(path), name, *each)) for each in told
                ]
                until(_has_ended(workers), "one of them is killed")
        with kit.open() as views:
            out = Publisher(name, notes(), batch=BATCH, partitions=PARTITIONS)
            (store | views | world | FileBroker(str(path), 0)).run(publish_once(out))
        came = came_in(path)
        return came, missing_in(came, store)


def _has_ended(workers: Sequence[Worker]) -> Callable[[], bool]:
    return lambda: not all(each.is_alive for each in workers)


class KillingContract:
    """Tests over a fixture `kit`, of a store and views that several processes open."""

    def test_publishers_that_are_killed_skip_nothing(self, kit: Kit, tmp_path: Path) -> None:
        kills = scaled(4, 64)
        came, wrong = killed_again_and_again(kit, tmp_path / "broker", kills)
        assert wrong == ""
        again = len(came) - len({event.id for event in came})
        assert 0 < again <= kills * 2 * BATCH, "only what was under way comes again"

    def test_control_publishers_that_note_progress_first_skip_some(
        self, kit: Kit, tmp_path: Path
    ) -> None:
        _, wrong = killed_again_and_again(kit, tmp_path / "broker", 2, is_careless=True)
        assert wrong
