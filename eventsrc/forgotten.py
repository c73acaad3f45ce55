"""The check for a forgotten `yield from`: an operation that is made and never performed.

`Save(user)`, as a statement in a program, makes an operation and drops it; nothing happens, silently.
No type checker says so with its usual settings. This check reads the bodies of program functions and
reports each operation or program that is made and dropped, or used as if it were its own answer:
compared, looped over, added, formatted. In a test:

    assert find_forgotten(my_service) == []

or from the command line, for packages that can be imported: `python -m eventsrc.forgotten my_service`.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import pkgutil
import sys
import textwrap
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any, Final

import attrs

from eventsrc.programs.operation import Operation

_MAKERS: Final = ("Program[", "Do[", "Try[", "Generator[Step[")
_MISSING: Final = object()


@attrs.frozen
class Forgotten:
    """A place in a program where an operation or a program is made, and not performed."""

    file: str
    line: int
    function: str
    code: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: in {self.function}: {self.code} {self.remedy}"


def find_forgotten(*modules: ModuleType) -> list[Forgotten]:
    """The operations that programs of some modules forget to perform; packages are searched whole."""
    found: list[Forgotten] = []
    for function in program_functions(*modules):
        found += _check(function)
    return found


def program_functions(*modules: ModuleType) -> list[FunctionType]:
    """The bodies of programs that modules define, by decorator, as handlers or by annotation."""
    found: dict[FunctionType, None] = {}
    for module in modules:
        for part in _with_submodules(module):
            for value in vars(part).values():
                if getattr(value, "__module__", None) == part.__name__:
                    found.update(dict.fromkeys(_bodies(value)))
    return list(found)


def _with_submodules(module: ModuleType) -> Iterator[ModuleType]:
    yield module
    for info in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{module.__name__}."):
        if not info.name.endswith("__main__"):
            yield importlib.import_module(info.name)


def _bodies(value: Any) -> Iterator[FunctionType]:
    if inspect.isclass(value):
        for member in vars(value).values():
            if not inspect.isclass(member):
                yield from _bodies(member)
    body = inspect.unwrap(value) if callable(value) else None
    if isinstance(body, FunctionType):
        handles = getattr(value, "__handles__", None)
        is_program = hasattr(value, "__program__") or getattr(handles, "how", "") == "program"
        if is_program or (inspect.isgeneratorfunction(body) and _makes_program(value)):
            yield body


def _makes_program(value: Any) -> bool:
    """Whether calling something makes an operation or a program."""
    if inspect.isclass(value):
        return issubclass(value, Operation)
    if hasattr(value, "__program__"):
        return True
    answer = str(getattr(inspect.unwrap(value), "__annotations__", {}).get("return", ""))
    return answer.rpartition("program.")[2].startswith(_MAKERS)


# --- reading a body -------------------------------------------------------------------------------


def _check(function: FunctionType) -> Iterator[Forgotten]:
    lines, first = inspect.getsourcelines(function)
    body = ast.parse(textwrap.dedent("".join(lines))).body[0]
    names = _Names(function)

    def found(node: ast.stmt | ast.expr, code: str, remedy: str) -> Forgotten:
        file = inspect.getsourcefile(function) or "?"
        return Forgotten(file, first + node.lineno - 1, function.__qualname__, code, remedy)

    for node in _own_nodes(body):
        for expression, is_dropped in _unperformed(node, body):
            if isinstance(expression, ast.Call) and names.makes_program(expression.func):
                code = ast.unparse(expression)
                verb = "made and never performed" if is_dropped else "used as if it were its answer"
                yield found(expression, code, f"is {verb}: write `yield from {code}`")
        for made in _elements(node, body):
            if isinstance(made, ast.Call) and names.makes_program(made.func):
                yield found(
                    made,
                    ast.unparse(made),
                    "is made for each item and never performed: write `yield from` in a `for` loop, or "
                    "`yield from for_each(items, function)`",
                )
    if not inspect.isgeneratorfunction(function) and isinstance(body, ast.FunctionDef):
        returned = [n.value for n in _own_nodes(body) if isinstance(n, ast.Return) and n.value]
        is_raising = not returned and isinstance(body.body[-1], ast.Raise)
        if not is_raising and all(isinstance(value, _PLAIN) for value in returned):
            yield found(body, body.name, "has no `yield from`, and returns no program: it does nothing")


_PLAIN: Final = ast.Constant | ast.JoinedStr | ast.List | ast.Tuple | ast.Dict | ast.Set | ast.Compare
"""Expressions that make no program."""


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function, without those of functions inside it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield from _own_nodes(child)


def _unperformed(node: ast.AST, body: ast.AST) -> Iterator[tuple[ast.expr, bool]]:
    """The expressions in a node that would have to be performed there, and whether they are dropped."""
    match node:
        case ast.Expr(value=value):
            yield value, True
        case ast.Assign(value=value) if _is_unused(node, body):
            yield value, True
        case ast.For(iter=value) | ast.comprehension(iter=value):
            yield value, False
        case (
            ast.If(test=value) | ast.While(test=value) | ast.IfExp(test=value) | ast.Assert(test=value)
        ):
            yield value, False
        case ast.Compare(left=left, comparators=others):
            yield from ((value, False) for value in (left, *others))
        case ast.BinOp(left=left, right=right):
            yield from ((value, False) for value in (left, right))
        case ast.BoolOp(values=values):
            yield from ((value, False) for value in values)
        case ast.UnaryOp(operand=value) | ast.FormattedValue(value=value):
            yield value, False
        case ast.Match(subject=value) | ast.Subscript(value=value) | ast.Starred(value=value):
            yield value, False
        case _:
            pass


def _elements(node: ast.AST, body: ast.AST) -> Iterator[ast.expr]:
    """The elements of a comprehension that is dropped."""
    if isinstance(node, ast.Expr) or (isinstance(node, ast.Assign) and _is_unused(node, body)):
        match node.value:
            case ast.ListComp(elt=made) | ast.SetComp(elt=made) | ast.GeneratorExp(elt=made):
                yield made
            case ast.DictComp(value=made):
                yield made
            case _:
                pass


def _is_unused(statement: ast.Assign, body: ast.AST) -> bool:
    """Whether a statement assigns to names of which none is ever read."""
    targets = statement.targets
    if not all(isinstance(target, ast.Name) for target in targets):
        return False
    names = {target.id for target in targets if isinstance(target, ast.Name)}
    read = {
        node.id
        for node in ast.walk(body)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    return not names & read


class _Names:
    """The meanings of the names in a function's body, as far as they are known without running it."""

    def __init__(self, function: FunctionType) -> None:
        closed = inspect.getclosurevars(function)
        self._known = {**vars(sys.modules["builtins"]), **function.__globals__, **closed.nonlocals}
        self._owner = self._class_of(function)

    def makes_program(self, called: ast.expr) -> bool:
        """Whether calling this makes an operation or a program."""
        if isinstance(called, ast.Attribute) and called.attr in ("map", "and_then", "then"):
            made = called.value
            if isinstance(made, ast.Call):
                return self.makes_program(made.func)
        value = self._value(called)
        return value is not _MISSING and callable(value) and _makes_program(value)

    def _value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name):
            if node.id == "self" and self._owner is not None:
                return self._owner
            return self._known.get(node.id, _MISSING)
        if isinstance(node, ast.Attribute):
            owner = self._value(node.value)
            return _MISSING if owner is _MISSING else getattr(owner, node.attr, _MISSING)
        if isinstance(node, ast.Subscript):  # streams[key] is a stream
            owner = self._value(node.value)
            return _item_class(owner)
        return _MISSING

    def _class_of(self, function: FunctionType) -> Any:
        path = function.__qualname__.split(".")[:-1]
        owner: Any = function.__globals__.get(path[0]) if path and "<locals>" not in path else None
        for name in path[1:]:
            owner = getattr(owner, name, None)
        return owner


def _item_class(owner: Any) -> Any:
    """The class that subscribing a value gives, of the library's own."""
    from eventsrc.streams.stream import Stream, Streams

    return Stream if isinstance(owner, Streams) else _MISSING


def main(arguments: list[str]) -> int:
    """Checks modules by name; answers the exit status."""
    parser = argparse.ArgumentParser(
        "python -m eventsrc.forgotten", description="Finds operations that programs never perform."
    )
    parser.add_argument("module", nargs="+", help="a package or module that can be imported from here")
    sys.path.insert(0, "")
    modules = [importlib.import_module(name) for name in parser.parse_args(arguments).module]
    found = find_forgotten(*modules)
    for forgotten in found:
        sys.stdout.write(f"{forgotten}\n")
    checked = len(program_functions(*modules))
    sys.stdout.write(f"{checked} program functions checked, {len(found)} forgotten `yield from`\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
