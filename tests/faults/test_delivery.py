"""E-SYNC: events reach a view by a careless messenger, or by two.

Some come twice, some late, some not before they are sent again; batches are cut anywhere. Passed if
each stream is applied one event after the other at every step, if a gap is filled from the store at
once, and if the view is in the end what a replay gives.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest

from eventsrc import (
    START,
    Append,
    Interpreter,
    MemoryStore,
    ReadFeed,
    Recorded,
    SqliteViews,
    StreamId,
    View,
    deliver,
    on,
    synchronise,
)
from eventsrc.guard import Sorted, sort_out
from eventsrc.positions import Cursor
from eventsrc.view import Applied, Apply, GetApplied, GetProgress, Progress, ViewOp
from tests.faults import scaled
from tests.faults.events import CODEC, TYPES, Tick
from tests.faults.projector import ticks as counting_view

STREAMS = [StreamId(f"ticks/{number}") for number in range(5)]
VIEW: View[Any] = View("ticks", types=TYPES)

Events = list[Recorded[Tick]]


class Views(Interpreter[ViewOp]):
    """A view in memory that notes what it applies, in order; the guard is the library's own."""

    def __init__(self) -> None:
        self.versions: dict[str, int] = {}
        self.applied: list[tuple[str, int]] = []
        self.cursor = START

    def sort_out(self, applied: Mapping[str, int], events: Any) -> Sorted:
        """Decides about the events."""
        return sort_out(applied, events)

    @on(GetProgress)
    def progress(self, op: GetProgress) -> Progress:
        """How far it has come."""
        return Progress(self.cursor, len(self.applied))

    @on(GetApplied)
    def get_applied(self, op: GetApplied) -> Mapping[StreamId, int]:
        """The versions that are applied."""
        return {stream: self.versions.get(stream, 0) for stream in op.streams}

    @on(Apply)
    def apply(self, op: Apply) -> Applied:
        """Applies events."""
        work = self.sort_out(self.versions, op.events)
        self.applied += [(event.stream, event.version) for event in work.to_apply]
        self.versions |= work.applied
        if op.cursor is not None and not work.gaps:
            self.cursor = max(self.cursor, op.cursor) if self.cursor != START else op.cursor
        return Applied(len(work.to_apply), work.ignored, work.gaps)


class Careless(Views):
    """Applies whatever is newer than what it has."""

    def sort_out(self, applied: Mapping[str, int], events: Any) -> Sorted:
        """Decides about the events, carelessly."""
        at = dict(applied)
        to_apply = []
        for event in events:
            if event.version > at.get(event.stream, 0):
                at[event.stream] = event.version
                to_apply.append(event)
        return Sorted(tuple(to_apply), 0, (), at)


def log_of(chance: random.Random, length: int) -> tuple[MemoryStore, Events]:
    store = MemoryStore(CODEC)
    for number in range(length):
        store.run(Append(chance.choice(STREAMS), (Tick(number, 0, 1),)))
    return store, list(store.run(ReadFeed(limit=10_000)).events)


def carelessly(events: Events, chance: random.Random) -> list[Events]:
    """The events as the messenger brings them: 30 % twice, up to 20 places late, 10 % sent again."""
    places: list[tuple[float, Recorded[Tick]]] = []
    for place, event in enumerate(events):
        copies = 2 if chance.random() < 0.3 else 1
        for _ in range(copies):
            late = len(events) if chance.random() < 0.1 else 0
            places.append((place + chance.uniform(0, 20) + late, event))
    order = [event for _, event in sorted(places, key=lambda item: item[0])]
    batches: list[Events] = []
    while order:
        size = chance.randint(1, 12)
        batches.append(order[:size])
        order = order[size:]
    return batches


def steps_wrong(applied: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """What was applied out of its turn."""
    at: dict[str, int] = {}
    wrong = []
    for stream, version in applied:
        if version != at.get(stream, 0) + 1:
            wrong.append((stream, version))
        at[stream] = version
    return wrong


def simulate(seed: int, views: Views) -> tuple[list[tuple[str, int]], bool]:
    """One delivery by two messengers; answers what was out of turn, and whether all is applied."""
    chance = random.Random(seed)
    store, events = log_of(chance, 80)
    batches = carelessly(events, chance) + carelessly(events, chance)
    chance.shuffle(batches)
    app = store | views
    for batch in batches:
        before = len(views.applied)
        app.run(deliver(VIEW, batch))
        newest = {event.stream: event.version for event in sorted(batch, key=lambda e: e.version)}
        if isinstance(views, Careless):
            continue
        for stream, version in newest.items():
            assert views.versions[stream] >= version, "a gap is filled at once"
        assert len(views.applied) - before <= sum(newest.values())
    wanted = {event.stream: event.version for event in events}
    return steps_wrong(views.applied), views.versions == wanted and len(views.applied) == len(events)


@pytest.mark.timeout(900)
def test_a_careless_messenger_does_no_harm() -> None:
    for seed in range(scaled(1_000)):
        assert simulate(seed, Views()) == ([], True), f"seed {seed}"


def test_control_applying_what_is_newer_is_caught() -> None:
    assert any(simulate(seed, Careless()) != ([], True) for seed in range(20))


@pytest.mark.timeout(900)
def test_a_file_of_views_is_what_a_replay_gives() -> None:
    def rows(views: SqliteViews) -> list[tuple[object, ...]]:
        with views.reading() as db:
            return db.execute("SELECT * FROM ticks ORDER BY stream").fetchall()

    for seed in range(scaled(10)):
        chance = random.Random(seed)
        store, events = log_of(chance, 80)
        with (
            SqliteViews.temporary([counting_view]) as views,
            SqliteViews.temporary([counting_view]) as replayed,
        ):
            batches = carelessly(events, chance) + carelessly(events, chance)
            chance.shuffle(batches)
            for batch in batches:
                (store | views).run(deliver(counting_view, batch))
                if chance.random() < 0.1:
                    (store | views).run(synchronise(counting_view))
            (store | replayed).run(synchronise(counting_view))
            assert rows(views) == rows(replayed), f"seed {seed}"


def test_delivery_and_the_feed_together_apply_each_event_once() -> None:
    for seed in range(scaled(50)):
        chance = random.Random(seed)
        store, events = log_of(chance, 80)
        views = Views()
        for batch in carelessly(events, chance):
            (store | views).run(deliver(VIEW, batch) if chance.random() < 0.7 else synchronise(VIEW))
        (store | views).run(synchronise(VIEW))
        assert steps_wrong(views.applied) == []
        assert len(views.applied) == len(events)
        assert views.cursor == Cursor(store.store_id, len(events))
