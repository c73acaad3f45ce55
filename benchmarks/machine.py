"""What it was measured on: the lines above the table."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = (
    "eventsrc",
    "attrs",
    "cattrs",
    "msgspec",
    "orjson",
    "sqlite-utils",
    "psycopg",
    "eventsourcing",
)


def description(folder: Path) -> Iterator[str]:
    """The machine and the versions, and the file system of a folder."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    yield f"{python}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    files = f"write-ahead log, synchronous=FULL, on {file_system(folder)}"
    yield f"SQLite {sqlite3.sqlite_version}, {files}"
    yield ", ".join(f"{name} {found}" for name in _PACKAGES if (found := _version(name)))


def file_system(folder: Path) -> str:
    """The type of the file system that a folder is on, where that can be found out."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return "an unknown file system"
    found, longest = "an unknown file system", -1
    for line in mounts.read_text().splitlines():
        _, place, kind, *_ = line.split()
        if folder.resolve().is_relative_to(place) and len(place) > longest:
            found, longest = kind, len(place)
    return found


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
