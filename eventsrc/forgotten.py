"""The check for a forgotten `yield from`: an operation that is made and never performed.

`Save(user)`, as a statement in a program, makes an operation and drops it; nothing happens, silently.
No type checker says so with its usual settings. This check reads the bodies of program functions and
reports each statement that only makes an operation or a program. In a test::

    assert find_forgotten(my_service) == []

or from the command line, for packages that can be imported: `python -m eventsrc.forgotten my_service`.
"""

from __future__ import annotations

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
    """A statement that makes an operation or a program, and does not perform it."""

    file: str
    line: int
    function: str
    code: str

    def __str__(self) -> str:
        return (
            f"{self.file}:{self.line}: in {self.function}: {self.code} is made and never performed: "
            f"write `yield from {self.code}`"
        )


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
    if isinstance(body, FunctionType) and inspect.isgeneratorfunction(body):
        handles = getattr(value, "__handles__", None)
        is_program = hasattr(value, "__program__") or getattr(handles, "how", "") == "program"
        if is_program or _makes_program(value):
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
    tree = ast.parse(textwrap.dedent("".join(lines)))
    body = tree.body[0]
    names = _Names(function)
    for statement in _own_statements(body):
        made: ast.expr | None = None
        if isinstance(statement, ast.Expr) or _is_unused(statement, body):
            made = statement.value
        if isinstance(made, ast.Call) and names.makes_program(made.func):
            yield Forgotten(
                inspect.getsourcefile(function) or "?",
                first + statement.lineno - 1,
                function.__qualname__,
                ast.unparse(made),
            )


def _own_statements(node: ast.AST) -> Iterator[ast.Expr | ast.Assign]:
    """The statements of a function, without those of functions inside it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Expr | ast.Assign):
            yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield from _own_statements(child)


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


def main(names: list[str]) -> int:
    """Checks modules by name; answers the exit status."""
    if not names:
        sys.stderr.write("usage: python -m eventsrc.forgotten PACKAGE_OR_MODULE ...\n")
        return 2
    sys.path.insert(0, "")
    modules = [importlib.import_module(name) for name in names]
    found = find_forgotten(*modules)
    for forgotten in found:
        sys.stdout.write(f"{forgotten}\n")
    checked = len(program_functions(*modules))
    sys.stdout.write(f"{checked} program functions checked, {len(found)} forgotten `yield from`\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
