"""Each door to SQLite files while they are away, locked or damaged: see tests/contracts."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlite_utils import Database

from eventsrc import Append, ReadFeed, SqliteStore, SqliteViews, View, synchronise
from eventsrc.errors import StoreError
from eventsrc.sqlite import views as module
from eventsrc.views.operations import GetProgress
from tests.contracts.doors import HERE, Door, doors, knock, of_store, of_views
from tests.kits.library import CODEC, Noted, notes_view, rows_of

TIMEOUT = 0.02


@contextlib.contextmanager
def opened(folder: Path, amid: Callable[[], object] = lambda: None) -> Iterator[dict[str, Door]]:
    """All doors to the files in a folder.

    amid: is called where a door stands open, in the middle of a user's reading or writing.
    """
    view, second, third = notes_view(), notes_view(version=2), View[Database]("third")
    path = folder / "store.db"
    with (
        SqliteStore(path, CODEC, timeout=TIMEOUT) as store,
        SqliteViews(folder / "views.db", [view, second, third], timeout=TIMEOUT) as views,
    ):
        store.run(Append(HERE, (Noted(0),)))
        (store | views).run(synchronise(view))
        events = store.run(ReadFeed()).events

        def read(*also: View[Database]) -> object:
            with views.reading(view, *also) as db:
                amid()
                return rows_of(db)

        def write() -> None:
            with views.writing(view) as ledger:
                amid()
                ledger.parked()

        found = [
            *doors(store, of_store()),
            *doors(views, of_views(view, second, events)),
            ("reading", read),
            ("reading two", lambda: read(third)),
            ("writing", write),
            ("open a store", lambda: SqliteStore(path, CODEC, timeout=TIMEOUT).close()),
            ("open views", lambda: SqliteViews(folder / "views.db", [view], timeout=TIMEOUT).close()),
        ]
        yield {f"{number} {name}": door for number, (name, door) in enumerate(found)}


def files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.endswith(("-wal", "-shm", "-turn"))]


def no_folder(folder: Path) -> None:
    shutil.move(folder, folder.with_name("elsewhere"))


def a_file_in_its_place(folder: Path) -> None:
    no_folder(folder)
    folder.write_text("no folder")


def no_files(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def other_files(folder: Path) -> None:
    for path in files(folder):
        path.unlink()
        path.write_bytes(b"no database at all" * 1000)


def damaged_files(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("r+b") as file:
            file.write(os.urandom(path.stat().st_size))


def no_tables(folder: Path) -> None:
    for path in files(folder):
        with contextlib.closing(sqlite3.connect(path)) as db:
            found = db.execute(
                "SELECT type, name FROM sqlite_schema WHERE name GLOB '[a-z]*'"
            ).fetchall()
            for kind, name in found:
                if kind in ("table", "view") and not name.startswith("sqlite_"):
                    db.execute(f"DROP {kind} {name}")
            db.commit()


BREAKS = [no_folder, a_file_in_its_place, no_files, other_files, damaged_files, no_tables]


@pytest.mark.parametrize("breaks", BREAKS, ids=lambda breaks: breaks.__name__)
def test_each_door_has_a_typed_error_if_its_file_is_no_more(
    tmp_path: Path, breaks: Callable[[Path], None]
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    with opened(folder) as found:
        breaks(folder)
        for door in found.values():
            knock(door)


def test_each_door_has_a_typed_error_while_its_file_is_locked(tmp_path: Path) -> None:
    with opened(tmp_path) as found, contextlib.ExitStack() as stack:
        for path in files(tmp_path):
            db = stack.enter_context(contextlib.closing(sqlite3.connect(path, isolation_level=None)))
            db.execute("BEGIN IMMEDIATE")
        outcomes = {name.partition(" ")[2]: knock(door) for name, door in found.items()}
    assert outcomes["Append"] == outcomes["Apply"] == outcomes["writing"] == "StoreBusy"
    assert outcomes["Read"] == outcomes["reading"] == "answered"


def test_a_file_that_comes_back_is_used_again(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    with SqliteStore(folder / "store.db", CODEC) as store:
        shutil.move(folder, tmp_path / "elsewhere")
        with pytest.raises(StoreError) as raised:
            store.run(ReadFeed())
        assert raised.value.may_pass
        shutil.move(tmp_path / "elsewhere", folder)
        assert store.run(ReadFeed()).events == ()


def test_mistakes_in_sql_are_their_makers(tmp_path: Path) -> None:
    view = notes_view()
    with (
        SqliteViews(tmp_path / "views.db", [view]) as views,
        pytest.raises(sqlite3.OperationalError, match="no such table"),
        views.reading(view) as db,
    ):
        db.execute("SELECT * FROM nowhere")


def test_control_errors_of_the_driver_that_are_let_out_are_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "typed", lambda _: contextlib.nullcontext())
    with SqliteViews(tmp_path / "views.db", [notes_view()]) as views:
        no_tables(tmp_path)
        with pytest.raises(sqlite3.OperationalError):
            knock(lambda: views.run(GetProgress(notes_view())))
