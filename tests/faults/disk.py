"""A disk that can lose power or fail, under the store's own statements.

SQLite runs on a VFS written in Python (apsw) that notes every write and which of them were synced.
After a power cut the disk holds what was synced, and of the rest a random part, each write perhaps torn
at a sector of 512 bytes. The store is the real one; only its connection is an adapter around apsw's,
and its lock is exclusive, because such a VFS has no shared memory. (After SQLite's own tests:
sqlite.org/testing.html.)
"""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw

from eventsrc import SqliteStore
from eventsrc.sqlite._file import SqliteFile

SECTOR = 512


class PowerCut(Exception):
    """The power is gone; nothing on the disk changes any more."""


class Disk:
    """What is on the platter, and what is only in the caches above it."""

    def __init__(self) -> None:
        self.durable: dict[str, bytes] = {}
        self.pending: dict[str, list[tuple[int, bytes | None]]] = {}
        self.operations = 0
        self.writes: Counter[str] = Counter()
        self.fails_at: int | None = None
        self.fails_for_ever = False
        self.cut_at: int | None = None

    @property
    def is_cut(self) -> bool:
        return self.cut_at is not None and self.operations >= self.cut_at

    def tick(self) -> None:
        """Counts an operation; raises where the disk is to fail or the power to go."""
        self.operations += 1
        if self.is_cut:
            raise PowerCut
        if self.fails_at is not None and (
            self.operations == self.fails_at
            or (self.fails_for_ever and self.operations > self.fails_at)
        ):
            raise apsw.IOError("the disk failed")

    def write(self, name: str, offset: int, data: bytes) -> None:
        self.writes[name] += 1
        self.pending.setdefault(name, []).append((offset, data))

    def truncate(self, name: str, size: int) -> None:
        self.pending.setdefault(name, []).append((size, None))

    def sync(self, name: str) -> None:
        self.durable[name] = _applied(self.durable.get(name, b""), self.pending.pop(name, []))

    def remove(self, name: str) -> None:
        self.durable.pop(name, None)
        self.pending.pop(name, None)

    def after_power_cut(self, chance: random.Random) -> dict[str, bytes]:
        """The files as they may be found."""
        files = dict(self.durable)
        for name, writes in self.pending.items():
            kept: list[tuple[int, bytes | None]] = []
            for place, data in writes:
                fate = chance.random()
                if fate < 0.5:
                    kept.append((place, data))
                elif fate < 0.75 and data is not None and len(data) > SECTOR:
                    kept.append((place, data[: SECTOR * chance.randrange(1, len(data) // SECTOR + 1)]))
            files[name] = _applied(files.get(name, b""), kept)
        return files


def _applied(content: bytes, writes: Sequence[tuple[int, bytes | None]]) -> bytes:
    image = bytearray(content)
    for place, data in writes:
        if data is None:
            del image[place:]
        else:
            image.extend(bytes(max(place + len(data) - len(image), 0)))
            image[place : place + len(data)] = data
    return bytes(image)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, filename: Any, flags: list[int]) -> None:
        super().__init__("", filename, flags)
        self.disk = disk
        self.name = Path(filename if isinstance(filename, str) else filename.filename()).name

    def xWrite(self, data: bytes, offset: int) -> None:
        self.disk.tick()
        super().xWrite(data, offset)
        self.disk.write(self.name, offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:
        self.disk.tick()
        super().xTruncate(newsize)
        self.disk.truncate(self.name, newsize)

    def xSync(self, flags: int) -> None:
        self.disk.tick()
        self.disk.sync(self.name)


class _Vfs(apsw.VFS):
    def __init__(self, disk: Disk) -> None:
        self.vfs_name = f"faulty-{id(disk)}"
        self.disk = disk
        super().__init__(self.vfs_name, "")

    def xOpen(self, name: Any, flags: list[int]) -> _File:
        return _File(self.disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.disk.tick()
        super().xDelete(filename, syncdir)
        self.disk.remove(Path(filename).name)


class _Cursor:
    """As much of a sqlite3.Cursor as the store uses."""

    def __init__(self, rows: list[Any], lastrowid: int, rowcount: int) -> None:
        self._rows = iter(rows)
        self.lastrowid = lastrowid
        self.rowcount = rowcount

    def __iter__(self) -> Iterator[Any]:
        return self._rows

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def close(self) -> None:
        self._rows = iter(())


class _Connection:
    """As much of a sqlite3.Connection as the store uses, for reading and writing alike."""

    def __init__(self, path: Path, vfs: str, synchronous: str, pages: int | None) -> None:
        self._connection = apsw.Connection(str(path), vfs=vfs)
        self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._connection.execute(f"PRAGMA synchronous = {synchronous}")
        if pages is not None:
            self._connection.execute(f"PRAGMA wal_autocheckpoint = {pages}")

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, sql: str, parameters: Any = ()) -> _Cursor:
        if sql.startswith("PRAGMA query_only"):
            return _Cursor([], 0, 0)
        try:
            rows = self._connection.execute(sql, parameters).fetchall()
        except apsw.Error as error:
            raise _as_sqlite3(error) from error
        return _Cursor(rows, self._connection.last_insert_rowid(), self._connection.changes())

    def commit(self) -> None:
        if self.in_transaction:
            self.execute("COMMIT")

    def rollback(self) -> None:
        if self.in_transaction:
            self.execute("ROLLBACK")

    def executemany(self, sql: str, rows: Sequence[Any]) -> None:
        try:
            self._connection.executemany(sql, rows)
        except apsw.Error as error:
            raise _as_sqlite3(error) from error

    def close(self) -> None:
        self._connection.close(True)


def _as_sqlite3(error: apsw.Error) -> sqlite3.OperationalError:
    made = sqlite3.OperationalError(str(error))
    made.sqlite_errorcode = getattr(error, "extendedresult", 0)
    made.sqlite_errorname = type(error).__name__
    return made


class StoreOnDisk:
    """A SqliteStore whose file is on a Disk, and whose log is copied to it after so many pages."""

    def __init__(
        self, path: Path, disk: Disk, synchronous: str = "FULL", pages: int | None = None
    ) -> None:
        self._vfs = _Vfs(disk)
        self._connections: list[_Connection] = []
        one = self._connections

        def connect(file: SqliteFile, timeout: float) -> Any:
            if not one:
                one.append(_Connection(path, self._vfs.vfs_name, synchronous, pages))
            return one[0]

        from tests.kits.events import CODEC

        original = SqliteFile._connect
        SqliteFile._connect = connect  # type: ignore[method-assign,assignment]
        try:
            self.store = SqliteStore(path, CODEC, timeout=0.5)
        finally:
            SqliteFile._connect = original  # type: ignore[method-assign]

    def abandon(self) -> None:
        """Lets go of the file as a machine without power does."""
        for connection in self._connections:
            try:
                connection.close()
            except Exception:
                continue  # it cannot write what it would like to: the power is gone
        self.store._file._writers.clear()
        self.store._file._readers._idle.clear()
        self.store._file.close()
        self._vfs.unregister()
