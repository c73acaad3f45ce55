"""A URL opens a table, and a client that cannot keep a store's deadlines is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from returns.result import Success

from eventsrc import Append, Head, StreamId, event
from eventsrc.aws import DynamoStore, cloudformation
from eventsrc.errors import BadUrl, NotAStore, StoreClosed, StoreReadOnly
from eventsrc.opening import open_store, open_store_async
from eventsrc.stores.operations import SaveSnapshot, Snapshot
from tests.servers.tables import Tables

STREAM = StreamId("opened/1")


@event("tests.servers.opened")
class Happened:
    number: int


@pytest.fixture
def url(quick: Tables, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a table."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return f"dynamodb:{quick.new()}?region=us-east-1&endpoint={quick.url}"


def test_a_url_opens_a_table(url: str) -> None:
    with open_store(url) as store:
        assert isinstance(store, DynamoStore)
        assert isinstance(store.run(Append(STREAM, (Happened(1),))), Success)
    with pytest.raises(StoreClosed):
        store.run(Head(STREAM))

    async def count() -> int:
        async with open_store_async(url) as again:
            await again.run_async(Append(STREAM, (Happened(2),)))
            return await again.run_async(Head(STREAM))

    assert asyncio.run(count()) == 2


def test_a_table_can_be_opened_to_be_read(url: str) -> None:
    with pytest.raises(NotAStore, match="has no store in it"):
        open_store(url, read_only=True)
    with open_store(url) as store:
        store.run(Append(STREAM, (Happened(1),)))
    with open_store(url, read_only=True) as store:
        assert store.run(Head(STREAM)) == 1
        with pytest.raises(StoreReadOnly):
            store.run(Append(STREAM, (Happened(2),)))
        with pytest.raises(StoreReadOnly):
            store.run(SaveSnapshot(Snapshot(STREAM, "sum", 1, 1, b"1")))


def test_a_table_that_is_not_there_is_not_made(quick: Tables, url: str) -> None:
    with pytest.raises(NotAStore, match="no table 'elsewhere'.*cloudformation"):
        open_store(url.replace(url.partition("?")[0], "dynamodb:elsewhere"))
    assert "elsewhere" not in quick.client.list_tables()["TableNames"]


def test_an_endpoint_that_is_none_is_no_url(url: str) -> None:
    with pytest.raises(BadUrl, match="boto3 makes no client"):
        open_store("dynamodb:events?region=us-east-1&endpoint=nowhere")


def test_a_table_of_something_else_is_no_store(quick: Tables) -> None:
    table = quick.new()
    quick.client.put_item(TableName=table, Item={"p": {"S": "m"}, "n": {"N": "0"}})
    with pytest.raises(NotAStore, match="has other things in it"):
        DynamoStore(quick.client, table)


def test_a_table_of_a_newer_layout_is_refused(quick: Tables) -> None:
    table = quick.new()
    DynamoStore(quick.client, table).close()
    quick.client.update_item(
        TableName=table,
        Key={"p": {"S": "m"}, "n": {"N": "0"}},
        UpdateExpression="SET v = :v",
        ExpressionAttributeValues={":v": {"N": "2"}},
    )
    with pytest.raises(NotAStore, match="has layout 2.*knows 1: use a newer one"):
        DynamoStore(quick.client, table)


@pytest.mark.parametrize("opened", ["no client", "an s3 client", "a client that waits for long"])
def test_a_client_that_will_not_do_is_refused(quick: Tables, opened: str) -> None:
    import boto3

    error: type[Exception] = TypeError
    text = "must be boto3.client"
    about: dict[str, Any] = {"region_name": "us-east-1", "endpoint_url": quick.url}
    match opened:
        case "no client":
            client = object()
        case "an s3 client":
            client = boto3.client("s3", **about)
        case _:
            client = boto3.client("dynamodb", **about)
            error, text = ValueError, "may wait 1200 seconds"
    with pytest.raises(error, match=text):
        DynamoStore(client, "events")


def test_the_template_of_a_table_has_what_the_store_needs() -> None:
    text = cloudformation("shop-events", stream=True)
    for line in (
        "TableName: shop-events",
        "{AttributeName: p, KeyType: HASH}",
        "{AttributeName: n, KeyType: RANGE}",
        "StreamViewType: NEW_IMAGE",
        "PointInTimeRecoveryEnabled: true",
    ):
        assert line in text
    assert "StreamSpecification" not in cloudformation()
