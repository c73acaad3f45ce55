"""Ids of appends cost no search of the feed, whoever made them."""

from __future__ import annotations

import contextlib
import sqlite3
from functools import partial
from pathlib import Path
from uuid import UUID, uuid1, uuid4, uuid5

import pytest

from eventsrc import Append, SqliteStore, StreamId
from eventsrc.sqlite import _sql
from eventsrc.stores._ids import OwnIds, new_append_id
from eventsrc.stores.operations import FindAppend
from tests.formats.test_stores import unpacked
from tests.kits.events import CODEC, Tick
from tests.sqlite.work import Work, work

__all__ = ["work"]

LOG, MINE = StreamId("log"), StreamId("mine")
MANY = 20_000

FORGED = {
    "nil": UUID(int=0),
    "version 1": uuid1(),
    "version 4": uuid4(),
    "version 5": uuid5(UUID(int=0), "a"),
    "version 8, that names the first position to who has no key": UUID(
        "00000000-0000-8000-8000-000000000001"
    ),
    "version 8, at random": new_append_id(),
    "all ones": UUID(int=2**128 - 1),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with many events."""
    with SqliteStore(tmp_path / "store.db", codec=CODEC, durability="process") as store:
        for _ in range(MANY // 1000):
            store.run(Append(LOG, tuple(Tick(0, 0, 1) for _ in range(1000)))).unwrap()
        store.run(Append(MINE, (Tick(0, 0, 1),))).unwrap()
    return tmp_path / "store.db"


MOST = 1_000
"""Steps of SQLite's machine: an append takes a few hundred."""


@pytest.mark.parametrize("chosen", FORGED.values(), ids=FORGED)
def test_an_id_that_a_client_chose_costs_no_search(path: Path, work: Work, chosen: UUID) -> None:
    with SqliteStore(path, codec=CODEC) as store:
        store.run(Append(MINE, (Tick(1, 0, 1),), append_id=uuid4())).unwrap()
        assert work.of(lambda: store.run(FindAppend(chosen))) < MOST
        asked = Append(MINE, (Tick(2, 0, 1),), append_id=chosen)
        assert work.of(lambda: store.run(asked).unwrap()) < MOST
        assert work.of(lambda: store.run(asked).unwrap()) < MOST  # as it is retried
        assert work.of(lambda: store.run(FindAppend(chosen))) < MOST


def test_an_id_that_the_store_made_costs_no_search(path: Path, work: Work) -> None:
    with SqliteStore(path, codec=CODEC) as store:
        alone = store.run(Append(MINE, (Tick(1, 0, 1),))).unwrap()
        two = (Tick(2, 0, 1), Tick(3, 0, 1))
        several = store.run(Append(MINE, two)).unwrap()
        for _ in range(3):
            store.run(Append(LOG, tuple(Tick(0, 0, 1) for _ in range(1000)))).unwrap()
        never = store._ids.naming(new_append_id(), 7)  # of an append that was not stored
        for append_id, answer in (
            (alone.append_id, alone),
            (several.append_id, several),
            (never, None),
        ):
            ask = FindAppend(append_id)
            assert store.run(ask) == answer
            assert work.of(partial(store.run, ask)) < MOST
        retry = Append(MINE, two, append_id=several.append_id)
        assert work.of(lambda: store.run(retry).unwrap()) < MOST
        assert store.run(retry).unwrap() == several


def test_control_a_search_of_the_feed_is_counted(
    path: Path, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    searching = _sql.FIND_OWN.replace("position = ?", "position > 0 * ?")
    assert searching != _sql.FIND_OWN
    monkeypatch.setattr(_sql, "FIND_OWN", searching)
    with SqliteStore(path, codec=CODEC) as store:
        assert work.of(lambda: store.run(FindAppend(new_append_id()))) > MANY


def test_ids_of_appends_that_two_stores_make_by_turns_are_found_by_their_places(path: Path) -> None:
    with SqliteStore(path, codec=CODEC) as one, SqliteStore(path, codec=CODEC) as other:
        answers = [
            store.run(Append(MINE, (Tick(n, 0, 1),))).unwrap()
            for n in range(10)
            for store in (one, other, other)
        ]
        for store in (one, other):
            assert [store.run(FindAppend(answer.append_id)) for answer in answers] == answers
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM eventsrc_append").fetchone() == (0,)


def test_ids_do_not_tell_how_much_others_store(path: Path) -> None:
    with SqliteStore(path, codec=CODEC) as store:
        answer = store.run(Append(MINE, (Tick(1, 0, 1),))).unwrap()
        place = answer.cursor.position
        assert store._ids.position(answer.append_id) == place
        another = OwnIds(b"of another store")
        assert another.position(answer.append_id) != place != answer.append_id.int >> 80


@pytest.mark.parametrize("name", ["sqlite_separate", "sqlite_together"])
def test_ids_that_were_made_before_there_was_a_key_are_found(name: str, tmp_path: Path) -> None:
    path, _ = unpacked(name, tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT substr(rest, 1, 20), position FROM eventsrc_event").fetchall()
        keyed = {id for (id,) in connection.execute("SELECT id FROM eventsrc_append")}
    firsts = {UUID(bytes=rest[:16]): place for rest, place in rows if rest[16:] == bytes(4)}
    chosen_by_the_store = [id for id in firsts if id.bytes not in keyed]
    assert len(chosen_by_the_store) > 3
    assert {id.version for id in chosen_by_the_store} == {8}
    with SqliteStore(path) as store:
        for id in firsts:
            found = store.run(FindAppend(id))
            assert found is not None
            assert found.append_id == id
            assert found.cursor.position >= firsts[id]
