"""What an application with Postgres needs; the extra `postgres` installs its driver, psycopg."""

from eventsrc.postgres_errors import Lost, Refused, Unreachable
from eventsrc.stores.postgres import AsyncPostgresStore, PostgresStore
from eventsrc.stores.postgres_listening import PostgresListener
from eventsrc.views.postgres import PostgresViews

__all__ = [
    "AsyncPostgresStore",
    "Lost",
    "PostgresListener",
    "PostgresStore",
    "PostgresViews",
    "Refused",
    "Unreachable",
]
