"""Databases for the systems: fresh ones, and copies of ones that are filled once in a run."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from benchmarks.databases import Databases
from benchmarks.facts import Layout
from benchmarks.systems import Log, System


class Places:
    """A folder of databases, removed at the end.

    within: the folder to make it in; it should be on a real disk.
    """

    def __init__(self, within: Path) -> None:
        within.mkdir(parents=True, exist_ok=True)
        self._folder = tempfile.TemporaryDirectory(prefix="eventsrc-benchmarks-", dir=within)
        self.path = Path(self._folder.name)
        self.postgres = Databases(within)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.postgres.close()
        finally:
            self._folder.cleanup()

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """A new folder, removed at the end."""
        with tempfile.TemporaryDirectory(prefix="run-", dir=self.path) as made:
            yield Path(made)

    @contextmanager
    def copy(self, system: System, layout: Layout | None = None) -> Iterator[Log]:
        """A system's database with the events of a layout, or without any, to do with as one likes."""
        with self.folder() as folder:
            if layout is not None:
                shutil.copytree(self.filled(system, layout), folder, dirs_exist_ok=True)
                for path in folder.iterdir():
                    _flush(path)
            with opened(system, folder) as log:
                yield log

    def filled(self, system: System, layout: Layout) -> Path:
        """The folder of a system's database with the events of a layout, to be read only."""
        folder = self.path / f"{system.files}-{layout.streams}-{layout.each}-{layout.at_once}"
        if not folder.exists():
            folder.mkdir()
            with opened(system, folder) as log:
                log.fill(layout)
        return folder

    def forget(self, layout: Layout) -> None:
        """Removes the databases with the events of a layout."""
        for folder in self.path.glob(f"*-{layout.streams}-{layout.each}-{layout.at_once}"):
            shutil.rmtree(folder)


def opened(system: System, folder: Path) -> Log:
    """A system's database in a folder."""
    assert system.open is not None
    return system.open(folder)


def _flush(path: Path) -> None:
    """Has a file written to the disk now, so that the first commit need not."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
