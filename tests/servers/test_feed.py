"""A view that the feed reaches through Kinesis and Lambda equals a replay, whatever happens on the way.

Kinesis and Lambda are doubles that refuse, throttle, double, drop, split and die; publisher, broker,
handler, store and views are the real ones.
"""

from __future__ import annotations

import json
import random
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventsrc import (
    START,
    Append,
    Do,
    Interpreter,
    MemoryStore,
    ReadFeed,
    SqliteViews,
    StreamId,
    synchronise,
    world,
)
from eventsrc.aws.delivery import lambda_handler
from eventsrc.aws.kinesis import KinesisBroker
from eventsrc.aws.listening import StreamListener
from eventsrc.errors import Corrupted, StoreBusy
from eventsrc.events.codec import Codec
from eventsrc.following.waiting import WaitForEvents
from eventsrc.publishing import (
    Carried,
    CloudEvent,
    NotACloudEvent,
    Publish,
    Publisher,
    Verbatim,
    publish_once,
)
from eventsrc.stores.operations import Unreachable
from eventsrc.views.memory import MemoryViews
from eventsrc.views.operations import Apply
from tests.faults import scaled
from tests.servers.mapping import Killed, SourceMapping, swallowing
from tests.servers.tables import Tables
from tests.servers.test_delivery import Sent, made_view, rows

lost = pytest.importorskip(
    "botocore.exceptions", reason="boto3 is not installed: pip install 'eventsrc[test-servers]'"
)

CODEC = Codec()
SOURCE = "https://test.example/feed"


class Shards:
    """A double of a Kinesis data stream: it throttles shards, refuses records, loses answers, and kills
    who asks."""

    def __init__(self, dice: random.Random, count: int, *, trouble: float) -> None:
        self._dice = dice
        self._trouble = trouble
        self.shards: list[list[dict[str, Any]]] = [[] for _ in range(count)]
        self.requests: list[int] = []

    def put_records(self, Records: Sequence[Mapping[str, Any]], StreamName: str) -> dict[str, Any]:
        self.requests.append(len(Records))
        keys = [record["PartitionKey"] for record in Records]
        assert len({*keys}) == len(keys), "a stream at most once in a request"
        assert all(len(record["Data"]) <= 1024 * 1024 for record in Records)
        throttled = {n for n in range(len(self.shards)) if self._dice.random() < self._trouble}
        answers: list[dict[str, str]] = []
        for record in Records:
            shard = hash_of(record["PartitionKey"]) % len(self.shards)
            if shard in throttled or self._dice.random() < self._trouble / 2:
                answers.append({"ErrorCode": "ProvisionedThroughputExceededException"})
                continue
            its = self.shards[shard]
            number = f"{shard:03}{len(its):050}"
            data = b64encode(record["Data"]).decode()
            kinesis = {"data": data, "sequenceNumber": number, "partitionKey": record["PartitionKey"]}
            its.append({"eventID": f"shardId-{shard:012}:{number}", "kinesis": kinesis})
            answers.append({"SequenceNumber": number})
        fate = self._dice.random()
        if fate < self._trouble / 6:
            raise Killed
        if fate < self._trouble / 3:
            raise lost.ReadTimeoutError(endpoint_url="http://nowhere")
        return {"Records": answers}


def hash_of(key: str) -> int:
    return int.from_bytes(key.encode(), "little") % 997


def publish_all(store: MemoryStore, views: Any, client: Shards, **options: Any) -> int:
    """Has publishers, one after the other, put all of the feed into shards; answers how many died."""
    deaths = 0
    for _ in range(500):
        out = Publisher("feed", Verbatim(SOURCE, largest=2_000), begin="start", batch=7)
        broker = KinesisBroker(client, "s", packed=True, **options)
        try:
            if (store | views | world | broker).run(publish_once(out)).lag == 0:
                return deaths
        except (Killed, Unreachable, StoreBusy):
            deaths += 1
    pytest.fail("the publisher does not come to the end")


