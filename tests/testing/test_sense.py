"""A scenario that would pass and prove nothing is refused, with what to write instead."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from eventsrc import (
    Append,
    AsyncInterpreter,
    Command,
    Do,
    Head,
    Interpreter,
    MemoryStore,
    Query,
    Streams,
    on,
    program,
    world,
)
from eventsrc.stores.operations import StoreOp
from eventsrc.testing import (
    LOST,
    After,
    BadScenario,
    Scenario,
    SimulatedStore,
    check_view,
    reads,
    writes,
)
from eventsrc.testing._contract.samples import Counted
from eventsrc.views.view import View

A = "a"
streams = Streams("counts/{name}", key=str, events=Counted)
one = streams["one"]


class Ask(Query[int]):
    """A question of an application's own."""


class Tell(Command[None]):
    """A command of its own, which appends."""


def scenario(**more: Any) -> Scenario:
    return Scenario(
        **{"programs": {"ann": Head(one.id)}, "on": SimulatedStore, "holds": lambda after: True, **more}
    )


@program
def looks(after: After) -> Do[StoreOp, None]:
    assert (yield from Head(one.id)) == 7


def looks_as_a_body(after: After) -> Iterator[Any]:
    yield from Head(one.id)


@program
def count() -> Do[StoreOp, None]:
    yield from one.append(Counted(1))


def body() -> Iterator[Any]:
    yield from Head(one.id)


@pytest.mark.parametrize(
    "judge", [looks, looks_as_a_body, lambda _: Head(one.id), lambda _: 0, lambda _: "wrong"]
)
def test_what_holds_answers_must_say_whether_it_holds(judge: Any) -> None:
    with pytest.raises(BadScenario, match="answered .* run programs by after.run"):
        scenario(holds=judge).explore()


def test_what_is_observed_must_have_been_seen() -> None:
    with pytest.raises(BadScenario, match="`linearizable` .* run programs by after.run"):
        scenario(holds=None, linearizable=lambda _: Head(one.id)).explore()


@pytest.mark.parametrize("answer", [None, True, []])
def test_nothing_is_wrong_if_nothing_is_named(answer: Any) -> None:
    assert scenario(holds=lambda _: answer).explore().holds


def test_what_is_wrong_is_told_however_it_is_said() -> None:
    def fails(_after: After) -> None:
        pytest.fail("it is too late")

    found = scenario(holds=lambda _: ["this is wrong", "and that"]).explore()
    assert found.story.startswith("this is wrong\nand that\n\n   1  ann  asks")
    assert scenario(holds=fails).explore().story.startswith("it is too late\n\n   1  ann  asks")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"programs": {"ann": count}}, "ann is the function count: call it"),
        ({"programs": {"ann": body()}}, "ann is a body, which runs only once: decorate body"),
        ({"programs": {"ann": 3}}, "neither a program nor an operation"),
        ({"before": count}, "before is the function count: call it"),
        ({"on": SimulatedStore()}, "a new interpreter for each run"),
        ({"holds": True}, "`holds` is to be a function of one argument"),
        ({"holds": lambda: True}, "`holds` is to be a function of one argument"),
        ({"faults": LOST}, r"write faults=\[LOST\]"),
        ({"faults": ["lost"]}, "'lost' is no fault"),
        ({"faults": "lost"}, r"write faults=\[LOST\]"),
        ({"most_faults": -1}, "most_faults=-1 is too small"),
        ({"most_steps": 0}, "most_steps=0 is too small"),
    ],
)
def test_what_makes_no_scenario_is_refused_at_once(more: dict[str, Any], said: str) -> None:
    with pytest.raises(BadScenario, match=said):
        scenario(**more)


@pytest.mark.parametrize(
    "run",
    [
        lambda its: its.explore(most=0),
        lambda its: its.sample(0),
        lambda its: its.sample(-1),
        lambda its: its.for_real(None, rounds=0),
    ],
)
def test_no_runs_at_all_prove_nothing(run: Callable[[Scenario], Any]) -> None:
    with pytest.raises(BadScenario, match="is too small"):
        run(scenario())


