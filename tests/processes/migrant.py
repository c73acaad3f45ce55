"""Processes that open a store's file for the first time, or with a newer schema, and are killed at it.

A second version of the schema is made up here, so that there is something to migrate to.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sqlite3
import sys
from pathlib import Path

from eventsrc import SqliteStore
from eventsrc.sqlite import _sql
from eventsrc.sqlite._file import SqliteFile
from eventsrc.sqlite._schema import Schema, statements_of
from tests.kits.events import CODEC

SECOND = """
    CREATE TABLE eventsrc_tag (position INTEGER NOT NULL, tag TEXT NOT NULL);
    INSERT INTO eventsrc_tag SELECT position, type FROM eventsrc_events;
    CREATE INDEX eventsrc_tag_by_name ON eventsrc_tag (tag, position);
"""
FIRST_SCHEMA = _sql.SCHEMA
SECOND_SCHEMA = Schema("store", (*FIRST_SCHEMA.scripts, SECOND), FIRST_SCHEMA.stamp)


def migrate_step_by_step(file: SqliteFile, schema: Schema) -> None:
    """A broken migration: each statement is a transaction of its own."""
    for script in schema.scripts[file._checked(schema) :]:
        for statement in statements_of(script):
            file._writer.execute(statement)
    with file.writing() as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS eventsrc_schema (part TEXT PRIMARY KEY, applied)"
        )
        connection.execute(
            "INSERT OR REPLACE INTO eventsrc_schema VALUES ('store', ?)", [len(schema.scripts)]
        )


def migrate_unasked(file: SqliteFile, schema: Schema) -> None:
    """A broken migration: it does not look again, once it may write, whether others were faster."""
    with file.writing() as connection:
        for statement in statements_of(schema.scripts[0]):
            connection.execute(statement)
        connection.execute("CREATE TABLE eventsrc_schema (part TEXT PRIMARY KEY, applied)")
        connection.execute("INSERT INTO eventsrc_schema VALUES ('store', 1)")


def kill_at_each_step(folder: str, original: str, schema: str, migration: str) -> None:
    """Opens 1.db, a copy of the original if there is one, and is killed at the first statement; then
    2.db, and is killed at the second; and so on until it gets through. Prints how often it was."""
    _sql.SCHEMA = SECOND_SCHEMA if schema == "second" else FIRST_SCHEMA  # type: ignore[misc]
    if migration == "step by step":
        SqliteFile._migrate = migrate_step_by_step  # type: ignore[method-assign, assignment]
    for step in itertools.count(1):
        path = Path(folder) / f"{step}.db"
        if original:
            shutil.copy(original, path)
        pid = os.fork()
        if pid == 0:
            _die_at(step)
            SqliteStore(path, CODEC).close()
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSIGNALED(status):
            assert os.WEXITSTATUS(status) == 0
            print(step - 1)
            return


def _die_at(step: int) -> None:
    """Has this process killed when it begins its n-th statement of SQL."""
    steps = itertools.count(1)
    connect = SqliteFile._connect

    def tick(_: str) -> None:
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def connected(file: SqliteFile, timeout: float) -> sqlite3.Connection:
        connection = connect(file, timeout)
        connection.set_trace_callback(tick)
        return connection

    SqliteFile._connect = connected  # type: ignore[method-assign, assignment]


def open_on_command(migration: str) -> None:
    """Opens each file whose path it is sent, and prints its identity, or what went wrong."""
    if migration == "unasked":
        SqliteFile._migrate = migrate_unasked  # type: ignore[method-assign, assignment]
    print("ready", flush=True)
    for line in sys.stdin:
        try:
            with SqliteStore(line.rstrip("\n"), CODEC) as store:
                print(store.store_id, flush=True)
        except Exception as error:
            print(f"wrong: {error!r}", flush=True)
