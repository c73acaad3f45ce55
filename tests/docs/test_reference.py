"""The reference leaves nothing out: every public module is on a page, every public name documented."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import eventsrc
from tests.kits.pages import ROOT


def modules() -> set[str]:
    found = pkgutil.walk_packages(eventsrc.__path__, "eventsrc.")
    return {module.name for module in found if not module.ispkg}


def shown() -> set[str]:
    """The modules that are on the pages of the reference."""
    pages = (ROOT / "docs" / "reference").glob("*.md")
    return {
        name for page in pages for name in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)
    }


def is_private(module: str) -> bool:
    return "._" in module


def test_every_public_module_is_on_a_page() -> None:
    public = {name for name in modules() if not is_private(name)}
    assert public - shown() == set()
    for name in shown():
        assert importlib.import_module(name).__doc__


def test_no_private_module_is_on_a_page() -> None:
    assert [name for name in sorted(shown()) if is_private(name)] == []


def public() -> Iterator[tuple[str, Any]]:
    """The classes and functions of the pages, with their full names."""
    for name in sorted(shown() | {"eventsrc"}):
        module = importlib.import_module(name)
        for own, value in vars(module).items():
            is_shown = own in getattr(module, "__all__", ()) or getattr(value, "__module__", "") == name
            if is_shown and not own.startswith("_") and _is_documentable(value):
                yield f"{name}.{own}", value


def _is_documentable(value: Any) -> bool:
    return inspect.isclass(value) or inspect.isfunction(value)


def test_every_public_name_has_a_docstring() -> None:
    for name, value in public():
        assert value.__doc__, name
        assert not value.__doc__.startswith(f"{value.__name__}("), f"{name} has only what attrs wrote"


def test_every_public_method_has_a_docstring() -> None:
    for name, value in public():
        if inspect.isclass(value):
            for method, function in vars(value).items():
                is_handler = hasattr(function, "__handles__")  # of which its operation says all
                if inspect.isfunction(function) and not method.startswith("_") and not is_handler:
                    assert inspect.getdoc(getattr(value, method)), f"{name}.{method}"


def test_all_is_sorted_and_complete() -> None:
    assert list(eventsrc.__all__) == sorted(eventsrc.__all__, key=_as_ruff_sorts)


def _as_ruff_sorts(name: str) -> tuple[int, str]:
    kind = 0 if name.isupper() else 1 if name[0].isupper() else 2
    return kind, name
