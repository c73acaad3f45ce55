"""Load, decide, append: with rivals, with stores that lose answers, and up to a deadline."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count, repeat
from typing import Any, TypeAlias
from uuid import UUID

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from returns.result import Failure, Success

from eventsrc import (
    Append,
    DecideOp,
    Do,
    Fold,
    Interpreter,
    MemoryStore,
    Outcome,
    Program,
    Read,
    Rejected,
    Sleep,
    StoreOp,
    Token,
    Unknown,
    on,
    program,
    pure,
    world,
)
from eventsrc.errors import AppendFailed, NotDecided
from eventsrc.events.event import EventTypeError
from eventsrc.stores.operations import CONFLICT_EVENTS, Appended, FindAppend, NotAppended
from tests.kits.counting import (
    Counted,
    Counting,
    Elsewhere,
    Reset,
    SimulatedWorld,
    counted,
    counter,
    total,
)

Answer: TypeAlias = Outcome[Appended, NotAppended]
Body: TypeAlias = Do[Append, Answer]


@attrs.frozen
class TooMany:
    """The counter must not go higher."""

    limit: int


def one_more(so_far: int) -> Outcome[Sequence[Counting], TooMany]:
    return Success([Counted()])


def up_to(limit: int) -> Callable[[int], Outcome[Sequence[Counting], TooMany]]:
    def decider(so_far: int) -> Outcome[Sequence[Counting], TooMany]:
        return Failure(TooMany(limit)) if so_far >= limit else Success([Counted()])

    return decider


def twice_and_one_more(so_far: int) -> Outcome[Sequence[Counting], TooMany]:
    return Success([Counted(so_far), Counted(1)])


def nothing(so_far: int) -> Outcome[Sequence[Counting], TooMany]:
    return Success([])


def increment(so_far: int) -> Sequence[Counting]:
    return [Counted()]


# --- what gets between a decision and its store ---------------------------------------------------


def rivals(*writes: int) -> Callable[[Append], Program[Append, Answer]]:
    """Others who append so many events just before the first attempt, the second, and so on."""
    left = iter(writes)

    @program
    def middleware(op: Append) -> Body:
        for _ in range(next(left, 0)):
            yield from Append(op.stream, (Counted(10),))
        return (yield from op)

    return middleware


def always_a_rival(op: Append) -> Program[Append, Answer]:
    """Somebody who is faster every time."""
    return Append(op.stream, (Counted(10),)).then(op)


LOST = "performed, and the answer got lost"
NEVER = "never performed"
FINE = "performed and answered"


class Unreliable:
    """A connection to a store, with a fate for each append; it remembers what was asked of it.

    As a store does, it chooses an id for an append that has none.
    """

    def __init__(self, fates: Iterable[str]) -> None:
        self.asked: list[Append] = []
        self._fates = iter(fates)
        self._ids = (UUID(int=n) for n in count(1))

    def __call__(self, op: Append) -> Program[Append, Answer]:
        append_id = next(self._ids) if op.append_id is None else op.append_id
        asked = Append(op.stream, op.events, op.expected, append_id, op.metadata)
        self.asked.append(asked)
        unknown: Answer = Failure(Unknown(append_id, "the connection broke"))
        fate = next(self._fates, FINE)
        if fate == NEVER:
            return pure(unknown)
        return asked.map(lambda answer: unknown if fate == LOST else answer)


def over(
    store: Interpreter[StoreOp],
    middleware: Callable[[Append], Program[Append, Answer]],
    simulated: SimulatedWorld | None = None,
) -> Interpreter[DecideOp]:
    """The store with something between it and its appends, in a world where nobody waits."""
    return store.around(middleware, only=Append) | (simulated or SimulatedWorld())


@pytest.fixture
def store() -> MemoryStore:
    """A store with nothing in it."""
    return MemoryStore()


# --- deciding -------------------------------------------------------------------------------------


def test_a_decision_appends_what_it_decides_and_answers_with_the_new_state(store: MemoryStore) -> None:
    store.run(counter.append(Counted(5)))
    app = store | SimulatedWorld()
    found = app.run(counter.decide(total, twice_and_one_more)).unwrap()
    assert (found.state, found.version) == (11, 3)
    assert found.events == (Counted(5), Counted(1))
    assert found.token == Token(store.store_id, {counter.id: 3})
    assert store.run(counter.get(total)).state == 11


def test_the_first_decision_begins_with_the_initial_state(store: MemoryStore) -> None:
    decided = (store | SimulatedWorld()).run(counter.change(total, increment))
    assert (decided.state, decided.version) == (1, 1)


def test_a_failure_ends_it_and_writes_nothing(store: MemoryStore) -> None:
    app = store | SimulatedWorld()
    for _ in range(3):
        app.run(counter.decide(total, up_to(3)))
    assert app.run(counter.decide(total, up_to(3))) == Failure(TooMany(3))
    assert store.run(counter.head()) == 3


def test_a_decision_for_no_events_writes_nothing(store: MemoryStore) -> None:
    store.run(counter.append(Counted(5)))
    app = store | SimulatedWorld()
    found = app.run(counter.decide(total, nothing)).unwrap()
    assert (found.state, found.events, found.version) == (5, (), 1)
    assert found.token == Token(store.store_id, {counter.id: 1})
    assert app.run(counter.change(total, lambda _: [])).version == 1
    assert store.run(counter.head()) == 1


def test_the_metadata_of_a_decision_is_kept_with_its_events(store: MemoryStore) -> None:
    (store | SimulatedWorld()).run(counter.change(total, increment, metadata={"actor": "homer"}))
    assert store.run(counter.history())[0].metadata == {"actor": "homer"}


def test_an_event_of_another_stream_is_refused_and_nothing_written(store: MemoryStore) -> None:
    app = store | SimulatedWorld()
    with pytest.raises(EventTypeError, match="is no event of counter"):
        app.run(counter.change(total, lambda _: [Elsewhere()]))  # type: ignore[list-item]
    assert store.run(counter.head()) == 0


@pytest.mark.parametrize("answer", [None, [Counted()], Counted()], ids=repr)
def test_a_decider_that_answers_neither_success_nor_failure_is_told_so(
    store: MemoryStore, answer: Any
) -> None:
    def decider(so_far: int) -> Any:
        return answer

    with pytest.raises(TypeError, match=r"decider answered .*: a decider answers Success\(events\)"):
        (store | SimulatedWorld()).run(counter.decide(total, decider))


def test_an_exception_in_a_decider_ends_it_and_writes_nothing(store: MemoryStore) -> None:
    def decider(so_far: int) -> Sequence[Counting]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        (store | SimulatedWorld()).run(counter.change(total, decider))
    assert store.run(counter.head()) == 0


def test_an_event_that_the_fold_cannot_take_is_not_stored(store: MemoryStore) -> None:
    def evolve(so_far: int, event: Counting) -> int:
        if isinstance(event, Reset):
            raise NotImplementedError("what now?")
        return counted(so_far, event)

    with pytest.raises(NotImplementedError):
        (store | SimulatedWorld()).run(counter.change(Fold(0, evolve), lambda _: [Reset()]))
    assert store.run(counter.head()) == 0


# --- rivals ---------------------------------------------------------------------------------------


def test_a_decision_is_made_again_when_somebody_was_faster(store: MemoryStore) -> None:
    seen: list[int] = []

    def decider(so_far: int) -> Sequence[Counting]:
        seen.append(so_far)
        return [Counted()]

    decided = over(store, rivals(1)).run(counter.change(total, decider))
    assert seen == [0, 10]
    assert (decided.state, decided.version, decided.events) == (11, 2, (Counted(),))


@given(st.lists(st.integers(1, 4), max_size=6))
def test_whoever_is_faster_no_event_is_lost_and_each_decision_stands_once(writes: list[int]) -> None:
    store = MemoryStore()
    decided = over(store, rivals(*writes)).run(counter.change(total, increment))
    history = [recorded.data for recorded in store.run(counter.history())]
    assert history == [Counted(10)] * sum(writes) + [Counted()]
    assert decided.state == store.run(counter.get(total)).state
    assert decided.version == len(history)


def test_a_rival_can_turn_a_decision_into_a_failure(store: MemoryStore) -> None:
    assert over(store, rivals(1)).run(counter.decide(total, up_to(5))) == Failure(TooMany(5))
    assert store.run(counter.head()) == 1


def test_a_rival_can_leave_nothing_to_do(store: MemoryStore) -> None:
    decided = over(store, rivals(1)).run(
        counter.change(total, lambda so_far: [] if so_far else [Counted()])
    )
    assert (decided.state, decided.version, decided.events) == (10, 1, ())
    assert store.run(counter.head()) == 1


@given(st.integers(0, 50), st.lists(st.integers(1, CONFLICT_EVENTS), max_size=4))
def test_each_recorded_event_is_folded_once_however_many_conflicts_there_are(
    before: int, writes: list[int]
) -> None:
    folded: list[Counting] = []

    def evolve(so_far: int, event: Counting) -> int:
        folded.append(event)
        return counted(so_far, event)

    store = MemoryStore()
    if before:
        store.run(counter.append(*[Counted(1)] * before))
    decided = over(store, rivals(*writes)).run(counter.change(Fold(0, evolve), increment))
    assert decided.state == before + 10 * sum(writes) + 1
    attempts = len(writes) + 1  # each folds the event that it is about to append
    assert len(folded) == before + sum(writes) + attempts


def test_conflicts_are_not_read_again(store: MemoryStore) -> None:
    reads: list[Read] = []

    def noting(op: Read) -> Program[Read, Any]:
        reads.append(op)
        return op.map(lambda page: page)

    app = over(store.around(noting, only=Read), rivals(1, CONFLICT_EVENTS, 3))
    app.run(counter.change(total, increment))
    assert len(reads) == 1


def test_more_rival_events_than_a_conflict_carries_are_all_seen(store: MemoryStore) -> None:
    decided = over(store, rivals(CONFLICT_EVENTS + 1)).run(counter.change(total, increment))
    assert decided.state == 10 * (CONFLICT_EVENTS + 1) + 1
    assert decided.version == store.run(counter.head())


def test_and_what_was_seen_before_them_is_not_read_again(store: MemoryStore) -> None:
    store.run(counter.append(*[Counted()] * 50))
    after: list[int] = []

    def noting(op: Read) -> Program[Read, Any]:
        after.append(op.after)
        return op.map(lambda page: page)

    app = over(store.around(noting, only=Read), rivals(CONFLICT_EVENTS + 1))
    app.run(counter.change(total, increment))
    assert after[0] == 0
    assert min(after[1:]) >= 50


@pytest.fixture
def restless_threads() -> Iterator[None]:
    """Threads take turns so often that they get into each other's way."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("restless_threads")
