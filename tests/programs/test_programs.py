"""Programs are values, and running them means what it says."""

from __future__ import annotations

import asyncio
import copy
import pickle
import tracemalloc
from collections.abc import Callable
from time import process_time
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsrc import (
    Do,
    Effect,
    Failure,
    Operation,
    Outcome,
    Program,
    Query,
    Success,
    Try,
    attempt,
    for_each,
    gather,
    gather_all,
    ok,
    on,
    program,
    pure,
)
from eventsrc.programs.program import in_turn, intercept
from tests.faults import scaled
from tests.kits.service import BadEmail, Full, InMemory, NameTaken, User, add_user, known
from tests.programs.cells import Cells, Check, Dict, Get, Put, effects, functions, increase, observed

# --- operations


def test_operations_are_frozen_values_with_patterns() -> None:
    assert Put("a", 1) == Put("a", 1) != Put("a", 2)
    assert len({Put("a", 1), Put("a", 1)}) == 1
    assert repr(Put("a", 1)) == "Put(key='a', value=1)"
    assert attrs.asdict(Put("a", 1)) == {"key": "a", "value": 1}
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Put("a", 1).key = "b"  # type: ignore[misc]
    match Put("a", 1):
        case Put(key, value):
            assert (key, value) == ("a", 1)


def test_fields_may_be_private_or_have_defaults() -> None:
    class Hidden(Query[int]):
        _key: str
        more: int = attrs.field(default=2, kw_only=True)

    assert repr(Hidden(_key="a")) == "Hidden(_key='a', more=2)" == repr(Hidden("a"))


@given(st.builds(Put))
def test_hypothesis_builds_operations_from_their_types(op: Put) -> None:
    assert type(op.key) is str
    assert type(op.value) is int
    assert pickle.loads(pickle.dumps(op)) == op


# --- programs as values


def test_a_program_is_printed_compared_hashed_and_pickled() -> None:
    assert increase("a") == increase("a") != increase("b")
    assert len({increase("a", by=2), increase("a", by=2)}) == 1
    assert repr(increase("a", by=2)) == "increase('a', by=2)"
    assert repr(increase("a").then(Get("b"))) == "increase('a').then(Get(key='b'))"
    assert repr(increase("a").map(str)) == "increase('a').map(str)"
    assert pickle.loads(pickle.dumps(increase("a", by=2))) == increase("a", by=2)
    assert copy.deepcopy(increase("a")) == increase("a")


def test_a_pickled_program_runs() -> None:
    assert Dict(a=4).run(pickle.loads(pickle.dumps(increase("a", by=2)))) == 6


def test_a_program_runs_afresh_each_time() -> None:
    cells, twice = Dict(a=1), increase("a")
    assert [cells.run(twice), cells.run(twice)] == [2, 3]
    assert cells.log == [Get("a"), Put("a", 2), Get("a"), Put("a", 3)]


def test_calling_a_program_function_runs_nothing() -> None:
    ran: list[int] = []

    @program
    def body() -> Do[Get, None]:
        ran.append(1)
        yield from Get("a")

    body()
    assert not ran


def test_a_method_may_be_a_program() -> None:
    class Counter:
        @program
        def twice(self, key: str) -> Do[Cells, int]:
            yield from increase(key)
            return (yield from increase(key))

    assert Dict(a=1).run(Counter().twice("a")) == 3
    assert repr(Counter().twice("a")).endswith("Counter.twice('a')")


@given(effects())
def test_running_again_shows_the_same(effect: Any) -> None:
    assert observed(effect) == observed(effect)


# --- the monad laws, up to what running shows


@given(st.integers(), functions(2))
def test_left_identity(value: int, function: Callable[[Any], Effect[Cells, Any]]) -> None:
    assert observed(pure(value).and_then(function)) == observed(function(value))


@given(effects())
def test_right_identity(effect: Any) -> None:
    assert observed(effect.and_then(pure)) == observed(effect)


@given(effects(2), functions(1), functions(1))
def test_associativity(effect: Any, f: Callable[[Any], Any], g: Callable[[Any], Any]) -> None:
    left = effect.and_then(f).and_then(g)
    assert observed(left) == observed(effect.and_then(lambda value: f(value).and_then(g)))


@given(effects())
def test_with_and_without_an_event_loop_a_run_is_the_same(effect: Any) -> None:
    cells = Dict(a=1, b=2)
    try:
        result: Any = asyncio.run(cells.run_async(effect))
    except Exception as error:
        result = repr(error)
    assert (result, cells.log, cells.values) == observed(effect)


@given(effects())
def test_intercepting_with_the_operation_itself_changes_nothing(effect: Any) -> None:
    assert observed(intercept(effect, lambda op: op)) == observed(effect)


