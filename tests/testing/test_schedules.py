"""Every schedule that anybody can tell apart is run, once; and again in just the same way."""

from __future__ import annotations

import ast
import gc
import hashlib
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import combinations
from random import Random
from typing import Any
from unittest.mock import patch
from uuid import UUID

import attrs
import pytest
from hypothesis import assume, given, reproduce_failure, settings
from hypothesis import strategies as st

from eventsrc import (
    NO_STREAM,
    Append,
    AppendAll,
    Appended,
    Command,
    Do,
    Effect,
    Failure,
    Head,
    Interpreter,
    MemoryStore,
    Query,
    Read,
    ReadFeed,
    Recorded,
    StreamAppend,
    StreamId,
    Success,
    View,
    gather,
    gather_all,
    on,
    program,
    synchronise,
    world,
)
from eventsrc.errors import MissingHandlers
from eventsrc.following.synchroniser import deliver, synchronise_partition
from eventsrc.programs.program import in_turn
from eventsrc.programs.world import Chance, Elapsed, NewId, Now, Sleep, World
from eventsrc.stores.operations import (
    Condition,
    FindAppend,
    LoadSnapshot,
    Page,
    SaveSnapshot,
    Snapshot,
    StoreOp,
)
from eventsrc.testing import (
    CONFLICT,
    CRASH,
    EVERY_FAULT,
    LATE,
    LOST,
    REFUSED,
    RESTART,
    STALLED,
    After,
    AnswerLost,
    BadScenario,
    BadSchedule,
    Endless,
    Fault,
    NotAsBefore,
    Raised,
    Rows,
    Scenario,
    SimulatedStore,
    SimulatedViews,
    check_history,
    reads,
    writes,
)
from eventsrc.testing._contract.samples import Counted
from eventsrc.testing._scenarios import exploring
from eventsrc.testing._scenarios.footprints import NOTHING, Reader, are_dependent
from eventsrc.testing._scenarios.running import Running, follow
from eventsrc.testing._scenarios.sampling import by_chance
from eventsrc.testing._scenarios.simulation import EPOCH
from eventsrc.testing._scenarios.story import trace
from eventsrc.views.memory import Tables
from eventsrc.views.operations import Claim, Leave, LostLease
from tests.faults import scaled

BEGAN = datetime.fromtimestamp(EPOCH, UTC)
A = StreamId("a")
B = StreamId("b")


class Ask(Query[int]):
    """A question of an application's own."""


# --- small programs, made of a few things to do


@program
def does(number: int, things: Sequence[str]) -> Do[StoreOp, list[Any]]:
    """Answers what it saw: versions, and whether its appends were stored."""
    saw: list[Any] = []
    for thing in things:
        saw.append((yield from one(number, thing)))  # noqa: PERF401
    return saw


@program
def one(number: int, thing: str) -> Do[StoreOp, Any]:
    stream = A if thing.endswith("a") else B
    match thing[:-1]:
        case "head ":
            return (yield from Head(stream))
        case "append ":
            return repr((yield from Append(stream, (Counted(number),))))[:9]
        case "change ":
            version = yield from Head(stream)
            return repr((yield from Append(stream, (Counted(number),), version)))[:9]
        case _:
            version, _ = yield from gather(Head(A), Append(B, (Counted(number),)))
            return version


things = st.sampled_from(["head a", "head b", "append a", "append b", "change a", "both b"])
actors = st.lists(st.lists(things, min_size=1, max_size=2), min_size=2, max_size=3).filter(
    lambda lists: sum(1 + t.startswith(("change", "both")) for its in lists for t in its) <= 5
)


def scenario(of: Sequence[Sequence[str]], seen: list[Any], **more: Any) -> Scenario:
    def look(after: After) -> None:
        kept = [[event.data for event in after.run(Read(stream)).events] for stream in (A, B)]
        seen.append(repr((sorted(after.answers.items()), kept)))

    programs = {f"p{number}": does(number, its) for number, its in enumerate(of)}
    return Scenario(programs, on=SimulatedStore, holds=look, **more)


def observed(of: Sequence[Sequence[str]], *, reduced: bool, **more: Any) -> Counter[str]:
    """What came of all schedules, and how often."""
    seen: list[Any] = []
    found = scenario(of, seen, **more).explore(reduced=reduced)
    assert found.holds, found.story
    assert found.schedules == len(seen)
    return Counter(seen)


# --- every schedule that matters


@settings(max_examples=scaled(30, 60), deadline=None)
@given(actors)
def test_what_comes_of_all_schedules_comes_of_those_that_are_run(of: Sequence[Sequence[str]]) -> None:
    assert observed(of, reduced=True).keys() == observed(of, reduced=False).keys()