def test_no_update_is_lost_by_eight_threads_that_change_one_stream(store: MemoryStore) -> None:
    conflicts: list[Answer] = []
    versions: list[int] = []
    errors: list[BaseException] = []
    everyone = threading.Barrier(8)

    def noted(answer: Answer) -> Answer:
        if isinstance(answer, Failure):
            conflicts.append(answer)
        return answer

    def late(op: Append) -> Program[Append, Answer]:
        time.sleep(0)  # lets another thread in between a decision's read and its append
        return op.map(noted)

    watched = store.around(late, only=Append)
    app: Interpreter[DecideOp] = watched | world.but(on(Sleep).run(lambda _: None))

    def count() -> None:
        try:
            everyone.wait(10)
            decisions = [app.run(counter.change(total, increment, within=60)) for _ in range(25)]
            versions.extend(decided.version for decided in decisions)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert conflicts  # or this would show nothing
    assert sorted(versions) == list(range(1, 201))
    assert store.run(counter.get(total)).state == 200


# --- waiting --------------------------------------------------------------------------------------


def test_a_decision_gives_up_at_its_deadline(store: MemoryStore) -> None:
    simulated = SimulatedWorld()
    app = over(store, always_a_rival, simulated)
    with pytest.raises(
        NotDecided,
        match=r"gave up on counter after \d+ attempts; the last met a conflict: counter",
    ):
        app.run(counter.change(total, increment, within=2.0))
    assert 1.9 < simulated.time <= 2.0
    history = [recorded.data for recorded in store.run(counter.history())]
    assert set(history) == {Counted(10)}


