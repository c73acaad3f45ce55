"""Databases of a Postgres that is started once in a run, on the disk that was chosen, and not before.

It is started as installed, with all commits flushed to the disk, but without checkpoints in the middle
of a measurement. Where EVENTSRC_TEST_POSTGRES names a server, its databases are made there.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.facts import Layout
from benchmarks.systems import Log, System

_SETTINGS: Final = {"max_wal_size": "4GB", "checkpoint_timeout": "30min"}
_SETTING: Final = "SELECT current_setting(%s)"


class Databases:
    """The databases of a run, which are gone at the end.

    within: the folder for the server's files.
    """

    def __init__(self, within: Path) -> None:
        self._within = within
        self._server: Any = None
        self._filled: dict[tuple[str, Layout], str] = {}

    @contextmanager
    def copy(self, system: System, layout: Layout | None = None) -> Iterator[str]:
        """The address of a system's database with the events of a layout, or without any."""
        if layout is None:
            address = self._running().create_database()
        else:
            filled = self.filled(system, layout)
            address = self._running().create_database(_name(filled))
        try:
            yield address
        finally:
            self._running().drop_database(address)

    @contextmanager
    def opened(self, system: System, layout: Layout | None = None) -> Iterator[Log]:
        """A copy, open."""
        with self.copy(system, layout) as address, open_postgres(system, address) as log:
            yield log

    def filled(self, system: System, layout: Layout) -> str:
        """The address of a system's database with the events of a layout, to be read only."""
        known = system.files, layout
        if known not in self._filled:
            import psycopg

            address = self._running().create_database()
            with open_postgres(system, address) as log:
                log.fill(layout)
            with psycopg.connect(address, autocommit=True) as connection:
                connection.execute("VACUUM (FREEZE, ANALYZE)")
                connection.execute("CHECKPOINT")
            self._filled[known] = address
        return self._filled[known]

    def version(self) -> str:
        """What the server says of itself, and how its commits are flushed."""
        import psycopg

        with psycopg.connect(self._running().dsn) as connection:
            names = ("server_version", "fsync", "synchronous_commit")
            found = [connection.execute(_SETTING, (name,)).fetchone() for name in names]
        number, *flushed = [row[0] for row in found if row]
        return f"Postgres {number}, fsync {flushed[0]}, synchronous_commit {flushed[1]}"

    def close(self) -> None:
        """Ends the server, if it was ever started."""
        if self._server is not None:
            self._server.close()

    def _running(self) -> Any:
        if self._server is None:
            from eventsrc.testing.postgres import ADDRESS, PostgresServer

            server = PostgresServer(settings={} if os.environ.get(ADDRESS) else _SETTINGS)
            before = tempfile.tempdir
            tempfile.tempdir = str(self._within.absolute())  # where the server makes its directory
            try:
                server.start()
            finally:
                tempfile.tempdir = before
            self._server = server
        return self._server


def open_postgres(system: System, address: str) -> Log:
    """A system's database at an address."""
    assert system.open_postgres is not None
    return system.open_postgres(address)


def _name(address: str) -> str:
    from psycopg.conninfo import conninfo_to_dict

    return str(conninfo_to_dict(address)["dbname"])