@settings(max_examples=scaled(20, 40), deadline=None)
@given(actors.filter(lambda of: sum(map(len, of)) <= scaled(3, 4)), st.sampled_from([*EVERY_FAULT]))
def test_what_comes_of_all_faults_comes_of_those_that_are_tried(
    of: Sequence[Sequence[str]], fault: Fault
) -> None:
    seen = [observed(of, reduced=reduced, faults=[fault]).keys() for reduced in (True, False)]
    assert seen[0] == seen[1]


@settings(max_examples=scaled(20, 40), deadline=None)
@given(actors)
def test_no_two_schedules_that_are_run_differ_in_the_order_of_independent_steps_only(
    of: Sequence[Sequence[str]],
) -> None:
    plan = scenario(of, [])._plan
    orders = [order_that_matters(running) for running in exploring.every_schedule(plan, None)]
    kept = [order_that_matters(running) for running in exploring.every_schedule(plan, reader())]
    assert len(kept) == len(set(kept))
    assert set(kept) == set(orders)


def reader() -> Reader:
    return Reader({}, ordered=False)


def order_that_matters(running: Running) -> frozenset[Any]:
    """Which of two steps came first, for all that depend on each other."""
    count: Counter[str] = Counter()
    steps: list[tuple[Any, Any]] = []
    footprint = reader()
    for step in running.steps:
        count[step.process] += 1
        steps.append(((step.process, count[step.process]), footprint(step.op)))
    return frozenset(
        (one, other) for (one, its), (other, more) in combinations(steps, 2) if are_dependent(its, more)
    ) | frozenset(name for name, _ in steps)


def test_control_steps_that_are_wrongly_taken_for_independent_are_caught() -> None:
    of = [["change a"], ["change a"]]
    with patch.object(exploring, "are_dependent", lambda one, other: False):
        assert len(observed(of, reduced=True)) == 1
    assert len(observed(of, reduced=False)) == len(observed(of, reduced=True)) == 4


def test_programs_that_have_nothing_to_do_with_each_other_are_run_once() -> None:
    of = [["change a"], ["change b"]]
    assert sum(observed(of, reduced=True).values()) == 1
    assert sum(observed(of, reduced=False).values()) == 6


def test_appends_to_different_streams_are_told_apart_as_soon_as_somebody_reads_the_feed() -> None:
    seen: set[tuple[int, ...]] = set()

    def look(after: After) -> None:
        seen.add(tuple(event.data.number for event in after.answers["reader"].events))

    programs: dict[str, Effect[Any, Any]] = {
        "one": Append(A, (Counted(1),)),
        "two": Append(B, (Counted(2),)),
        "reader": ReadFeed(),
    }
    assert Scenario(programs, on=SimulatedStore, holds=look).explore().holds
    assert seen == {(), (1,), (2,), (1, 2), (2, 1)}


class Told(Command[None]):
    """A command of an application's own, which appends."""

    stream: StreamId


def appends(number: int, stream: StreamId) -> Append:
    return Append(stream, (Counted(number),))


def told(number: int, stream: StreamId) -> Told:
    return Told(stream)


def with_told() -> Interpreter[Any]:
    store = SimulatedStore()

    def append(op: Told) -> None:
        store.run(appends(1 if op.stream == A else 2, op.stream))

    return store | on(Told).run(append)


first: View[Tables] = View("first")


@first.on(Counted)
def _(tables: Tables, event: Recorded[Counted]) -> None:
    tables["first"].setdefault("number", event.data.number)


def by_the_feed(after: After) -> int:
    number: int = after.run(ReadFeed()).events[0].data.number
    return number


def by_a_view(after: After) -> int:
    after.run(synchronise(first))
    number: int = after.run(Rows(first))["first"]["number"]
    return number


def by_an_operation_of_its_own(after: After) -> int:
    return after.run(Ask())


def orders(make: Any, holds: Any) -> Scenario:
    """Two append to streams of their own, and it is looked at afterwards which of them was first."""

    def app() -> Interpreter[Any]:
        below = with_told()
        asks = on(Ask).run(lambda _: below.run(ReadFeed()).events[0].data.number)
        return below | SimulatedViews([first]) | asks

    programs = {"one": make(1, A), "two": make(2, B)}
    return Scenario(programs, on=app, footprints={Told: lambda op: writes(op.stream)}, holds=holds)


@pytest.mark.parametrize("look", [by_the_feed, by_a_view, by_an_operation_of_its_own])
@pytest.mark.parametrize("make", [appends, told], ids=lambda make: make.__name__)
def test_appends_to_different_streams_are_told_apart_if_the_feed_is_read_to_judge_the_run(
    look: Callable[[After], int], make: Any
) -> None:
    def one_is_first(after: After) -> bool:
        return look(after) == 1

    found = orders(make, one_is_first).explore()
    assert not found.holds
    assert found.schedule == "two"


def test_what_linearizable_is_given_may_look_at_the_feed_too() -> None:
    seen: set[int] = set()

    def observe(after: After) -> int:
        seen.add(by_the_feed(after))
        return 0

    assert (
        Scenario({"one": appends(1, A), "two": appends(2, B)}, on=SimulatedStore, linearizable=observe)
        .explore()
        .holds
    )
    assert seen == {1, 2}


