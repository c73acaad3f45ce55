"""Errors of a Postgres for tests."""

from __future__ import annotations

from eventsrc._errors import EventsrcError


class PostgresServerError(EventsrcError):
    """No Postgres for tests: one of those below."""


class NoPostgres(PostgresServerError):
    """There is no Postgres, or not of the version asked for, or no psycopg; it says what to install."""


class ServerFailed(PostgresServerError):
    """A server did not start, or stop, in time; with the end of its log."""


class ExternalServer(PostgresServerError):
    """This can't be done to a server that was started by somebody else."""
