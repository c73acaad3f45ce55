"""Interpreters: made, joined, layered and surrounded; what is missing is known before anything runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import given

from eventsrc import (
    AsyncInterpreter,
    Command,
    Do,
    Failure,
    Interpreter,
    Operation,
    Query,
    Success,
    Translation,
    gather,
    gather_all,
    on,
    program,
    trace,
    world,
)
from eventsrc.errors import AmbiguousHandlers, MissingHandlers
from eventsrc.programs._declared import operations_of
from eventsrc.programs.program import intercept
from eventsrc.programs.trace import trace_async
from eventsrc.programs.world import Chance, Elapsed, NewId, Now, Sleep, World
from tests.kits.service import App, CountUsers, InMemory, Save, User, UserByName, add_user, known
from tests.programs.cells import Cells, Check, Dict, Get, Put, effects, increase, observed

R = TypeVar("R")


# --- what is missing or double is known before running


def test_a_class_must_handle_what_it_declares() -> None:
    with pytest.raises(MissingHandlers, match="Partial has no handler for CountUsers, Save"):

        class Partial(Interpreter[App]):
            @on(UserByName)
            def by_name(self, op: UserByName) -> User | None:
                return None


def test_a_class_that_lacks_a_method_is_told_to_have_one() -> None:
    with pytest.raises(MissingHandlers, match=r"write a method marked @on\(Get\)"):

        class Empty(Interpreter[Get]): ...


def test_a_function_that_cannot_answer_at_once_is_told_where_it_can_be_used() -> None:
    async def later(op: Get) -> int:
        return 1

    def yielding(op: Get) -> Any:
        yield op

    with pytest.raises(TypeError, match=r"later is a coroutine function.* write on\(Get\).run_async"):
        on(Get).run(later)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"yielding yields.* write on\(Get\).expand"):
        on(Get).run(yielding)
    with pytest.raises(TypeError, match=r"Late.get is a coroutine.* write @on\(Get\).coroutine"):

        class Late(Interpreter[Get]):
            @on(Get)  # type: ignore[arg-type]
            async def get(self, op: Get) -> int:
                return 1


def test_a_translation_must_translate_what_it_declares() -> None:
    with pytest.raises(MissingHandlers, match="Partial has no handler for Put"):

        class Partial(Translation[Get | Put, Cells]):
            @on(Get).program
            def get(self, op: Get) -> Do[Cells, int]:
                return (yield from op)


def test_an_interpreter_cannot_be_asynchronous_only() -> None:
    with pytest.raises(TypeError, match="handles Get asynchronously only: add a plain method"):

        class Remote(Interpreter[Get]):
            @on(Get).coroutine
            async def get(self, op: Get) -> int:
                return 1


def test_a_program_does_not_start_where_a_declared_operation_has_no_handler() -> None:
    users = InMemory()
    partial: Any = on(UserByName).run(users.by_name) | on(CountUsers).run(users.count)
    with pytest.raises(MissingHandlers, match="no handler for Save: add one with `on`") as raised:
        partial.run(add_user("ann", "ann@example.org"))
    assert raised.value.missing == (Save,)
    assert users.performed == []


def test_what_the_annotation_cannot_tell_is_found_at_the_operation() -> None:
    @program
    def body(anything: Any) -> Do[Any, Any]:
        yield from anything
        yield from Put("a", 1)

    with pytest.raises(MissingHandlers, match="no handler for Put"):
        on(Get).always(1).run(body(Get("a")))


def test_require_checks_types_unions_and_program_functions() -> None:
    partial = on(UserByName).always(None) | on(CountUsers).always(0)
    assert partial.require(known) is partial
    with pytest.raises(MissingHandlers, match="no handler for Save"):
        partial.require(add_user)
    with pytest.raises(MissingHandlers, match="no handler for Save"):
        partial.require(App)
    assert set(operations_of(add_user)) == {Save, UserByName, CountUsers}


def test_into_checks_what_a_translation_declares_to_need() -> None:
    class Doubling(Translation[CountUsers, Get | Put]):
        @on(CountUsers).program
        def count(self, op: CountUsers) -> Do[Get | Put, int]:
            return (yield from Get("a"))

    lower: Any = on(Get).always(1)
    with pytest.raises(MissingHandlers, match="no handler for Put"):
        Doubling().into(lower)


def test_two_handlers_for_an_operation_are_refused_and_but_chooses() -> None:
    one, other = on(Get).always(1), on(Get).always(2)
    with pytest.raises(AmbiguousHandlers, match=r"both handle Get: write `a.but\(b\)`"):
        one | other
    assert one.but(other).run(Get("a")) == 2


# --- joining and layering


def test_joined_interpreters_run_a_program_over_both() -> None:
    users = InMemory()
    joined = on(Save).run(users.save) | on(UserByName).run(users.by_name) | on(CountUsers).always(7)
    assert joined.run(add_user("ann", "ann@example.org")) == Success(1)
    assert joined.handled == {Save, UserByName, CountUsers}


class Count(Query[int]):
    """How much there is in two cells."""


class CountInCells(Translation[Count, Cells]):
    """A layer: counting means reading two cells."""

    @on(Count).program
    def count(self, op: Count) -> Do[Cells, int]:
        a, b = yield from gather(Get("a"), Get("b"))
        return a + b


def test_a_translation_runs_on_the_interpreter_below_it() -> None:
    assert CountInCells().into(Dict(a=1, b=2)).run(Count().map(str)) == "3"


def test_a_lowered_program_is_still_a_value() -> None:
    lowered = CountInCells().lower(Count().map(str))
    assert repr(lowered).startswith("intercept(Count().map(str)")
    assert Dict(a=1, b=2).run(lowered) == "3"


# --- intercepting some operations, through layers


class Twice(Query[int]):
    """What there is twice."""


class TwiceTheCount(Translation[Twice, Count]):
    @on(Twice).program
    def twice(self, op: Twice) -> Do[Count, int]:
        return 2 * (yield from Count())


@pytest.mark.parametrize(
    "layers",
    [
        lambda cells: TwiceTheCount().into(CountInCells().into(cells)) | cells,
        lambda cells: TwiceTheCount().into(CountInCells().into(cells).around(lambda op: op)) | cells,
        lambda cells: (TwiceTheCount().into(CountInCells().into(cells)) | cells).around(lambda op: op),
    ],
    ids=["layers", "with something around the lower", "with something around all"],
)
def test_only_operations_of_a_type_are_intercepted_through_all_layers(layers: Any) -> None:
    seen: list[Any] = []

    def noting(op: Any) -> Any:
        seen.append(op)
        return op.map(lambda value: value + 10)

    both = gather(Twice(), Get("a"))
    cells = Dict(a=1, b=2)
    assert layers(cells).run(intercept(both, noting, only=(Get,))) == (46, 11)
    assert seen == [Get("a"), Get("a"), Get("b")] or seen == [Get("a"), Get("b"), Get("a")]
    assert cells.log == seen
    assert layers(cells).run(intercept(both, noting, only=(Put,))) == (6, 1)
    noted: Any = intercept(both, noting, only=(Get,))
    lowered: Any = CountInCells().lower(TwiceTheCount().lower(noted))
    assert cells.run(lowered) == (46, 11)


def test_each_of_two_interceptions_gets_its_own() -> None:
    def plus(number: int) -> Any:
        return lambda op: op.map(lambda value: value + number)

    source = gather(Count(), Get("a"))
    app = CountInCells().into(Dict(a=1, b=2)) | Dict(a=5)
    inner = intercept(source, plus(10), only=(Get,))
    assert app.run(intercept(inner, plus(100), only=(Get,))) == (223, 115)
    assert app.run(intercept(inner, plus(100), only=(Count,))) == (123, 15)


@given(effects())
def test_translating_each_operation_to_itself_changes_nothing(effect: Any) -> None:
    same = (
        on(Get).expand(lambda op: op) | on(Put).expand(lambda op: op) | on(Check).expand(lambda op: op)
    )
    cells = Dict(a=1, b=2)
    try:
        result: Any = same.into(cells).run(effect)
    except Exception as error:
        result = repr(error)
    assert (result, cells.log, cells.values) == observed(effect)


def test_thousands_of_layers_can_be_stacked() -> None:
    stacked: Interpreter[Get] = on(Get).always(1)
    for _ in range(5000):
        stacked = on(Get).expand(lambda op: op.map(lambda value: value + 1)).into(stacked)
    assert stacked.run(Get("a")) == 5001


# --- middleware


class Lost(ConnectionError):
    pass


class Pause(Command[None]):
    seconds: float


def retrying(op: Operation[R]) -> Do[Any, R]:
    """Tries again when the operation was lost."""
    for attempt in range(3):
        try:
            return (yield from op)
        except Lost:
            yield from Pause(2.0**attempt)
    return (yield from op)


def unreliable(cells: Dict, times: int) -> Interpreter[Cells]:
    """The cells, of which the first operations are lost."""
    left = [times]

    def losing(op: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise Lost(repr(op))
        return op

    return cells.around(losing)


def test_middleware_surrounds_operations_without_touching_programs() -> None:
    cells, waited = Dict(a=1), list[float]()
    pauses = on(Pause).run(lambda op: waited.append(op.seconds))
    app = unreliable(cells, 2).around(retrying, using=pauses)
    assert app.run(increase("a")) == 2
    assert waited == [1.0, 2.0]


def test_middleware_may_be_for_queries_only() -> None:
    seen: list[Operation[Any]] = []

    def noting(op: Any) -> Any:
        seen.append(op)
        return op

    Dict(a=1).around(noting, only=Query).run(increase("a"))
    assert seen == [Get("a")]


def test_middleware_can_answer_in_place_of_the_interpreter() -> None:
    cells = Dict(a=1)

    def dry(op: Put) -> Do[Any, None]:
        return
        yield

    assert cells.around(dry, only=Command).run(increase("a")) == 2
    assert cells.values == {"a": 1}


def test_middleware_surrounds_translated_and_asynchronous_handlers_alike() -> None:
    seen: list[Operation[Any]] = []

    def noting(op: Any) -> Any:
        seen.append(op)
        return op

    async def get(op: Get) -> int:
        return 1

    translated = CountInCells().into(Dict(a=1, b=2)).around(noting)
    assert translated.run(Count()) == 3
    assert asyncio.run(on(Get).run_async(get).around(noting).run_async(Get("a"))) == 1
    assert seen == [Count(), Get("a")]


# --- asynchronous handlers


class Both(Interpreter[Get | Put]):
    """Handlers of both kinds: each way of running takes its own."""

    def __init__(self) -> None:
        self.ways: list[str] = []

    @on(Get)
    def get(self, op: Get) -> int:
        self.ways.append("plain")
        return 1

    @on(Get).coroutine
    async def get_async(self, op: Get) -> int:
        self.ways.append("coroutine")
        await asyncio.sleep(0)
        return 1

    @on(Put)
    def put(self, op: Put) -> None:
        self.ways.append("put")


def test_each_way_of_running_takes_its_own_handler() -> None:
    both = Both()
    assert both.run(increase("a")) == 2
    assert asyncio.run(both.run_async(increase("a"))) == 2
    assert both.ways == ["plain", "put", "coroutine", "put"]


def test_traces_with_and_without_an_event_loop_are_equal() -> None:
    def shape(told: Any) -> Any:
        return str(told), told.operations(), told.outcome

    both = Both()
    program = gather(increase("a"), increase("b", by=3))
    assert shape(trace(both, program)) == shape(asyncio.run(trace_async(both, program)))


def test_run_refuses_what_can_only_be_awaited() -> None:
    async def get(op: Get) -> int:
        return 1

    remote: AsyncInterpreter[Get] = on(Get).run_async(get)
    assert not hasattr(remote, "run")
    mixed: Any = Interpreter[Any]()
    mixed._scope = remote._scope
    with pytest.raises(TypeError, match="has an asynchronous handler only: use run_async"):
        mixed.run(Get("a"))


def test_asynchronous_branches_are_awaited_together() -> None:
    async def run() -> tuple[int, int]:
        met = asyncio.Barrier(2)

        async def get(op: Get) -> int:
            async with asyncio.timeout(10):
                await met.wait()  # passed only by two at once
            return len(op.key)

        return await on(Get).run_async(get).run_async(gather(Get("a"), Get("bb")))

    assert asyncio.run(run()) == (1, 2)


def test_asynchronous_batches_get_a_round_at_once() -> None:
    sizes: list[int] = []

    async def get(ops: Sequence[Get]) -> list[int]:
        sizes.append(len(ops))
        return [len(op.key) for op in ops]

    some = gather_all([Get("a"), Get("bb")])
    assert asyncio.run(on(Get).batch_async(get).run_async(some)) == [1, 2]
    assert sizes == [2]


class Several(AsyncInterpreter[Get]):
    """A handler of several operations at once that needs an event loop."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    @on(Get).batched_coroutine
    async def get(self, ops: Sequence[Get]) -> Sequence[int]:
        self.sizes.append(len(ops))
        return [len(op.key) for op in ops]