def test_streams_are_looked_at_without_their_order_in_the_feed() -> None:
    seen: list[Any] = []

    def look(after: After) -> None:
        assert check_history(after) == []
        seen.append({name: [e.data.number for e in its] for name, its in after.streams().items()})

    programs = {"two": appends(2, B), "one": appends(1, A)}
    assert Scenario(programs, on=SimulatedStore, holds=look).explore().schedules == 1
    assert repr(seen) == "[{'a': [1], 'b': [2]}]"


def test_answers_are_in_the_order_of_the_programs_whoever_ended_first() -> None:
    seen: set[tuple[str, ...]] = set()
    programs = {"one": appends(1, A), "two": appends(2, A)}
    Scenario(programs, on=SimulatedStore, holds=lambda after: seen.add((*after.answers,))).explore()
    assert seen == {("one", "two")}


def test_an_operation_of_the_application_is_told_apart_by_the_footprint_that_is_given() -> None:
    def found(**more: Any) -> int:
        return (
            Scenario(
                {"one": Ask(), "two": Append(A, (Counted(1),)), "three": Append(B, (Counted(1),))},
                on=lambda: SimulatedStore() | on(Ask).always(1),
                holds=lambda after: True,
                **more,
            )
            .explore()
            .schedules
        )

    assert found() == 6
    assert found(footprints={Ask: lambda _: NOTHING}) == 1
    assert found(footprints={Ask: lambda _: reads(A)}) == 2


# --- what programs choose


@program
def restless() -> Do[World, tuple[Any, ...]]:
    began = yield from Elapsed()
    yield from Sleep(3600)
    first, second = (yield from NewId()), (yield from NewId())
    took = (yield from Elapsed()) - began
    return first != second, took, (yield from Now()).year, (yield from Chance())


def test_waiting_takes_no_time_and_ids_and_chance_are_the_same_in_each_run() -> None:
    seen: list[Any] = []
    found = Scenario(
        {"one": restless(), "two": restless()},
        on=SimulatedStore,
        holds=lambda after: seen.append(after.answers),
    ).explore()
    assert (found.holds, found.schedules) == (True, 1)
    assert seen == [dict.fromkeys(["one", "two"], (True, 3600.0, 2023, 0.5))]


def test_chance_is_tried_with_each_value_that_is_named() -> None:
    seen: list[Any] = []
    Scenario(
        {"one": Chance(), "two": Chance()},
        on=SimulatedStore,
        chances=(0.0, 0.9),
        holds=lambda after: seen.append(tuple(after.answers.values())),
    ).explore()
    assert sorted(seen) == [(0.0, 0.0), (0.0, 0.9), (0.9, 0.0), (0.9, 0.9)]


def test_branches_of_a_program_are_interleaved_with_the_others() -> None:
    seen: list[Any] = []

    @program
    def both() -> Do[Head, list[int]]:
        return (yield from gather_all([Head(A), Head(B)]))

    @program
    def writer() -> Do[Append, None]:
        yield from Append(A, (Counted(1),))
        yield from Append(B, (Counted(1),))

    Scenario(
        {"reader": both(), "writer": writer()},
        on=SimulatedStore,
        holds=lambda after: seen.append(tuple(after.answers["reader"])),
    ).explore()
    assert sorted(seen) == [(0, 0), (0, 1), (1, 0), (1, 1)]


# --- what may be raised, and what is said then


@program
def mistaken() -> Do[Head, int]:
    return 1 // (yield from Head(A))


def test_a_program_that_raises_is_reported() -> None:
    found = Scenario({"one": mistaken()}, on=SimulatedStore, holds=lambda after: True).explore()
    assert not found.holds
    assert found.story.startswith("one raised ZeroDivisionError")


def test_a_program_may_raise_what_the_scenario_allows() -> None:
    seen: list[Any] = []
    found = Scenario(
        {"one": mistaken()}, on=SimulatedStore, holds=seen.append, may_raise=(ZeroDivisionError,)
    ).explore()
    assert found.holds
    assert isinstance(seen[0].answers["one"], Raised)


def test_programs_that_do_not_end_are_reported() -> None:
    @program
    def endless() -> Do[Head, None]:
        while True:
            yield from Head(A)

    found = Scenario(
        {"one": endless()}, on=SimulatedStore, holds=lambda after: True, most_steps=20
    ).explore()
    assert not found.holds
    assert found.story.startswith("the programs took 20 steps, and one would have gone on")


def test_a_program_that_does_something_else_with_the_same_answers_is_reported() -> None:
    numbers = iter(range(1000))

    @program
    def moody() -> Do[StoreOp, None]:
        yield from Head(A)
        yield from Append(A, (Counted(next(numbers)),))
        yield from Head(A)

    moods = Scenario({"one": moody(), "two": moody()}, on=SimulatedStore, holds=lambda after: True)
    with pytest.raises(NotAsBefore, match="takes time, ids and chance from operations"):
        moods.explore()


