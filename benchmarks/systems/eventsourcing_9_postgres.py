"""The library eventsourcing on Postgres, in the same two set-ups, with its defaults for Postgres.

Its server functions stay off, as they are by default: with them its followers may skip events.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

from eventsourcing.persistence import InfrastructureFactory, IntegrityError, Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.utils import Environment
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL

from benchmarks.facts import key
from benchmarks.systems.eventsourcing_9 import DeclaredLog, Names, NamesInterface, PeerLog, StructLog


class PostgresNames(PostgresTrackingRecorder, NamesInterface):
    """The view in Postgres, with its position in the same transaction."""

    def __init__(self, datastore: Any, **named: Any) -> None:
        super().__init__(datastore, **named)
        table = (
            "CREATE TABLE IF NOT EXISTS names (id TEXT PRIMARY KEY, name TEXT NOT NULL) "
            "WITH (fillfactor = 50)"
        )
        self.sql_create_statements.append(SQL(table))

    def set_name(self, thing: UUID, name: str, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(
                "INSERT INTO names VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET name = excluded.name",
                (str(thing), name),
                prepare=True,
            )


class _OnPostgres(PeerLog):
    """What both set-ups do alike."""

    batch = 500  # many more in one `put` never come to an end

    def __init__(self, address: str) -> None:
        self._environment = _environment(address)
        super().__init__(self._environment)

    def push(self, stream: int) -> None:
        while True:
            newest: Any = next(iter(self.app.events.get(key(stream), desc=True, limit=1)), None)
            version = newest.originator_version + 1 if newest else 1
            try:
                self.app.events.put([self.make(stream, version)])
            except IntegrityError:
                continue
            return

    def synchronise(self, folder: Path) -> int:
        environment = Environment("names", self._environment)
        factory: InfrastructureFactory[Any] = InfrastructureFactory.construct(environment)
        names = Names(factory.tracking_recorder(PostgresNames))
        count = 0
        for one, number in self._feed():
            names.process_event(one, Tracking(self.app.name, number))
            count += 1
        factory.close()
        return count


class DeclaredPostgresLog(_OnPostgres, DeclaredLog):
    """An application in its own set-up."""


class StructPostgresLog(_OnPostgres, StructLog):
    """An application whose events are structs."""


def _environment(address: str) -> dict[str, str]:
    parts = conninfo_to_dict(address)
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": str(parts["dbname"]),
        "POSTGRES_HOST": str(parts["host"]),
        "POSTGRES_PORT": str(parts.get("port", 5432)),
        "POSTGRES_USER": str(parts["user"]),
        "POSTGRES_PASSWORD": str(parts.get("password", "none")),
    }
