"""Files of this version, older and newer ones, and those of others.

Passed if no migration, whenever it is killed, changes an event (the hash of all events is the same
before and after), if it can be done again, if processes may do it at once, and if a newer file, or one
of another application, is refused before anything is written.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from eventsrc import Append, Read, SqliteStore, StreamId, Success
from eventsrc._errors import EventsrcError
from eventsrc.events.event import Opaque
from eventsrc.events.stream_id import stored_id
from eventsrc.sqlite import _sql
from eventsrc.sqlite._file import SqliteFile
from eventsrc.sqlite._schema import Schema
from eventsrc.sqlite._sql import SCHEMA, STAMP
from eventsrc.stores.operations import FindAppend, LoadSnapshot, NotAStore, Snapshot, StoreBusy
from tests.faults import scaled
from tests.kits.events import CODEC, Tick
from tests.kits.feed import assert_sound, whole_feed
from tests.processes.forked import Forked
from tests.processes.migrant import SECOND_SCHEMA, kill_at_each_step, open_on_command

NEWER = len(SCHEMA.scripts) + 1
"""The version that comes after this one."""

RELEASED = {1: "c0143df7b7be78f6fbb9043a1d14f3b36db9dafc2bf74434a979f54d175664ff"}
"""For each version of the schema, the hash of the events in its store_N.sql."""


@pytest.fixture(params=RELEASED)
def version(request: pytest.FixtureRequest) -> int:
    """A version of the schema that has been released."""
    return int(request.param)


def made_by(version: int, path: Path) -> Path:
    """A file as that version wrote it."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript((Path(__file__).parent / f"store_{version}.sql").read_text("utf-8"))
        connection.execute("PRAGMA journal_mode = WAL")
    return path


def events_hash(path: Path) -> str:
    """The hash of all events, read with SQL alone."""
    found = hashlib.sha256()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for row in connection.execute(
            "SELECT name, type, schema, codec, eventsrc_event.* FROM eventsrc_event"
            " JOIN eventsrc_stream ON eventsrc_stream.id = stream"
            " JOIN eventsrc_kind ON eventsrc_kind.id = kind WHERE position <= 7 ORDER BY position"
        ):
            found.update(repr(row[:12]).encode())
    return found.hexdigest()


# --- older files


def test_a_file_of_a_released_version_opens_with_every_event_as_it_was(
    version: int, tmp_path: Path
) -> None:
    path = made_by(version, tmp_path / "store.db")
    assert events_hash(path) == RELEASED[version]
    users, odd = StreamId("users"), stored_id("o'dd;--\nΩ")
    for _ in range(2):
        with SqliteStore(path, CODEC) as store:
            assert store.store_id == "0123456789abcdef"
            events = [*whole_feed(store)]
            assert [(recorded.stream, recorded.version) for recorded in events] == [
                (users, 1),
                (users, 2),
                ("users/4/profile", 1),
                (users, 3),
                (odd, 1),
                ("opaque", 1),
                ("opaque", 2),
            ]
            ticks = [Tick(1, 0, 2), Tick(1, 1, 2), Tick(2, 0, 1), Tick(3, 0, 2), Tick(3, 1, 2)]
            assert [recorded.data for recorded in events[:5]] == ticks
            assert events[5].opaque() == Opaque("gone.type", 7, "bytes", bytes(range(256)))
            assert events[2].metadata == {"by": "Homer", "note": "quote ' and ; \n and é"}
            assert [recorded.recorded_at.timestamp() - 1.7e9 for recorded in events] == [
                0,
                0,
                1,
                2,
                2,
                3,
                3,
            ]
            for stream in (users, odd):
                assert [*store.run(Read(stream)).events] == [e for e in events if e.stream == stream]
            for recorded in events:
                assert store.run(FindAppend(recorded.append_id)) is not None
            kept = Snapshot(users, "total", 1, 3, b"\x00snap\xff")
            assert store.run(LoadSnapshot(users, "total", 1)) == kept
    assert events_hash(path) == RELEASED[version]
    with SqliteStore(path, CODEC) as store:
        assert isinstance(store.run(Append(users, (Tick(4, 0, 1),), 3)), Success)


def test_the_scripts_of_a_released_version_never_change(version: int, tmp_path: Path) -> None:
    def tables(path: Path) -> list[tuple[str, str, str]]:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            return connection.execute(
                "SELECT type, name, sql FROM sqlite_master WHERE sql NOT NULL ORDER BY name"
            ).fetchall()

    made = made_by(version, tmp_path / "then.db")
    schema = Schema("store", SCHEMA.scripts[:version], STAMP)
    SqliteFile(tmp_path / "now.db", schema).close()
    assert tables(tmp_path / "now.db") == tables(made)


# --- killed at it


def wrong_after_kills(folder: Path, original: Path | None, schema: str, migration: str) -> list[str]:
    """Kills a process at each statement with which it opens a file; answers what is wrong then."""
    asked = [str(folder), "" if original is None else str(original), schema, migration]
    with Forked(kill_at_each_step, *asked) as process:
        kills = int(process.stdout.readall())
        assert process.wait(100) == 0
    assert kills > 10
    wrong: list[str] = []
    for step in range(1, kills + 2):
        path = folder / f"{step}.db"
        try:
            for _ in range(2):
                with SqliteStore(path, CODEC) as store:
                    events = [*whole_feed(store)]
                    assert isinstance(store.run(Append(StreamId("new"), (Tick(0, 0, 1),))), Success)
            assert_sound(path)
        except (EventsrcError, AssertionError) as error:
            wrong.append(f"killed at statement {step}: {error}")
            continue
        before = 0 if original is None else 7
        if len(events) != before + 1 or (before and events_hash(path) != RELEASED[1]):
            wrong.append(f"killed at statement {step}: {len(events)} events")
    return wrong


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


