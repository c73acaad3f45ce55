"""The write-ahead log of a SQLite file, made large before it has to grow.

A commit that overwrites a part of the log takes half as long as one that makes the file larger, since
the file system then has nothing to note. SQLite begins the log anew once it has 1 000 pages, so that
every log comes to that size, and is quick from then on. Here it comes to it early.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path
from typing import Final

SEVERAL: Final = 16
"""After how many commits: who makes fewer would not get back what it costs."""

_ROOM: Final = 16
"""The disk must have so many times the log's size free."""


def extend(connection: sqlite3.Connection, path: Path) -> None:
    """Makes the log of a file as large as it will be before SQLite begins it anew.

    connection: to the file, in no transaction, and in nobody else's hands meanwhile.

    A transaction that is larger than SQLite's cache is written to the log before its end is known.
    It is rolled back then: without a commit its pages are nothing to any reader, nor to a recovery, and
    are overwritten by what follows. It is left out where others write just now, where the disk is
    nearly full, and for a file among the temporary ones, which hardly lives so long.
    """
    try:
        ((pages,),) = connection.execute("PRAGMA wal_autocheckpoint").fetchall()
        ((page_size,),) = connection.execute("PRAGMA page_size").fetchall()
        size = pages * page_size
        log = path.with_name(f"{path.name}-wal")
        if log.stat().st_size >= size or is_temporary(path):
            return
        if shutil.disk_usage(path.parent).free < _ROOM * size:
            return
        _fill(connection, size)
    except (OSError, sqlite3.Error):
        return  # nothing depends on it; what is wrong is told to the next who writes


def _fill(connection: sqlite3.Connection, size: int) -> None:
    ((cache,),) = connection.execute("PRAGMA cache_size").fetchall()
    try:
        connection.execute("PRAGMA cache_size = 20")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE eventsrc_room (data)")
        connection.execute("INSERT INTO eventsrc_room VALUES (zeroblob(?))", (size,))
    finally:
        if connection.in_transaction:
            connection.rollback()
        connection.execute(f"PRAGMA cache_size = {int(cache)}")


def is_temporary(path: Path) -> bool:
    """Whether a file lies where the system keeps temporary ones."""
    from tempfile import gettempdir

    return path.is_relative_to(os.path.realpath(gettempdir())) or path.is_relative_to(gettempdir())
