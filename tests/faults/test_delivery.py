"""Two sources at once deliver events to a view: twice, late, or out of order.

Passed if in every simulation (100 seeds, and 10 with views in SQLite; 10 000 and 480 in the longer
tier) each stream is applied in steps of one, a gap is repaired within 3 polls, no more than a batch is
held that is not applied yet, and in the end the view equals a replay.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias
from unittest.mock import patch

import attrs
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlite_utils import Database

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
    on,
    program,
)
from eventsrc.events.positions import Cursor
from eventsrc.following import synchroniser
from eventsrc.following.synchroniser import SyncOp, deliver, synchronise_partition
from eventsrc.programs.program import Call, Do, Program
from eventsrc.views.guard import Gap, Sorted, sort_out
from eventsrc.views.operations import (
    Applied,
    Apply,
    GetApplied,
    GetParked,
    GetProgress,
    Parked,
    PartitionProgress,
    Progress,
)
from tests.faults import scaled
from tests.kits.events import CODEC, TYPES, Tick

DUPLICATES = 0.3
DROPS = 0.1
WINDOW = 20
POLLS = 3

Step: TypeAlias = tuple[str, int, int]
"""What a view has applied: a stream, a version, and the number in the event."""
Event: TypeAlias = Recorded[Any]
Deliver: TypeAlias = Callable[[View[Any], Iterable[Event]], Program[SyncOp, Applied]]
Guard: TypeAlias = Callable[[Mapping[str, int], Iterable[Event], Collection[str]], Sorted]


# --- views that note their steps ------------------------------------------------------------------


class ListViews(Interpreter[GetProgress | GetApplied | GetParked | Apply]):
    """A view that is a list of its steps, under a guard."""

    def __init__(self, guard: Guard = sort_out) -> None:
        self.view: View[list[Step]] = View("steps", types=TYPES)
        self.view.on(Tick)(_note)
        self._guard = guard
        self._steps: list[Step] = []
        self._applied: dict[str, int] = {}
        self._cursor = START

    def steps(self) -> list[Step]:
        return self._steps

    @on(GetProgress)
    def get_progress(self, op: GetProgress) -> Progress:
        return Progress((PartitionProgress(self._cursor, len(self._steps)),))

    @on(GetApplied)
    def get_applied(self, op: GetApplied) -> Mapping[StreamId, int]:
        return {stream: self._applied.get(stream, 0) for stream in op.streams}

    @on(GetParked)
    def get_parked(self, op: GetParked) -> tuple[Parked, ...]:
        return ()

    @on(Apply)
    def apply(self, op: Apply) -> Applied:
        work = self._guard(self._applied, op.events, ())
        for event in work.to_apply:
            op.view.apply(self._steps, event)
        self._applied.update(work.applied)
        if op.cursor is not None and not work.gaps:
            self._cursor = max(self._cursor, op.cursor)
        return Applied(len(work.to_apply), work.ignored, work.gaps)


def _note(steps: list[Step], event: Recorded[Tick]) -> None:
    steps.append((event.stream, event.version, event.data.number))


class TableViews:
    """The same in SQLite."""

    def __init__(self) -> None:
        self.view: View[Database] = View("steps", types=TYPES)

        @self.view.schema
        def create(db: Database) -> None:
            columns = {"id": int, "stream": str, "version": int, "number": int}
            db.table("step").create(columns, pk="id")

        @self.view.on(Tick)
        def tick(db: Database, event: Recorded[Tick]) -> None:
            db.execute(
                "INSERT INTO step (stream, version, number) VALUES (?, ?, ?)",
                (event.stream, event.version, event.data.number),
            )

        self.views = SqliteViews.temporary([self.view])

    def steps(self) -> list[Step]:
        with self.views.reading(self.view) as db:
            query = "SELECT stream, version, number FROM step ORDER BY id"
            return db.execute(query).fetchall()


def if_later(
    applied: Mapping[str, int], events: Iterable[Event], parked: Collection[str] = ()
) -> Sorted:
    """Broken, for the controls: applies what is later than what was applied, gap or not."""
    to_apply: list[Event] = []
    moved: dict[str, int] = {}
    ignored = 0
    for event in events:
        if event.version > moved.get(event.stream, applied.get(event.stream, 0)):
            moved[event.stream] = event.version
            to_apply.append(event)
        else:
            ignored += 1
    return Sorted(tuple(to_apply), ignored, (), moved, {})


# --- a trial --------------------------------------------------------------------------------------


@attrs.define(eq=False)
class Source:
    """A program that delivers, performed one operation at a time."""

    operations: Generator[Any, Any, Any]
    answer: Any = None
    held: list[Event] = attrs.field(factory=list[Event])
    """What it was given and the view had not applied when that was last looked at."""
    seen: Counter[tuple[StreamId, int]] = attrs.field(factory=Counter[tuple[StreamId, int]])
    """How often it has met each gap, by what came too early."""


class Trial:
    """Sources that deliver to one view by turns, each turn an operation, and what goes wrong.

    deliver: the program that they deliver with.
    """

    def __init__(self, views: ListViews | TableViews, deliver: Deliver = deliver) -> None:
        self.store = MemoryStore(CODEC)
        self.views = views
        self.sources: list[Source] = []
        self.wrong: list[str] = []
        self.most_polls = 0
        self._deliver = deliver
        self._app: Interpreter[Any] = self.store | (
            views if isinstance(views, ListViews) else views.views
        )

    def append(self, stream: int, events: int) -> None:
        """Appends some events to a stream."""
        ticks = tuple(Tick(0, number, events) for number in range(events))
        self.store.run(Append(StreamId(f"ticks/{stream}"), ticks)).unwrap()

    def feed(self, after: Cursor = START) -> Sequence[Event]:
        """All events after a place."""
        return self.store.run(ReadFeed(after, 10_000)).events

    def start_queue(self, batches: Iterable[Sequence[Event]]) -> None:
        """Starts a source that delivers these events, batch by batch."""

        def run() -> Iterator[Any]:
            for batch in batches:
                yield from body(self._deliver(self.views.view, taken(batch)))
                if self._waiting(source):
                    self.wrong.append(f"{source.held} are held when they have been delivered")

        def taken(batch: Sequence[Event]) -> Iterator[Event]:
            for event in batch:
                source.held.append(event)
                yield event

        source = Source(run())  # type: ignore[arg-type]
        self.sources.append(source)

    def start_following(self) -> None:
        """Starts a source that follows the feed to its end."""
        self.sources.append(
            Source(body(synchronise_partition(self.views.view, 0, size=synchroniser.PAGE)))
        )

    def step(self, source: Source) -> None:
        """Has a source perform its next operation."""
        try:
            op = source.operations.send(source.answer)
        except StopIteration:
            self.sources.remove(source)
            return
        if self._waiting(source) > synchroniser.PAGE:
            self.wrong.append(f"{len(source.held)} are held, with batches of {synchroniser.PAGE}")
        source.answer = self._app.run(op)
        if isinstance(op, Apply):
            self._look_for_gaps(source, source.answer.gaps)

    def finish(self) -> list[str]:
        """What is wrong when nothing more is on its way."""
        steps, numbers = self.views.steps(), numbers_of(self.feed())
        found = self.wrong + out_of_step(steps)
        applied: dict[str, list[int]] = {}
        for stream, _, number in steps:
            applied.setdefault(stream, []).append(number)
        if applied != numbers:
            found.append(f"the view has {applied}, and a replay gives {numbers}")
        return found

    def _waiting(self, source: Source) -> int:
        """How many events a source holds that the view has not applied."""
        if source.held:
            streams = tuple({event.stream for event in source.held})
            applied = self._app.run(GetApplied(self.views.view, streams))
            source.held = [event for event in source.held if event.version > applied[event.stream]]
        return len(source.held)

    def _look_for_gaps(self, source: Source, gaps: Iterable[Gap]) -> None:
        for gap in gaps:
            source.seen[gap.stream, gap.came] += 1
            polls = source.seen[gap.stream, gap.came]
            self.most_polls = max(self.most_polls, polls)
            if polls > POLLS:
                self.wrong.append(f"{gap} is not repaired after {POLLS} polls")
                self.sources.remove(source)
                return


def body(call: Program[SyncOp, Any]) -> Generator[Any, Any, Any]:
    """The body of a program that performs operations only, no other programs."""
    assert isinstance(call, Call)
    return call.body(*call.args, **call.kwargs)  # type: ignore[no-any-return]


def out_of_step(steps: Iterable[Step]) -> list[str]:
    """The steps that do not take their stream from one version to the next."""
    at: dict[str, int] = {}
    found: list[str] = []
    for stream, version, _ in steps:
        if version != at.get(stream, 0) + 1:
            found.append(f"{stream}: {version} was applied after {at.get(stream, 0)}")
        at[stream] = version
    return found


def numbers_of(feed: Iterable[Event]) -> dict[str, list[int]]:
    """What a replay gives: the numbers of each stream."""
    numbers: dict[str, list[int]] = {}
    for event in feed:
        tick: Tick = event.data
        numbers.setdefault(event.stream, []).append(tick.number)
    return numbers


# --- simulations ----------------------------------------------------------------------------------


def unreliable(chance: random.Random, events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    """What arrives of these events: some twice, some late, some only when they are sent again."""
    arrivals: list[tuple[float, Event]] = []
    for place, event in enumerate(events):
        for _ in range(2 if chance.random() < DUPLICATES else 1):
            at = place + chance.random() * WINDOW
            while chance.random() < DROPS:
                at += chance.random() * 5 * WINDOW
            arrivals.append((at, event))
    arrivals.sort(key=lambda arrival: arrival[0])
    left = [event for _, event in arrivals]
    while left:
        cut = chance.randint(1, 2 * WINDOW)
        yield left[:cut]
        left = left[cut:]


def simulate(seed: int, trial: Trial) -> list[str]:
    """Two sources, twice until all has arrived, while the store grows; answers what went wrong."""
    chance = random.Random(seed)
    cursor = START
    page = chance.choice([1, 3, 8, 30, 1000])
    with patch.object(synchroniser, "PAGE", page):
        for _ in range(2):
            for _ in range(chance.randint(5, 15)):
                trial.append(chance.randrange(4), chance.randint(1, 4))
            new, old = trial.feed(cursor), trial.feed()
            cursor = trial.store.run(ReadFeed(START, 1)).end
            trial.start_queue(unreliable(chance, new))
            if chance.random() < 0.5:
                trial.start_queue(unreliable(chance, chance.choices(old, k=10) + list(new)))
            else:
                trial.start_following()
            while trial.sources:
                trial.step(chance.choice(trial.sources))
            wrong = trial.finish()
            if wrong:
                break
    return wrong


@pytest.mark.timeout(600)
def test_whatever_arrives_each_event_is_applied_once_and_in_its_place(
    figure: Callable[[str], None],
) -> None:
    polls = steps = 0
    for seed in range(scaled(100, 10_000)):
        trial = Trial(ListViews())
        assert simulate(seed, trial) == [], f"seed {seed}"
        polls = max(polls, trial.most_polls)
        steps += len(trial.views.steps())
    assert 1 <= polls <= POLLS
    figure(f"{scaled(100, 10_000)} seeds, {steps} events applied, gaps repaired in {polls} polls")


@pytest.mark.timeout(600)
def test_views_in_sqlite_do_the_same() -> None:
    for seed in range(scaled(10, 480)):
        views = TableViews()
        with views.views:
            assert simulate(seed, Trial(views)) == [], f"seed {seed}"


# --- controls


def test_control_applying_whatever_is_later_is_caught() -> None:
    caught = [simulate(seed, Trial(ListViews(if_later))) for seed in range(50)]
    assert sum("was applied after" in " ".join(wrong) for wrong in caught) > 40


def test_control_applying_whatever_is_later_is_caught_in_sqlite(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("eventsrc.views._applying.sort_out", if_later)
    views = TableViews()
    with views.views:
        assert any("was applied after" in wrong for wrong in simulate(0, Trial(views)))


def test_control_a_gap_that_is_not_read_again_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def fill_nothing(_op: object, _gap: Gap, _parked: object) -> Iterator[Any]:
        return 0  # type: ignore[return-value]
        yield

    monkeypatch.setattr(synchroniser, "_fill", fill_nothing)
    assert any("is not repaired after" in wrong for wrong in simulate(0, Trial(ListViews())))


@program
def forget(view: View[Any], events: Iterable[Event]) -> Do[SyncOp, Applied]:
    """Broken, for the controls: what comes early is left out."""
    return (yield from Apply(view, tuple(events)))


@program
def hoard(view: View[Any], events: Iterable[Event]) -> Do[SyncOp, Applied]:
    """Broken, for the controls: takes all there is before it applies any."""
    return (yield from synchroniser._apply(Apply(view, tuple(events)), []))


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        (forget, "are held when they have been delivered"),
        (forget, "and a replay gives"),
        (hoard, "are held, with batches of"),
    ],
)
def test_control_forgetting_and_hoarding_are_caught(broken: Deliver, what: str) -> None:
    caught = [simulate(seed, Trial(ListViews(), broken)) for seed in range(20)]
    assert any(what in wrong for found in caught for wrong in found)


# --- any sequence of deliveries


class DeliveryMachine(RuleBasedStateMachine):
    """Sources start, take turns and finish as Hypothesis likes."""

    guard: Guard = staticmethod(sort_out)

    def __init__(self) -> None:
        super().__init__()
        self.trial = Trial(ListViews(type(self).guard))

    @rule(stream=st.integers(0, 2), events=st.integers(1, 6))
    def append(self, stream: int, events: int) -> None:
        self.trial.append(stream, events)

    @precondition(lambda self: self.trial.feed() and len(self.trial.sources) < 3)
    @rule(data=st.data())
    def start_queue(self, data: st.DataObject) -> None:
        some = st.lists(st.sampled_from(self.trial.feed()), min_size=1, max_size=8)
        self.trial.start_queue(data.draw(st.lists(some, min_size=1, max_size=3)))

    @precondition(lambda self: len(self.trial.sources) < 3)
    @rule()
    def start_following(self) -> None:
        with patch.object(synchroniser, "PAGE", 4):
            self.trial.start_following()

    @precondition(lambda self: self.trial.sources)
    @rule(data=st.data(), steps=st.integers(1, 5))
    def step(self, data: st.DataObject, steps: int) -> None:
        source = data.draw(st.sampled_from(self.trial.sources))
        with patch.object(synchroniser, "PAGE", 4):
            while steps and source in self.trial.sources:
                self.trial.step(source)
                steps -= 1

    @invariant()
    def nothing_is_wrong(self) -> None:
        assert self.trial.wrong + out_of_step(self.trial.views.steps()) == []

    def teardown(self) -> None:
        self.trial.start_following()
        while self.trial.sources:
            self.trial.step(self.trial.sources[0])
        assert self.trial.finish() == []


SETTINGS = settings(
    max_examples=scaled(25, 960),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_any_sources_in_any_order_keep_each_stream_in_step() -> None:
    run_state_machine_as_test(DeliveryMachine, settings=SETTINGS)


def test_control_applying_whatever_is_later_is_caught_by_any_sources() -> None:
    class Later(DeliveryMachine):
        guard = staticmethod(if_later)

    once = settings(
        SETTINGS, max_examples=500, database=None, phases=[Phase.generate], print_blob=False
    )
    with pytest.raises(AssertionError, match="was applied after"):
        run_state_machine_as_test(Later, settings=once)
