"""Where an example runs: in memory, in a SQLite file, or in a Postgres database.

The rest of an example knows nothing of that: it is given a store and, beside it, a database of views.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from eventsrc import AsyncInterpreter, Interpreter, MemoryStore, SqliteStore, SqliteViews, StoreOp, View

if TYPE_CHECKING:
    from eventsrc.postgres import PostgresViews

Views: TypeAlias = "SqliteViews | PostgresViews"


@contextmanager
def opened(where: str, views: Iterable[View[Any]]) -> Generator[tuple[Interpreter[StoreOp], Views]]:
    """A store and views at a place: `memory`, a file, or the address of a Postgres."""
    if where == "memory":
        with SqliteViews.temporary(views) as beside:
            yield MemoryStore(), beside
    elif is_postgres(where):
        from eventsrc.postgres import PostgresStore, PostgresViews

        with PostgresStore(where) as store, PostgresViews(where, views) as beside_it:
            yield store, beside_it
    else:
        with SqliteStore(where) as file, SqliteViews(where, views) as beside:
            yield file, beside


@asynccontextmanager
async def opened_async(
    where: str, views: Iterable[View[Any]]
) -> AsyncGenerator[tuple[AsyncInterpreter[StoreOp], Views]]:
    """As `opened`, for an event loop, in which a Postgres is waited for by tasks instead of threads."""
    if is_postgres(where):
        from eventsrc.postgres import AsyncPostgresStore, PostgresViews

        async with AsyncPostgresStore(where) as store:
            with PostgresViews(where, views) as beside:
                yield store, beside
    else:
        with opened(where, views) as both:
            yield both


def is_postgres(where: str) -> bool:
    """Whether a place is the address of a Postgres."""
    return where.startswith(("postgresql://", "postgres://"))
