"""A file that is moved, deleted or replaced while a store has it open.

SQLite goes on with the file that it opened, wherever that is now, so that what is acknowledged then is
not in the file that the path names. Passed if every operation is refused from then on, and a store that
is opened anew goes on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventsrc import Append, Head, Read, SqliteStore, StreamId, Success
from eventsrc.sqlite._file import SqliteFile
from eventsrc.stores.operations import ReadFeed, SaveSnapshot, Snapshot, StoreClosed, StoreOp
from tests.kits.events import CODEC, Tick

HERE = StreamId("here")
OPERATIONS: list[StoreOp] = [
    Append(HERE, (Tick(0, 1, 1),)),
    Append(HERE, (Tick(0, 1, 1), Tick(0, 2, 1)), 1),
    SaveSnapshot(Snapshot(HERE, "fold", 1, 1, b"")),
    Read(HERE),
    ReadFeed(),
    Head(HERE),
]


def move(path: Path) -> None:
    rename(path, path.with_name("moved.db"))


def rename(path: Path, other: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").rename(f"{other}{suffix}")


def delete(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink()


def replace(path: Path) -> None:
    """Puts a backup in its place."""
    delete(path)
    shutil.copy(f"{path}.backup", path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with SqliteStore(tmp_path / "store.db", CODEC) as store:
        store.run(Append(HERE, (Tick(0, 0, 1),)))
    shutil.copy(tmp_path / "store.db", tmp_path / "store.db.backup")
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(path, CODEC) as store:
        store.run(Append(HERE, (Tick(0, 1, 1),)))
        yield store


@pytest.mark.parametrize("happens", [move, delete, replace], ids=lambda happens: happens.__name__)
@pytest.mark.parametrize("op", OPERATIONS, ids=lambda op: type(op).__name__)
def test_all_is_refused_from_then_on(
    store: SqliteStore, path: Path, happens: Callable[[Path], None], op: StoreOp
) -> None:
    happens(path)
    with pytest.raises(StoreClosed, match="moved, deleted or replaced.*Open it again"):
        store.run(op)
    with SqliteStore(path, CODEC) as again:
        assert isinstance(again.run(Append(HERE, (Tick(0, 9, 1),))), Success)


def test_a_file_that_is_moved_back_goes_on(store: SqliteStore, path: Path) -> None:
    move(path)
    rename(path.with_name("moved.db"), path)
    assert isinstance(store.run(Append(HERE, (Tick(0, 2, 1),), 2)), Success)


def test_control_not_looking_loses_what_is_acknowledged(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SqliteFile, "is_in_place", lambda _: True)
    replace(path)
    assert isinstance(store.run(Append(HERE, (Tick(0, 2, 1),))), Success)
    with SqliteStore(path, CODEC) as again:
        assert again.run(Head(HERE)) == 1


def test_the_working_directory_may_change(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    with SqliteStore(path.name, CODEC) as store:
        monkeypatch.chdir("/")
        assert isinstance(store.run(Append(HERE, (Tick(0, 1, 1),), 1)), Success)
        assert store.run(Head(HERE)) == 2
    assert not Path("/", path.name).exists()
