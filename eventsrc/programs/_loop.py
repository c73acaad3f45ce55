"""The run loop.

One generator, `loop`, runs a program: it keeps the stack of frames, starts nested programs, follows
handlers that are programs, and gives operations their answers. What it cannot answer itself it yields
as a request to a driver, which sends the answer back or throws:

* `(handler, op)`: perform one operation;
* `(ROUND, [(handler, op), ...])`: perform several, of independent branches, in any order; the answer
  is the list of `(True, value)` or `(False, exception)`.

With `inline`, synchronous handlers are called in the loop and never become requests: that is how
programs run fast. Without it, every operation becomes a request: that is how programs are stepped,
explored and simulated. There is one loop for all of them, so they cannot come to disagree.

A frame below the running one is what the result is for: the `send` of a program that waits for it, a
Bind or Map whose function it is passed to, the observer, who is told of it, or the Scope that those
below run in. That stack is a list, so depth costs nothing per operation and overflows nothing (the
remedy of "Reflection without remorse", van der Ploeg and Kiselyov 2014, for left-nested binds).
"""

# The loop moves values between frames of every type: pyright's strict rules have nothing to follow.
# pyright: basic

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from types import BuiltinMethodType, GeneratorType
from typing import Any, Final, Protocol, TypeVar

from eventsrc.programs._scope import OPEN, Awaits, Batches, Expands, MissingHandlers, Scope
from eventsrc.programs.failures import Stop
from eventsrc.programs.operation import Operation
from eventsrc.programs.program import (
    Bind,
    Call,
    Effect,
    Gather,
    Intercept,
    Map,
    Pure,
    in_turn,
    name_of,
)

O = TypeVar("O")
R = TypeVar("R")

Request = tuple[Any, Any]
Answer = tuple[bool, Any]

ROUND: Final = object()


class Observer(Protocol):
    """Is told by a run, in order, where it is; raises nothing, since that would end the run."""

    def enter(self, node: Any) -> None:
        """A program, or an operation that a program answers, begins."""

    def leave(self, value: Any, error: BaseException | None) -> None:
        """The program that began last, of those that have not ended, has ended."""

    def performed(self, op: Any, value: Any, error: BaseException | None) -> None:
        """A handler has answered an operation."""

    def branch(self) -> Observer:
        """The observer of an independent branch, which runs at the same time as others."""
        ...


