"""A file that somebody else made, or changed, is refused at once; ours are for their owner alone."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from eventsrc import SqliteStore, SqliteViews, Stream, View, event
from eventsrc.events.codec import Codec
from eventsrc.events.event import EventTypes
from eventsrc.sqlite import _schema
from eventsrc.stores.operations import NotAStore

TYPES = EventTypes()


@event("test.hostile.happened", types=TYPES)
class Happened:
    text: str


CODEC = Codec(TYPES)
log = Stream("log", events=Happened)

ENDLESS = """
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
    SELECT i AS position, 1 AS stream, i AS version, 1 AS kind, 0 AS recorded_at, x'' AS data,
        0 AS data_crc, x'' AS rest FROM n
"""

TRAPS = {
    "a view that never ends, for a table": f"""
        ALTER TABLE eventsrc_event RENAME TO hidden;
        DROP VIEW eventsrc_events;
        CREATE VIEW eventsrc_event AS {ENDLESS}
    """,
    "a view that is made large as it is read": """
        DROP TABLE eventsrc_store;
        CREATE VIEW eventsrc_store AS SELECT hex(zeroblob(300000000)) AS id, x'00' AS key
    """,
    "a trigger that has appends acknowledged and not stored": """
        CREATE TRIGGER t BEFORE INSERT ON eventsrc_event BEGIN SELECT RAISE(IGNORE); END
    """,
    "a trigger in the place of ours": """
        DROP TRIGGER eventsrc_emptied;
        CREATE TRIGGER eventsrc_emptied BEFORE INSERT ON eventsrc_event BEGIN SELECT RAISE(IGNORE); END
    """,
    "another view of events": f"""
        DROP VIEW eventsrc_events;
        CREATE VIEW eventsrc_events AS {ENDLESS}
    """,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "store.db"
    with SqliteStore(path, CODEC) as store:
        store.run(log.append(Happened("one")))
    return path


def changed(path: Path, script: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(script)


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.timeout(20)
def test_a_trap_is_refused_before_it_is_read(path: Path, trap: str, read_only: bool) -> None:
    changed(path, TRAPS[trap])
    with pytest.raises(NotAStore, match="this library has not made"):
        SqliteStore(path, CODEC, read_only=read_only, timeout=1.0)


def test_control_a_store_that_looks_at_nothing_acknowledges_what_is_not_stored(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_schema, "check_objects", lambda *_: None)
    changed(path, TRAPS["a trigger that has appends acknowledged and not stored"])
    with SqliteStore(path, CODEC) as store:
        store.run(log.append(Happened("two")))
    with SqliteStore(path, CODEC) as store:
        assert len(store.run(log.history())) == 1


def test_tables_indexes_views_and_triggers_of_the_user_are_left_alone(path: Path) -> None:
    changed(
        path,
        """
        CREATE TABLE mine (a, b);
        CREATE INDEX mine_a ON mine (a);
        CREATE INDEX by_time ON eventsrc_event (recorded_at);
        CREATE VIEW eventful AS SELECT * FROM eventsrc_events;
        CREATE TRIGGER mine_too AFTER INSERT ON mine BEGIN SELECT 1; END
        """,
    )
    with SqliteStore(path, CODEC) as store:
        store.run(log.append(Happened("two")))
        assert len(store.run(log.history())) == 2


def test_a_ledger_of_views_is_held_to_what_the_library_makes_too(tmp_path: Path) -> None:
    path = tmp_path / "views.db"
    view: View[object] = View("v", types=TYPES)
    with SqliteViews(path, [view]):
        pass
    found = 0
    for file in tmp_path.glob("*.db"):
        with contextlib.closing(sqlite3.connect(file)) as db:
            names = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (name,) in names:
                if name.startswith("eventsrc_") and name != "eventsrc_schema":
                    db.execute(f"CREATE TRIGGER t_{name} BEFORE INSERT ON {name} BEGIN SELECT 1; END")
                    found += 1
            db.commit()
    assert found
    with pytest.raises(NotAStore, match="this library has not made"), SqliteViews(path, [view]):
        pass


@pytest.mark.skipif(not hasattr(os, "fchmod"), reason="the system has no rights of this kind")
def test_files_are_made_for_their_owner_alone_or_as_the_file_that_is_there(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        for name, rights in (("own.db", 0o600), ("shared.db", 0o660)):
            path = tmp_path / name
            if rights != 0o600:
                path.touch()
                path.chmod(rights)
            with SqliteStore(path, CODEC) as store:
                store.run(log.append(Happened("one")))
                made = [file for file in tmp_path.iterdir() if file.name.startswith(name)]
                assert {stat.S_IMODE(file.stat().st_mode) for file in made} == {rights}, made
                assert len(made) >= 3
    finally:
        os.umask(before)


def test_a_link_in_the_place_of_the_file_of_turns_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "store.db-turn").symlink_to(tmp_path / "elsewhere")
    with SqliteStore(tmp_path / "store.db", CODEC) as store:
        store.run(log.append(Happened("one")))
    assert not (tmp_path / "elsewhere").exists()