# --- depth and length


one = on(Get).run(lambda op: 1)


@program
def down(depth: int) -> Do[Get, int]:
    if depth == 0:
        return 0
    yield from Get("a")
    rest = yield from down(depth - 1)
    return rest + 1


@program
def under(depth: int, times: int) -> Do[Get, int]:
    return (yield from under(depth - 1, times) if depth else loop(times))


@program
def loop(times: int) -> Do[Get, int]:
    total = 0
    op = Get("a")
    for _ in range(times):
        total += yield from op
    return total


def test_programs_nest_a_hundred_thousand_deep() -> None:
    assert one.run(down(100_000)) == 100_000


def test_many_operations_leave_no_memory_behind() -> None:
    times = scaled(200_000, 1_000_000)
    one.run(loop(10))
    tracemalloc.start()
    try:
        assert one.run(loop(times)) == times
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000


def test_an_operation_costs_the_same_at_any_depth() -> None:
    def seconds(depth: int) -> float:
        times = []
        for _ in range(3):
            began = process_time()
            one.run(under(depth, 400_000))
            times.append(process_time() - began)
        return min(times)

    assert seconds(10_000) < 3 * seconds(1)


def test_endless_chains_take_constant_space() -> None:
    def tail(times: int) -> Program[Get, int]:
        return Get("a").and_then(lambda _: tail(times - 1)) if times else pure(times)

    assert one.run(tail(100_000)) == 0


def test_left_nested_chains_are_linear() -> None:
    left: Program[Get, int] = pure(0)
    for _ in range(100_000):
        left = left.and_then(lambda value: Get("a").map(lambda more: value + more))
    assert one.run(left) == 100_000


# --- expected failures


@program
def positive_sum(*values: int) -> Try[Check, int, str]:
    total = 0
    for value in values:
        total += yield from ok(Check(value))
    return Success(total)


def test_ok_ends_the_program_at_a_failure() -> None:
    assert Dict().run(positive_sum(1, 2)) == Success(3)
    cells = Dict()
    assert cells.run(positive_sum(1, -2, 3)) == Failure("-2 is negative")
    assert cells.log == [Check(1), Check(-2)]


def test_ok_ends_only_the_program_it_is_in() -> None:
    @program
    def outer() -> Do[Check, str]:
        match (yield from positive_sum(-1)):
            case Success(total):
                return f"sum {total}"
            case Failure(reason):
                return f"no sum: {reason}"

    assert Dict().run(outer()) == "no sum: -1 is negative"


def test_finally_sees_a_failure_and_except_exception_does_not() -> None:
    seen: list[str] = []

    @program
    def body() -> Try[Check, int, str]:
        try:
            yield from ok(Check(-1))
        except Exception:
            seen.append("except")
        finally:
            seen.append("finally")
        return Success(0)

    assert Dict().run(body()) == Failure("-1 is negative")
    assert seen == ["finally"]


def test_an_undecorated_helper_ends_its_caller() -> None:
    def helper() -> Try[Check, int, str]:
        value = yield from ok(Check(-1))
        return Success(value)

    @program
    def body() -> Try[Check, int, str]:
        yield from helper()
        raise AssertionError("not reached")

    assert Dict().run(body()) == Failure("-1 is negative")


def test_a_service_ends_in_each_of_its_failures() -> None:
    users = InMemory()
    assert users.run(add_user("ann", "nowhere")) == Failure(BadEmail("nowhere"))
    assert users.run(add_user("ann", "ann@example.org")) == Success(1)
    assert users.run(add_user("ann", "ann@example.org")) == Failure(NameTaken("ann"))
    for number in range(9):
        users.run(add_user(str(number), "x@example.org"))
    assert users.run(add_user("last", "x@example.org")) == Failure(Full())


# --- exceptions


def test_a_handler_raises_at_the_operation() -> None:
    @program
    def body() -> Do[Get, str]:
        try:
            yield from Get("missing")
        except KeyError:
            return "caught"
        return "not raised"

    assert Dict().run(body()) == "caught"
    with pytest.raises(KeyError) as raised:
        Dict().run(increase("missing"))
    lines = [str(entry.statement).strip() for entry in raised.traceback]
    assert "value = yield from Get(key)" in lines


def test_attempt_turns_exceptions_into_failures() -> None:
    outcome: Outcome[int, KeyError] = Dict().run(attempt(Get("missing"), KeyError))
    assert outcome.failure().args == ("missing",)
    assert Dict(a=1).run(attempt(Get("a"), KeyError)) == Success(1)


def test_finally_may_perform_operations() -> None:
    @program
    def body() -> Do[Get | Put, int]:
        try:
            return (yield from Get("missing"))
        finally:
            yield from Put("done", 1)

    cells = Dict()
    with pytest.raises(KeyError):
        cells.run(body())
    assert cells.values == {"done": 1}