def test_a_program_that_the_interpreter_cannot_run_is_refused() -> None:
    @program
    def asks() -> Do[Ask, int]:
        return (yield from Ask())

    with pytest.raises(MissingHandlers, match="Ask"):
        Scenario({"one": asks()}, on=SimulatedStore, holds=lambda after: True).explore()


@pytest.mark.parametrize(
    ("programs", "more", "said"),
    [
        ({}, {"holds": bool}, "needs a program"),
        ({"a b": Head(A)}, {"holds": bool}, "'a b' is no name"),
        ({"a": Head(A)}, {}, "say what must be true"),
        ({"a": Head(A)}, {"holds": bool, "linearizable": bool}, "say what must be true"),
        ({"a": Head(A)}, {"linearizable": bool, "faults": [LOST]}, "use `holds` with faults"),
        ({"a": Head(A)}, {"holds": bool, "chances": [1.0]}, "from 0 and below 1"),
        ({"a": Head(A)}, {"holds": bool, "chances": []}, "from 0 and below 1"),
    ],
)
def test_a_scenario_that_makes_no_sense_is_refused(
    programs: dict[str, Any], more: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadScenario, match=said):
        Scenario(programs, on=SimulatedStore, **more)


# --- the same again


def naive(**more: Any) -> Scenario:
    @program
    def add() -> Do[StoreOp, None]:
        page = yield from Read(A)
        yield from Append(A, (Counted(page.head + 1),))

    def counts(after: After) -> None:
        numbers = [event.number for event in after.run(Read(A)).data]
        assert numbers == [*range(1, len(numbers) + 1)], f"{numbers} do not go up"

    return Scenario({"ann": add(), "bob": add(), "cyd": add()}, on=SimulatedStore, holds=counts, **more)


def test_a_story_is_short_and_its_schedule_runs_it_again() -> None:
    found = naive(faults=EVERY_FAULT, most_faults=3).sample(1_000, seed=4)
    assert not found.holds
    assert found.schedule is not None
    assert "!" not in found.schedule, "nothing needs to go wrong for it"
    again = naive().replay(found.schedule)
    assert not again.holds
    assert again.story.split("\n\n")[:-1] == found.story.split("\n\n")[:-1]
    assert found.story == naive(faults=EVERY_FAULT, most_faults=3).sample(1_000, seed=4).story


def test_a_promise_that_raises_is_broken_and_told_as_any_other() -> None:
    def all_decided(after: After) -> None:
        for answer in after.answers.values():
            answer.unwrap()

    @program
    def once() -> Do[StoreOp, Any]:
        return (yield from Append(A, (Counted(1),), 0))

    found = Scenario({"ann": once(), "bob": once()}, on=SimulatedStore, holds=all_decided).explore()
    assert not found.holds
    assert found.story.startswith("all_decided does not hold: it raised UnwrapFailedError")
    assert "to run it again" in found.story


@contextmanager
def real_memory() -> Iterator[Interpreter[Any]]:
    yield MemoryStore() | world


@pytest.mark.parametrize("run", [Scenario.explore, lambda its: its.for_real(real_memory, rounds=1)])
def test_a_program_that_comes_first_and_fails_is_no_beginning(run: Any) -> None:
    its = Scenario({"ann": Read(A)}, on=SimulatedStore, before=Append(A, (Counted(1),), 7), holds=bool)
    with pytest.raises(BadScenario, match="run before the others answered .*conflict"):
        run(its)


def test_what_nobody_got_an_answer_for_is_run_again() -> None:
    @program
    def pays() -> Do[StoreOp, None]:
        yield from Append(A, (Counted(1),))

    def once(after: After) -> bool:
        return after.run(Head(A)) == 1

    its = Scenario({"ann": pays()}, on=SimulatedStore, faults=[RESTART], holds=once)
    found = its.explore()
    assert not found.holds
    assert "ann  is restarted before anybody gets its answer" in found.story
    assert found.schedule == "ann ann!restart"
    assert not its.replay(found.schedule).holds
    crashed = Scenario({"ann": pays()}, on=SimulatedStore, faults=[CRASH], holds=bool)
    assert crashed.replay("ann ann!crash").story.endswith("ann  crashed")
    assert crashed.explore().schedules == 3, "it ends well, before the append, or after it"


def test_a_replay_that_holds_tells_its_story_too() -> None:
    found = naive().replay("ann*2 bob*2")
    assert found.holds
    assert found.story.startswith("it holds:")


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ("ann*x", "'ann\\*x' is no step"),
        ("ann!lots", "is no step"),
        ("dan", "those who have one to take are ann, bob, cyd"),
        ("ann*3", "step 3 is to be ann's"),
        ("ann!lost", "can be done with"),
    ],
)
def test_a_schedule_that_does_not_fit_is_refused(schedule: str, said: str) -> None:
    with pytest.raises(BadSchedule, match=said):
        naive().replay(schedule)


