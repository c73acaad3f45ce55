"""What views do when something is wrong with them, when they are rebuilt, and when they are shared.

The same for every database: a class of tests for each, which are given a Kit.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any, Literal

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventsrc import (
    START,
    Append,
    Failure,
    Interpreter,
    MemoryStore,
    Read,
    ReadFeed,
    Recorded,
    Sleep,
    StreamId,
    Success,
    Token,
    View,
    at_least,
    follow,
    force,
    on,
    rebuild,
    status,
    synchronise,
    world,
)
from eventsrc.errors import Undecodable, WrongStore
from eventsrc.events.event import Opaque
from eventsrc.following.follow import _Follower
from eventsrc.following.outages import Outage, followers
from eventsrc.following.parking import retry
from eventsrc.following.rebuild import Unsound
from eventsrc.following.synchroniser import Stale, deliver, synchronise_partition
from eventsrc.following.waiting import WaitForEvents, wait_for_events
from eventsrc.programs.world import Chance, Elapsed
from eventsrc.stores.operations import (
    Lost,
    NotAStore,
    StoreBusy,
    StoreClosed,
    StoreError,
    StoreFull,
    StoreReadOnly,
    Unreachable,
)
from eventsrc.views import _applying
from eventsrc.views.guard import Moves
from eventsrc.views.operations import (
    Applied,
    Apply,
    Claim,
    Discard,
    Failed,
    GetApplied,
    GetLive,
    GetParked,
    GetProgress,
    GoLive,
    Lease,
    Leave,
    LostLease,
    Park,
)
from eventsrc.views.view import ViewError
from tests.kits.library import CODEC, TYPES, Closed, Noted, books, filled, folded
from tests.kits.views import NOTES, Kit

VERSIONS = itertools.count(1)


class Enough(Exception):
    """Ends a program that goes on for ever."""


class Clock:
    """Time that passes when somebody sleeps, until there was enough of it."""

    def __init__(self, end: float = 60.0) -> None:
        self.now = 0.0
        self.end = end

    @property
    def world(self) -> Interpreter[Chance | Elapsed | Sleep]:
        def sleep(op: Sleep) -> None:
            self.now += op.seconds
            if self.now > self.end:
                raise Enough

        passing = on(Elapsed).run(lambda _: self.now) | on(Sleep).run(sleep)
        return passing | on(Chance).always(0.5)


def failing(
    is_bad: Callable[[Recorded[Noted]], bool], error: type[Exception] = ValueError
) -> Callable[[Any, Recorded[Noted]], None]:
    """What a handler does after its work, for which it fails on some events."""

    def fail(_: Any, event: Recorded[Noted]) -> None:
        if is_bad(event):
            raise error(f"cannot take {event.data.number}")

    return fail


def lived_through(
    kit: Kit, owner: str | None, what: str, caplog: pytest.LogCaptureFixture
) -> list[str]:
    """What is wrong with a follower after ten minutes without a database, of a quarter of an hour.

    what: is away: the store, the views, or all.
    """
    store, view, clock = filled(3, 9), kit.notes(), Clock(900.0)
    kinds = itertools.cycle([Unreachable, Lost, StoreBusy, StoreFull])
    attempts: list[float] = []
    seen: list[Any] = []
    wrong: list[str] = []

    def is_away() -> bool:
        return 100 <= clock.now < 700

    def away(op: Any) -> Any:
        if is_away():
            attempts.append(clock.now)
            raise next(kinds)("nobody answers")
        return (yield from op)

    def sleep(op: Sleep) -> None:
        before = clock.now
        clock.world.run(op)
        if before < 300 <= clock.now:
            store.run(books[1].append(Noted(77)))
            if what != "views":
                seen.extend(followers(view))
                return
            told = app.run(status(view))
            seen.extend(told.followers)
            if told.away is None or told.lag != 1 or told.pace_since(told):
                wrong.append(f"the status is {told}")

    with kit.open(view) as views:
        below = store.around(away) | views if what == "store" else store | views.around(away)
        if what == "all":
            below = store.around(away) | views.around(away)
        app = (below | clock.world).but(on(Sleep).run(sleep))
        with pytest.raises(Enough):
            app.run(follow(view, owner=owner))
        if kit.rows(views, view) != folded(store):
            wrong.append("not all is applied")
    if [its.trouble is not None and its.trouble.since >= 100 for its in seen] != [True]:
        wrong.append(f"while it waited, it was {seen}")
    told = [record.message for record in caplog.records if "nobody answers" in record.message]
    if len(told) != 2 or " waits: " not in told[0] or " goes on, after 60" not in told[1]:
        wrong.append(f"the log says {told}")
    if not 300 < len(attempts) < 1500:
        wrong.append(f"it tried {len(attempts)} times")
    return wrong


def shortest_rest(kit: Kit, every: float) -> float:
    """The shortest time between two looks at the feed of a follower that is called all the time."""
    store, view, clock = filled(1, 1), kit.notes(), Clock()
    looks: list[float] = []

    def look(op: ReadFeed) -> Any:
        looks.append(clock.now)
        return store.run(op)

    def call(_: WaitForEvents) -> bool:
        clock.world.run(Sleep(0.01))
        return True

    with kit.open(view) as views:
        app = (store | views | clock.world).but(on(ReadFeed).run(look)) | on(WaitForEvents).run(call)
        with pytest.raises(Enough):
            app.run(follow(view, every))
    return min(later - look for look, later in itertools.pairwise(looks))


def counted(views: Any, monkeypatch: pytest.MonkeyPatch) -> list[View[Any]]:
    """Notes the view of each transaction that may write."""
    noted: list[View[Any]] = []
    writing = views.writing

    def note(view: View[Any], *more: Any) -> Any:
        noted.append(view)
        return writing(view, *more)

    monkeypatch.setattr(views, "writing", note)
    return noted


def failing_on(*numbers: int) -> Callable[[Any, Recorded[Noted]], None]:
    """As `failing`, on the events of some numbers."""
    return failing(lambda event: event.data.number in numbers)


def moved(store: MemoryStore, number: int, *more: int) -> None:
    """Appends notes to a book."""
    for each in (number, *more):
        store.run(books[0].append(Noted(each)))


class UpkeepContract:
    """Tests over a fixture `kit`."""

    # --- an event that fails

    def test_an_event_that_fails_parks_its_stream_and_the_others_go_on(self, kit: Kit) -> None:
        store = filled(3, 30)
        with kit.open() as views:
            view = kit.notes(failing_on(7))
            done = (store | views).run(synchronise(view))
            assert (done.applied, done.lag) == (22, 0)
            wanted = folded(store)
            assert kit.rows(views, view) == {**wanted, "books/1": "1,4"}
            (parked,) = views.run(GetParked(view))
            assert (parked.stream, parked.version, parked.position) == (books[1].id, 3, 8)
            assert (parked.type, parked.attempts, parked.held) == ("test.view.noted", 1, 10)
            assert "ValueError: cannot take 7" in parked.error
            assert "position 8" in parked.error
            assert not parked.is_deadly
            assert [failed.position for failed in done.parked] == [8]

    def test_what_a_handler_wrote_before_it_failed_is_not_kept(self, kit: Kit) -> None:
        store = filled(1, 1)
        with kit.open() as views:
            view = kit.notes(failing_on(0))
            (store | views).run(synchronise(view))
            assert kit.rows(views, view) == {}

    def test_guards_move_together_if_each_is_where_it_must_be_and_none_is_parked(
        self, kit: Kit
    ) -> None:
        store = filled(3, 12)
        first, second, third = (str(books[number].id) for number in range(3))
        with kit.open() as views:
            view = kit.notes(failing_on(7))
            (store | views).run(synchronise(view))

            def advance(before: dict[str, int]) -> None:
                moves = Moves(before, {stream: at + 2 for stream, at in before.items()})
                with views.writing(view) as ledger:
                    found: bool = ledger.advance(moves)
                    if found:
                        assert ledger.guards(list(before))[0] == moves.after
                    raise Enough(found)

            for before, is_next in (
                ({first: 4, third: 4, "new": 0, "newer": 0}, True),
                ({first: 4, third: 3}, False),
                ({first: 4, third: 5}, False),
                ({first: 4, third: 0}, False),
                ({first: 4, "new": 1}, False),
                ({first: 4, second: 2}, False),  # which is parked
            ):
                with pytest.raises(Enough) as ended:
                    advance(before)
                assert ended.value.args == (is_next,), before

    def test_a_page_of_which_half_fails_is_gone_through_twice(
        self, kit: Kit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: list[int] = []

        def odd(event: Recorded[Noted]) -> bool:
            calls.append(event.data.number)
            return event.data.number % 2 == 1

        monkeypatch.setattr(_applying, "LONG", 60.0)
        store, view = filled(100, 200), kit.notes(failing(odd))
        with kit.open(view) as views:
            transactions = counted(views, monkeypatch)
            done = (store | views).run(synchronise(view))
            assert (done.applied, len(done.parked)) == (100, 50)
            assert len(calls) < 2 + 200
            assert len(transactions) <= 4
            held = {parked.stream: parked.held for parked in views.run(GetParked(view))}
            assert set(held.values()) == {2}
            assert {parked.attempts for parked in views.run(GetParked(view))} == {1}
            assert (store | views).run(retry(kit.notes())) == ()
            assert kit.rows(views, view) == folded(store)

    def test_a_handler_that_fails_on_a_type_in_all_streams_delays_no_other_event(
        self, kit: Kit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_applying, "LONG", 60.0)
        store, view = filled(60, 60), kit.notes()

        @view.on(Closed)
        def closed(_: Any, event: Recorded[Closed]) -> None:
            raise ValueError("a bug")

        for number in range(50):
            store.run(books[number].append(Closed("tired")))
        for number in range(50, 60):
            store.run(books[number].append(Noted(number)))
        with kit.open(view) as views:
            transactions = counted(views, monkeypatch)
            assert len((store | views).run(synchronise(view)).parked) == 50
            assert len(transactions) <= 4
            assert kit.rows(views, view) == folded(store)

    @pytest.mark.parametrize("takes_many", [False, True])
    def test_a_page_that_takes_long_is_committed_in_parts(
        self, kit: Kit, monkeypatch: pytest.MonkeyPatch, takes_many: bool
    ) -> None:
        monkeypatch.setattr(_applying, "LONG", 0.0)
        store, view = filled(5, 40), kit.notes(failing_on(7))
        if takes_many:
            view.on_many(Closed)(lambda *_: None)
        events = store.run(ReadFeed()).events
        with kit.open(view) as views:
            transactions = counted(views, monkeypatch)
            first = views.run(Apply(view, events[:5], store.run(ReadFeed()).end))
            assert (first.applied, first.left) == (1, 4)
            assert views.run(GetProgress(view)).cursor.position == 1
            assert views.run(GetApplied(view, (books[0].id, books[1].id))) == {
                books[0].id: 1,
                books[1].id: 0,
            }
            (store | views).run(synchronise(view))
            assert len(transactions) >= 40
            assert [parked.stream for parked in views.run(GetParked(view))] == [books[2].id]
            fixed = kit.notes()
            if takes_many:
                fixed.on_many(Closed)(lambda *_: None)
            assert (store | views).run(retry(fixed)) == ()
            assert kit.rows(views, view) == folded(store)
            assert views.run(GetProgress(view)).applied == 40

    @pytest.mark.parametrize("lease", [1e-9, 60.0])
    def test_a_lease_is_renewed_while_a_page_takes_long(self, kit: Kit, lease: float) -> None:
        store, view = filled(5, 40), kit.notes()
        with kit.open(view) as views:
            (held,) = views.run(Claim(view, "one", 60.0))
            held = attrs.evolve(held, seconds=lease)
            done = (store | views).run(synchronise_partition(view, 0, 1, held))
            assert (done.lag == 0) == (lease == 60.0)
            assert done.applied == (40 if lease == 60.0 else 1)
            (store | views).run(synchronise_partition(view, 0, None, held))
            assert kit.rows(views, view) == folded(store)

    @pytest.mark.parametrize(("how", "error"), [("stop", RuntimeError), ("park", StoreBusy)])
    def test_an_error_that_ends_the_run_is_not_the_end_of_a_process(
        self, kit: Kit, how: Literal["park", "stop"], error: type[Exception]
    ) -> None:
        store = filled(3, 3)
        is_bad = failing(lambda event: event.data.number == 1, error)
        for _ in range(7):
            with kit.open() as views, pytest.raises(error):
                (store | views).run(synchronise(kit.notes(is_bad, failing=how)))
        with kit.open() as views:
            view = kit.notes(failing=how)
            assert views.run(GetParked(view)) == ()
            (store | views).run(synchronise(view))
            assert kit.rows(views, view) == folded(store)

    def test_events_of_streams_that_a_view_does_not_see_are_left_out(self, kit: Kit) -> None:
        store, view = filled(2, 4), kit.notes(prefix="other/")
        with kit.open(view) as views:
            done = (store | views).run(deliver(view, store.run(ReadFeed()).events))
            assert (done.applied, done.ignored, done.held) == (0, 0, 0)
            assert kit.rows(views, view) == {}

    def test_events_of_which_only_the_data_was_read_tell_why_they_fail(self, kit: Kit) -> None:
        store, view = filled(1, 2), kit.notes(failing_on(0))
        with kit.open(view) as views:
            page = store.run(Read(books[0].id, whole=False))
            (store | views).run(deliver(view, page.events))
            (parked,) = views.run(GetParked(view))
            assert parked.error.startswith("ValueError: cannot take 0")

    def test_after_a_fix_a_parked_stream_is_applied_in_its_order(self, kit: Kit) -> None:
        store = filled(3, 30)
        with kit.open() as views:
            (store | views).run(synchronise(kit.notes(failing_on(7, 16))))
            fixed = kit.notes()
            assert (store | views).run(retry(fixed)) == ()
            assert views.run(GetParked(fixed)) == ()
            assert kit.rows(views, fixed) == folded(store)

    def test_a_retry_that_fails_counts_and_parks_at_the_event_that_fails_now(self, kit: Kit) -> None:
        store = filled(1, 5)
        with kit.open() as views:
            view = kit.notes(failing_on(1))
            (store | views).run(synchronise(view))
            (again,) = (store | views).run(retry(view))
            assert (again.version, again.attempts) == (2, 2)
            (later,) = (store | views).run(retry(kit.notes(failing_on(3))))
            assert (later.version, later.attempts) == (4, 3)
            assert kit.rows(views, view) == {"books/0": "0,1,2"}

    def test_only_the_named_streams_are_tried_again(self, kit: Kit) -> None:
        store = filled(2, 2)
        with kit.open() as views:
            (store | views).run(synchronise(kit.notes(failing_on(0, 1))))
            fixed = kit.notes()
            assert (store | views).run(retry(fixed, books[1].id)) == ()
            assert [parked.stream for parked in views.run(GetParked(fixed))] == [books[0].id]
            assert kit.rows(views, fixed) == {"books/1": "1"}

    def test_what_comes_while_a_stream_is_tried_again_is_not_lost(self, kit: Kit) -> None:
        store = filled(1, 2)
        with kit.open() as views:
            (store | views).run(synchronise(kit.notes(failing_on(0))))
            view = kit.notes()
            late = iter([5])

            def meanwhile(op: Apply) -> Any:
                done = views.apply(op)
                for number in late:
                    moved(store, number)
                    (store | views).run(synchronise(view))
                return done

            assert ((store | views).but(on(Apply).run(meanwhile))).run(retry(view)) == ()
            assert kit.rows(views, view) == folded(store)

    def test_a_parked_stream_stays_parked_whatever_delivers_it(self, kit: Kit) -> None:
        store = filled(1, 4)
        with kit.open() as views:
            view = kit.notes(failing_on(1))
            app = store | views
            app.run(synchronise(view))
            fixed = kit.notes()
            done = app.run(deliver(fixed, store.run(ReadFeed()).events[2:]))
            assert (done.applied, done.held) == (0, 1)
            app.run(synchronise(fixed))
            assert kit.rows(views, fixed) == {"books/0": "0"}

    def test_forcing_a_parked_stream_answers_at_once_that_it_is_late(self, kit: Kit) -> None:
        store = filled(2, 4)
        token = store.run(books[0].append(Noted(9))).token
        with kit.open() as views:
            app = store | views | Clock(0.0).world
            view = kit.notes(failing_on(2))
            late = app.run(force(view, token))
            assert late == Failure(Stale(view, token, (books[0].id,)))

    def test_an_event_that_cannot_be_decoded_is_parked(self, kit: Kit) -> None:
        store = filled(2, 4)
        newer = Opaque("test.view.noted", 2, "json", b'{"number":1}')
        store.run(Append(books[0].id, (newer,)))
        with kit.open() as views:
            view = kit.notes()
            assert (store | views).run(synchronise(view)).applied == 4
            (parked,) = views.run(GetParked(view))
            assert parked.version == 3
            assert "UnknownEvent" in parked.error

    def test_the_surroundings_of_a_view_do_not_park_its_events(self, kit: Kit) -> None:
        store = filled(1, 3)
        with kit.open() as views:
            view = kit.notes(failing(lambda event: event.data.number == 1, StoreBusy))
            with pytest.raises(StoreBusy, match="cannot take 1"):
                (store | views).run(synchronise(view))
            assert views.run(GetParked(view)) == ()
            assert kit.rows(views, view) == {}

    def test_a_mistake_in_sql_parks(self, kit: Kit) -> None:
        if kit.is_memory:
            pytest.skip("there is no SQL in memory")
        store = filled(1, 2)
        with kit.open() as views:
            view = kit.notes(lambda db, _: db.execute("INSERT INTO nowhere VALUES (1)"))
            (store | views).run(synchronise(view))
            assert "nowhere" in views.run(GetParked(view))[0].error

    def test_an_error_that_passes_is_got_over(self, kit: Kit) -> None:
        store, tries = filled(2, 6), iter(range(4))
        clock = Clock()
        with kit.open() as views:
            view = kit.notes(failing(lambda e: e.data.number == 2 and next(tries, None) is not None))
            with pytest.raises(Enough):
                (store | views | clock.world).run(follow(view))
            assert kit.rows(views, view) == folded(store)
            assert views.run(GetParked(view)) == ()

    def test_an_event_that_never_works_is_left_after_five_attempts(self, kit: Kit) -> None:
        store = filled(2, 6)
        with kit.open() as views:
            view = kit.notes(failing_on(2))
            with pytest.raises(Enough):
                (store | views | Clock().world).run(follow(view))
            assert views.run(GetParked(view))[0].attempts == 5

    def test_an_event_that_ends_processes_is_not_tried_again_by_itself(self, kit: Kit) -> None:
        store = filled(1, 2)
        with kit.open() as views:
            view = kit.notes()
            deadly = Failed(books[0].id, 1, 1, "test.view.noted", "killed", is_deadly=True)
            views.run(Park(view, deadly))
            with pytest.raises(Enough):
                (store | views | Clock().world).run(follow(view))
            assert views.run(GetParked(view))[0].attempts == 1
            assert kit.rows(views, view) == {}

    @settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
    @given(
        events=st.lists(st.integers(0, 3), min_size=1, max_size=25),
        bad=st.sets(st.integers(0, 24)),
        better=st.sets(st.integers(0, 24)),
        pages=st.integers(1, 3),
    )
    def test_whatever_fails_a_fixed_view_comes_out_as_the_plain_fold(
        self, kit: Kit, events: list[int], bad: set[int], better: set[int], pages: int
    ) -> None:
        store = MemoryStore(CODEC)
        version = next(VERSIONS)  # each example has a view of its own
        with kit.open() as views:
            app = store | views
            for number, book in enumerate(events):
                store.run(books[book].append(Noted(number)))
                if number % pages == 0:
                    app.run(synchronise(kit.notes(failing_on(*bad), version=version)))
            partly = kit.notes(failing_on(*(bad - better)), version=version)
            app.run(retry(partly))
            app.run(synchronise(partly))
            app.run(retry(kit.notes(version=version)))
            app.run(synchronise(kit.notes(version=version)))
            view = kit.notes(version=version)
            assert kit.rows(views, view, live=False) == folded(store)
            assert views.run(GetParked(view)) == ()

    # --- handlers of several events

    def test_a_handler_of_several_events_gets_those_that_follow_each_other(self, kit: Kit) -> None:
        store, runs = filled(2, 5), list[list[int]]()
        store.run(books[0].append(Closed("for now")))
        store.run(books[0].append(Noted(5), Noted(6)))
        view: View[Any] = View("runs", types=TYPES)

        @view.on_many(Noted)
        def noted(_: Any, events: Sequence[Recorded[Noted]]) -> None:
            runs.append([event.data.number for event in events])

        @view.on(Closed)
        def closed(_: Any, event: Recorded[Closed]) -> None:
            runs.append([])

        with kit.open(view) as views:
            assert (store | views).run(synchronise(view)).applied == 8
        assert runs == [[0, 1, 2, 3, 4], [], [5, 6]]

    def test_of_several_events_the_one_that_fails_is_found(self, kit: Kit) -> None:
        if kit.is_memory:
            pytest.skip("there is no SQL in memory")
        store = filled(2, 6)
        view: View[Any] = View("many", types=TYPES)

        @view.schema
        def create(db: Any) -> None:
            db.execute("CREATE TABLE seen (number INTEGER)")

        @view.on_many(Noted)
        def noted(db: Any, events: Sequence[Recorded[Noted]]) -> None:
            for event in events:
                kit.execute(db, "INSERT INTO seen VALUES (?)", event.data.number)
                if event.data.number == 3:
                    raise ValueError("not three")

        with kit.open(view) as views:
            assert (store | views).run(synchronise(view)).applied == 4
            (parked,) = views.run(GetParked(view))
            assert (parked.stream, parked.version) == (books[1].id, 2)
            with views.reading(view) as db:
                seen = kit.execute(db, "SELECT number FROM seen ORDER BY number")
            assert seen == [(0,), (1,), (2,), (4,)]

    # --- versions

    def test_queries_read_the_old_version_until_the_new_one_is_live(self, kit: Kit) -> None:
        store, old, new = filled(2, 10), kit.notes(), kit.notes(version=2)
        with kit.open(old) as views:
            app = store | views | world
            app.run(synchronise(old))
            moved(store, 10)
            app.run(synchronise(new, 1))
            before = kit.rows(views, new)
            assert before == kit.rows(views, old) != folded(store)
            assert kit.rows(views, new, live=False) == folded(store)
            assert isinstance(app.run(rebuild(new)), Success)
            assert kit.rows(views, old) == folded(store)
            assert views.run(GetLive(old)) == 2

    def test_one_can_go_back_to_the_old_version(self, kit: Kit) -> None:
        store, old, new = filled(1, 3), kit.notes(), kit.notes(version=2)
        with kit.open(old) as views:
            app = store | views | world
            app.run(rebuild(new))
            assert kit.rows(views, old) == folded(store)
            views.run(GoLive(old))
            assert kit.rows(views, new) == {}

    def test_a_new_version_with_events_that_fail_does_not_go_live(self, kit: Kit) -> None:
        store, old = filled(1, 3), kit.notes()
        new = kit.notes(failing_on(1), version=2)
        with kit.open(old) as views:
            app = store | views | world
            app.run(synchronise(old))
            match app.run(rebuild(new)):
                case Failure(Unsound(view, (parked,))):
                    assert (view, parked.version) == (new, 2)
                case answer:
                    pytest.fail(str(answer))
            assert views.run(GetLive(new)) == 1
            fixed = kit.notes(version=2)
            app.run(retry(fixed))
            assert isinstance(app.run(rebuild(fixed)), Success)

    def test_a_pace_is_kept(self, kit: Kit) -> None:
        store, clock = filled(2, 3500), Clock()
        with kit.open() as views:
            done = (store | views | clock.world).run(rebuild(kit.notes(), pace=100.0))
            assert isinstance(done, Success)
            assert 30.0 <= clock.now <= 35.0

    def test_a_pace_that_never_ends_is_refused(self, kit: Kit) -> None:
        with kit.open() as views, pytest.raises(ValueError, match="0 events per second never ends"):
            (MemoryStore() | views | world).run(rebuild(kit.notes(), pace=0))

    def test_an_old_version_can_be_removed_and_the_live_one_cannot(self, kit: Kit) -> None:
        store, old, new = filled(1, 3), kit.notes(), kit.notes(version=2)
        with kit.open(old) as views:
            app = store | views | world
            app.run(synchronise(old))
            with pytest.raises(ViewError, match="is what queries read"):
                app.run(Discard(old))
            app.run(rebuild(new))
            app.run(Discard(old))
            assert app.run(GetProgress(old)).applied == 0
            assert kit.rows(views, old) == folded(store)
            app.run(synchronise(old))  # it is built anew
            assert kit.rows(views, old, live=False) == folded(store)

    def test_what_another_process_removes_and_builds_anew_is_seen(self, kit: Kit) -> None:
        store, old, new = filled(1, 3), kit.notes(), kit.notes(version=2)
        with kit.open(old) as here, kit.open() as there:
            (store | here).run(synchronise(old))
            (store | there | world).run(rebuild(new))
            there.run(Discard(old))
            assert here.run(GetProgress(old)).applied == 0
            moved(store, 1)
            (store | there | world).run(rebuild(old))
            assert here.run(GetProgress(old)).applied == 4
            assert kit.rows(here, old) == kit.rows(there, old) == folded(store)
            moved(store, 1)
            (store | here).run(synchronise(old))
            assert kit.rows(here, old) == kit.rows(there, old) == folded(store)

    def test_a_version_that_another_process_removes_can_be_followed_on(self, kit: Kit) -> None:
        store, old, new = filled(1, 3), kit.notes(), kit.notes(version=2)
        with kit.open(old) as here, kit.open() as there:
            (store | here).run(synchronise(old))
            (store | there | world).run(rebuild(new))
            there.run(Discard(old))
            (store | here).run(synchronise(old))  # it is built anew
            assert kit.rows(here, old, live=False) == kit.rows(there, old) == folded(store)

    def test_a_version_that_is_removed_can_be_read_to_the_end(self, kit: Kit) -> None:
        if kit.is_postgres or kit.is_memory:
            pytest.skip("who removes waits for those who read")
        store, old, new = filled(1, 3), kit.notes(), kit.notes(version=2)
        with kit.open(old) as views:
            app = store | views | world
            app.run(synchronise(old))
            with views.reading(old) as db:
                app.run(rebuild(new))
                app.run(Discard(old))
                assert dict(kit.execute(db, NOTES)) == folded(store)

    @pytest.mark.parametrize("several", [False, True])
    def test_who_meets_a_version_that_is_discarded_reads_what_is_live_then(
        self, kit: Kit, several: bool
    ) -> None:
        if kit.is_memory:
            pytest.skip("who reads is alone")
        store, old, new = filled(1, 3), kit.notes(), kit.notes(version=2)
        beside: View[Any] = View("beside", types=TYPES)
        with kit.open(old, beside) as here, kit.open() as there:
            (store | here).run(synchronise(old))
            name = "_live_on" if kit.is_postgres else "_live"
            live = getattr(here, name)

            def meanwhile(*args: Any) -> int:
                found: int = live(*args)
                if found == 1 and args[-1].name == "notes":
                    setattr(here, name, live)
                    (store | there | world).run(rebuild(new))
                    there.run(Discard(old))
                return found

            setattr(here, name, meanwhile)
            with here.reading(*([old, beside] if several else [old])) as db:
                assert dict(kit.execute(db, NOTES)) == folded(store)
            assert getattr(here, name) == live
            assert here.run(GetProgress(old)).applied == 0
            if not kit.is_postgres:
                assert not here.path(old).exists()

    def test_a_version_that_was_never_built_cannot_go_live(self, kit: Kit) -> None:
        with kit.open() as views, pytest.raises(ViewError, match="never built"):
            views.run(GoLive(kit.notes()))

    def test_two_views_can_be_read_together(self, kit: Kit) -> None:
        if kit.is_memory:
            pytest.skip("there is no SQL in memory")
        store, one = filled(2, 4), kit.notes()
        two: View[Any] = View("count")

        @two.schema
        def create(db: Any) -> None:
            db.execute("CREATE TABLE seen (stream TEXT)")
            kit.execute(db, "INSERT INTO seen VALUES (?)", "books/1")

        with kit.open(one, two) as views:
            (store | views).run(synchronise(one))
            with views.reading(one, two) as db:
                sql = "SELECT numbers FROM seen JOIN note ON note.stream = seen.stream"
                assert kit.execute(db, sql) == [("1,3",)]

    # --- partitions

    def test_a_view_in_partitions_is_the_same_view(self, kit: Kit) -> None:
        store, view = filled(13, 2400), kit.notes(partitions=5)
        with kit.open() as views:
            done = (store | views).run(synchronise(view))
            assert (done.applied, done.lag) == (2400, 0)
            assert kit.rows(views, view) == folded(store)
            assert [partition.applied > 0 for partition in views.run(GetProgress(view)).partitions] == [
                True
            ] * 5

    def test_another_number_of_partitions_needs_another_version(self, kit: Kit) -> None:
        with kit.open() as views:
            store = filled(1, 1)
            (store | views).run(synchronise(kit.notes(partitions=2)))
        with kit.open() as views, pytest.raises(ViewError, match="was built with 2"):
            (store | views).run(synchronise(kit.notes(partitions=3)))

    def test_owners_share_the_partitions_evenly_and_pass_them_on(self, kit: Kit) -> None:
        view = kit.notes(partitions=7)
        with kit.open() as views:
            shares = [set[int](), set[int](), set[int]()]
            for _ in range(3):
                for owner, _share in enumerate(shares):
                    leases = views.run(Claim(view, f"owner {owner}", 60.0))
                    shares[owner] = {lease.partition for lease in leases}
            assert sorted(len(share) for share in shares) == [2, 2, 3]
            assert set[int]().union(*shares) == set(range(7))
            views.run(Leave(view, "owner 1"))
            for owner in (0, 2, 0, 2):
                shares[owner] = {p.partition for p in views.run(Claim(view, f"owner {owner}", 60.0))}
            assert shares[0] | shares[2] == set(range(7))

    def test_an_owner_that_is_not_heard_of_loses_its_partitions(self, kit: Kit) -> None:
        store, view = filled(3, 9), kit.notes()
        with kit.open() as views:
            app = store | views
            (late,) = views.run(Claim(view, "first", 0.01))
            while not (leases := views.run(Claim(view, "second", 60.0))):
                pass
            (lease,) = leases
            assert lease.token == late.token + 1
            with pytest.raises(LostLease, match="taken by another"):
                app.run(synchronise_partition(view, 0, lease=late))
            assert kit.rows(views, view) == {}
            assert app.run(synchronise_partition(view, 0, lease=lease)).applied == 9
            assert views.run(GetProgress(view)).partitions[0].owner == "second"

    @pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
    def test_a_lease_of_no_time_is_refused(self, kit: Kit, seconds: float) -> None:
        view = kit.notes()
        with kit.open() as views:
            with pytest.raises(ValueError, match="a lease of"):
                views.run(Claim(view, "me", seconds))
            with pytest.raises(ValueError, match="a lease of"):
                (MemoryStore() | views | Clock().world).run(follow(view, owner="me", lease=seconds))

    def test_a_lease_is_over_if_the_clock_was_set_back_since(
        self, kit: Kit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        view = kit.notes()
        with kit.open(view) as views:
            with views.writing(view) as ledger:
                here = ledger.now
                ledger_type = type(ledger)
                now = here()
            monkeypatch.setattr(ledger_type, "now", lambda _: now)
            (late,) = views.run(Claim(view, "dead", 5.0))
            monkeypatch.setattr(ledger_type, "now", lambda _: now + 4)
            assert views.run(Claim(view, "heir", 5.0)) == ()
            monkeypatch.setattr(ledger_type, "now", lambda _: now - 3600)
            (lease,) = views.run(Claim(view, "heir", 5.0))
            assert lease.token == late.token + 1
            with views.writing(view) as ledger:
                assert ledger.keep_owner("heir", now, 5.0) == ["heir"]

    @pytest.mark.parametrize("owner", [None, "me"])
    def test_a_follower_of_a_busy_view_tries_again_and_says_so_once(
        self, kit: Kit, owner: str | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        store, view = filled(3, 9), kit.notes()
        busy = iter(range(6))

        def at_first(op: Any) -> Any:
            if next(busy, None) is not None:
                raise StoreBusy("others are faster")
            return views.run(op)

        with kit.open(view) as views:
            app = (store | views | Clock().world).but(on(Claim).run(at_first) | on(Apply).run(at_first))
            with pytest.raises(Enough):
                app.run(follow(view, owner=owner))
            assert kit.rows(views, view) == folded(store)
        told = [record.message for record in caplog.records]
        waits, goes_on = [message for message in told if "the follower of" in message]
        assert waits == f"the follower of {view!r} waits: others are faster"
        assert goes_on.startswith(f"the follower of {view!r} goes on, after ")

    @pytest.mark.parametrize("owner", [None, "me"])
    @pytest.mark.parametrize("what", ["store", "views", "all"])
    def test_a_follower_lives_through_ten_minutes_without_a_database(
        self, kit: Kit, owner: str | None, what: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert lived_through(kit, owner, what, caplog) == []

    def test_control_a_follower_that_outlives_busy_stores_alone_is_caught(
        self, kit: Kit, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        survive = _Follower.survive

        def busy_alone(follower: Any, error: Any) -> Any:
            if not isinstance(error, StoreBusy):
                raise error
            yield from survive(follower, error)

        monkeypatch.setattr(_Follower, "survive", busy_alone)
        with pytest.raises(Unreachable):
            lived_through(kit, None, "views", caplog)

    @pytest.mark.parametrize("broken", ["log", "pause", "state"])
    def test_control_a_follower_that_is_wordy_hasty_or_silent_is_caught(
        self, kit: Kit, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, broken: str
    ) -> None:
        wait = Outage.wait

        def changed(outage: Any, error: Any) -> Any:
            if broken == "log":
                outage._trouble = None
            if broken == "pause":
                outage._pause = 0.0
            yield from wait(outage, error)

        if broken == "state":
            monkeypatch.setattr(Outage, "_tell", lambda _: None)
        monkeypatch.setattr(Outage, "wait", changed)
        assert lived_through(kit, None, "views", caplog) != []

    def test_a_follower_ends_with_an_error_that_no_waiting_mends(self, kit: Kit) -> None:
        errors = [
            StoreClosed("it was closed"),
            StoreReadOnly("this user may not write there"),
            NotAStore("it is of a newer version"),
            StoreError("of whatever kind"),
            ViewError("it was built with 2"),
            Undecodable("it does not fit"),
            WrongStore("it is of another"),
            TypeError("a mistake"),
        ]

        def fail(error: Exception) -> Callable[[Apply], Applied]:
            def raising(_: Apply) -> Applied:
                raise error

            return raising

        store, view = filled(3, 9), kit.notes()
        with kit.open(view) as views:
            for error in errors:
                app = (store | views | Clock().world).but(on(Apply).run(fail(error)))
                with pytest.raises(type(error), match=str(error)):
                    app.run(follow(view))
                (its,) = (store | views | world).run(status(view)).followers
                assert its.ended_by == f"{type(error).__name__}: {error}"

    @pytest.mark.parametrize("every", [0.05, 2.0])
    def test_a_follower_looks_no_more_often_than_every_however_often_it_is_called(
        self, kit: Kit, every: float
    ) -> None:
        assert shortest_rest(kit, every) > every * 0.99

    def test_control_a_follower_that_looks_whenever_it_is_called_is_caught(
        self, kit: Kit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def rest(follower: Any) -> Any:
            yield from wait_for_events(follower._cursor, 1.0)

        monkeypatch.setattr(_Follower, "rest", rest)
        assert shortest_rest(kit, 0.5) < 0.1

    def test_an_owner_without_a_partition_waits_for_one_and_takes_over(self, kit: Kit) -> None:
        store, view, clock = filled(1, 3), kit.notes(), Clock(30.0)
        with kit.open(view) as views:
            views.run(Claim(view, "first", 3600.0))

            def sleep(op: Sleep) -> None:
                assert op.seconds <= 1, "it is to stop within two seconds of being told"
                if clock.now < 10 <= clock.now + op.seconds:
                    assert kit.rows(views, view) == {}
                    views.run(Leave(view, "first"))
                clock.world.run(op)

            app = (store | views | clock.world).but(on(Sleep).run(sleep))
            with pytest.raises(Enough):
                app.run(follow(view, owner="second"))
            assert kit.rows(views, view) == folded(store)

    @pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
    def test_no_time_between_two_looks_is_refused(self, kit: Kit, seconds: float) -> None:
        with kit.open() as views:
            with pytest.raises(ValueError, match="every is"):
                (MemoryStore() | views | Clock().world).run(follow(kit.notes(), seconds))
            with pytest.raises(ValueError, match="every is"):
                WaitForEvents(START, 1.0, seconds)

    def test_whoever_loses_every_lease_gives_up(self, kit: Kit) -> None:
        def lose(op: Apply) -> Applied:
            raise LostLease("a handler takes too long")

        store, view = filled(3, 9), kit.notes()
        with kit.open(view) as views:
            app = (store | views | Clock().world).but(on(Apply).run(lose))
            with pytest.raises(LostLease):
                app.run(follow(view, owner="me"))

    @pytest.mark.parametrize("owner", [None, "me"])
    @pytest.mark.parametrize("listens", [False, True])
    def test_what_others_park_is_tried_again(self, kit: Kit, owner: str | None, listens: bool) -> None:
        store, is_down = filled(2, 4), [False]
        view = kit.notes(failing(lambda _: is_down[0]))
        clock = Clock()

        def sleep(op: Sleep) -> None:
            before, clock.now = clock.now, clock.now + op.seconds
            if before < 5 <= clock.now:
                store.run(books[7].append(Noted(7)))
                is_down[0] = True
                assert len((store | views).run(synchronise(view)).parked) == 1
                is_down[0] = False
            if clock.now > clock.end:
                raise Enough

        def never_called(op: WaitForEvents) -> bool:
            sleep(Sleep(op.within))
            return False

        with kit.open(view) as views:
            app = (store | views | clock.world).but(on(Sleep).run(sleep))
            silent = app | on(WaitForEvents).run(never_called)
            with pytest.raises(Enough):
                (silent if listens else app).run(follow(view, owner=owner))
            assert views.run(GetParked(view)) == ()
            assert kit.rows(views, view) == folded(store)

    def test_synchronisers_that_share_a_view_apply_each_event_once(self, kit: Kit) -> None:
        store, view = filled(20, 3000), kit.notes(partitions=4)
        errors: list[BaseException] = []
        done = threading.Event()

        def work(owner: str) -> None:
            def sleep(_: Sleep) -> None:
                if done.wait(0.001):
                    raise Enough

            app = on(Sleep).run(sleep)
            try:
                with kit.open(timeout=30) as views:
                    (store | views | world).but(app).run(follow(view, owner=owner, lease=1.0))
            except Enough:
                pass
            except BaseException as error:
                errors.append(error)

        with kit.open(view, timeout=30) as views:
            threads = [threading.Thread(target=work, args=(f"owner {n}",)) for n in range(3)]
            for thread in threads:
                thread.start()
            for number in range(200):
                store.run(books[number % 20].append(Noted(number)))
            _wait(lambda: views.run(GetProgress(view)).applied == 3200 or bool(errors))
            done.set()
            for thread in threads:
                thread.join(30)
            assert errors == []
            assert kit.rows(views, view) == folded(store)
            for owner in range(3):
                views.run(Leave(view, f"owner {owner}"))
            assert [partition.owner for partition in views.run(GetProgress(view)).partitions] == [
                None
            ] * 4

    # --- watching, waiting

    def test_a_view_tells_how_it_is_doing(self, kit: Kit) -> None:
        store, view, clock = filled(2, 3000), kit.notes(failing_on(2500)), Clock()
        with kit.open() as views:
            app = store | views | clock.world
            start = app.run(status(view))
            assert (start.lag, start.done, start.live, start.parked) == (3000, 0.0, 0, ())
            app.run(synchronise(view, 1))
            clock.now = 2.0
            later = app.run(status(view))
            assert (later.lag, later.live) == (2000, 1)
            assert later.done == pytest.approx(1 / 3)
            assert later.pace_since(start) == 500.0
            app.run(synchronise(view))
            assert app.run(status(view)).lag == 0
            assert [parked.position for parked in app.run(status(view)).parked] == [2501]

    def test_a_query_that_must_be_new_is_answered_by_the_view_or_otherwise(self, kit: Kit) -> None:
        store = filled(1, 3)
        token = store.run(books[0].append(Noted(9))).token
        with kit.open() as views:
            app = store | views | world
            view = kit.notes()
            seen = at_least(view, token, GetApplied(view, (books[0].id,)))
            assert app.run(seen) == Success(({books[0].id: 4}, token))
            moved(store, 10)
            token |= store.run(books[0].append(Noted(11))).token
            broken = kit.notes(failing_on(10))
            query = GetApplied(broken, (books[0].id,))
            assert isinstance(app.run(at_least(broken, token, query)), Failure)
            stale = at_least(broken, token, query, otherwise=query)
            had = Token(store.store_id, {books[0].id: 4})
            assert app.run(stale) == Success(({books[0].id: 4}, had))

    def test_a_lease_is_of_one_partition(self, kit: Kit) -> None:
        view = kit.notes()
        with kit.open() as views:
            assert views.run(Claim(view, "me", 5.0)) == (Lease(0, 1, 5.0),)
            assert views.run(Claim(view, "me", 5.0)) == (Lease(0, 1, 5.0),)
            assert views.run(Claim(view, "you", 5.0)) == ()


def _wait(is_so: Callable[[], bool]) -> None:
    """Waits until something is so, for half a minute at most."""
    pause = threading.Event()
    for _ in range(3000):
        if is_so():
            return
        pause.wait(0.01)
    pytest.fail("it did not come about in half a minute")


__all__ = ["Kit", "StreamId", "UpkeepContract"]