@needs_fork
def test_a_store_that_was_killed_at_any_statement_of_its_making_can_be_opened(tmp_path: Path) -> None:
    assert wrong_after_kills(tmp_path, None, "first", "ours") == []


@needs_fork
def test_a_migration_that_was_killed_at_any_statement_is_done_later_and_changes_no_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = made_by(1, tmp_path / "original.db")
    monkeypatch.setattr(_sql, "SCHEMA", SECOND_SCHEMA)
    assert wrong_after_kills(tmp_path, original, "second", "ours") == []
    with contextlib.closing(sqlite3.connect(tmp_path / "1.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (NEWER,)
        assert connection.execute("SELECT count(*) FROM eventsrc_tag").fetchone() == (7,)


@needs_fork
@pytest.mark.parametrize("schema", ["first", "second"])
def test_control_a_migration_of_many_transactions_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schema: str
) -> None:
    original = made_by(1, tmp_path / "original.db") if schema == "second" else None
    if schema == "second":
        monkeypatch.setattr(_sql, "SCHEMA", SECOND_SCHEMA)
    wrong = wrong_after_kills(tmp_path, original, schema, "step by step")
    assert any("already exists" in one for one in wrong), wrong


# --- several at once


def opened_at_once(folder: Path, rounds: int, original: Path | None, migration: str) -> list[set[str]]:
    """Four processes open the same files at the same time; answers what they say of each."""
    told: list[set[str]] = []
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(Forked(open_on_command, migration)) for _ in range(4)]
        assert [process.stdout.readline() for process in running] == [b"ready\n"] * 4
        for number in range(rounds):
            for process in running:
                process.stdin.write(f"{folder / f'{number}.db'}\n".encode())
            told.append({process.stdout.readline().decode().strip() for process in running})
    return told


def test_several_processes_may_make_a_store_at_the_same_time(tmp_path: Path) -> None:
    told = opened_at_once(tmp_path, scaled(30), None, "ours")
    assert [len(names) for names in told] == [1] * len(told), told
    assert not any("wrong" in name for names in told for name in names)


def test_a_store_that_another_makes_in_the_middle_of_a_look_is_no_other_application(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.db"
    connect = SqliteFile._connect

    def make_it(sql: str) -> None:
        if sql == "PRAGMA user_version":
            monkeypatch.setattr(SqliteFile, "_connect", connect)
            with contextlib.suppress(StoreBusy):
                SqliteStore(path, CODEC, timeout=0.1).close()

    def connected(file: SqliteFile, timeout: float) -> sqlite3.Connection:
        connection = connect(file, timeout)
        connection.set_trace_callback(make_it)
        return connection

    monkeypatch.setattr(SqliteFile, "_connect", connected)
    with SqliteStore(path, CODEC) as store:
        assert isinstance(store.run(Append(StreamId("new"), (Tick(0, 0, 1),))), Success)


def test_control_making_it_without_a_second_look_is_caught(tmp_path: Path) -> None:
    told = opened_at_once(tmp_path, 30, None, "unasked")
    assert any("already exists" in name for names in told for name in names)


# --- files that are not ours, or not yet


def newer(path: Path) -> None:
    """A file of a newer library."""
    SqliteStore(path).close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {NEWER}")


def newer_by_its_table(path: Path) -> None:
    """A file of a newer library, from which the user_version was lost."""
    SqliteStore(path).close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE eventsrc_schema SET applied = ?", (NEWER,))


def newer_without_log(path: Path) -> None:
    """A file of a newer library that keeps another journal."""
    newer(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")


def of_another_application(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 77")


def with_a_version_and_no_name(path: Path) -> None:
    """A file of an application that counts its versions, and does not say who it is."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
        connection.execute("PRAGMA user_version = 1")


def no_database(path: Path) -> None:
    path.write_text("dear diary, " * 100)


NOT_OURS: dict[Callable[[Path], None], str] = {
    newer: f"version {NEWER} of the store.*update eventsrc",
    newer_by_its_table: f"version {NEWER} of the store.*update eventsrc",
    newer_without_log: f"version {NEWER} of the store.*update eventsrc",
    of_another_application: "belongs to another application.*file of its own",
    with_a_version_and_no_name: "belongs to another application.*file of its own",
    no_database: "is no SQLite file",
}


def assert_refused_untouched(path: Path, match: str) -> None:
    """It is not opened, and is byte for byte what it was."""
    before = path.read_bytes()
    with pytest.raises(NotAStore, match=match):
        SqliteStore(path)
    assert path.read_bytes() == before
    left = {file.name for file in path.parent.iterdir()}
    assert left <= {path.name, f"{path.name}-turn"}, left


@pytest.mark.parametrize("make", NOT_OURS)
def test_a_file_that_is_not_ours_is_refused_untouched(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "store.db")
    assert_refused_untouched(tmp_path / "store.db", NOT_OURS[make])


def test_control_looking_after_the_first_write_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = SqliteFile._checked

    def write_and_check(file: SqliteFile, schema: Schema) -> int:
        with file.reading() as connection:
            connection.execute("PRAGMA query_only = OFF")
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        return checked(file, schema)

    newer_without_log(tmp_path / "store.db")
    monkeypatch.setattr(SqliteFile, "_checked", write_and_check)
    with pytest.raises(AssertionError):
        assert_refused_untouched(tmp_path / "store.db", "update eventsrc")