def test_a_method_can_be_an_asynchronous_batch_handler() -> None:
    several = Several()
    assert asyncio.run(several.run_async(gather_all([Get("a"), Get("bb")]))) == [1, 2]
    assert asyncio.run(several.run_async(Get("ccc"))) == 3
    assert several.sizes == [2, 1]


def test_cancelling_raises_in_the_program_which_may_still_clean_up() -> None:
    cells = Dict()

    @program
    def body() -> Do[Get | Put | Sleep, None]:
        try:
            yield from Sleep(3600)
        finally:
            yield from Put("cleaned", 1)

    async def run() -> None:
        task = asyncio.create_task((cells | world).run_async(body()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert cells.values == {"cleaned": 1}


# --- traces


def test_a_trace_is_the_tree_of_what_ran() -> None:
    told = trace(CountInCells().into(Dict(a=1, b=2)), Count().then(Count()))
    assert str(told) == (
        "Count() -> 3\n"
        "├─ Get(key='a') -> 1\n"
        "└─ Get(key='b') -> 2\n"
        "Count() -> 3\n"
        "├─ Get(key='a') -> 1\n"
        "└─ Get(key='b') -> 2"
    )
    assert told.outcome == Success(3)
    assert told.operations() == (Get("a"), Get("b")) * 2


def test_a_trace_of_what_failed_ends_with_the_exception() -> None:
    told = trace(Dict(), increase("z"))
    assert isinstance(told.outcome, Failure)
    assert str(told) == "increase('z') -> raises KeyError('z')\n└─ Get(key='z') -> raises KeyError('z')"


def test_a_trace_can_be_timed() -> None:
    lines = trace(Dict(a=1), increase("a")).timed().splitlines()
    assert len(lines) == 3
    assert all(line.endswith(" ms]") for line in lines)


def test_long_answers_are_cut_in_a_trace() -> None:
    told = trace(on(Check).always(Failure("x" * 1000)), Check(1))
    assert len(str(told)) < 250


# --- the world


def test_the_world_is_operations_that_a_test_may_answer() -> None:
    @program
    def nap() -> Do[World, float]:
        began = yield from Elapsed()
        yield from Sleep(3600)
        return (yield from Elapsed()) - began

    clock = [0.0]

    def sleep(op: Sleep) -> None:
        clock[0] += op.seconds

    simulated = world.but(on(Elapsed).run(lambda _: clock[0]) | on(Sleep).run(sleep))
    assert simulated.run(nap()) == 3600


def test_the_real_world_has_time_ids_and_chance() -> None:
    now = world.run(Now())
    assert now.utcoffset() is not None
    assert world.run(NewId()) != world.run(NewId())
    assert 0 <= world.run(Chance()) < 1
    assert world.run(Sleep(0)) is None
    assert asyncio.run(world.run_async(Sleep(0))) is None
    assert world.run(Elapsed()) <= world.run(Elapsed())


def test_those_who_sleep_side_by_side_sleep_at_once() -> None:
    began = world.run(Elapsed())
    world.run(gather_all([Sleep(0.05)] * 20))
    asyncio.run(world.run_async(gather_all([Sleep(0.05)] * 20)))
    assert 0.1 <= world.run(Elapsed()) - began < 0.9


# --- what newcomers forget


@program
def without_a_yield() -> Any:
    """A body that performs nothing."""
    return 5


def test_a_program_that_returns_without_a_yield_is_told_what_it_did() -> None:
    with pytest.raises(
        TypeError, match=r"without_a_yield returned 5 without a `yield from`.*pure\(5\)"
    ):
        on(CountUsers).always(1).run(without_a_yield())


def test_a_handler_that_yields_is_refused_when_the_class_is_made() -> None:
    with pytest.raises(TypeError, match=r"Wrong\.count yields.*write @on\(CountUsers\)\.program"):

        class Wrong(Interpreter[CountUsers]):
            @on(CountUsers)
            def count(self, op: CountUsers) -> Any:
                yield 1


def test_a_translation_names_the_method_that_is_not_marked_as_a_program() -> None:
    with pytest.raises(TypeError, match=r"Wrong\.count is marked.*write @on\(CountUsers\)\.program"):

        class Wrong(Translation[CountUsers, Save]):
            @on(CountUsers)
            def count(self, op: CountUsers) -> Any:
                return 1
