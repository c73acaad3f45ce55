"""Stores and views of commit 4fdead8 are brought forward as they are opened, and read as they were."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from eventsrc import (
    Codec,
    Cursor,
    ReadFeed,
    SqliteStore,
    SqliteViews,
    Token,
    View,
    synchronise,
    world,
)
from eventsrc.events.event import Opaque
from eventsrc.http import etag, expected
from eventsrc.http.signing import Signed
from eventsrc.postgres import PostgresStore, PostgresViews
from eventsrc.sqlite._sql import SCRIPTS
from eventsrc.stores.operations import NotAStore
from eventsrc.views.operations import GetParked, OtherDefinition
from tests.formats import reading
from tests.formats.modules import HERE, shop

EXPECTED: dict[str, Any] = json.loads((HERE / "expected.json").read_text())
TEXTS: dict[str, Any] = json.loads((HERE / "texts.json").read_text())
FILES = {"sqlite_separate": ("store.db", "views.db"), "sqlite_together": ("app.db", "app.db")}


def unpacked(name: str, folder: Path) -> tuple[Path, Path]:
    with zipfile.ZipFile(HERE / f"{name}.zip") as archive:
        archive.extractall(folder)
    store, views = FILES[name]
    return folder / store, folder / views


@contextmanager
def opened(name: str, folder: Path) -> Iterator[tuple[SqliteStore, SqliteViews]]:
    path, views_path = unpacked(name, folder)
    with SqliteStore(path, Codec(shop.TYPES)) as store, SqliteViews(views_path) as views:
        yield store, views


def check(store: Any, views: Any, expected: Any) -> None:
    expected_store = expected["store"]
    if isinstance(expected_store, str):
        expected_store = EXPECTED["sqlite_separate"]["store"]
    assert as_json(reading.store_as_json(store)) == expected_store
    assert as_json(reading.views_as_json(store, views)) == expected["views"]
    assert as_json(reading.live_rows(views)) == expected["orders that queries read"]
    parked = [each for view in shop.views() for each in views.run(GetParked(view))]
    undecodable = [each for each in parked if each.error.startswith(("UnknownEvent", "Undecodable"))]
    assert [each for each in parked if each.is_undecodable] == undecodable
    assert bool(undecodable) == ("UnknownEvent" in json.dumps(expected["views"]))
    ended = as_json(reading.go_on(store, views, world))
    # An error says by now which event it is about, and which handler.
    text = json.dumps(ended).replace("UnknownEvent: orders/7@1 (position 33): ", "UnknownEvent: ")
    as_before = json.loads(re.sub(r", by its handler [\w.<>]+", "", text))
    assert as_before == expected["views when brought to their end"]
    # The first that applies keeps its definition, and others are compared with that.
    view = shop.names_view()
    other: View[Any] = View(view.name, version=view.version, prefix="elsewhere/")
    other.on(Opaque)(lambda _, __: None)
    with pytest.raises(OtherDefinition, match=r"its prefix: .* then, 'elsewhere/' now"):
        (store | views).run(synchronise(other))


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("name", FILES)
def test_files_of_sqlite_are_read_as_they_were(name: str, tmp_path: Path) -> None:
    with opened(name, tmp_path) as (store, views):
        check(store, views, EXPECTED[name])


def test_schemas_of_postgres_are_read_as_they_were(postgres_dsn: str) -> None:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute((HERE / "postgres.sql").read_bytes())
    with (
        PostgresStore(postgres_dsn, codec=Codec(shop.TYPES)) as store,
        PostgresViews(postgres_dsn) as views,
    ):
        check(store, views, EXPECTED["postgres"])
    second = EXPECTED["postgres"]["second store"]
    with PostgresStore(postgres_dsn, schema=second["schema"], codec=Codec(shop.TYPES)) as store:
        its = reading.event_of(store, store.run(shop.orders[1].read()).events[0])
        assert (store.store_id, as_json(its)) == (second["store_id"], second["event"])


@pytest.mark.parametrize("name", FILES)
def test_texts_of_then_are_accepted_and_written_as_they_were(name: str, tmp_path: Path) -> None:
    about = TEXTS["cursors"][name]
    with opened(name, tmp_path) as (store, _):
        cursor = Cursor.parse(about["text"])
        assert cursor == Cursor(about["store"], about["position"]) == store.run(ReadFeed()).end
        assert str(cursor) == about["text"]
        assert not store.run(ReadFeed(cursor)).events
        of_it = [each for each in TEXTS["tokens"] if each["of"] == name]
        assert len(of_it) == 3
        for each in of_it:
            token = Token.parse(each["text"])
            assert token == Token(each["store"], each["versions"])
            assert str(token) == each["text"]
            if "etag" in each:
                assert etag(token) == each["etag"]
                signed = Signed(TEXTS["signing key"].encode())
                assert signed.read(each["signed"]) == token
                assert expected({"If-Match": each["etag, signed"]}, signed) == token
            if (version := token[shop.orders[1].id]) > 0:
                fold = shop.basket.without_saving()
                assert store.run(shop.orders[1].at(fold, token)).version == version


KILLED: str = """
import os, signal, sys
from eventsrc import SqliteStore
from eventsrc.sqlite import _file

class Dying:
    def __init__(self, connection):
        self.connection, self.left = connection, int(sys.argv[2])
    def execute(self, statement, *parameters):
        if not statement.lstrip().startswith("SELECT"):
            if not self.left:
                os.kill(os.getpid(), signal.SIGKILL)
            self.left -= 1
        return self.connection.execute(statement, *parameters)

apply_missing = _file.apply_missing
_file.apply_missing = lambda connection, *about: apply_missing(Dying(connection), *about)
SqliteStore(sys.argv[1]).close()
"""


def test_a_file_whose_migration_is_killed_anywhere_is_as_it_was(tmp_path: Path) -> None:
    path, _ = unpacked("sqlite_separate", tmp_path)
    ends: list[int] = []
    while not ends or ends[-1]:
        command = [sys.executable, "-c", KILLED, str(path), str(len(ends))]
        ends.append(subprocess.run(command, env=_environment(), timeout=60).returncode)
        with closing(sqlite3.connect(path)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            assert version == (1 if ends[-1] else len(SCRIPTS))
    assert ends[:-1] == [-signal.SIGKILL] * (len(ends) - 1)
    assert len(ends) > 5, "or it was not killed at each statement"
    with SqliteStore(path, Codec(shop.TYPES)) as store:
        assert as_json(reading.store_as_json(store)) == EXPECTED["sqlite_separate"]["store"]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def test_two_processes_bring_a_file_forward_at_once(tmp_path: Path) -> None:
    path, _ = unpacked("sqlite_separate", tmp_path)
    program = f"from eventsrc import SqliteStore; SqliteStore({str(path)!r}, timeout=30).close()"
    several = [subprocess.Popen([sys.executable, "-c", program], env=_environment()) for _ in range(4)]
    assert [each.wait(60) for each in several] == [0] * 4
    with SqliteStore(path, Codec(shop.TYPES)) as store:
        assert as_json(reading.store_as_json(store)) == EXPECTED["sqlite_separate"]["store"]


def test_a_file_of_a_later_version_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path, _ = unpacked("sqlite_separate", tmp_path)
    later = len(SCRIPTS) + 1
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {later}")
    before = path.read_bytes()
    with pytest.raises(NotAStore, match=f"version {later}"):
        SqliteStore(path)
    assert path.read_bytes() == before
