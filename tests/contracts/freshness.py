"""Views that are asked to be new: of which store, of which version, and for how long it is tried.

The same for every database: a class of tests for each, which are given a Kit.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import reduce
from operator import or_
from typing import Any

import pytest

from eventsrc import (
    Do,
    Failure,
    Interpreter,
    MemoryStore,
    Outcome,
    Program,
    Read,
    Success,
    Token,
    View,
    at_least,
    force,
    on,
    pure,
    rebuild,
    synchronise,
    world,
)
from eventsrc.events.positions import WrongStore
from eventsrc.following import synchroniser
from eventsrc.following.synchroniser import ForceOp, Stale, deliver
from eventsrc.programs.world import Elapsed
from eventsrc.views import _applying
from eventsrc.views.operations import Apply, GetApplied, GetLive, GetProgress
from tests.kits.library import CODEC, Noted, books, filled, folded
from tests.kits.views import Kit, Views


def noted(store: MemoryStore, number: int) -> Token:
    """Appends a note to a book."""
    return store.run(books[0].append(Noted(number))).token


def other_store(events: int) -> MemoryStore:
    store = MemoryStore(CODEC, store_id="other")
    for number in range(events):
        noted(store, 100 + number)
    return store


WAYS: dict[str, Callable[[View[Any], MemoryStore], Program[Any, Any]]] = {
    "synchronise": lambda view, store: synchronise(view),
    "rebuild": lambda view, store: rebuild(view),
    "force": lambda view, store: force(view, noted(store, 9)),
    "force what is older": lambda view, store: force(view, Token("other", {books[0].id: 1})),
    "force another stream": lambda view, store: force(view, store.run(books[1].append(Noted(9))).token),
    "deliver with a gap": lambda view, store: deliver(view, store.run(Read(books[0].id)).events[8:]),
}


class FreshnessContract:
    """Tests over a fixture `kit`."""

    # --- of which store

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("first", ["synchronised", "forced"])
    def test_what_is_of_another_store_is_refused(self, kit: Kit, way: str, first: str) -> None:
        store, other, view = filled(1, 3), other_store(9), kit.notes()
        with kit.open(view) as views:
            token = noted(store, 7)
            app = store | views | world
            app.run(synchronise(view) if first == "synchronised" else force(view, token))
            before = kit.rows(views, view), app.run(GetProgress(view))
            with pytest.raises(WrongStore):
                (other | views | world).run(WAYS[way](view, other))
            assert (kit.rows(views, view), app.run(GetProgress(view))) == before
            assert app.run(force(view, token)).unwrap()[books[0].id] == 4

    def test_control_not_asking_whose_events_they_are_mixes_two_stores(self, kit: Kit) -> None:
        store, other, view = filled(1, 3), other_store(9), kit.notes()

        def unasked(op: Apply | GetApplied) -> Apply | GetApplied:
            if isinstance(op, Apply):
                return Apply(op.view, op.events)
            return GetApplied(op.view, op.streams)

        with kit.open(view) as views:
            (store | views).run(synchronise(view))
            careless = (other | views | world).around(unasked, only=(Apply, GetApplied))
            assert isinstance(careless.run(force(view, noted(other, 9))), Success)
            assert kit.rows(views, view) not in (folded(store), folded(other))

    def test_of_another_store_it_says_what_to_do(self, kit: Kit) -> None:
        view, other = kit.notes(), other_store(9)
        with kit.open(view) as views:
            (filled(1, 3) | views).run(synchronise(view))
            with pytest.raises(WrongStore, match="of store other: .* a new version, and rebuild"):
                (other | views | world).run(force(view, noted(other, 9)))
            new = kit.notes(version=2)
            (other | views | world).run(rebuild(new)).unwrap()
            assert kit.rows(views, view) == folded(other)

    # --- of which version

    def test_the_version_that_queries_read_is_waited_for(self, kit: Kit) -> None:
        store, old, new = filled(1, 3), kit.notes(), kit.notes(version=2)
        with kit.open(old) as views:
            app = store | views | world
            app.run(synchronise(old))
            app.run(rebuild(new))
            token = noted(store, 9)
            follower = threading.Timer(0.1, lambda: app.run(synchronise(new)))
            follower.start()
            assert isinstance(app.run(at_least(old, token, pure(1), within=30)), Success)
            assert kit.rows(views, old) == folded(store)
            assert app.run(GetProgress(old)).applied == 3, "the version that is not read is left alone"
            follower.join(30)

    def test_a_version_whose_handlers_are_elsewhere_may_be_late(self, kit: Kit) -> None:
        store, old, new = filled(1, 3), kit.notes(), kit.notes(version=2)
        with kit.open(old) as views:
            app = store | views | world
            app.run(rebuild(new))
            token = noted(store, 9)
            match app.run(force(old, token, within=0.05)):
                case Failure(Stale(view, missing, ())):
                    assert (view.version, missing) == (2, token)
                case answer:
                    pytest.fail(str(answer))

    def test_the_very_version_can_be_asked_for(self, kit: Kit) -> None:
        store, old, new = filled(1, 3), kit.notes(), kit.notes(version=2)
        with kit.open(old) as views:
            app = store | views | world
            app.run(synchronise(old))
            token = noted(store, 9)
            assert isinstance(app.run(force(new, token, live=False)), Success)
            assert kit.rows(views, new, live=False) == folded(store)
            assert app.run(GetProgress(old)).applied == 3
            assert app.run(GetLive(new)) == 1

    def test_partitions_may_be_others_in_the_version_that_is_read(self, kit: Kit) -> None:
        store, old, new = filled(3, 9), kit.notes(), kit.notes(version=2, partitions=4)
        with kit.open(old) as views:
            app = store | views | world
            app.run(rebuild(new))
            seen = Token(store.store_id, {books[0].id: 3})
            assert isinstance(app.run(force(old, seen, within=1)), Success)

    # --- for how long

    def test_forcing_keeps_its_deadline_while_others_apply(self, kit: Kit) -> None:
        if kit.is_memory:
            pytest.skip("it lives in one process, and everybody waits")
        answer, seconds = self.forced_beside(kit, force)
        assert isinstance(answer, Failure)
        assert 0.2 <= seconds < 1.5

    def test_control_waiting_as_long_as_for_anything_is_caught(self, kit: Kit) -> None:
        if kit.is_memory:
            pytest.skip("it lives in one process, and everybody waits")

        def patient(view: View[Any], token: Token, within: float) -> Program[ForceOp, Any]:
            return Apply(view, (), store_id=token.store_id).then(pure(Failure("late")))

        _, seconds = self.forced_beside(kit, patient)
        assert seconds >= 1.5

    def forced_beside(
        self, kit: Kit, way: Callable[[View[Any], Token, float], Program[ForceOp, Outcome[Any, Any]]]
    ) -> tuple[Outcome[Any, Any], float]:
        """Forces a view for 0.2 seconds, while another keeps it for two."""
        store, view = filled(1, 3), kit.notes()
        begun, end = threading.Event(), threading.Event()

        def hold(held: AbstractContextManager[Any], views: Views) -> None:
            with held as ledger:
                ledger.begin(view, [], 0, None, None, 1)
                begun.set()
                end.wait(2)

        with kit.open(view) as others, kit.open(view) as views:
            (store | views).run(synchronise(view))
            token = noted(store, 9)
            holder = threading.Thread(target=hold, args=(others.writing(view), others))
            holder.start()
            assert begun.wait(30)
            began = time.monotonic()
            answer = (store | views | world).run(way(view, token, 0.2))
            seconds = time.monotonic() - began
            end.set()
            holder.join(30)
            assert isinstance((store | views | world).run(force(view, token)), Success)
        return answer, seconds

    # --- of nothing

    def test_a_view_of_an_empty_store_can_go_live(self, kit: Kit) -> None:
        view = kit.notes(version=3)
        with kit.open() as views:
            app = MemoryStore(CODEC) | views | world
            assert app.run(rebuild(view)).unwrap().applied == 0
            assert app.run(GetLive(view)) == 3
            assert kit.rows(views, view) == {}

    def test_a_rebuild_says_how_much_it_applied_in_all(self, kit: Kit) -> None:
        store, view = filled(2, 2500), kit.notes()
        with kit.open() as views:
            done = (store | views | world).run(rebuild(view)).unwrap()
            assert (done.applied, done.ignored, done.lag) == (2500, 0, 0)

    # --- many streams

    def test_many_streams_are_read_and_applied_a_page_at_a_time(
        self, kit: Kit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_applying, "LONG", 1e9)  # or a busy machine has a page applied in parts
        store, view = filled(STREAMS, 2 * STREAMS), kit.notes()
        token = seen_of(store, STREAMS)
        with kit.open(view) as views:
            clock, app = ticking(store | views)
            assert isinstance(app.run(force(view, token, 1e9)), Success)
            assert clock.performed[Apply] == -(-2 * STREAMS // synchroniser.PAGE)
            assert kit.rows(views, view) == folded(store)
            clock.performed.clear()
            assert isinstance(app.run(force(view, token, 1e9)), Success)
            assert clock.performed == {Read: STREAMS, GetLive: 1, GetApplied: 1}

    def test_forcing_many_streams_has_one_deadline(
        self, kit: Kit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(synchroniser, "PAGE", 10)
        store, view = filled(STREAMS, STREAMS), kit.notes()
        token = seen_of(store, STREAMS)
        with kit.open(view) as views:
            clock, app = ticking(store | views, {Apply: 1.0})
            stale = app.run(force(view, token, 2.5)).failure()
            assert isinstance(stale, Stale)
            assert clock.within == [2.5, 1.5, 0.5]
            assert len(stale.missing.versions) == STREAMS - 30
            assert len(kit.rows(views, view)) == 30

    def test_control_a_deadline_for_each_stream_is_seen(
        self, kit: Kit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def patient(
            view: View[Any], applied: Mapping[Any, int], wanted: Mapping[Any, int], _: float
        ) -> Do[ForceOp, bool]:
            for stream in wanted:
                page = yield from Read(stream, applied[stream])
                yield from Apply(view, page.events, store_id=page.token.store_id, within=2.5)
            return False

        monkeypatch.setattr(synchroniser, "_pull", patient)
        store, view = filled(STREAMS, STREAMS), kit.notes()
        with kit.open(view) as views:
            clock, app = ticking(store | views, {Apply: 1.0})
            app.run(force(view, seen_of(store, STREAMS), 2.5))
            assert clock.seconds > 10 * 2.5

    def test_slow_handlers_are_left_at_the_deadline(
        self, kit: Kit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = Ticking({})
        monkeypatch.setattr(_applying, "monotonic", clock.now)
        store, view = filled(STREAMS, STREAMS), kit.notes(lambda _db, _event: clock.pass_by(0.01))
        with kit.open(view) as views:
            app = (store | views | world).but(on(Elapsed).run(lambda _: clock.now()))
            assert isinstance(app.run(force(view, seen_of(store, STREAMS), 0.2)), Failure)
            assert 0.2 <= clock.seconds < 0.2 + 0.03
            assert 20 <= len(kit.rows(views, view)) <= 23


STREAMS = 600


def seen_of(store: MemoryStore, streams: int) -> Token:
    """A token that has seen all of some books."""
    tokens = [store.run(Read(books[number].id, limit=1)).token for number in range(streams)]
    return reduce(or_, tokens)


class Ticking:
    """A clock on which operations take as long as they are said to."""

    def __init__(self, seconds: Mapping[type, float]) -> None:
        self.seconds = 0.0
        self.performed: Counter[type] = Counter()
        self.within: list[float | None] = []
        """Of each Apply."""
        self._each = seconds

    def now(self) -> float:
        return self.seconds

    def pass_by(self, seconds: float) -> None:
        self.seconds += seconds

    def around(self, op: Any) -> Do[Any, Any]:
        self.performed[type(op)] += 1
        if isinstance(op, Apply):
            self.within.append(op.within)
        answer = yield from op
        self.seconds += self._each.get(type(op), 0.0)
        return answer


def ticking(app: Interpreter[Any], seconds: Mapping[type, float] | None = None) -> tuple[Ticking, Any]:
    """An application with such a clock, which counts what is performed on it."""
    clock = Ticking(seconds or {})
    return clock, app.around(clock.around) | world.but(on(Elapsed).run(lambda _: clock.now()))
