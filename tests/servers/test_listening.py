"""Followers that rest until a table's stream tells of something."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventsrc import Append, SqliteViews, StreamId, follow, world
from eventsrc.aws import DynamoStore
from eventsrc.aws.listening import StreamListener, _Reading, _shards_of
from eventsrc.errors import StoreClosed
from eventsrc.events.positions import Cursor
from eventsrc.following.waiting import WaitForEvents
from eventsrc.metering import metered
from eventsrc.stores.operations import ReadFeed
from tests.faults import scaled
from tests.servers.tables import Tables
from tests.servers.test_delivery import Sent, made_view, rows

HERE = StreamId("s/1")
LONG = 20.0
ENDED = {"EndingSequenceNumber": "1"}


@pytest.fixture(scope="module")
def streamed(exact: Tables) -> tuple[str, str]:
    return exact.new_streamed()


@pytest.fixture
def store(exact: Tables, streamed: tuple[str, str]) -> Iterator[DynamoStore]:
    with DynamoStore(exact.new_client(), streamed[0]) as store:
        yield store


@pytest.fixture
def listener(exact: Tables, streamed: tuple[str, str]) -> Iterator[StreamListener]:
    with StreamListener(exact.other_client("dynamodbstreams"), streamed[1], every=0.05) as listener:
        yield listener


def test_who_waits_is_told_of_what_is_appended(store: DynamoStore, listener: StreamListener) -> None:
    end = store.run(Append(HERE, (Sent("a"),))).unwrap().cursor
    listener.run(WaitForEvents(end, LONG))  # the first time it may have missed something
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(listener.run, WaitForEvents(end, LONG))
        later = threads.submit(listener.run, WaitForEvents(Cursor(end.store_id, 9_999), 1.0))
        store.run(Append(HERE, (Sent("b"),))).unwrap()
        assert waiting.result(LONG) is True
        assert later.result(LONG) is False
    assert listener.run(WaitForEvents(end, LONG)) is True, "that was told before"


def test_a_follower_looks_when_it_is_told_and_not_now_and_again(
    store: DynamoStore, listener: StreamListener
) -> None:
    looks: list[float] = []
    counted = metered(store, lambda done: looks.append(done.seconds), only=(ReadFeed,))
    view = made_view()

    async def main(app: Any, views: SqliteViews) -> None:
        async def seen(count: int) -> None:
            for _ in range(400):
                if len(rows(views, view)) >= count:
                    return
                await asyncio.sleep(0.05)
            pytest.fail("the view was not brought up to date")

        following = asyncio.create_task(app.run_async(follow(view)))
        before = store.run(ReadFeed()).end.position
        await seen(before)
        await asyncio.sleep(0.5)
        looks.clear()
        await asyncio.sleep(1.0)
        assert len(looks) <= 4, "at rest it asks for next to nothing"
        store.run(Append(HERE, (Sent("c"), Sent("d")))).unwrap()
        await seen(before + 2)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    with SqliteViews.temporary([view]) as views:
        asyncio.run(main(counted | views | world | listener, views))


def test_closing_it_ends_all_waits(exact: Tables, streamed: tuple[str, str]) -> None:
    listener = StreamListener(exact.other_client("dynamodbstreams"), streamed[1])
    with ThreadPoolExecutor() as threads:
        after = Cursor("", 9_999)
        waiting = [threads.submit(listener.run, WaitForEvents(after, LONG)) for _ in range(3)]
        while len(listener._waiting) < 1:
            pass
        listener.close()
        for each in waiting:
            try:
                assert each.result(LONG) is True  # told as it began to read
            except StoreClosed:
                continue
    with pytest.raises(StoreClosed):
        listener.run(WaitForEvents(after, LONG))


def test_a_stream_that_cannot_be_read_is_told_of_once_and_the_feed_is_polled(
    exact: Tables, streamed: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    client = exact.other_client("dynamodbstreams", "http://127.0.0.1:9")
    with StreamListener(client, streamed[1]) as listener:
        for _ in range(2):
            assert listener.run(WaitForEvents(Cursor("", 9_999), LONG)) is True
    assert caplog.text.count("cannot be read") == 1


def test_a_client_of_another_service_is_refused(exact: Tables) -> None:
    with pytest.raises(ValueError, match=r"boto3.client\('dynamodbstreams'\)"):
        StreamListener(exact.client, "arn:x")


class Splitting:
    """A client of DynamoDB Streams whose shards end, and have children, at any moment."""

    meta = SimpleNamespace(service_model=SimpleNamespace(service_name="dynamodbstreams"))

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.shards: dict[str, list[int]] = {"0": []}
        self.ended: set[str] = set()
        self.position = 0

    def write(self) -> None:
        """Writes a part, at a place that goes up."""
        self.position += 1
        open_ones = [shard for shard in self.shards if shard not in self.ended]
        self.shards[self.chance.choice(open_ones)].append(self.position)

    def split(self) -> None:
        """Ends a shard, and opens one or two others."""
        shard = self.chance.choice([shard for shard in self.shards if shard not in self.ended])
        self.ended.add(shard)
        for _ in range(self.chance.randint(1, 2)):
            self.shards[str(len(self.shards))] = []

    def describe_stream(self, StreamArn: str, **_: Any) -> Mapping[str, Any]:
        shards = [
            {
                "ShardId": each,
                "SequenceNumberRange": {"EndingSequenceNumber": "1"} if each in self.ended else {},
            }
            for each in self.shards
        ]
        return {"StreamDescription": {"Shards": shards}}

    def get_shard_iterator(self, StreamArn: str, ShardId: str, ShardIteratorType: str) -> Any:
        begin = len(self.shards[ShardId]) if ShardIteratorType == "LATEST" else 0
        return {"ShardIterator": f"{ShardId}:{begin}"}

    def get_records(self, ShardIterator: str) -> Mapping[str, Any]:
        shard, _, begin = ShardIterator.partition(":")
        found = self.shards[shard][int(begin) :][: self.chance.randint(0, 3)]
        end = int(begin) + len(found)
        is_over = shard in self.ended and end == len(self.shards[shard])
        records = [{"dynamodb": {"NewImage": {"p": {"S": "s/x"}, "at": number}}} for number in found]
        return {"Records": records, "NextShardIterator": None if is_over else f"{shard}:{end}"}


def told_by(client: Splitting, steps: str, monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The positions that are told of while shards are written, end and are read."""
    monkeypatch.setattr("eventsrc.aws.listening.part_of", lambda item: SimpleNamespace(end=item["at"]))
    reading = _Reading(_shards_of(client, "arn:x"))
    found: set[int] = set()
    for step in steps:
        if step == "r":
            found.update(reading.read())
        else:
            (client.write if step == "w" else client.split)()
    for _ in range(10 * len(steps) + 10):
        found.update(reading.read())
    return found


@settings(max_examples=scaled(60), deadline=None)
@given(seed=st.integers(0, 1000), steps=st.text("wwwsr", max_size=40))
def test_nothing_is_missed_however_shards_end_and_come(seed: int, steps: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        client = Splitting(seed)
        assert told_by(client, steps, patch) == {*range(1, client.position + 1)}


def test_control_shards_that_came_and_are_read_from_now_on_miss_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = Splitting.get_shard_iterator

    def from_now_on(client: Splitting, StreamArn: str, ShardId: str, ShardIteratorType: str) -> Any:
        return first(client, StreamArn, ShardId, "LATEST")

    monkeypatch.setattr(Splitting, "get_shard_iterator", from_now_on)
    client = Splitting(1)
    assert told_by(client, "wrswwrwswr" * 3, monkeypatch) != {*range(1, client.position + 1)}


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