def filled(dice: random.Random, events: int) -> MemoryStore:
    store = MemoryStore()
    made = 0
    while made < events:
        texts = [str(made + n) for n in range(dice.choice([1, 1, 5]))]
        if dice.random() < 0.05:
            texts[0] += "x" * 3_000  # too large to travel
        store.run(Append(StreamId(f"s/{dice.randrange(7)}"), tuple(map(Sent, texts)))).unwrap()
        made += len(texts)
    return store


def careless(shards: Iterable[list[dict[str, Any]]], dice: random.Random) -> Iterable[list[Any]]:
    """The records of shards in batches, of which some come twice, and early or late."""
    batches: list[tuple[float, list[Any]]] = []
    for shard in shards:
        at = 0
        while at < len(shard):
            size = dice.randint(1, 6)
            batch, times = shard[at : at + size], dice.choice([1, 1, 2])
            batches += [(at + dice.random() * 20, batch) for _ in range(times)]
            at += size
    return [batch for _, batch in sorted(batches, key=lambda each: each[0])]


def dying(app: Interpreter[Any], dice: random.Random, chance: float) -> Interpreter[Any]:
    """An application whose database is busy now and then, and whose process dies before a commit, or
    after it."""

    def apply(op: Apply) -> Do[Apply, Any]:
        fate = dice.random() / chance if chance else 1
        if fate < 0.4:
            raise StoreBusy("another has it")
        if fate < 0.7:
            raise Killed
        done = yield from op
        if fate < 1:
            raise Killed
        return done

    return app.around(apply, only=Apply)


@attrs.frozen
class Story:
    """The things that happened on the way of some events to a view."""

    fed: list[tuple[Any, ...]]
    """The rows of the view that was fed."""
    synchronised: list[tuple[Any, ...]]
    replayed: list[tuple[Any, ...]]
    mapping: SourceMapping


def told(seed: int, *, drops: float = 0.0, retries: int = 60, swallows: bool = False) -> Story:
    dice, view = random.Random(seed), made_view()
    store = filled(dice, scaled(60, 400))
    client = Shards(dice, dice.choice([1, 3]), trouble=0.3)
    publish_all(store, MemoryViews(), client, timeout=0.2)
    with SqliteViews.temporary([view]) as fed, SqliteViews.temporary([view]) as replayed:
        (store | replayed).run(synchronise(view))
        handler = lambda_handler(view, dying(store | fed, dice, 0.3))
        mapping = SourceMapping(swallowing(handler) if swallows else handler, retries, bisects=True)
        for batch in careless(client.shards, dice):
            mapping.send([record for record in batch if dice.random() >= drops])
        before = rows(fed, view)
        (store | fed).run(synchronise(view))
        return Story(before, rows(fed, view), rows(replayed, view), mapping)


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventsrc.aws.kinesis._PAUSES", (0.0001, 0.001))


SEEDS = st.integers(0, 2**32)
MANY = settings(max_examples=scaled(10, 200), deadline=None)


@MANY
@given(SEEDS)
def test_a_view_equals_a_replay_although_all_is_refused_doubled_split_retried_and_killed(
    seed: int,
) -> None:
    story = told(seed)
    assert not story.mapping.given_up
    assert story.fed == story.replayed


@MANY
@given(SEEDS)
def test_what_was_dropped_or_given_up_comes_by_a_gap_or_a_timer_and_never_out_of_order(
    seed: int,
) -> None:
    story = told(seed, drops=0.2, retries=1)
    assert {*story.fed} <= {*story.replayed}
    versions: dict[str, list[int]] = {}
    for stream, version, _ in story.fed:
        versions.setdefault(stream, []).append(version)
    assert all(found == [*range(1, len(found) + 1)] for found in versions.values())
    assert story.synchronised == story.replayed


def test_control_a_function_that_swallows_failures_loses_events_until_the_timer() -> None:
    stories = [told(seed, swallows=True) for seed in range(5)]
    assert any(story.fed != story.replayed for story in stories)
    assert all(story.synchronised == story.replayed for story in stories)


