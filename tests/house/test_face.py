"""The face: the names that a first service needs, and no function in the place of a module."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import eventsrc
from eventsrc import errors
from tests.kits.pages import ROOT

NAMES = """
ANY EXISTS NO_STREAM START Append AppendAll Appended AsyncInterpreter Codec Command Conflict Cursor
DecideOp Do Effect EventsrcError Failure Fold Head Interpreter MemoryStore NewId Now Operation
Outcome Program Query Read ReadFeed Recorded Rejected Sleep Snapshots SqliteStore SqliteViews
StoreOp Stream StreamAppend StreamId Streams Success Token Translation Try Unknown View World
at_least attempt event follow for_each force gather gather_all ok on open_store open_store_async
open_views program pure rebuild status synchronise trace world
"""

MOST = 70
"""About 65: for each name that comes, one that can go is looked for first."""


def test_the_face_has_these_names_and_no_more() -> None:
    assert list(eventsrc.__all__) == NAMES.split()
    assert len(eventsrc.__all__) <= MOST
    shown = {name for name, value in vars(eventsrc).items() if not isinstance(value, ModuleType)}
    assert {name for name in shown if not name.startswith("_")} == set(eventsrc.__all__)


def test_readme_and_tutorial_find_nearly_all_that_they_need_on_the_face() -> None:
    for page in ("README.md", "docs/tutorial.md"):
        text = (ROOT / page).read_text()
        inside = re.findall(r"^from (eventsrc\.[\w.]+) import", text, re.MULTILINE)
        assert len(inside) <= 3, f"{page} needs {inside}: should the face show that?"


def test_of_exceptions_the_face_shows_only_their_root() -> None:
    assert set(eventsrc.__all__).intersection(errors.__all__) == {"EventsrcError"}


def hidden(package: ModuleType) -> Iterator[str]:
    """The submodules of a package, and of those in it, that something else hides."""
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(found.name)
        if getattr(package, found.name.rpartition(".")[2]) is not module:
            yield found.name
        if found.ispkg:
            yield from hidden(module)


def test_no_name_hides_a_module_in_the_library() -> None:
    assert list(hidden(eventsrc)) == []


def test_a_function_that_hides_a_module_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "planted" / "deeper"
    inside.mkdir(parents=True)
    (tmp_path / "planted" / "__init__.py").write_text("")
    (inside / "trace.py").write_text("def trace(): ...")
    (inside / "__init__.py").write_text("from planted.deeper.trace import trace")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert list(hidden(importlib.import_module("planted"))) == ["planted.deeper.trace"]
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "planted"]:
            del sys.modules[name]
