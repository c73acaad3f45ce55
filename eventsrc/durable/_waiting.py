"""The look, when runs are declared, for branches that wait side by side.

A run waits for one thing at a time: its journal says for which. So branches of a gather that wait would
wait one after the other, and nobody who reads `gather` expects that. What each branch waits for is
read from the code, as far as it can be: a name that leads to no function is taken to wait for nothing.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import textwrap
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any, Final

from eventsrc.durable.operations import Next, Signal
from eventsrc.programs.program import gather, gather_all
from eventsrc.programs.world import Sleep

_WAITS: Final = (Sleep, Next, Signal)
_GATHERS: Final = (gather, gather_all)
_LIBRARY: Final = "eventsrc"


def check_gathers(function: Callable[..., Any]) -> None:
    """Raises TypeError for a program that gathers branches which wait, here or in what it calls."""
    for body in _reached(function, set()):
        for call in _calls(body):
            if _callee(call, body) not in _GATHERS:
                continue
            for branch in [*call.args, *(keyword.value for keyword in call.keywords)]:
                what = _waits_in(branch, body, set())
                if what is not None:
                    line = body.__code__.co_firstlineno + call.lineno - 1
                    raise TypeError(
                        f"{body.__qualname__} gathers branches that wait, such as for {what} "
                        f"({body.__code__.co_filename}:{line}): a run waits for one thing at a time. "
                        "Start a run of its own for each branch, and ask for one result after the other"
                    )


def _reached(function: Callable[..., Any], seen: set[FunctionType]) -> Iterator[FunctionType]:
    """The bodies of a program and of those that it calls, but for the library's."""
    body = inspect.unwrap(function)
    if not isinstance(body, FunctionType) or body in seen or _is_of_library(body):
        return
    seen.add(body)
    yield body
    for call in _calls(body):
        callee = _callee(call, body)
        if callable(callee):
            yield from _reached(callee, seen)


def _is_of_library(body: FunctionType) -> bool:
    return str(body.__module__).partition(".")[0] == _LIBRARY


def _waits_in(tree: ast.AST, body: FunctionType, seen: set[FunctionType]) -> str | None:
    """The name of what code waits for, itself or in what it calls; None if it is not seen to wait."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        callee = _callee(call, body)
        if inspect.isclass(callee):
            if issubclass(callee, _WAITS):
                return callee.__name__
            continue
        if _is_result(callee):
            return "the result of a run"
        inner = inspect.unwrap(callee) if callable(callee) else None
        if not isinstance(inner, FunctionType) or inner in seen:
            continue
        if not _is_of_library(inner):
            seen.add(inner)
            source = _tree(inner)
            found = None if source is None else _waits_in(source, inner, seen)
            if found is not None:
                return found
    return None


def _is_result(method: Any) -> bool:
    from eventsrc.durable.runs import Runs  # which declares runs by this module

    return getattr(method, "__func__", None) is Runs.result


def _calls(body: FunctionType) -> list[ast.Call]:
    tree = _tree(body)
    return [] if tree is None else [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def _tree(body: FunctionType) -> ast.Module | None:
    """The code of a function; None where there is no source, as in an interactive session."""
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(body)))
    except (OSError, TypeError, SyntaxError):
        return None


def _callee(call: ast.Call, body: FunctionType) -> Any:
    """The value that is called, as far as names lead to it."""
    return _value(call.func, body)


def _value(node: ast.expr, body: FunctionType) -> Any:
    match node:
        case ast.Name(id=name):
            try:
                free = inspect.getclosurevars(body).nonlocals
            except ValueError:  # a cell that is empty still
                free = {}
            return free.get(name, body.__globals__.get(name, getattr(builtins, name, None)))
        case ast.Attribute(value=inner, attr=name):
            owner = _value(inner, body)
            return None if owner is None else getattr(owner, name, None)
        case ast.Subscript(value=inner):  # such as Next[Paid]
            return _value(inner, body)
        case _:
            return None