def test_as_many_schedules_as_there_are_is_all_of_them() -> None:
    its = scenario(programs={"ann": count(), "bob": Head(one.id)})
    assert its.explore().schedules == 2
    assert its.explore(most=2).holds
    assert "there are more" in its.explore(most=1).story


# --- what runs share


def test_one_interpreter_for_all_runs_is_refused() -> None:
    with pytest.raises(BadScenario, match="same SimulatedStore again"):
        scenario(on=functools.cache(SimulatedStore)).explore()


def test_a_store_that_another_run_has_written_to_is_refused() -> None:
    store = SimulatedStore()
    its = scenario(programs={"ann": count(), "bob": count()}, on=lambda: store | on(Ask).always(1))
    with pytest.raises(BadScenario, match="has events before anything was done"):
        its.explore()


def test_a_real_store_that_another_round_has_written_to_is_refused() -> None:
    store = MemoryStore()

    @contextmanager
    def shared() -> Iterator[Interpreter[Any]]:
        yield store | world

    with pytest.raises(BadScenario, match="has events before anything was done"):
        scenario(programs={"ann": count()}).for_real(shared, rounds=2)


class Slowly(AsyncInterpreter[Ask]):
    @on(Ask).coroutine
    async def ask(self, op: Ask) -> int:
        return 1


def test_an_asynchronous_interpreter_is_refused() -> None:
    make: Any = Slowly

    @contextmanager
    def really() -> Iterator[Any]:
        yield Slowly()

    with pytest.raises(BadScenario, match="an asynchronous interpreter, and needs"):
        scenario(programs={"ann": Ask()}, on=make).explore()
    with pytest.raises(BadScenario, match="an asynchronous interpreter, and needs"):
        scenario(programs={"ann": Ask()}).for_real(really, rounds=1)


# --- footprints


def telling(**more: Any) -> Scenario:
    def app() -> Interpreter[Any]:
        store = SimulatedStore()

        def tell(_op: Tell) -> None:
            store.run(Append(one.id, (Counted(1),)))

        return store | on(Tell).run(tell)

    return scenario(programs={"ann": Tell(), "bob": Head(one.id)}, on=app, **more)


@pytest.mark.parametrize("place", [one, one.id])
def test_a_stream_stands_for_its_id_in_a_footprint(place: Any) -> None:
    assert writes(place) == writes(one.id)
    assert telling(footprints={Tell: lambda _: writes(place)}).explore().schedules == 2


def test_a_family_of_streams_is_no_place() -> None:
    with pytest.raises(BadScenario, match="are many streams"):
        reads(streams)
    with pytest.raises(BadScenario, match="are many streams"):
        telling(footprints={Tell: lambda _: writes(streams)}).explore()


def test_what_is_no_footprint_is_refused_in_programs_and_in_what_judges_them() -> None:
    with pytest.raises(BadScenario, match="make it by `reads` or `writes`"):
        telling(footprints={Tell: lambda _: {one.id}}).explore()
    judged = telling(
        footprints={Ask: lambda _: None}, holds=lambda after: after.run(Ask().map(lambda _: True))
    )
    with pytest.raises(BadScenario, match="make it by `reads` or `writes`"):
        attrs_with_ask(judged).explore()


def attrs_with_ask(its: Scenario) -> Scenario:
    def app() -> Interpreter[Any]:
        return SimulatedStore() | on(Ask).always(1)

    return Scenario({"ann": Head(one.id)}, on=app, holds=its.holds, footprints=its.footprints)


def test_a_view_that_is_not_kept_in_memory_is_not_checked() -> None:
    view: View[Any] = View("of sql")
    with pytest.raises(BadScenario, match="check_view is for a View"):
        scenario(holds=lambda after: check_view(after, view)).explore()