@settings(max_examples=30)
@given(st.floats(0, 2), st.floats(0.1, 0.999), st.floats(0, 0.1))
def test_nobody_waits_past_the_deadline(within: float, chance: float, tick: float) -> None:
    simulated = SimulatedWorld(chance, tick)
    with pytest.raises(NotDecided):
        over(MemoryStore(), always_a_rival, simulated).run(
            counter.change(total, increment, within=within)
        )
    assert sum(simulated.sleeps) <= within + 1e-9
    assert simulated.time <= within + 2 * tick + 1e-9  # it looks at the clock once more


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 12))
def test_the_first_retry_is_at_once_and_later_waits_are_random_and_grow(
    chance: float, conflicts: int
) -> None:
    simulated = SimulatedWorld(chance)
    over(MemoryStore(), rivals(*[1] * conflicts), simulated).run(counter.change(total, increment))
    assert simulated.sleeps == [chance * min(0.001 * (2**n - 1), 0.02) for n in range(conflicts)]


def test_a_decision_that_meets_nobody_does_not_wait(store: MemoryStore) -> None:
    simulated = SimulatedWorld()
    (store | simulated).run(counter.change(total, increment, within=0))
    assert simulated.sleeps == []


def test_a_decision_without_time_is_tried_once(store: MemoryStore) -> None:
    with pytest.raises(NotDecided, match="after 1 attempts"):
        over(store, always_a_rival).run(counter.change(total, increment, within=0))


