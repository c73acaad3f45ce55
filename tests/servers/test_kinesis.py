"""Kinesis as a broker: on an emulator, and on a client that refuses records as AWS does."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

import pytest

from eventsrc.aws.kinesis import KinesisBroker
from eventsrc.publishing import CloudEvent, Publish, Published, by_subject
from tests.contracts.brokers import Bench, BrokerContract, made
from tests.faults import scaled
from tests.servers.tables import Tables

pytest.importorskip("boto3", reason="boto3 is not installed: pip install 'eventsrc[test-servers]'")


class OnAnEmulator(Bench):
    """A stream of two shards."""

    def __init__(self, tables: Tables) -> None:
        self._client = tables.other_client("kinesis")
        self._name = f"k{uuid4().hex}"
        self._client.create_stream(StreamName=self._name, ShardCount=2)
        self._client.get_waiter("stream_exists").wait(StreamName=self._name)
        self.broker = self._kinesis = KinesisBroker(self._client, self._name, largest=20_000)
        self._tables = tables

    def came(self) -> Sequence[CloudEvent]:
        found: list[CloudEvent] = []
        for shard in self._client.list_shards(StreamName=self._name)["Shards"]:
            place = self._client.get_shard_iterator(
                StreamName=self._name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            while True:
                told = self._client.get_records(ShardIterator=place)
                found += [CloudEvent.parse(each["Data"]) for each in told["Records"]]
                if not told["Records"]:
                    break
                place = told["NextShardIterator"]
        return found

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        self._kinesis._client = self._tables.other_client("kinesis", "http://127.0.0.1:9")
        yield
        self._kinesis._client = self._client

    def unacceptable(self, subject: str) -> CloudEvent:
        return made(subject, 7, text="x" * 30_000)


class TestKinesis(BrokerContract):
    @pytest.fixture
    def bench(self, exact: Tables) -> Bench:
        return OnAnEmulator(exact)


class Refusing:
    """A client of Kinesis that stores some records of a request, and refuses others."""

    def __init__(self, seed: int, refuses: float) -> None:
        self.chance = random.Random(seed)
        self.refuses = refuses
        self.stored: list[CloudEvent] = []
        self.requests: list[int] = []

    def put_records(self, Records: Sequence[Mapping[str, Any]], StreamName: str) -> Mapping[str, Any]:
        self.requests.append(len(Records))
        keys = [record["PartitionKey"] for record in Records]
        assert len(set(keys)) == len(keys), "a subject twice in one request"
        answers: list[Mapping[str, str]] = []
        for record in Records:
            if self.chance.random() < self.refuses:
                answers.append({"ErrorCode": "ProvisionedThroughputExceededException"})
            else:
                self.stored.append(CloudEvent.parse(record["Data"]))
                answers.append({"SequenceNumber": str(len(self.stored))})
        return {"Records": answers}


@pytest.mark.parametrize("seed", range(scaled(20)))
def test_events_keep_their_order_although_records_are_refused_one_by_one(seed: int) -> None:
    client = Refusing(seed, 0.4)
    events = tuple(made(f"notes/{client.chance.randrange(6)}", number) for number in range(60))
    assert KinesisBroker(client, "s").run(Publish(events)) == Published()
    assert by_subject(client.stored) == by_subject(events)


def test_what_was_not_sent_in_time_comes_again_and_in_its_order() -> None:
    client = Refusing(1, 0.9)
    broker = KinesisBroker(client, "s", timeout=0.05)
    events = tuple(made(f"notes/{number % 3}", number) for number in range(30))
    left, turns = events, 0
    while left:
        answer = broker.run(Publish(left))
        assert not answer.refused
        left, turns = left[len(left) - answer.left :], turns + 1
        client.refuses *= 0.9
    assert turns > 1
    first: dict[str, CloudEvent] = {}
    for event in client.stored:
        first.setdefault(event.id, event)
    assert by_subject(first.values()) == by_subject(events)


def test_a_crowd_of_subjects_travels_together() -> None:
    client = Refusing(2, 0.0)
    events = tuple(made(f"notes/{number}", number) for number in range(1200))
    assert KinesisBroker(client, "s").run(Publish(events)) == Published()
    assert client.requests == [500, 500, 200]


def test_control_records_that_are_sent_again_behind_later_ones_change_the_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = Refusing(3, 0.4)
    client.put_records = _careless(client)  # type: ignore[method-assign]
    monkeypatch.setattr(KinesisBroker, "_taken", lambda self, waiting: _all_of(waiting))
    events = tuple(made(f"notes/{number % 3}", number) for number in range(60))
    KinesisBroker(client, "s").run(Publish(events))
    assert by_subject(client.stored) != by_subject(events)


def _all_of(waiting: Any) -> list[Any]:
    """Every event that waits, however many of a subject."""
    from eventsrc.aws.kinesis import _Queue

    taken = [
        (_Queue(queue.subject, type(queue.events)([event])), [event])
        for queue in waiting
        for event in queue.events
    ]
    waiting.clear()
    return taken


def _careless(client: Refusing) -> Any:
    """As the client stores records, without a look at their subjects."""

    def put_records(Records: Sequence[Mapping[str, Any]], StreamName: str) -> Mapping[str, Any]:
        one_by_one = (
            Refusing.put_records(client, Records=[record], StreamName=StreamName) for record in Records
        )
        return {"Records": [answer for each in one_by_one for answer in each["Records"]]}

    return put_records
