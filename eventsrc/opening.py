"""Opening stores and views by a URL, so that one setting says where an application keeps its events.

    memory:                     in this process, until it ends
    sqlite:PATH                 in a file: `sqlite:shop.db`, `sqlite:/srv/shop.db`
    postgresql://USER@HOST/DB   in a Postgres database, which needs the extra `postgres`
    dynamodb:TABLE              events in a DynamoDB table, which needs the extra `aws`; behind it
                                `?region=REGION&endpoint=URL&profile=NAME`, or some of these

A path is taken as it is written. For other options than these, such as a timeout or a pool, make the
store itself. No password is repeated in an error.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import parse_qsl

from eventsrc._errors import EventsrcError, with_article
from eventsrc.events.codec import Codec
from eventsrc.programs.interpreter import AsyncInterpreter
from eventsrc.programs.opened import Opened
from eventsrc.stores.memory import MemoryStore
from eventsrc.stores.operations import StoreOp
from eventsrc.views.operations import OpenedViews, ViewOp
from eventsrc.views.view import View


class BadUrl(EventsrcError, ValueError):
    """A text that does not say where to open a store or views; it names the scheme, and no password."""


class MissingExtra(EventsrcError, ImportError):
    """A URL asks for a package that is not installed."""


class Scheme(ABC):
    """Opens the URLs of a scheme. Each method raises BadUrl for one that it cannot read."""

    @abstractmethod
    def store(self, url: str, codec: Codec | None, *, read_only: bool = False) -> Opened[StoreOp]:
        """Opens a store, or with `read_only` one that is there, so that nothing is written to it."""

    @abstractmethod
    def views(self, url: str, views: Iterable[View[Any]]) -> OpenedViews[ViewOp]:
        """Opens a database of views, with the tables of some views made."""

    @asynccontextmanager
    async def store_async(
        self, url: str, codec: Codec | None
    ) -> AsyncGenerator[AsyncInterpreter[StoreOp]]:
        """Opens a store for an event loop: `store`, where that does not hold the loop up for long."""
        with self.store(url, codec) as store:
            yield store


def open_store(url: str, codec: Codec | None = None, *, read_only: bool = False) -> Opened[StoreOp]:
    """The store that a URL names, made if it is not there; close it at the end, or use `with`.

    url: see above, and `add_scheme`.
    codec: what it encodes with; one for all registered events if not given.
    read_only: nothing is made or written: a store that is not there raises NotAStore, appends
        StoreReadOnly.
    Raises BadUrl, MissingExtra, and as the store does.
    """
    return _scheme(url).store(url, codec, read_only=read_only)


@asynccontextmanager
async def open_store_async(
    url: str, codec: Codec | None = None
) -> AsyncGenerator[AsyncInterpreter[StoreOp]]:
    """As `open_store`, for an event loop: `async with open_store_async(url) as store`."""
    async with _scheme(url).store_async(url, codec) as store:
        yield store


def open_views(url: str, views: Iterable[View[Any]] = ()) -> OpenedViews[ViewOp]:
    """The database of views that a URL names, made if it is not there; close it at the end.

    url: as of `open_store`; the two may be the same. What handlers and queries are given is that
        database's: tables in memory, a sqlite-utils database, a connection of psycopg.
    views: whose tables are to be there at once.
    Raises BadUrl, MissingExtra, and as the database does.
    """
    return _scheme(url).views(url, views)


def add_scheme(name: str, scheme: Scheme) -> None:
    """Has URLs that begin with a name and a colon be opened in a way of one's own.

    Raises BadUrl for a name that is no scheme, or that has a meaning already.
    """
    if not re.fullmatch(_SCHEME, name):
        raise BadUrl(f"{name!r} is no scheme: use lower-case letters, digits and + . -")
    if name in _SCHEMES:
        raise BadUrl(f"{name}: has a meaning already: choose another scheme")
    _SCHEMES[name] = scheme


def scheme_of(url: str) -> str:
    """The scheme of a URL, before the colon. Raises BadUrl for what is none, or is not known."""
    if not isinstance(url, str):
        raise BadUrl(f"{with_article(type(url))} is no URL: give a text such as 'sqlite:shop.db'")
    name, colon, _ = url.partition(":")
    known = ", ".join(f"{scheme}:" for scheme in _SCHEMES)
    if not colon or not re.fullmatch(_SCHEME, name, re.IGNORECASE):
        raise BadUrl(f"the URL begins with no scheme: give one of {known} (a file is sqlite:PATH)")
    if name.lower() not in _SCHEMES:
        raise BadUrl(f"{name}: is no scheme that is known here: give one of {known}, or add_scheme")
    return name.lower()


def _scheme(url: str) -> Scheme:
    return _SCHEMES[scheme_of(url)]


class _Memory(Scheme):
    def store(self, url: str, codec: Codec | None, *, read_only: bool = False) -> Opened[StoreOp]:
        self._check(url)
        if read_only:
            raise BadUrl("memory: is a new store each time, which is empty: give one that is kept")
        return MemoryStore(codec)

    def views(self, url: str, views: Iterable[View[Any]]) -> OpenedViews[ViewOp]:
        self._check(url)
        from eventsrc.views.memory import MemoryViews

        return MemoryViews(views)

    def _check(self, url: str) -> None:
        if url.partition(":")[2]:
            raise BadUrl("memory: has nothing behind the colon: each store in memory is a new one")


class _Sqlite(Scheme):
    def store(self, url: str, codec: Codec | None, *, read_only: bool = False) -> Opened[StoreOp]:
        from eventsrc.sqlite.store import SqliteStore

        return SqliteStore(self._path(url), codec, read_only=read_only)

    def views(self, url: str, views: Iterable[View[Any]]) -> OpenedViews[ViewOp]:
        from eventsrc.sqlite.views import SqliteViews

        return SqliteViews(self._path(url), views)

    def _path(self, url: str) -> str:
        path = url.partition(":")[2]
        if not path or path == ":memory:":
            raise BadUrl(f"{url} names no file: give sqlite:PATH, or memory: for a store in memory")
        if path.startswith("//"):
            raise BadUrl(
                f"{url} may be meant as relative or as absolute: write sqlite:shop.db for a path from "
                "here, sqlite:/srv/shop.db for one from the root"
            )
        if "?" in path:
            raise BadUrl(f"{url} has options, which are not read: make a SqliteStore with them instead")
        return path


class _Postgres(Scheme):
    def store(self, url: str, codec: Codec | None, *, read_only: bool = False) -> Opened[StoreOp]:
        _check_postgres(url)
        from eventsrc.postgres import PostgresStore

        return PostgresStore(_read_only(url) if read_only else url, codec=codec)

    @asynccontextmanager
    async def store_async(
        self, url: str, codec: Codec | None
    ) -> AsyncGenerator[AsyncInterpreter[StoreOp]]:
        _check_postgres(url)
        from eventsrc.postgres import AsyncPostgresStore

        async with AsyncPostgresStore(url, codec=codec) as store:
            yield store

    def views(self, url: str, views: Iterable[View[Any]]) -> OpenedViews[ViewOp]:
        _check_postgres(url)
        from eventsrc.postgres import PostgresViews

        return PostgresViews(url, views)


class _Dynamo(Scheme):
    def store(self, url: str, codec: Codec | None, *, read_only: bool = False) -> Opened[StoreOp]:
        table, client = self._client(url)
        from eventsrc.aws.store import OwnClientStore

        return OwnClientStore(client, table, codec, read_only=read_only)

    @asynccontextmanager
    async def store_async(
        self, url: str, codec: Codec | None
    ) -> AsyncGenerator[AsyncInterpreter[StoreOp]]:
        table, client = self._client(url)
        from eventsrc.aws.store import AsyncDynamoStore

        try:
            async with AsyncDynamoStore(client, table, codec) as store:
                yield store
        finally:
            client.close()

    def views(self, url: str, views: Iterable[View[Any]]) -> OpenedViews[ViewOp]:
        self._parse(url)
        raise BadUrl("dynamodb: has events and no views: give sqlite:PATH or postgresql: for these")

    def _client(self, url: str) -> tuple[str, Any]:
        table, options = self._parse(url)
        try:
            from eventsrc.aws.cloud import new_client

            return table, new_client(**options)
        except ModuleNotFoundError as error:
            if error.name not in ("boto3", "botocore"):
                raise
            raise MissingExtra(
                f"dynamodb: needs {error.name}, which is not installed: install eventsrc[aws]"
            ) from error
        except ValueError as error:  # as boto3's errors about an endpoint are
            raise BadUrl(f"boto3 makes no client for {url!r:.200}: {error}") from error

    def _parse(self, url: str) -> tuple[str, dict[str, str]]:
        """The table, and the options of a client."""
        table, _, query = url.partition(":")[2].partition("?")
        if not re.fullmatch("[A-Za-z0-9_.-]{3,255}", table):
            raise BadUrl(
                f"{table!r:.300} is no name of a table: give dynamodb:TABLE, of 3 to 255 letters, "
                "digits and _ . -"
            )
        options = dict(parse_qsl(query, keep_blank_values=True))
        for name in options.keys() - _DYNAMO_OPTIONS:
            raise BadUrl(
                f"dynamodb: has no option {name!r:.100}: give {', '.join(sorted(_DYNAMO_OPTIONS))}, or "
                "make a DynamoStore for others; credentials are boto3's affair"
            )
        return table, options


_DYNAMO_OPTIONS: Final = frozenset({"region", "endpoint", "profile"})


def _check_postgres(url: str) -> None:
    """Raises MissingExtra without the driver, and BadUrl for a URL that the driver does not read."""
    try:
        import psycopg_pool as _  # noqa: F401
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("psycopg"):
            raise
        raise MissingExtra(
            f"{scheme_of(url)}: needs {error.name}, which is not installed: install eventsrc[postgres]"
        ) from error
    try:
        conninfo_to_dict(url)
    except ProgrammingError:
        # without what the driver says, which repeats parts of the URL
        raise BadUrl(
            f"the {scheme_of(url)}: URL is no connection string: write it as "
            "postgresql://user@host:5432/database, with %-codes for special characters in a password"
        ) from None


def _read_only(url: str) -> str:
    """The address of connections whose transactions only read."""
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    options = conninfo_to_dict(url).get("options") or ""
    return make_conninfo(url, options=f"{options} -c default_transaction_read_only=on".strip())


_SCHEME: Final = "[a-z][a-z0-9+.-]*"
_SCHEMES: Final[dict[str, Scheme]] = {
    "memory": _Memory(),
    "sqlite": _Sqlite(),
    "postgresql": _Postgres(),
    "postgres": _Postgres(),
    "dynamodb": _Dynamo(),
}
