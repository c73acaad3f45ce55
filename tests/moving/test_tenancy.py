"""A program of one tenant cannot address another, whatever it asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from eventsrc import (
    Append,
    AppendAll,
    Interpreter,
    MemoryStore,
    Read,
    ReadFeed,
    SqliteStore,
    StoreOp,
    StreamId,
    Token,
)
from eventsrc.errors import BadStreamId, Corrupted, MissingHandlers, WrongStore
from eventsrc.moving import copy, rekeyed
from eventsrc.stores.copying import GetIdentity
from eventsrc.stores.operations import Condition, FindAppend, Head, StreamAppend
from eventsrc.stores.requests import request_of
from eventsrc.testing import StoreContract
from tests.kits.moved_shop import Sold, fill

HERE = StreamId("sales/1")


class TestATenant(StoreContract):
    epochs = False

    def test_a_stream_id_may_have_512_bytes_and_not_one_more(self, store: Any) -> None:
        store.run(Append(StreamId("x" * (512 - len("tenants/7/"))), (Sold("x"),))).unwrap()
        with pytest.raises(BadStreamId):
            store.run(Read(StreamId("x" * 512)))

    @pytest.fixture
    def whole(self) -> MemoryStore:
        store = MemoryStore()
        fill(store, 3)
        fill(rekeyed(store, "tenants/8/"), 10)
        return store

    @pytest.fixture
    def store(self, whole: MemoryStore) -> Any:
        return rekeyed(whole, "tenants/7/")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(tmp_path / "it.db") as store:
        yield store


@pytest.fixture
def ours(store: SqliteStore) -> Interpreter[StoreOp]:
    return rekeyed(store, "tenants/7/")


@pytest.fixture
def theirs(store: SqliteStore) -> Interpreter[StoreOp]:
    other = rekeyed(store, "tenants/8/")
    fill(other, 12)
    return other


def test_what_another_tenant_has_is_not_there(
    ours: Interpreter[StoreOp], theirs: Interpreter[StoreOp]
) -> None:
    for stream in ("sales/1", "tenants/8/sales/1", "8/sales/1"):
        assert (
            ours.run(Read(StreamId(stream))).events == () or not ours.run(Read(StreamId(stream))).events
        )
        assert ours.run(Head(StreamId(stream))) == 0
    for prefix in ("", "sales/", "tenants/", "tenants/8/", "eventsrc/"):
        assert not ours.run(ReadFeed(prefix=prefix, all_streams=True)).events
    with pytest.raises(BadStreamId):
        ours.run(Read(StreamId("../8/sales/1/")))


def test_positions_and_tokens_of_another_tenant_are_errors(
    store: SqliteStore, ours: Interpreter[StoreOp], theirs: Interpreter[StoreOp]
) -> None:
    stored = theirs.run(Append(HERE, (Sold("x"),))).unwrap()
    whole = store.run(Append(HERE, (Sold("x"),))).unwrap()
    for answer in (stored, whole):
        asked: list[Any] = [
            ReadFeed(answer.cursor),
            Append(HERE, (Sold("x"),), answer.token),
            AppendAll((StreamAppend(StreamId("a"), (Sold("x"),)),), (Condition(HERE, answer.token),)),
        ]
        for op in asked:
            with pytest.raises(WrongStore):
                ours.run(op)
    forged = Token(stored.token.store_id, {StreamId("tenants/8/sales/1"): 1})
    with pytest.raises(WrongStore):
        ours.run(Append(StreamId("tenants/8/sales/1"), (Sold("x"),), forged))


def test_ids_of_appends_are_of_a_tenant(
    store: SqliteStore, ours: Interpreter[StoreOp], theirs: Interpreter[StoreOp]
) -> None:
    chosen, request = uuid4(), request_of("it")
    first = theirs.run(Append(HERE, (Sold("x"),), append_id=chosen, request=request)).unwrap()
    assert ours.run(FindAppend(chosen)) is None
    mine = ours.run(Append(HERE, (Sold("y"),), append_id=chosen)).unwrap()
    assert mine.append_id == first.append_id == chosen
    assert mine.token != first.token
    assert ours.run(FindAppend(chosen)) == mine
    assert theirs.run(FindAppend(chosen, request)) == first
    again = Append(HERE, (Sold("other"),), append_id=chosen)
    refused = ours.run(again).failure()
    assert str(chosen) in str(refused)
    for event in theirs.run(ReadFeed(limit=1000)).events:
        assert theirs.run(FindAppend(event.append_id)) is not None
        if event.append_id != chosen:
            assert ours.run(FindAppend(event.append_id)) is None
    for event in store.run(ReadFeed(limit=1000)).events:
        if not event.stream.startswith("tenants/7/"):
            assert ours.run(FindAppend(event.append_id)) is None, "however it came to be known"


def test_a_conflict_shows_the_names_of_the_tenant(ours: Interpreter[StoreOp]) -> None:
    ours.run(Append(HERE, (Sold("x"), Sold("y"))))
    conflict = ours.run(Append(HERE, (Sold("z"),), 1)).failure()
    assert conflict.stream == HERE  # type: ignore[union-attr]
    assert [event.stream for event in conflict.events] == [HERE]  # type: ignore[union-attr]
    assert "tenants" not in repr(conflict)


def test_streams_of_the_library_are_each_tenants_own(
    store: SqliteStore, ours: Interpreter[StoreOp], theirs: Interpreter[StoreOp]
) -> None:
    own = StreamId("eventsrc/operators")
    for op in (Append(own, (Sold("x"),)), AppendAll((StreamAppend(own, (Sold("x"),)),))):
        with pytest.raises(BadStreamId, match="library's own"):
            ours.run(op)
    with pytest.raises(ValueError, match="no prefix"):
        rekeyed(store, "eventsrc/")
    with pytest.raises(ValueError, match="no prefix"):
        rekeyed(store, "")


def test_a_tenant_can_neither_copy_the_store_nor_tell_it_that_it_was_restored(
    ours: Interpreter[Any],
) -> None:
    from eventsrc.stores.epochs import restored

    for program in (copy(), restored(), GetIdentity()):
        with pytest.raises(MissingHandlers):
            ours.run(program)


def test_prefixes_within_prefixes_are_one_prefix(
    store: SqliteStore, ours: Interpreter[StoreOp]
) -> None:
    fill(rekeyed(ours, "shops/1/"), 10)
    inner, whole = rekeyed(ours, "shops/1/"), rekeyed(store, "tenants/7/shops/1/")
    one, other = (each.run(ReadFeed()).events for each in (inner, whole))
    assert [(e.position, e.stream, e.version, e.opaque(), e.metadata) for e in one] == [
        (e.position, e.stream, e.version, e.opaque(), e.metadata) for e in other
    ]
    assert one


def test_what_is_damaged_is_damaged_for_a_tenant(store: SqliteStore, tmp_path: Path) -> None:
    import contextlib
    import sqlite3

    ours = rekeyed(store, "tenants/7/")
    ours.run(Append(HERE, (Sold("x"), Sold("y"), Sold("z"))))
    with contextlib.closing(sqlite3.connect(tmp_path / "it.db")) as connection, connection:
        connection.execute("UPDATE eventsrc_event SET data = x'7b7d' WHERE position = 1")
        connection.execute("UPDATE eventsrc_event SET recorded_at = 1 WHERE position = 2")
        connection.execute("UPDATE eventsrc_event SET data = 'text' WHERE position = 3")
    first, second, third = ours.run(Read(HERE)).events
    with pytest.raises(Corrupted):
        third.check()
    with pytest.raises(Corrupted):
        first.check()
    with pytest.raises(Corrupted):
        _ = second.recorded_at
    assert second.data == Sold("y")