def test_a_search_that_is_cut_short_proves_nothing() -> None:
    of = [["change a", "change a"], ["change a"]]
    assert scenario(of, []).explore(most=3).holds is False
    assert "there are more" in scenario(of, []).explore(most=3).story


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_hypothesis_draws_schedules_and_finds_what_is_wrong(data: st.DataObject) -> None:
    scenario([["change a"], ["append a"]], [], faults=EVERY_FAULT).check(data)


def test_what_hypothesis_finds_is_told_as_a_story() -> None:
    @settings(max_examples=200, deadline=None, database=None)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        naive().check(data)

    with pytest.raises(AssertionError, match=r"do not go up[^$]*, as 'ann bob") as raised:
        check()
    (line,) = (line for line in str(raised.value).splitlines() if "to run it again" in line)
    _, _, arguments = line.partition("@reproduce_failure(")
    version, blob = ast.literal_eval(f"({arguments}")
    with pytest.raises(AssertionError, match="do not go up"):
        reproduce_failure(version, blob)(check)()


DIGEST = "23dc3197298c4c84f98f59e95c659fa22d2141826382f746dd1d4a2717b60fc0"

TRACES = """
import hashlib
from random import Random
from tests.testing.test_schedules import naive
from eventsrc.testing import EVERY_FAULT
from eventsrc.testing._scenarios.sampling import by_chance
from eventsrc.testing._scenarios.story import trace
plan, random = naive(faults=EVERY_FAULT, most_faults=3)._plan, Random(7)
text = "".join(trace(by_chance(plan, random)) for _ in range(200))
print(hashlib.sha256(text.encode()).hexdigest())
"""


def test_the_same_seed_gives_the_same_traces_to_the_byte_whatever_the_process() -> None:
    plan, random = naive(faults=EVERY_FAULT, most_faults=3)._plan, Random(7)
    text = "".join(trace(by_chance(plan, random)) for _ in range(200))
    digest = hashlib.sha256(text.encode()).hexdigest()
    for hash_seed in ("0", "12345"):
        done = subprocess.run(
            [sys.executable, "-c", TRACES],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env={"PYTHONHASHSEED": hash_seed, "PATH": ""},
        )
        assert done.stdout.strip() == digest
    assert digest == DIGEST, "the traces are not those of other machines and versions of Python"


def test_garbage_is_collected_between_the_runs_of_a_sample_as_it_was_before() -> None:
    def interrupted(_: After) -> bool:
        assert not gc.isenabled()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attrs.evolve(naive(), holds=interrupted).sample(1)
    assert gc.isenabled()
    gc.disable()
    try:
        assert attrs.evolve(naive(), holds=lambda _: True).sample(2).holds
        assert not gc.isenabled()
    finally:
        gc.enable()


# --- linearizability


def increments(name: str, **more: Any) -> Scenario:
    @program
    def atomically() -> Do[StoreOp, int]:
        while True:
            version = yield from Head(A)
            done = yield from Append(A, (Counted(version),), version)
            if type(done).__name__ == "Success":
                return version + 1

    @program
    def blindly() -> Do[StoreOp, int]:
        version = yield from Head(A)
        yield from Append(A, (Counted(version),))
        return version + 1

    add = atomically if name == "atomically" else blindly
    return Scenario(
        {"ann": add(), "bob": add(), "cyd": Head(A)},
        on=SimulatedStore,
        linearizable=lambda after: dict(after.answers),
        **more,
    )


def test_programs_that_act_at_one_moment_are_linearizable() -> None:
    assert increments("atomically").explore().holds


def test_programs_that_overtake_each_other_are_not() -> None:
    found = increments("blindly").explore()
    assert not found.holds
    assert "which no order of the programs makes" in found.story


def two_places(**more: Any) -> Scenario:
    """A writer that writes a and then b, and readers of the one and the other."""
    write = Append(A, (Counted(1),)).then(Append(B, (Counted(1),))).map(lambda _: None)
    return Scenario({"writer": write, "of_a": Head(A), "of_b": Head(B)}, on=SimulatedStore, **more)


def test_a_reader_that_begins_when_another_has_ended_must_not_see_less() -> None:
    found = two_places(linearizable=lambda after: dict(after.answers)).explore()
    assert not found.holds
    assert "observed was {'writer': None, 'of_a': 1, 'of_b': 0}" in found.story


def test_control_without_real_time_there_is_an_order_for_what_the_readers_see() -> None:
    orders = two_places(linearizable=lambda after: dict(after.answers))._one_at_a_time
    assert any(seen == {"of_a": 1, "of_b": 0, "writer": None} for _, seen in orders)


# --- faults are told


