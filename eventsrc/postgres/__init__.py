"""Stores and views in Postgres; the extra `postgres` installs the driver, psycopg."""

from eventsrc.postgres.listener import PostgresListener
from eventsrc.postgres.store import AsyncPostgresStore, PostgresStore
from eventsrc.postgres.views import PostgresViews

__all__ = [
    "AsyncPostgresStore",
    "PostgresListener",
    "PostgresStore",
    "PostgresViews",
]
