"""One URL says where events and views are kept; one that does not says what to write instead."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from psycopg.conninfo import conninfo_to_dict
from returns.result import Success

from eventsrc import (
    Append,
    Head,
    MemoryStore,
    Recorded,
    SqliteStore,
    SqliteViews,
    StreamId,
    View,
    event,
    opening,
    synchronise,
)
from eventsrc.errors import BadUrl, MissingExtra, StoreError, StoreReadOnly
from eventsrc.opening import Scheme, add_scheme, open_store, open_store_async, open_views
from eventsrc.views.memory import MemoryViews

STREAM = StreamId("opened/1")


@event("tests.house.opened")
class Happened:
    number: int


def test_a_url_of_each_scheme_opens_a_store_of_its_own_kind(tmp_path: Path) -> None:
    for url, kind in (("memory:", MemoryStore), (f"sqlite:{tmp_path / 'a.db'}", SqliteStore)):
        with open_store(url) as store:
            assert type(store) is kind
            assert isinstance(store.run(Append(STREAM, (Happened(1),))), Success)


def test_a_store_that_is_opened_again_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_store("sqlite:here.db") as store:
        store.run(Append(STREAM, (Happened(1),)))
    with open_store("SQLITE:here.db") as store:
        assert store.run(Head(STREAM)) == 1


def test_views_are_opened_beside_their_store(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'both.db'}"
    view: View[Any] = View("opened")
    seen: list[int] = []

    @view.on(Happened)
    def note(_: Any, event: Recorded[Happened]) -> None:
        seen.append(event.data.number)

    for place, kind in ((url, SqliteViews), ("memory:", MemoryViews)):
        seen.clear()
        with open_store(url) as store, open_views(place, [view]) as views:
            assert type(views) is kind
            store.run(Append(STREAM, (Happened(1),)))
            (store | views).run(synchronise(view))
            with views.reading(view):
                assert seen[:1] == [1]


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_store_that_is_only_read_is_neither_made_nor_written(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / "a.db"
    url = f"sqlite:{path}"
    if kind == "postgres":
        fields = conninfo_to_dict(request.getfixturevalue("postgres_dsn"))
        url = f"postgresql:///?{urlencode(fields)}"
    with pytest.raises(StoreError):
        open_store(url, read_only=True)
    assert not path.exists()
    with open_store(url) as store:
        assert isinstance(store.run(Append(STREAM, (Happened(1),))), Success)
    with open_store(url, read_only=True) as store:
        assert store.run(Head(STREAM)) == 1
        with pytest.raises(StoreReadOnly):
            store.run(Append(STREAM, (Happened(2),)))
    with pytest.raises(BadUrl, match="is empty"):
        open_store("memory:", read_only=True)


def test_an_event_loop_opens_the_same(tmp_path: Path) -> None:
    async def count(url: str) -> int:
        async with open_store_async(url) as store:
            await store.run_async(Append(STREAM, (Happened(1),)))
            return await store.run_async(Head(STREAM))

    for url in ("memory:", f"sqlite:{tmp_path / 'a.db'}"):
        assert asyncio.run(count(url)) == 1


BAD = {
    "shop.db": "begins with no scheme.*sqlite:PATH",
    "": "begins with no scheme",
    r"C:\shop.db": "C: is no scheme that is known here: give one of memory:, sqlite:",
    "mysql://root:s3cret@host/shop": "mysql: is no scheme that is known here",
    "root:s3cret@host": "root: is no scheme",
    "memory:shop": "nothing behind the colon",
    "sqlite:": "names no file: give sqlite:PATH",
    "sqlite::memory:": "names no file: give sqlite:PATH, or memory:",
    "sqlite:///shop.db": "write sqlite:shop.db for a path from here",
    "sqlite:shop.db?timeout=3": "options, which are not read",
    "dynamodb:": "is no name of a table: give dynamodb:TABLE",
    "dynamodb:users/1": "is no name of a table",
    "dynamodb:events?key=s3cret": "has no option 'key': give endpoint, profile, region",
    "postgresql://app:s3cret@host:port:x/%zz": "the postgresql: URL is no connection string",
    "postgres://app:s3cret@ho st/%": "the postgres: URL is no connection string",
}


@pytest.mark.parametrize("opener", [open_store, open_views])
@pytest.mark.parametrize("url", BAD)
def test_a_url_that_opens_nothing_says_what_to_write(
    opener: Callable[[str], object], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadUrl, match=BAD[url]) as refused:
        opener(url)
    error: BaseException | None = refused.value
    while error is not None:
        assert "s3cret" not in str(error)
        error = error.__cause__
    assert not list(tmp_path.iterdir())


def test_what_is_no_text_is_no_url() -> None:
    with pytest.raises(BadUrl, match="a PosixPath is no URL|a WindowsPath is no URL"):
        open_store(Path("shop.db"))  # type: ignore[arg-type]


def test_a_server_that_is_not_there_is_told_without_the_password() -> None:
    with pytest.raises(Exception, match="Postgres|connection") as raised:
        open_store("postgresql://app:s3cret@127.0.0.1:1/shop")
    assert "s3cret" not in str(raised.value)


WITHOUT = """
import sys
sys.modules["psycopg"] = None
from eventsrc.opening import open_store
try:
    open_store("postgresql://app:s3cret@host/shop")
except ImportError as error:
    print(type(error).__name__, error)
"""


def test_a_driver_that_is_not_installed_is_named_with_its_extra() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{MissingExtra.__name__} postgresql: needs psycopg, which is not")
    assert "install eventsrc[postgres]" in done.stdout
    assert "s3cret" not in done.stdout + done.stderr


WITHOUT_AWS = """
import sys
sys.modules["boto3"] = None
from eventsrc.opening import open_store
try:
    open_store("dynamodb:events")
except ImportError as error:
    print(type(error).__name__, error)
"""


def test_a_library_that_is_not_installed_is_named_with_its_extra() -> None:
    told = [sys.executable, "-c", WITHOUT_AWS]
    done = subprocess.run(told, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{MissingExtra.__name__} dynamodb: needs boto3, which is not")
    assert "install eventsrc[aws]" in done.stdout


def test_a_store_of_events_alone_opens_no_views() -> None:
    with pytest.raises(BadUrl, match="dynamodb: has events and no views"):
        open_views("dynamodb:events")


class _Elsewhere(Scheme):
    def store(self, url: str, codec: Any, *, read_only: bool = False) -> Any:
        return MemoryStore(codec, store_id=url.replace(":", "-"))

    def views(self, url: str, views: Any) -> Any:
        return MemoryViews(views)


def test_another_module_can_add_a_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_SCHEMES", dict(opening._SCHEMES))
    add_scheme("elsewhere", _Elsewhere())
    with open_store("elsewhere:shop") as store, open_views("elsewhere:shop"):
        assert isinstance(store, MemoryStore)
        assert store.store_id == "elsewhere-shop"
    with pytest.raises(BadUrl, match="sqlite: has a meaning already"):
        add_scheme("sqlite", _Elsewhere())
    with pytest.raises(BadUrl, match="'x y' is no scheme"):
        add_scheme("x y", _Elsewhere())