def test_a_crash_and_an_error_are_told() -> None:
    crashed = scenario([["change a"]], [], faults=[CRASH, REFUSED]).replay("p0 p0!crash")
    assert "and crashes before it: appends Counted(number=0) to a at version 0" in crashed.story
    refused = scenario([["change a"]], [], faults=[CRASH, REFUSED]).replay("p0 p0!refused")
    assert "raises StoreBusy" in refused.story


def test_a_run_follows_a_schedule_to_its_end() -> None:
    running = Running(scenario([["head a"], ["head a"]], [])._plan)
    follow(running, [("p1", None)], strictly=True)
    assert [step.process for step in running.steps] == ["p1", "p0"]


# --- clocks


shared: View[Tables] = View("shared", partitions=1)


@shared.on(Counted)
def _(tables: Tables, event: Recorded[Counted]) -> None:
    tables["numbers"][event.stream] = event.data.number


def with_views() -> Interpreter[Any]:
    return SimulatedStore() | SimulatedViews([shared])


@program
def claims_and_sleeps() -> Do[Any, None]:
    with suppress(AnswerLost):
        yield from Claim(shared, "ann", 50.0)
    yield from Head(A)
    yield from Sleep(100)
    yield from Head(A)


@program
def claims_later() -> Do[Any, bool]:
    yield from Sleep(60)
    return bool((yield from Claim(shared, "bob", 50.0)))


@pytest.mark.parametrize("reduced", [True, False])
def test_what_comes_late_has_the_time_of_its_sender_and_does_not_move_it(reduced: bool) -> None:
    def is_not_taken_over(after: After) -> bool:
        late = [step for step in after.steps if step.process == "ann~1" and step.answer]
        return not (late and after.answers["bob"] is True)

    found = Scenario(
        {"ann": claims_and_sleeps(), "bob": claims_later()},
        on=with_views,
        holds=is_not_taken_over,
        faults=[LATE],
    ).explore(reduced=reduced)
    assert not found.holds
    assert found.schedule == "ann!late"


def test_what_is_done_side_by_side_is_done_at_one_time() -> None:
    seen: set[tuple[float, ...]] = set()

    @program
    def both() -> Do[Any, float]:
        yield from gather(Append(A, (Counted(1),)), Append(B, (Counted(1),)), Sleep(5))
        return (yield from Elapsed())

    def look(after: After) -> None:
        times = [after.run(Read(stream)).events[0].recorded_at for stream in (A, B)]
        seen.add((*((time - BEGAN).total_seconds() for time in times), after.answers["one"]))

    Scenario({"one": both()}, on=SimulatedStore, holds=look).explore(reduced=False)
    assert seen == {(0.0, 0.0, 5.0)}


def test_what_judges_a_run_comes_after_it_by_the_clock_too() -> None:
    def is_free(after: After) -> bool:
        return bool(after.run(Claim(shared, "bob", 10.0)))

    taken = Claim(shared, "ann", 10.0)
    assert not Scenario({"ann": taken}, on=with_views, holds=is_free).explore().holds
    slept = Scenario({"ann": taken.then(Sleep(3600))}, on=with_views, holds=is_free)
    assert slept.explore().holds


@program
def owns(name: str) -> Do[Any, str]:
    leases = yield from Claim(shared, name, 10.0)
    if not leases:
        return "waits"
    try:
        yield from synchronise_partition(shared, 0, 1, leases[0])
    except LostLease:
        return "lost"
    return "applied"


def test_a_stalled_owner_wakes_up_when_another_has_its_lease() -> None:
    seen: set[tuple[str, ...]] = set()
    owners = Scenario(
        {"ann": owns("ann"), "bob": owns("bob")},
        on=with_views,
        before=Append(A, (Counted(1),)),
        holds=lambda after: seen.add(tuple(after.answers.values())),
        faults=[STALLED],
    )
    assert owners.explore().holds
    assert {("lost", "applied"), ("applied", "lost")} <= seen
    reduced, seen = seen, set()
    owners = attrs.evolve(owners, holds=lambda after: seen.add(tuple(after.answers.values())))
    assert owners.explore(reduced=False).holds
    assert seen == reduced
    told = owners.replay("ann ann!stalled bob").story
    assert "ann  is stalled for an hour before it: asks how far view shared has come" in told


# --- those who wait for others, and those who never end


@program
def waits(seconds: float = 0.1) -> Do[Any, str]:
    while (yield from Head(A)) == 0:
        yield from Sleep(seconds)
    return "there"


def test_a_program_that_waits_for_another_lets_it_go_first() -> None:
    programs: dict[str, Effect[Any, Any]] = {"waits": waits(), "comes": Append(A, (Counted(1),))}
    for reduced in (True, False):
        found = Scenario(
            programs, on=SimulatedStore, holds=lambda after: after.answers["waits"] == "there"
        ).explore(reduced=reduced)
        assert found.holds, found.story
    assert (
        Scenario(programs, on=SimulatedStore, holds=bool, faults=[CRASH])
        .sample(50)
        .story.startswith("the programs took 2000 steps, and waits would have gone on")
    )