def loop(
    root: Any, scope: Scope, inline: bool, observer: Observer | None = None
) -> Generator[Request, Any, Any]:
    """Runs a program. See the module's docstring."""
    __tracebackhide__ = True  # pytest then shows the program's and the handlers' lines instead
    stack: list[Any] = []  # the frames below the running one
    send: Any = None  # the running frame, if it is a generator
    direct = scope.direct.get
    node: Any = root
    value: Any = None
    error: BaseException | None = None
    raised: BaseException | None = None

    while True:
        # Answer `node`: set value or error, or start a new frame, or put another node in its place.
        node_type = type(node)
        handler = direct(node_type)
        if handler is not None:
            try:
                value = handler(node) if inline else (yield handler, node)
            except BaseException as caught:
                error = caught
            if observer is not None:
                observer.performed(node, value, error)
        elif node_type is Call:
            if send is not None:
                stack.append(send)
                send = None
            if observer is not None:
                observer.enter(node)
                stack.append(observer)
            try:
                call, kwargs = node, node.kwargs
                node = node.body(*node.args, **kwargs) if kwargs else node.body(*node.args)
                if type(node) is not GeneratorType and not _may_be_effect(node):
                    raise TypeError(_returned(call, node))
            except BaseException as caught:
                error = caught
            else:
                if type(node) is not GeneratorType:
                    continue
                send, value = node.send, None
        elif node_type is GeneratorType:  # a body, from a handler or the caller
            if node.gi_frame is None or node.gi_suspended or node.gi_running:
                error = RuntimeError(
                    f"{node!r} has been started before, and a body runs only once: "
                    "decorate its function with @program"
                )
            else:
                if send is not None:
                    stack.append(send)
                send, value = node.send, None
        elif (special := scope.special.get(node_type)) is not None:
            if type(special) is Expands:
                if send is not None:
                    stack.append(send)
                    send = None
                if observer is not None:
                    observer.enter(node)
                    stack.append(observer)
                if special.scope is not None:
                    if stack and type(stack[-1]) is not Scope:  # else there is no way back to mark
                        stack.append(scope)
                    scope = special.scope
                    direct = scope.direct.get
                try:
                    node = special.function(node)
                except BaseException as caught:
                    error = caught
                else:
                    if type(node) is not GeneratorType:
                        continue
                    send, value = node.send, None
            else:
                try:
                    value = yield special, node
                except BaseException as caught:
                    error = caught
                if observer is not None:
                    observer.performed(node, value, error)
        elif node_type is Pure:
            value = node.value
        elif node_type is Bind or node_type is Map or node_type is Intercept:
            if send is not None:
                stack.append(send)
                send = None
            if node_type is Intercept:
                if stack and type(stack[-1]) is not Scope:
                    stack.append(scope)
                scope = Scope.intercepting(node.handler, scope, node.taking, node.only, node.in_turn)
                direct = scope.direct.get
            else:
                stack.append(node)
            node = node.source
            continue
        elif node_type is Gather and scope.in_turn:
            node = Map(in_turn(node.branches, _itself), node.collect)
            continue
        elif node_type is Gather:
            try:
                value = node.collect((yield from _together(node.branches, scope, observer)))
            except BaseException as caught:
                error = caught
        elif not issubclass(node_type, Operation):
            body = node.__iter__() if hasattr(node_type, "__iter__") else None
            if type(body) is GeneratorType:  # an Effect that is not one of ours
                node = body
                continue
            error = TypeError(
                f"a program yielded {node!r}, which is neither an operation nor a program"
            )
        elif scope.find(node_type):
            continue
        elif scope is OPEN:
            try:
                value = yield None, node
            except BaseException as caught:
                error = caught
        else:
            error = MissingHandlers([node_type], "the interpreter")

        # Give value or error to the running frame or, once it has ended, to those below it.
        while True:
            if send is not None:
                try:
                    if error is None:
                        node = send(value)
                    else:
                        raised, error = error, None
                        try:
                            node = send.__self__.throw(raised)
                        finally:
                            raised = None  # its traceback holds this frame, which must not hold it
                    break
                except StopIteration as stop:
                    value = stop.value
                except Stop as stop:
                    value = stop.failure
                except BaseException as caught:
                    error = caught
                send = None
            if not stack:
                if error is None:
                    return value
                try:
                    raise error
                finally:
                    error = None
            frame = stack.pop()
            if type(frame) is Scope:
                scope = frame
                direct = scope.direct.get
                frame = stack.pop()
            node_type = type(frame)
            if node_type is BuiltinMethodType:
                send = frame
            elif node_type is not Bind and node_type is not Map:
                frame.leave(value, error)
            elif error is None:
                try:
                    if node_type is Bind:
                        node = frame.function(value)
                        break
                    value = frame.function(value)
                except BaseException as caught:
                    error = caught


def _together(
    branches: Sequence[Any], scope: Scope, observer: Observer | None
) -> Generator[Request, Any, list[Any]]:
    """Runs branches in rounds: each up to its next operation, then all of those as one request."""
    results: list[Any] = [None] * len(branches)
    failures: dict[int, BaseException] = {}
    operations = _operations(branches, scope) if observer is None else None
    if operations:
        for index, (succeeded, answer) in enumerate((yield ROUND, operations)):
            if succeeded:
                results[index] = answer
            else:
                failures[index] = answer
                del answer
    else:
        yield from _advance(branches, scope, observer, results, failures)
    if failures:
        try:
            raise failures[min(failures)]
        finally:
            failures.clear()
    return results


def _operations(branches: Sequence[Any], scope: Scope) -> list[Request] | None:
    """The requests of branches that are operations by themselves, which need no loop of their own.

    None if any is more than that.
    """
    requests: list[Request] = []
    for branch in branches:
        node_type = type(branch)
        handler: Any = scope.direct.get(node_type)
        if handler is None:
            handler = scope.special.get(node_type)
            if handler is None or type(handler) is Expands:
                return None
        requests.append((handler, branch))
    return requests


def _advance(
    branches: Sequence[Any],
    scope: Scope,
    observer: Observer | None,
    results: list[Any],
    failures: dict[int, BaseException],
) -> Generator[Request, Any, None]:
    """Runs each branch in a loop of its own, until all have ended or there is a failure."""
    children = [
        loop(branch, scope, False, None if observer is None else observer.branch())
        for branch in branches
    ]
    steps: list[tuple[int, Callable[[Any], Request], Any]]
    steps = [(index, child.send, None) for index, child in enumerate(children)]
    try:
        while True:
            asked: list[tuple[int, Request]] = []
            for index, step, answer in steps:
                try:
                    asked.append((index, step(answer)))
                except StopIteration as stop:
                    results[index] = stop.value
                except BaseException as caught:
                    failures[index] = caught
            if failures or not asked:
                return
            requests: list[Request] = []
            for _, request in asked:
                if request[0] is ROUND:
                    requests += request[1]
                else:
                    requests.append(request)
            answers = iter((yield ROUND, requests))
            steps = []
            for index, (handler, op) in asked:
                child = children[index]
                if handler is ROUND:
                    steps.append((index, child.send, [next(answers) for _ in op]))
                else:
                    succeeded, answer = next(answers)
                    steps.append((index, child.send if succeeded else child.throw, answer))
    finally:
        for child in children:
            child.close()


