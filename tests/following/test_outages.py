"""Real outages of SQLite files: see tests/contracts."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eventsrc import SqliteStore, SqliteViews, synchronise, world
from eventsrc.errors import StoreBusy
from eventsrc.following.follow import _Follower
from tests.contracts.outages import TIMEOUT, check_lives_through
from tests.kits.library import CODEC, Noted, books, notes_view, rows_of


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Somebody writes to the view's file, and does not end."""
    with contextlib.closing(sqlite3.connect(folder / "views.db-notes-1", isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")


@contextlib.contextmanager
def moved(folder: Path) -> Iterator[None]:
    """The disk with all files is away."""
    elsewhere = folder.with_name("elsewhere")
    shutil.move(folder, elsewhere)
    yield
    shutil.move(elsewhere, folder)


@contextlib.contextmanager
def dropped(folder: Path) -> Iterator[None]:
    """A table of the view's own is away."""
    path = folder / "views.db-notes-1"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as db:
        db.execute("ALTER TABLE eventsrc_part RENAME TO elsewhere")
    yield
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as db:
        db.execute("ALTER TABLE elsewhere RENAME TO eventsrc_part")


def check(folder: Path, outage: Any, caplog: pytest.LogCaptureFixture, **options: Any) -> None:
    folder.mkdir(exist_ok=True)
    view = notes_view()
    with (
        SqliteStore(folder / "store.db", CODEC, timeout=TIMEOUT) as store,
        SqliteViews(folder / "views.db", [view], timeout=TIMEOUT) as views,
    ):
        numbers = iter(range(9))

        def applied() -> int:
            with views.reading(view) as db:
                return len(",".join(rows_of(db).values()).split(",")) if rows_of(db) else 0

        def write() -> None:
            store.run(books[1].append(Noted(next(numbers))))

        app = store | views | world
        if outage is locked:  # a lock is met by who writes
            outage_now = writing_in(locked(folder), write_late=write)
            check_lives_through(app, view, write, applied, outage_now, caplog, extra=1, **options)
        else:
            check_lives_through(app, view, write, applied, outage(folder), caplog, **options)
        assert app.run(synchronise(view)).lag == 0


@contextlib.contextmanager
def writing_in(outage: Any, write_late: Callable[[], object]) -> Iterator[None]:
    with outage:
        write_late()
        yield


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("outage", [locked, moved, dropped])
@pytest.mark.parametrize("owner", [None, "me"])
def test_a_follower_lives_through_it(
    tmp_path: Path, outage: Any, is_async: bool, owner: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    if owner is not None and is_async:
        pytest.skip("sharing is the same in both")
    check(tmp_path / "files", outage, caplog, is_async=is_async, owner=owner)


def test_control_a_follower_that_outlives_busy_stores_alone_is_caught(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    survive = _Follower.survive

    def busy_alone(follower: Any, error: Any) -> Any:
        if not isinstance(error, StoreBusy):
            raise error
        yield from survive(follower, error)

    monkeypatch.setattr(_Follower, "survive", busy_alone)
    with pytest.raises(AssertionError):
        check(tmp_path / "files", moved, caplog, is_async=False)
