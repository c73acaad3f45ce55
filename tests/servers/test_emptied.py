"""A table that is emptied under an open store is noticed by whoever reads on."""

from __future__ import annotations

from time import monotonic
from typing import Any

import pytest

from eventsrc import START, Append, Head, Read, ReadFeed, StreamId
from eventsrc.aws import DynamoStore, _feed
from eventsrc.errors import WrongStore
from eventsrc.stores.operations import FindAppend, NotAStore
from tests.servers import judging
from tests.servers.tables import Tables
from tests.servers.test_delivery import Sent


@pytest.fixture(autouse=True)
def look_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_feed, "THERE", 0.0)


HERE = StreamId("s/1")
EMPTIED = "emptied"


def empty(tables: Tables, table: str) -> None:
    for item in judging.everything(tables.client, table):
        tables.client.delete_item(TableName=table, Key={"p": item["p"], "n": item["n"]})


def append(store: DynamoStore, **options: Any) -> Any:
    return store.run(Append(HERE, (Sent("a"),), **options)).unwrap()


@pytest.mark.parametrize("refill", [False, True], ids=["", "another store is made in it"])
def test_whoever_reads_an_emptied_table_is_told(quick: Tables, refill: bool) -> None:
    table = quick.new()
    with DynamoStore(quick.client, table, timeout=5) as store:
        done = append(store)
        empty(quick, table)
        if refill:
            with DynamoStore(quick.client, table) as other:
                append(other)
        for op in (ReadFeed(), FindAppend(done.append_id)):
            with pytest.raises(NotAStore, match=EMPTIED):
                store.run(op)
        with pytest.raises(NotAStore, match=EMPTIED):
            append(store)
        with pytest.raises(NotAStore, match=EMPTIED):
            store.run(Read(HERE))
        with pytest.raises(NotAStore, match=EMPTIED):
            store.run(Head(HERE))
    with DynamoStore(quick.client, table) as again:
        append(again)
        assert again.run(Head(HERE)) == 1 + refill
        with pytest.raises(WrongStore):
            again.run(ReadFeed(done.cursor))


def test_an_append_that_has_a_condition_is_not_stored_in_an_emptied_table(quick: Tables) -> None:
    table = quick.new()
    with DynamoStore(quick.client, table, timeout=5) as store:
        for version in range(3):
            append(store, expected=version)
        empty(quick, table)
        with pytest.raises(NotAStore, match=EMPTIED):
            append(store, expected=0)
        assert judging.everything(quick.client, table) == []


def test_a_store_that_was_empty_from_the_beginning_is_none_that_was_emptied(quick: Tables) -> None:
    table = quick.new()
    with DynamoStore(quick.client, table) as store, DynamoStore(quick.client, table) as other:
        for _ in range(3):
            assert not store.run(ReadFeed(START)).events
        append(other)
        append(store)
        assert len(other.run(ReadFeed()).events) == 2


def test_control_without_the_look_nobody_is_told(
    quick: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_feed, "THERE", 1e9)
    table = quick.new()
    with DynamoStore(quick.client, table, timeout=5) as store:
        done = append(store)
        empty(quick, table)
        assert not store.run(ReadFeed(done.cursor)).events


def test_who_reads_looks_once_a_second_and_not_each_time(
    quick: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_feed, "THERE", 1.0)
    client = quick.new_client()
    looks: list[str] = []
    client.meta.events.register("provide-client-params.dynamodb.GetItem", lambda **_: looks.append(""))
    with DynamoStore(client, quick.new()) as store:
        looks.clear()
        began = monotonic()
        for _ in range(50):
            store.run(ReadFeed())
        assert len(looks) <= monotonic() - began
