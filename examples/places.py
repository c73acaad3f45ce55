"""Where an example runs: in memory, in a SQLite file, in a Postgres database, or in a DynamoDB table.

The rest of an example knows nothing of that: it is given a store and, beside it, a database of views.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from eventsrc import AsyncInterpreter, Interpreter, SqliteViews, StoreOp, View
from eventsrc.opening import open_store, open_store_async, open_views

if TYPE_CHECKING:
    from eventsrc.postgres import PostgresViews

Views: TypeAlias = "SqliteViews | PostgresViews"


@contextmanager
def opened(where: str, views: Iterable[View[Any]]) -> Generator[tuple[Interpreter[StoreOp], Views]]:
    """A store and views at a place: `memory`, a file, `postgresql://ADDRESS` or `dynamodb:TABLE`."""
    with open_store(url_of(where)) as store, _views(where, views) as beside:
        yield store, beside


@asynccontextmanager
async def opened_async(
    where: str, views: Iterable[View[Any]]
) -> AsyncGenerator[tuple[AsyncInterpreter[StoreOp], Views]]:
    """As `opened`, for an event loop, in which a Postgres is waited for by tasks instead of threads."""
    async with open_store_async(url_of(where)) as store:
        with _views(where, views) as beside:
            yield store, beside


def url_of(where: str) -> str:
    """The URL of a place: a command line may name a file alone."""
    if where == "memory":
        return "memory:"
    return where if is_postgres(where) or _is_dynamodb(where) else f"sqlite:{where}"


def is_postgres(where: str) -> bool:
    """Whether a place is the address of a Postgres."""
    return where.startswith(("postgresql://", "postgres://"))


def _is_dynamodb(where: str) -> bool:
    return where.startswith("dynamodb:")


def _views(where: str, views: Iterable[View[Any]]) -> AbstractContextManager[Views]:
    """Views in SQL, as the examples' are: in a passing file where a store has none beside it."""
    if where == "memory" or _is_dynamodb(where):
        return SqliteViews.temporary(views)
    return cast("Views", open_views(url_of(where), views))