def test_a_program_that_waits_until_a_time_is_not_held_up() -> None:
    seen: set[str] = set()

    @program
    def waits_a_while() -> Do[Any, str]:
        end = (yield from Elapsed()) + 1
        while (yield from Elapsed()) < end:
            if (yield from Head(A)):
                return "there"
            yield from Sleep(0.1)
        return "late"

    Scenario(
        {"waits": waits_a_while(), "comes": Append(A, (Counted(1),))},
        on=SimulatedStore,
        holds=lambda after: seen.add(after.answers["waits"]),
    ).explore()
    assert seen == {"there", "late"}


@program
def only_sleeps() -> Do[Any, None]:
    while True:
        yield from Sleep(1)


@program
def only_sleeps_twice() -> Do[Any, None]:
    while True:
        yield from gather(Sleep(1), Now())


@pytest.mark.parametrize("endless", [only_sleeps, only_sleeps_twice])
def test_a_program_that_never_asks_anybody_anything_is_reported(endless: Any) -> None:
    found = Scenario({"ann": endless(), "bob": Head(A)}, on=SimulatedStore, holds=bool).explore()
    assert found.story.startswith("the programs took 2000 steps, and ann would have gone on")


def test_a_program_that_never_ends_is_reported_where_it_runs_alone() -> None:
    its = Scenario({"ann": Head(A)}, on=SimulatedStore, holds=lambda after: after.run(waits(0.0)) == "")
    assert "it raised Endless('waits(0.0) took 2000 steps" in its.explore().story
    with pytest.raises(Endless, match="would have gone on"):
        Scenario({"ann": Head(A)}, on=SimulatedStore, before=only_sleeps(), holds=bool).explore()


@program
def cleans_up() -> Do[StoreOp, None]:
    try:
        yield from Append(A, (Counted(1),))
        yield from Append(A, (Counted(2),))
    finally:
        yield from Append(A, (Counted(3),))


def test_a_crash_performs_nothing_that_the_program_would_do_in_the_end() -> None:
    seen: set[tuple[int, ...]] = set()
    found = Scenario(
        {"one": cleans_up()},
        on=SimulatedStore,
        faults=[CRASH],
        holds=lambda after: seen.add(tuple(e.number for e in after.run(Read(A)).data)),
    ).explore()
    assert found.holds, found.story
    assert seen == {(), (1,), (1, 2), (1, 2, 3)}


# --- what judges, and what is told


def test_a_judge_that_writes_is_asked_once_for_each_run() -> None:
    def can_add_one(after: After) -> None:
        after.run(Append(A, (Counted(9),)))
        assert after.run(Head(A)) == 1, "there was one"

    its = Scenario({"ann": Append(A, (Counted(1),))}, on=SimulatedStore, holds=can_add_one)
    found = its.explore()
    assert found.story.startswith("there was one")
    assert its.replay(found.schedule or "").story.startswith("there was one")

    @settings(max_examples=1, database=None, deadline=None)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        its.check(data)

    with pytest.raises(AssertionError, match="there was one"):
        check()


def test_a_run_that_is_broken_by_chance_is_reported() -> None:
    numbers = Random(1)

    @program
    def moody() -> Do[StoreOp, None]:
        yield from Append(A, (Counted(numbers.randrange(10)),))

    def is_small(after: After) -> bool:
        total: int = sum(event.number for event in after.run(Read(A)).data)
        return total < 12

    its = Scenario({"one": moody(), "two": moody()}, on=SimulatedStore, holds=is_small)
    with pytest.raises(NotAsBefore, match="takes time, ids and chance from operations"):
        its.sample(100)


def test_those_who_have_nothing_to_do_with_it_are_told_in_a_line() -> None:
    @program
    def add() -> Do[StoreOp, None]:
        page = yield from Read(A)
        yield from Append(A, (Counted(page.head + 1),))

    def counts(after: After) -> bool:
        numbers = [event.number for event in after.run(Read(A)).data]
        return numbers == [1, 2]

    others = {f"other{number}": Append(StreamId(f"o{number}"), (Counted(1),)) for number in range(3)}
    crowd = Scenario(
        {"ann": add(), **others, "bob": add()}, on=SimulatedStore, holds=counts, faults=[LOST]
    )
    found = crowd.explore()
    assert found.schedule == "ann bob"
    assert "      besides, each by itself: other0, other1, other2\n" in found.story
    assert "ended with" in found.story
    assert "other0 " not in found.story
    assert found.story.endswith("to run it again: crowd.replay('ann bob')")
    assert crowd.replay("ann bob").story.endswith("to run it again: crowd.replay('ann bob')")


