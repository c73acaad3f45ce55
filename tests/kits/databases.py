"""Databases that are emptied and used again, which costs much less than one of its own for each test.

One in which something was left that is more than schemas with what is in them is dropped.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from eventsrc.testing.postgres import PostgresServer

_END_SESSIONS = (
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)

_SCHEMAS = r"SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$|public$)'"

_IS_AS_NEW = """
SELECT NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace)
    AND NOT EXISTS (SELECT FROM pg_proc WHERE pronamespace = 'public'::regnamespace)
    AND NOT EXISTS (SELECT FROM pg_type WHERE typnamespace = 'public'::regnamespace)
    AND NOT EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database())
    AND NOT EXISTS (SELECT FROM pg_replication_slots WHERE database = current_database())
    AND NOT EXISTS (SELECT FROM pg_db_role_setting WHERE setdatabase = own.oid)
    AND NOT EXISTS (SELECT FROM pg_default_acl)
    AND NOT EXISTS (SELECT FROM pg_event_trigger)
    AND NOT EXISTS (SELECT FROM pg_publication)
    AND NOT EXISTS (SELECT FROM pg_largeobject_metadata)
    AND NOT EXISTS (SELECT FROM pg_extension WHERE extname <> 'plpgsql')
    AND own.datacl IS NULL AND own.datallowconn AND own.datconnlimit = -1
    AND NOT pg_is_in_recovery()
FROM pg_database own WHERE datname = current_database()
"""


class Databases:
    """The databases of a server, of which tests take one at a time."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._free: list[str] = []

    def take(self) -> str:
        """The address of an empty database."""
        return self._free.pop() if self._free else self._server.create_database()

    def give_back(self, dsn: str) -> None:
        """Has it emptied, for another to take, or dropped."""
        if _is_emptied(dsn):
            self._free.append(dsn)
        else:
            self._server.drop_database(dsn)

    def close(self) -> None:
        """Drops those that nobody has."""
        while self._free:
            self._server.drop_database(self._free.pop())


def _is_emptied(dsn: str) -> bool:
    """Whether all that was in a database could be removed."""
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(_END_SESSIONS)
            for (name,) in connection.execute(_SCHEMAS).fetchall():
                connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))
            return connection.execute(_IS_AS_NEW.encode()).fetchone() == (True,)
    except psycopg.Error:
        return False
