"""Appends whose transactions are the test's: held open, slow, taken back; and a store without order."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import uuid4

import psycopg
import pytest

from eventsrc import Append, Appended, StreamId
from eventsrc.postgres import _sql as sql
from eventsrc.postgres._connection import Session
from eventsrc.postgres._conversation import Conversation, Rows, Statement, answered
from eventsrc.postgres._link import Driver
from eventsrc.postgres._policy import Dialogue, Execute, OwnConnections, Policy
from eventsrc.postgres._questions import Questions
from eventsrc.postgres.store import PostgresStore
from eventsrc.stores.operations import StoreError
from eventsrc.stores.prepare import prepare
from tests.kits.events import CODEC, TYPES

__all__ = [
    "ORDER_LOCK",
    "TYPES",
    "Joined",
    "TakenBack",
    "ask_on",
    "in_scripts",
    "slow_store",
    "without_order",
]

T = TypeVar("T")

ORDER_LOCK = "PERFORM pg_advisory_xact_lock({lock});"
"""By which each function that appends takes the order lock."""


def in_scripts(monkeypatch: pytest.MonkeyPatch, text: str, other: str) -> None:
    """Has the tables that are made from now on be made with another text in place of one."""
    assert any(text in script for script in sql.SCRIPTS)
    changed = tuple(script.replace(text, other) for script in sql.SCRIPTS)
    monkeypatch.setattr(sql, "SCRIPTS", changed)


def ask_on(questions: Conversation[T], connection: psycopg.Connection) -> T:
    """Asks questions on a connection, in the transaction that it is in."""
    session = Session(connection, is_watched=False)

    def execute(statement: Statement) -> Dialogue[Rows]:
        rows: Rows = yield Execute(session, statement, math.inf)
        return rows

    return Driver(Policy()).run(answered(questions, execute))


class Joined:
    """Appends in a transaction that stays open until the test ends it."""

    def __init__(self, dsn: str) -> None:
        self.connection = psycopg.connect(dsn)
        self._questions = Questions("eventsrc", CODEC, time.time)
        ask_on(self._questions.opening(), self.connection)
        self.connection.commit()

    def append(self, stream: StreamId, *events: object) -> Appended:
        """Appends, and commits nothing."""
        asked = prepare(Append(stream, events, append_id=uuid4()), CODEC, self._questions.store_id)
        (answer,) = ask_on(self._questions.appending([asked]), self.connection)
        appended: Any = answer
        return appended.unwrap()  # type: ignore[no-any-return]

    @property
    def pid(self) -> int:
        """The process of the server that serves it."""
        return self.connection.info.backend_pid


class TakenBack(StoreError):
    """The test has rolled an append back."""


class _Slow(OwnConnections):
    """Each statement is in a transaction that is slow to commit, or rolled back."""

    def __init__(self, dsn: str, seed: int) -> None:
        super().__init__(dsn, 30)
        self.chance = random.Random(seed)

    def execute(self, statement: Statement, deadline: float) -> Dialogue[Rows]:
        if b".append" not in statement.sql and b"INSERT INTO" not in statement.sql:
            return (yield from super().execute(statement, deadline))

        def slowly() -> Conversation[Rows]:
            rows = yield statement
            time.sleep(self.chance.choice([0, 0, 0.001, 0.01]))
            if self.chance.random() < 0.2:
                raise TakenBack("rolled back")
            return rows

        return (yield from self.in_transaction(slowly()))


@contextmanager
def slow_store(dsn: str, seed: int) -> Iterator[PostgresStore]:
    """A store whose commits come late, by 0 to 10 ms, and one in five not at all."""
    with PostgresStore(dsn, codec=CODEC, timeout=30) as store:
        store._link.policy.close()
        store._link = Driver(_Slow(dsn, seed))
        yield store


def without_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks the stores that are made from now on: positions are of a sequence, and nobody waits."""
    tables, script, tags = sql.SCRIPTS
    assert script.count(ORDER_LOCK) == 4

    def unordered(script: str) -> str:
        script = script.replace(ORDER_LOCK, "").replace(
            "coalesce(max(event.position), 0) INTO", "nextval('{s}.places') INTO"
        )
        return script.replace("FROM {s}.event;\n", ";\n")

    script = "CREATE SEQUENCE {s}.places INCREMENT 1000; " + unordered(script)
    monkeypatch.setattr(sql, "SCRIPTS", (tables, script, unordered(tags)))
