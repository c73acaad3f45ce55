"""A copy is the store: the same facts, the same answers, and no appends until it is promoted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from eventsrc import (
    START,
    Append,
    Cursor,
    Interpreter,
    MemoryStore,
    Read,
    ReadFeed,
    SqliteStore,
    StreamId,
)
from eventsrc.errors import BadExport, NotACopy, StoreClosed, StoreReadOnly, WrongEpoch
from eventsrc.events.positions import Token
from eventsrc.moving import Difference, ExportReader, ExportWriter, both, compare, copy, promote, verify
from eventsrc.postgres import AsyncPostgresStore, PostgresStore
from eventsrc.stores.copying import EndCopy, GetIdentity, KeepRecords
from eventsrc.stores.epochs import restored
from eventsrc.stores.operations import FindAppend, GetEpochs
from tests.kits.moved_shop import Sold, fill
from tests.postgres.test_store import in_a_loop

HERE = StreamId("sales/1")


@pytest.fixture
def opened(tmp_path: Path, shared_dsn: str) -> Iterator[Callable[[str], Interpreter[Any]]]:
    """A function that opens an empty store of a kind."""
    with ExitStack() as stack:

        def open_one(kind: str) -> Any:
            match kind:
                case "memory":
                    return MemoryStore()
                case "sqlite":
                    return stack.enter_context(SqliteStore(tmp_path / f"{uuid4().hex}.db"))
                case "postgres":
                    store = PostgresStore(shared_dsn, schema=f"s{uuid4().hex}")
                    return stack.enter_context(store)
                case _:
                    return stack.enter_context(in_a_loop(shared_dsn, schema=f"s{uuid4().hex}"))

        yield open_one


def difference(store: Interpreter[Any], other: Interpreter[Any]) -> Difference:
    """The first difference of two stores that differ."""
    found: Difference | None = both(store, other).run(compare())
    assert found is not None
    return found


def exported(store: Interpreter[Any], path: Path) -> bytes:
    with ExportWriter(path) as file:
        both(store, file).run(copy())
    return path.read_bytes()


@pytest.mark.parametrize("way", [("sqlite", "postgres", "sqlite"), ("memory", "loop", "memory")])
def test_a_copy_of_a_copy_has_the_export_of_the_first_byte_for_byte(
    opened: Callable[[str], Interpreter[Any]], tmp_path: Path, way: tuple[str, ...]
) -> None:
    stores = [*map(opened, way)]
    filled = fill(stores[0], 60)
    stores[0].run(restored())
    fill(stores[0], 10, seed=2)
    first = exported(stores[0], tmp_path / "first")
    for one, other in pairwise(stores):
        both(one, other).run(copy())
        assert both(one, other).run(compare(whole=True)) is None
    assert exported(stores[-1], tmp_path / "last") == first
    for store in stores[1:]:
        assert filled.again(store) == filled.again(stores[0])
        for answer in filled.answers:
            found = store.run(FindAppend(answer.append_id))
            assert found == stores[0].run(FindAppend(answer.append_id))
            assert found is not None
            assert found.token.versions == answer.token.versions
        with pytest.raises(Exception, match="was used before, and not for this request"):
            store.run(FindAppend(filled.answers[1].append_id, b"another"))
        assert store.run(verify()) == stores[0].run(ReadFeed()).end.position


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres", "loop"])
def test_a_copy_takes_no_appends_until_it_is_promoted(
    opened: Callable[[str], Interpreter[Any]], kind: str
) -> None:
    source, target = MemoryStore(), opened(kind)
    filled = fill(source, 6)
    identity = source.run(GetIdentity())
    page = source.run(ReadFeed(all_streams=True))
    records = tuple(event.record for event in page.events)
    assert target.run(KeepRecords(identity, records[:4])) == 4
    for _ in range(2):
        for op in (Append(HERE, (Sold("x"),)), Append(HERE, (Sold("x"),), append_id=uuid4())):
            with pytest.raises(StoreReadOnly, match="is a copy"):
                target.run(op)
        with pytest.raises(StoreReadOnly, match="is a copy"):
            target.run(restored())
        assert target.run(KeepRecords(identity, records)) == len(records)
    assert filled.again(target) == filled.keyed(), "a retry is answered by a copy, too"
    early = source.run(Append(HERE, (Sold("arrives"),))).unwrap()
    arrived = source.run(ReadFeed(page.end, 1, all_streams=True)).events[0].record
    assert target.run(KeepRecords(identity, (records[-1], arrived))) == len(records) + 1
    lost = source.run(Append(HERE, (Sold("never arrives"),))).unwrap()
    assert target.run(GetEpochs()).is_copy
    epoch = target.run(promote())
    assert target.run(promote()) == epoch > 1, "twice does no harm"
    assert target.run(Append(HERE, (Sold("new"), Sold("new")), early.token)).unwrap()
    assert len(target.run(ReadFeed(early.cursor)).events) == 2
    with pytest.raises(WrongEpoch):
        target.run(ReadFeed(lost.cursor))
    with pytest.raises(WrongEpoch):
        target.run(Append(HERE, (Sold("on it"),), lost.token))
    with pytest.raises(NotACopy, match="promoted"):
        target.run(KeepRecords(identity, (arrived,)))


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres"])
def test_what_does_not_belong_to_a_copy_is_refused_and_nothing_is_kept(
    opened: Callable[[str], Interpreter[Any]], kind: str
) -> None:
    source, other, target = MemoryStore(), MemoryStore(), opened(kind)
    fill(source, 6)
    fill(other, 6)
    identity = source.run(GetIdentity())
    records = tuple(event.record for event in source.run(ReadFeed()).events)
    foreign = tuple(event.record for event in other.run(ReadFeed()).events)
    damaged = records[3]._replace(data=b'{"item":"y"}')
    gap = records[4]._replace(position=4)
    target.run(KeepRecords(identity, records[:3]))
    before = target.run(ReadFeed(all_streams=True)).events
    refused: list[tuple[Any, str]] = [
        (KeepRecords(identity, records[4:]), "go on from its end"),
        (KeepRecords(identity, (records[2], records[4])), "does not follow"),
        (KeepRecords(identity, (foreign[2], records[3])), "is another in the copy"),
        (KeepRecords(identity, (damaged,)), "was changed since it was stored"),
        (KeepRecords(other.run(GetIdentity()), foreign), "no copy of"),
        (KeepRecords(identity, (gap,)), "does not follow version|changed"),
    ]
    for op, why in refused:
        with pytest.raises(Exception, match=why):
            target.run(op)
        assert target.run(ReadFeed(all_streams=True)).events == before
    full = opened(kind)
    full.run(Append(HERE, (Sold("mine"),)))
    with pytest.raises(NotACopy, match="into an empty store"):
        full.run(KeepRecords(identity, records))
    assert target.run(KeepRecords(identity, records[2:])) == len(records)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_whoever_had_an_empty_store_open_appends_nothing_to_what_has_become_a_copy(
    tmp_path: Path, shared_dsn: str, kind: str
) -> None:
    schema = f"s{uuid4().hex}"

    def open_it() -> SqliteStore | PostgresStore:
        path = tmp_path / "it.db"
        return SqliteStore(path) if kind == "sqlite" else PostgresStore(shared_dsn, schema=schema)

    source = MemoryStore()
    fill(source, 3)
    with open_it() as early, open_it() as target:
        both(source, target).run(copy())
        with pytest.raises(StoreClosed, match="open it again"):
            early.run(Append(HERE, (Sold("x"),)))
        with open_it() as late:
            assert late.run(Append(HERE, (Sold("x"),))).unwrap().cursor.store_id == source.store_id
        assert difference(source, target).position == len(source.run(ReadFeed()).events) + 1


def test_a_store_that_lost_what_its_copy_has_is_not_gone_on_from() -> None:
    source, target = MemoryStore(), MemoryStore()
    fill(source, 6)
    early = source.run(GetIdentity())
    records = tuple(event.record for event in source.run(ReadFeed()).events)
    target.run(KeepRecords(early, records))
    back = MemoryStore()
    back.run(KeepRecords(early, records[:-2]))
    back.run(EndCopy(raise_epoch=True))
    with pytest.raises(NotACopy, match="some of which the store lost"):
        both(back, target).run(copy())
    fine = MemoryStore()
    fine.run(KeepRecords(early, records[:-2]))
    both(back, fine).run(copy())
    assert fine.run(GetEpochs()) == back.run(GetEpochs())


def test_a_copy_is_made_in_an_event_loop(shared_dsn: str) -> None:
    async def move() -> None:
        source = MemoryStore()
        fill(source, 8)
        async with AsyncPostgresStore(shared_dsn, schema=f"s{uuid4().hex}") as target:
            copied = await both(source, target).run_async(copy())
            assert copied.events == source.run(ReadFeed()).end.position
            assert await both(source, target).run_async(compare(whole=True)) is None
            async with await psycopg.AsyncConnection.connect(shared_dsn) as connection:
                with pytest.raises(StoreReadOnly, match="of the caller's"):
                    await target.within(connection).run_async(EndCopy())

    asyncio.run(move())


def test_the_first_difference_is_found_by_reading_a_few_events() -> None:
    source, target = MemoryStore(), MemoryStore()
    fill(source, 400)
    both(source, target).run(copy())
    asked: list[Any] = []

    def noted(op: Any) -> Any:
        asked.append(op)
        return (yield from op)

    common = source.run(ReadFeed()).end.position
    for store in (source, target):
        store.run(Append(HERE, tuple(Sold("fork", number) for number in range(500))))
    found = both(source.around(noted, only=ReadFeed), target).run(compare())
    assert found is not None
    assert found.position == common + 1
    assert None not in (found.one, found.other)
    assert len(asked) < 15
    assert sum(op.limit for op in asked) < 15


def test_stores_that_are_no_copies_differ_in_themselves() -> None:
    assert "two stores" in difference(MemoryStore(), MemoryStore()).what
    store = MemoryStore()
    fill(store, 3)
    promoted = MemoryStore()
    both(store, promoted).run(copy())
    promoted.run(restored())
    assert "epochs" in difference(store, promoted).what


def test_cursors_and_tokens_are_good_for_the_copy() -> None:
    source, target = MemoryStore(), MemoryStore()
    filled = fill(source, 10)
    both(source, target).run(copy())
    for answer in filled.answers:
        assert Cursor.parse(str(answer.cursor)) == answer.cursor
        assert target.run(ReadFeed(answer.cursor)) == source.run(ReadFeed(answer.cursor))
        assert Token.parse(str(answer.token)) == answer.token
    assert target.run(ReadFeed(START)).end == source.run(ReadFeed(START)).end
    assert target.run(Read(HERE)) == source.run(Read(HERE))
    assert source.run(GetIdentity()) == target.run(GetIdentity())


def test_an_export_is_of_the_store_when_it_began(tmp_path: Path) -> None:
    source = MemoryStore()
    fill(source, 5)
    end = source.run(ReadFeed()).end.position

    def growing(op: Any) -> Any:
        page = yield from op
        source.run(Append(HERE, (Sold("meanwhile"),)))
        return page

    with ExportWriter(tmp_path / "it") as file:
        both(source.around(growing, only=ReadFeed), file).run(copy())
    with ExportReader(tmp_path / "it") as reader:
        assert reader.run(verify()) == end
        assert difference(source, reader).what.startswith("the first goes on after")


def test_an_export_of_another_epoch_is_refused(tmp_path: Path) -> None:
    source = MemoryStore()
    fill(source, 5)
    exported(source, tmp_path / "it")
    source.run(restored())
    with ExportWriter(tmp_path / "it") as file, pytest.raises(BadExport, match="another file"):
        both(source, file).run(copy())
