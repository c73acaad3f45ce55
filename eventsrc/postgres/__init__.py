"""What an application with Postgres needs; the extra `postgres` installs its driver, psycopg."""

from eventsrc.postgres.listener import PostgresListener
from eventsrc.postgres.store import AsyncPostgresStore, PostgresStore
from eventsrc.postgres.views import PostgresViews

__all__ = [
    "AsyncPostgresStore",
    "PostgresListener",
    "PostgresStore",
    "PostgresViews",
]
