"""Files that many open for the first time at once: those of a store and of its views.

Passed if nobody is told anything but what it asked for.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from eventsrc import Append, SqliteStore, SqliteViews, StreamId, Success, View, synchronise
from eventsrc.following.parking import retry
from eventsrc.stores.operations import StoreError
from eventsrc.views.operations import GetParked
from tests.faults import scaled
from tests.kits.events import CODEC, Tick

AT_ONCE = 6
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")

VIEW: View[Any] = View("first", types=CODEC.types)


@VIEW.schema
def _(db: Any) -> None:
    db.execute("CREATE TABLE ticks (number INTEGER)")


@VIEW.on(Tick)
def _(db: Any, recorded: Any) -> None:
    db.execute("INSERT INTO ticks VALUES (?)", (recorded.data.number,))


def use(number: int, store: SqliteStore, views: SqliteViews) -> None:
    """Does all that a follower, an operator, a reader and a writer do, each beginning elsewhere."""
    app = store | views

    def query() -> None:
        with views.reading(VIEW) as db:
            db.execute("SELECT count(*) FROM ticks").fetchall()

    def append() -> None:
        asked = Append(StreamId(f"ticks-{number}"), (Tick(0, number, 1),))
        assert isinstance(store.run(asked), Success)

    uses: list[Callable[[], object]] = [
        lambda: app.run(synchronise(VIEW)),
        lambda: app.run(retry(VIEW)),
        lambda: app.run(GetParked(VIEW)),
        query,
        append,
    ]
    for turn in range(len(uses)):
        uses[(number + turn) % len(uses)]()


def use_own(number: int, folder: Path) -> None:
    """Opens the store and the views, in one file or in two, and uses them."""
    with (
        SqliteStore(folder / "store.db", CODEC, timeout=60) as store,
        SqliteViews(folder / ("store.db", "views.db")[number % 2], timeout=60) as views,
    ):
        use(number, store, views)


def in_threads(work: Callable[[int], object]) -> list[str]:
    """What some work raised in threads that begin it at once."""
    begin, raised = threading.Barrier(AT_ONCE), list[str]()

    def run(number: int) -> None:
        begin.wait()
        try:
            work(number)
        except BaseException as error:
            raised.append(repr(error))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def in_processes(work: Callable[[int], object]) -> list[str]:
    """What some work raised in processes that begin it at once."""
    (waiting, begin), (reading, telling) = os.pipe(), os.pipe()
    pids = []
    for number in range(AT_ONCE):
        pid = os.fork()
        if pid == 0:
            try:
                os.close(begin)
                os.read(waiting, 1)
                work(number)
            except BaseException as error:
                os.write(telling, f"{error!r}\n".encode())
            finally:
                os._exit(0)
        pids.append(pid)
    for end in (begin, waiting, telling):
        os.close(end)
    with os.fdopen(reading) as told:
        raised = told.read().splitlines()
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * AT_ONCE
    return raised


def test_threads_with_stores_and_views_of_their_own_open_new_files_at_once(tmp_path: Path) -> None:
    for number in range(scaled(12, 1000)):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert in_threads(partial(use_own, folder=folder)) == []


def test_threads_that_share_a_store_and_its_views_use_them_first_at_once(tmp_path: Path) -> None:
    for number in range(scaled(12, 1000)):
        path = tmp_path / f"{number}.db"
        with SqliteStore(path, CODEC) as store, SqliteViews(path) as views:
            assert in_threads(partial(use, store=store, views=views)) == []


@needs_fork
def test_processes_open_new_files_at_once(tmp_path: Path) -> None:
    for number in range(scaled(12, 1000)):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert in_processes(partial(use_own, folder=folder)) == []


def made_just_after_it_was_looked_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> SqliteViews:
    """Views of which another makes a file as these have found that it is not there."""
    mine = SqliteViews(path)
    opened = mine._opened

    def overtaken(name: str, version: int, *, create: bool = True) -> Any:
        try:
            return opened(name, version, create=create)
        except StoreError:
            SqliteViews(path, [VIEW]).close()
            raise

    monkeypatch.setattr(mine, "_opened", overtaken)
    return mine


def test_a_view_that_is_made_just_after_it_was_looked_for_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with made_just_after_it_was_looked_for(tmp_path / "views.db", monkeypatch) as views:
        assert views.run(GetParked(VIEW)) == ()


def test_control_to_look_once_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def once(views: SqliteViews, name: str, version: int) -> Any:
        try:
            return views._opened(name, version, create=False)
        except StoreError:
            if views._path(name, version).exists():
                raise
            return None

    monkeypatch.setattr(SqliteViews, "_found", once)
    with (
        made_just_after_it_was_looked_for(tmp_path / "views.db", monkeypatch) as views,
        pytest.raises(StoreError, match="cannot be opened"),
    ):
        views.run(GetParked(VIEW))


def test_a_view_whose_file_cannot_be_opened_says_so(tmp_path: Path) -> None:
    with SqliteViews(tmp_path / "views.db") as views:
        views.path(VIEW).write_bytes(b"no database at all" * 100)
        with pytest.raises(StoreError, match="is no SQLite file"):
            views.run(GetParked(VIEW))