def test_what_a_program_ends_with_is_told_in_words() -> None:
    found = Scenario({"ann": Append(A, (Counted(1),))}, on=SimulatedStore, holds=lambda _: False)
    assert "ann  ended with stored: a@1" in found.explore().story


@pytest.mark.parametrize(
    "op",
    [
        Append(A, (Counted(1),), NO_STREAM),
        Append(A, (Counted(1),), 0),
        AppendAll((StreamAppend(A, (Counted(1),), 0), StreamAppend(B, (Counted(1),)))),
        AppendAll((StreamAppend(A, (Counted(1),)),), (Condition(B, NO_STREAM),)),
    ],
)
def test_every_append_with_a_condition_may_be_refused_by_a_conflict(op: Any) -> None:
    its = Scenario({"ann": op}, on=SimulatedStore, holds=lambda after: True, faults=[CONFLICT])
    assert its.explore().schedules == 2
    told = its.replay("ann!conflict").story
    assert "and is refused" in told
    assert "Conflict: " in told


def test_an_append_without_a_condition_meets_no_conflict() -> None:
    op = AppendAll((StreamAppend(A, (Counted(1),)),))
    its = Scenario({"ann": op}, on=SimulatedStore, holds=lambda after: True, faults=[CONFLICT])
    assert its.explore().schedules == 1


# --- whatever the programs do


KEY = UUID(int=0x8 << 76 | 0x2 << 62 | 1)


@program
def deed(number: int, thing: str, stream: StreamId) -> Do[Any, Any]:
    """Does one thing of many; what it answers says all that it saw but ids and times."""
    event = (Counted(number),)
    match thing:
        case "head":
            return (yield from Head(stream))
        case "append":
            return told_of((yield from Append(stream, event)))
        case "with a key":
            return told_of((yield from Append(stream, (Counted(7),), append_id=KEY)))
        case "find":
            return told_of((yield from FindAppend(KEY)))
        case "both":
            parts = StreamAppend(A, event), StreamAppend(B, event)
            return told_of((yield from AppendAll(parts)))
        case "on condition":
            part = StreamAppend(A, event)
            return told_of((yield from AppendAll((part,), (Condition(B, 0),))))
        case "side by side":
            done, page = yield from gather(Append(A, event), Read(B))
            return told_of(done), told_of(page)
        case "save":
            return (yield from SaveSnapshot(Snapshot(stream, "f", 1, number + 1, b"x")))
        case "load":
            return repr((yield from LoadSnapshot(stream, "f", 1)))
        case "rows":
            return repr((yield from Rows(shared)))
        case "deliver":
            page = yield from Read(stream)
            yield from deliver(shared, page.events[-1:])
        case "claim":
            return len((yield from Claim(shared, f"owner {number}", 10.0)))
        case "leave":
            yield from Leave(shared, "owner 0")
        case _:
            yield from Sleep(20)
            return (yield from Elapsed())


def told_of(answer: Any) -> Any:
    if isinstance(answer, Success | Failure):
        return told_of(answer.unwrap() if isinstance(answer, Success) else answer.failure())
    if isinstance(answer, Appended):
        return tuple(sorted(answer.token.versions.items()))
    if isinstance(answer, Page):
        return tuple(event.number for event in answer.data)
    return type(answer).__name__, getattr(answer, "actual", None)


@program
def deeds(number: int, things: Sequence[tuple[str, StreamId]]) -> Do[Any, list[Any]]:
    return (yield from in_turn(things, lambda thing: deed(number, *thing)))


stores = [
    "head",
    "append",
    "with a key",
    "find",
    "both",
    "on condition",
    "side by side",
    "save",
    "load",
]
views = ["rows", "deliver", "claim", "leave", "sleep"]
a_few = st.lists(
    st.tuples(st.sampled_from(stores + views), st.sampled_from([A, B])), min_size=1, max_size=2
)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(a_few, min_size=2, max_size=3).filter(lambda of: sum(map(len, of)) <= 4),
    st.lists(st.sampled_from(EVERY_FAULT), max_size=1),
)
def test_the_reduction_leaves_out_nothing_that_can_come_of_the_programs(
    of: Sequence[Sequence[tuple[str, StreamId]]], faults: Sequence[Fault]
) -> None:
    def found(*, reduced: bool) -> set[str] | None:
        seen: set[str] = set()

        def look(after: After) -> None:
            ended = [
                type(its.error).__name__ if isinstance(its, Raised) else repr(its)
                for its in after.answers.values()
            ]
            kept = [told_of(after.run(Read(stream))) for stream in (A, B)]
            seen.add(f"{ended} {kept} {after.run(Rows(shared))}")

        its = Scenario(
            {f"p{number}": deeds(number, things) for number, things in enumerate(of)},
            on=with_views,
            holds=look,
            faults=faults,
            may_raise=(Exception,),
        )
        return seen if its.explore(reduced=reduced, most=400).holds else None

    every = found(reduced=False)
    assume(every is not None)
    assert found(reduced=True) == every