def test_control_the_stories_have_deaths_splits_and_losses_in_them() -> None:
    stories = [told(seed, drops=0.2, retries=1) for seed in range(5)]
    assert any(story.mapping.splits for story in stories)
    assert any(story.mapping.given_up for story in stories)
    assert any(story.fed != story.replayed for story in stories)


def test_control_records_applied_as_they_come_are_doubled_and_out_of_order() -> None:
    dice = random.Random(1)
    store, client = filled(dice, 60), Shards(dice, 3, trouble=0.3)
    publish_all(store, MemoryViews(), client, timeout=0.2)
    came = [
        (carried.stream, carried.version)
        for batch in careless(client.shards, dice)
        for record in batch
        for carried in decoded(record)
    ]
    assert len(came) > len({*came})
    assert came != sorted(came, key=lambda each: each[1])


def decoded(record: Mapping[str, Any]) -> list[Carried]:
    return [*map(Carried.of, CloudEvent.parse_all(b64decode(record["kinesis"]["data"])))]


@MANY
@given(SEEDS)
def test_a_shard_has_the_events_of_a_stream_in_their_order_less_what_came_again(seed: int) -> None:
    dice = random.Random(seed)
    store, client = filled(dice, scaled(60, 400)), Shards(dice, 3, trouble=0.4)
    publish_all(store, MemoryViews(), client, timeout=0.2)
    first: dict[str, list[int]] = {}
    for shard in client.shards:
        for record in shard:
            for carried in decoded(record):
                versions = first.setdefault(carried.stream, [])
                if carried.version not in versions:
                    versions.append(carried.version)
    heads = {str(each.stream): each.version for each in store.run(ReadFeed(START, 1000)).events}
    assert first == {stream: [*range(1, head + 1)] for stream, head in heads.items()}


class Full(Shards):
    """Two shards, of which the first has no capacity."""

    def put_records(self, Records: Sequence[Mapping[str, Any]], StreamName: str) -> dict[str, Any]:
        healthy = [each for each in Records if hash_of(each["PartitionKey"]) % 2]
        told = iter(super().put_records(healthy, StreamName)["Records"])
        return {
            "Records": [next(told) if each in healthy else {"ErrorCode": "Slow"} for each in Records]
        }


@pytest.mark.parametrize("streams", [7, 2000], ids=["", "more streams than a request has records"])
def test_a_shard_without_capacity_holds_up_its_own_streams_alone(streams: int) -> None:
    store, client = MemoryStore(), Full(random.Random(1), 2, trouble=0.0)
    names = [StreamId(f"s/{n}") for n in range(streams)]
    healthy = {name for name in names if hash_of(name) % 2}
    names.sort(key=lambda name: name in healthy)  # those that have to wait come first
    for name in names:
        store.run(Append(name, (Sent("a"), Sent("b")))).unwrap()
    events = [Verbatim(SOURCE).transform(each) for each in every(store)]
    answer = KinesisBroker(client, "s", packed=True, timeout=1).run(Publish(tuple(events)))
    assert answer.left == len(events)
    came = [carried for record in client.shards[1] for carried in decoded(record)]
    assert {carried.stream for carried in came} == healthy
    assert len(came) == 2 * len(healthy)


def every(store: MemoryStore) -> list[Any]:
    """All events of a store."""
    found, at = list[Any](), START
    while (page := store.run(ReadFeed(at, 1000))).events:
        found += page.events
        at = page.next
    return found


def test_consecutive_events_of_a_stream_share_a_record() -> None:
    store = MemoryStore()
    for n in range(1000):
        store.run(Append(StreamId(f"s/{n % 10}"), (Sent(str(n)),))).unwrap()
    client = Shards(random.Random(1), 1, trouble=0.0)
    out = Publisher("feed", Verbatim(SOURCE), begin="start", batch=1000)
    broker = KinesisBroker(client, "s", packed=True)
    (store | MemoryViews() | world | broker).run(publish_once(out))
    assert client.requests == [10], "control: without packing, they are a hundred requests of ten"
    again = Shards(random.Random(1), 1, trouble=0.0)
    (store | MemoryViews() | world | KinesisBroker(again, "s")).run(publish_once(out_again()))
    assert again.requests == [10] * 100