# --- drivers --------------------------------------------------------------------------------------


def run(program: Effect[O, R], scope: Scope, observer: Observer | None = None) -> R:
    """Runs a program; each operation is answered before the next."""
    if observer is None and scope.observe is not None:
        observer = scope.observe()
    running = loop(program, scope, True, observer)
    try:
        handler, op = next(running)
        while True:
            try:
                answer = answer_all(op) if handler is ROUND else handler(op)
            except BaseException as error:
                handler, op = running.throw(error)
            else:
                handler, op = running.send(answer)
    except StopIteration as stop:
        result: R = stop.value
        return result


async def run_async(program: Effect[O, R], scope: Scope, observer: Observer | None = None) -> R:
    """Runs a program; asynchronous handlers are awaited, those of independent branches at once."""
    if observer is None and scope.observe is not None:
        observer = scope.observe()
    running = loop(program, scope, True, observer)
    try:
        handler, op = next(running)
        while True:
            try:
                answer = await (answer_all_async(op) if handler is ROUND else handler.function(op))
            except BaseException as error:
                handler, op = running.throw(error)
            else:
                handler, op = running.send(answer)
    except StopIteration as stop:
        result: R = stop.value
        return result
    finally:
        running.close()


def answer_all(requests: Sequence[Request]) -> list[Answer]:
    """Answers a round: operations with a batch handler together, the others one by one."""
    answers: list[Answer] = [(True, None)] * len(requests)
    batches: dict[Batches, list[int]] = {}
    for index, (handler, op) in enumerate(requests):
        plain: Any = handler.plain if type(handler) is Awaits and handler.plain else handler
        if type(plain) is Batches:
            batches.setdefault(plain, []).append(index)
        else:
            try:
                answers[index] = True, plain(op)
            except BaseException as error:
                answers[index] = False, error
    for handler, indexes in batches.items():
        try:
            found = handler.function([requests[index][1] for index in indexes])
            for index, answer in zip(indexes, found, strict=True):
                answers[index] = True, answer
        except BaseException as error:
            for index in indexes:
                answers[index] = False, error
    return answers


async def answer_all_async(requests: Sequence[Request]) -> list[Answer]:
    """As answer_all; the asynchronous handlers are awaited together."""
    import asyncio

    answers: list[Answer] = [(True, None)] * len(requests)

    async def single(index: int, handler: Awaits, op: Any) -> None:
        try:
            answers[index] = True, await handler.function(op)
        except Exception as error:
            answers[index] = False, error

    async def several(many: Callable[[Any], Any], indexes: list[int]) -> None:
        try:
            found = await many([requests[index][1] for index in indexes])
            for index, answer in zip(indexes, found, strict=True):
                answers[index] = True, answer
        except Exception as error:
            for index in indexes:
                answers[index] = False, error

    awaited: list[Any] = []
    batches: dict[Awaits, list[int]] = {}
    plain: list[int] = []
    for index, (handler, op) in enumerate(requests):
        if type(handler) is not Awaits:
            plain.append(index)
        elif handler.many is None:
            awaited.append(single(index, handler, op))
        else:
            batches.setdefault(handler, []).append(index)
    awaited += [several(h.many, indexes) for h, indexes in batches.items() if h.many is not None]
    at_once = answer_all([requests[index] for index in plain])
    for index, answer in zip(plain, at_once, strict=True):
        answers[index] = answer
    if awaited:
        await asyncio.gather(*awaited)
    return answers


def _itself(effect: Any) -> Any:
    return effect


def _may_be_effect(value: Any) -> bool:
    """False for what a program function may not return in place of a program: a number, a list."""
    return hasattr(type(value), "__iter__") and not isinstance(value, str | bytes | Sequence | Mapping)


def _returned(call: Any, value: Any) -> str:
    return (
        f"{name_of(call.body)} returned {value!r:.100} without a `yield from`, and so is no program: "
        f"perform something by `yield from`, or write `return pure({value!r:.40})`"
    )