def test_stop_iteration_is_no_way_to_return() -> None:
    def stopping(op: Get) -> int:
        return next(iter(()))

    with pytest.raises(RuntimeError, match="StopIteration"):
        on(Get).run(stopping).run(loop(1))
    with pytest.raises(RuntimeError, match="StopIteration"):
        Dict().run(pure(1).and_then(lambda _: next(iter(()))))


def test_an_exception_leaves_no_reference_cycle_through_the_loop() -> None:
    import gc
    import weakref

    class Fragile(Exception):
        pass

    def fail(op: Get) -> int:
        raise Fragile

    gc.disable()
    try:
        try:
            on(Get).run(fail).run(loop(1))
        except Fragile as error:
            alive = weakref.ref(error)
        assert alive() is None
    finally:
        gc.enable()


# --- mistakes


def test_a_body_that_has_been_started_says_so() -> None:
    def body() -> Do[Get, int]:
        return (yield from Get("a"))

    running = body()
    with pytest.raises(RuntimeError, match="runs only once: decorate its function with @program"):
        Dict(a=1).run(gather(running, running))


def test_yielding_something_else_says_what() -> None:
    @program
    def yields_a_number() -> Do[Get, None]:
        yield 3  # type: ignore[misc]

    with pytest.raises(TypeError, match="yielded 3, which is neither an operation nor a program"):
        Dict().run(yields_a_number())


# --- independent branches


def test_branches_advance_in_rounds() -> None:
    cells = Dict(a=1, b=2)
    assert cells.run(gather(increase("a"), increase("b"))) == (2, 3)
    assert cells.log == [Get("a"), Get("b"), Put("a", 2), Put("b", 3)]


def test_a_batch_handler_gets_a_round_at_once() -> None:
    batches: list[list[str]] = []

    def get(ops: Any) -> list[int]:
        batches.append([op.key for op in ops])
        return [len(op.key) for op in ops]

    @program
    def names(count: int) -> Do[Get, int]:
        total = 0
        for number in range(count):
            total += yield from Get("x" * number)
        return total

    interpreter = on(Get).batch(get)
    some: list[Effect[Get, int]] = [names(1), names(3), Get("last")]
    assert interpreter.run(gather_all(some)) == [0, 3, 4]
    assert batches == [["", "", "last"], ["x"], ["xx"]]
    assert interpreter.run(for_each(["p", "qq"], Get)) == [1, 2]
    assert interpreter.run(Get("one")) == 3


def test_nested_branches_share_their_rounds() -> None:
    sizes: list[int] = []

    def get(ops: Any) -> list[int]:
        sizes.append(len(ops))
        return [1] * len(ops)

    pair = gather_all([Get("a"), Get("b")]).map(sum)
    assert on(Get).batch(get).run(gather(pair, Get("c"), pair)) == (2, 1, 2)
    assert sizes == [5]


def test_a_failing_branch_closes_the_others() -> None:
    ended: list[str] = []

    @program
    def other() -> Do[Get, int]:
        try:
            return (yield from Get("a"))
        finally:
            ended.append("other")

    with pytest.raises(KeyError):
        Dict(a=1).run(gather(Get("missing"), other().then(Get("a"))))
    assert ended == ["other"]


def test_a_service_asks_for_many_at_once() -> None:
    users = InMemory()
    users.run(add_user("ann", "ann@example.org"))
    assert users.run(known(["ann", "bob"])) == [User("ann", "ann@example.org"), None]


# --- intercepting


def test_intercept_replaces_each_operation() -> None:
    seen: list[Operation[Any]] = []

    def noting(op: Any) -> Any:
        seen.append(op)
        return op

    cells = Dict(a=1)
    assert cells.run(intercept(increase("a").then(increase("a")), noting)) == 3
    assert seen == cells.log


def test_anything_that_can_be_iterated_into_operations_runs() -> None:
    class Twice:
        def __iter__(self) -> Do[Get, int]:
            return (yield from Get("a")) * 2

    assert Dict(a=4).run(Twice()) == 8
    assert Dict(a=4).run(gather(Twice(), Get("a"))) == (8, 4)


def test_an_operation_of_a_sub_class_is_handled_as_its_base_class() -> None:
    class Peek(Get):
        pass

    assert Dict(a=1).run(Peek("a")) == 1


def test_in_turn_each_sees_what_those_before_it_did() -> None:
    cells = Dict(a=0)
    assert cells.run(in_turn(["a", "a", "a"], increase)) == [1, 2, 3]
    assert cells.run(gather_all([increase("a")] * 3)) == [4, 4, 4], "side by side, none does"