def out_again() -> Publisher:
    return Publisher("again", Verbatim(SOURCE), begin="start", batch=1000)


def test_an_event_arrives_as_it_was_stored_and_a_changed_one_is_refused() -> None:
    store = MemoryStore()
    store.run(Append(StreamId("s/1"), (Sent("a"), Sent("b")), metadata={"actor": "me"})).unwrap()
    for event in store.run(ReadFeed()).events:
        sent = Verbatim(SOURCE).transform(event)
        carried = Carried.of(CloudEvent.parse(sent.to_json()))
        assert carried.record == event.record
        (again,) = store.run(carried.recorded(CODEC))
        assert again.data == event.data
        assert (again.id, again.metadata) == (event.id, event.metadata)
        (kept,) = store.run(Carried(carried.stream, carried.version, 1, None).recorded(CODEC))
        assert kept.record == event.record
        for change in (
            {"data": b64encode(b'{"text":"z"}').decode()},
            {"version": 9},
            {"recorded_at": 1},
        ):
            with pytest.raises(Corrupted):
                Carried.of(attrs.evolve(sent, data={**sent.data, **change}))
        for bad in cast("list[dict[str, Any]]", [{"version": 0}, {"kind": 3}, {"rest": None}]):
            with pytest.raises(NotACloudEvent):
                Carried.of(attrs.evolve(sent, data={**sent.data, **bad}))
        with pytest.raises(NotACloudEvent, match="no internal event"):
            Carried.of(attrs.evolve(sent, type="com.example.other.v1"))


def test_a_record_in_which_one_event_is_damaged_is_put_aside_and_comes_by_the_gap(
    tmp_path: Path,
) -> None:
    store, view = MemoryStore(), made_view()
    for text in ("a", "b", "c"):
        store.run(Append(StreamId("s/1"), (Sent(text),))).unwrap()
    client = Shards(random.Random(1), 1, trouble=0.0)
    publish_all(store, MemoryViews(), client)
    (record,) = client.shards[0]
    made = [json.loads(event.to_json()) for event in CloudEvent.parse_all(data_of(record))]
    made[1]["data"]["crc"] += 1
    damaged = {**record, "kinesis": {**record["kinesis"], "data": written(made)}}
    last = {**record, "kinesis": {**record["kinesis"], "data": written(made[2:])}}
    with SqliteViews(tmp_path / "views.db", [view]) as views:
        handler = lambda_handler(view, store | views)
        assert handler({"Records": [damaged]}, None) == {"batchItemFailures": []}
        assert rows(views, view) == []
        assert handler({"Records": [last]}, None) == {"batchItemFailures": []}
        assert [text for _, _, text in rows(views, view)] == ["a", "b", "c"]


def data_of(record: Mapping[str, Any]) -> bytes:
    return b64decode(record["kinesis"]["data"])


def written(told: object) -> str:
    return b64encode(json.dumps(told).encode()).decode()


def test_who_waits_by_kinesis_is_told_of_what_a_publisher_puts_there(exact: Tables) -> None:
    kinesis, arn = exact.new_shards()
    store, views = MemoryStore(), MemoryViews()
    store.run(Append(StreamId("s/1"), (Sent("a"),))).unwrap()
    name = arn.rpartition("/")[2]
    app = store | views | world | KinesisBroker(kinesis, name, packed=True)
    out = Publisher("feed", Verbatim(SOURCE), begin="start")
    app.run(publish_once(out))
    with StreamListener(exact.other_client("kinesis"), arn, every=0.05) as listener:
        end = store.run(ReadFeed()).end
        listener.run(WaitForEvents(end, 20))  # the first time it may have missed something
        later = [store.run(Append(StreamId("s/1"), (Sent(text),))).unwrap() for text in "bc"]
        app.run(publish_once(out))
        assert listener.run(WaitForEvents(end, 20)) is True
        assert listener.run(WaitForEvents(later[0].cursor, 20)) is True
        assert listener.run(WaitForEvents(later[1].cursor, 0.5)) is False, "a record's last position"