def test_a_decision_can_be_tried_for_minutes(store: MemoryStore) -> None:
    with pytest.raises(NotDecided):
        over(store, Unreliable(repeat(NEVER))).run(counter.change(total, increment, within=120.0))


# --- answers that got lost ------------------------------------------------------------------------

fates = st.lists(st.sampled_from([LOST, NEVER, FINE]), max_size=6)


@settings(max_examples=100)
@given(fates)
def test_an_append_whose_answer_was_lost_is_made_again_under_its_id_and_stored_once(
    fates: list[str],
) -> None:
    store = MemoryStore()
    connection = Unreliable(fates)
    decided = over(store, connection).run(counter.change(total, increment))
    assert (decided.state, decided.version, decided.events) == (1, 1, (Counted(),))
    assert [recorded.data for recorded in store.run(counter.history())] == [Counted()]
    assert len(connection.asked) == [*fates, FINE].index(FINE) + 1
    assert connection.asked == [connection.asked[0]] * len(connection.asked)


@settings(max_examples=100)
@given(st.lists(st.tuples(st.sampled_from([LOST, NEVER, FINE]), st.booleans()), max_size=8))
def test_with_rivals_too_a_decision_stands_once_and_on_the_state_that_it_saw(
    course: list[tuple[str, bool]],
) -> None:
    store = MemoryStore()
    connection = Unreliable(fate for fate, _ in course)
    unreliable = store.around(connection, only=Append)
    seen: list[int] = []

    def decider(so_far: int) -> Sequence[Counting]:
        seen.append(so_far)
        return [Counted()]

    app = over(unreliable, rivals_over(store, [rival for _, rival in course]))
    decided = app.run(counter.change(total, decider))
    history = [recorded.data for recorded in store.run(counter.history())]
    assert history.count(Counted()) == 1
    place = history.index(Counted())
    assert decided.version == place + 1
    assert decided.state == seen[-1] + 1 == 10 * place + 1


def rivals_over(store: MemoryStore, come: list[bool]) -> Callable[[Append], Program[Append, Answer]]:
    """Others who append by another way than the one in doubt."""
    left = iter(come)

    def middleware(op: Append) -> Program[Append, Answer]:
        if next(left, False):
            store.run(counter.append(Counted(10)))
        return op.map(_same)

    return middleware


def test_an_append_that_landed_before_a_rival_is_recognised(store: MemoryStore) -> None:
    connection = Unreliable([LOST])

    def rival_after(op: Append) -> Program[Append, Answer]:
        return op.map(_then_rival) if len(connection.asked) == 0 else op.map(_same)

    def _then_rival(answer: Answer) -> Answer:
        store.run(counter.append(Counted(10)))
        return answer

    app = over(store.around(connection, only=Append), rival_after)
    decided = app.run(counter.change(total, increment))
    assert (decided.state, decided.version) == (1, 1)
    assert [recorded.data for recorded in store.run(counter.history())] == [Counted(), Counted(10)]


def _same(answer: Answer) -> Answer:
    return answer


def test_an_append_that_stays_unknown_is_given_up_at_the_deadline(store: MemoryStore) -> None:
    simulated = SimulatedWorld()
    connection = Unreliable(repeat(NEVER))
    with pytest.raises(NotDecided, match="the last met Unknown"):
        over(store, connection, simulated).run(counter.change(total, increment, within=1.0))
    assert simulated.time <= 1.0
    assert store.run(counter.head()) == 0


def test_who_gave_up_on_an_unknown_append_can_ask_for_it_later_by_its_id(store: MemoryStore) -> None:
    connection = Unreliable(repeat(LOST))
    with pytest.raises(NotDecided) as gave_up:
        over(store, connection).run(counter.change(total, increment, within=1.0))
    why: Any = getattr(gave_up.value, "why", None)
    assert isinstance(why, Unknown)
    assert store.run(FindAppend(why.append_id)) is not None


def test_a_rejected_append_raises_and_says_why(store: MemoryStore) -> None:
    rejected = Rejected("the store is being moved")
    app = store.but(on(Append).always(Failure(rejected))) | SimulatedWorld()
    with pytest.raises(AppendFailed, match="the store is being moved") as failed:
        app.run(counter.change(total, increment))
    assert failed.value.why == rejected
