"""The folders import what the map in CONTRIBUTING.md says, and nothing else."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
import pytest

from tests.kits.pages import ROOT

PACKAGE = ROOT / "eventsrc"
FACES = {"__init__", "__main__", "errors"}
"""Modules that show names of all folders."""


@attrs.frozen
class Room:
    """A row of the map: a folder, or a module by itself."""

    name: str
    may: frozenset[str]
    """What it may import, where a star stands for private modules as well."""
    packages: frozenset[str]
    """What it may import besides the library, its dependencies and Python."""
    is_feature: bool


@attrs.frozen
class Import:
    """A module, the room that it is in, and what it imports."""

    room: str
    module: str
    names: str
    """The full name of what is imported."""

    def __str__(self) -> str:
        return f"{self.module} imports {self.names}"

    @property
    def to(self) -> str:
        """The room that is imported from; "" for the face, and for other packages."""
        parts = self.names.split(".")
        return parts[1] if parts[0] == "eventsrc" and len(parts) > 2 else ""

    @property
    def is_private(self) -> bool:
        """Whether it is of a private module or name of another room."""
        return any(part.startswith("_") for part in self.names.split(".")[2:])


def rooms(page: str) -> list[Room]:
    """The rows of the map, from the bottom of the house to its top."""
    core, features = page.split("\nFeatures", 1)
    return [*_rows(core, is_feature=False), *_rows(features, is_feature=True)]


def _rows(text: str, *, is_feature: bool) -> Iterator[Room]:
    for row in re.findall(r"^\| (`\w+` \|.*) \|$", text, re.MULTILINE):
        folder, job, may, packages = re.split(r" ?\| ?", row)
        assert job, f"{folder} has no job"
        yield Room(folder.strip("`"), _ticked(may), _ticked(packages), is_feature)


def _ticked(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"`([^`]+)`", text))


def imports(package: Path) -> Iterator[Import]:
    """What the modules of a package import, anywhere in them, for type checkers too."""
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package)
        room = inside.parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert not node.level, f"{inside} has a relative import: write the whole name"
                for alias in node.names:
                    yield Import(room, str(inside), f"{node.module}.{alias.name}")
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(room, str(inside), f"{alias.name}.")


def broken(drawn: list[Room], found: list[Import], packages: frozenset[str]) -> list[str]:
    """What is not as drawn, in words.

    packages: those that any room may import.
    """
    wrong: list[str] = []
    below: set[str] = set()
    by_name = {room.name: room for room in drawn}
    for room in drawn:
        upward = {name.rstrip("*") for name in room.may} - below
        wrong += [f"the map has an arrow from {room.name} up to {name}" for name in sorted(upward)]
        if room.is_feature and any(name.endswith("*") for name in room.may):
            wrong.append(f"{room.name} is a feature, and uses public modules alone: draw no star")
        below.add(room.name)
    for name in sorted({each.room for each in found} - by_name.keys() - FACES):
        wrong.append(f"{name} is not on the map in CONTRIBUTING.md: give it a row")
    for name in sorted(by_name.keys() - {each.room for each in found} - {"_errors"}):
        wrong.append(f"{name} is on the map in CONTRIBUTING.md, and not in the house")
    for each in found:
        room = by_name.get(each.room, Room(each.room, frozenset(), frozenset(), is_feature=False))
        if each.room not in FACES and not _is_drawn(room, each, packages):
            wrong.append(f"{each}, which is not in the row of {each.room} in CONTRIBUTING.md")
    return wrong


def _is_drawn(room: Room, each: Import, packages: frozenset[str]) -> bool:
    top = each.names.split(".")[0]
    if top != "eventsrc":
        return top in packages | room.packages
    if each.to == room.name:
        return True
    return f"{each.to}*" in room.may or (each.to in room.may and not each.is_private)


def always(project: Mapping[str, list[str]]) -> frozenset[str]:
    """The packages that are always there."""
    names = {re.split(r"[<>=\[; ]", text)[0].replace("-", "_") for text in project["dependencies"]}
    return frozenset(names) | sys.stdlib_module_names


DRAWN = rooms((ROOT / "CONTRIBUTING.md").read_text())
PACKAGES = always(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"])


def test_the_house_is_as_drawn() -> None:
    assert broken(DRAWN, list(imports(PACKAGE)), PACKAGES) == []


@pytest.mark.parametrize(
    ("where", "statement", "why"),
    [
        ("events/event.py", "from eventsrc.programs.program import Do", "not in the row of events"),
        ("stores/prepare.py", "from eventsrc.views.view import View", "not in the row of stores"),
        ("programs/world.py", "import eventsrc", "not in the row of programs"),
        ("programs/world.py", "def f():\n    import msgspec", "not in the row of programs"),
        ("views/view.py", "if X:\n    from eventsrc.streams.fold import F", "not in the row of views"),
        (
            "http/__init__.py",
            "from eventsrc.events._exact import NotStorable",
            "not in the row of http",
        ),
        ("following/status.py", "from eventsrc.stores import _known", "not in the row of following"),
        ("attic/__init__.py", "import json", "attic is not on the map"),
    ],
)
def test_a_planted_import_that_is_not_drawn_is_seen(
    where: str, statement: str, why: str, tmp_path: Path
) -> None:
    for room in DRAWN:
        (tmp_path / f"{room.name}.py").write_text("import attrs\n")
    planted = tmp_path / where
    planted.parent.mkdir(exist_ok=True)
    assert broken(DRAWN, list(imports(tmp_path)), PACKAGES) == []
    planted.write_text(statement)
    assert any(why in line for line in broken(DRAWN, list(imports(tmp_path)), PACKAGES))


def test_a_map_with_a_cycle_or_with_a_star_of_a_feature_is_no_map() -> None:
    page = "| `a` | one | `b` | |\n| `b` | two | | |\n\nFeatures:\n\n| `c` | three | `a*` | |\n"
    assert broken(rooms(page), [Import(name, name, "json.") for name in "abc"], PACKAGES) == [
        "the map has an arrow from a up to b",
        "c is a feature, and uses public modules alone: draw no star",
    ]
