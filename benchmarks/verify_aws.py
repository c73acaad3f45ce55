"""Tries on a real account of AWS what no emulator shows: `python -m benchmarks.verify_aws`.

    EVENTSRC_VERIFY_TABLE=events EVENTSRC_VERIFY_STREAM=feed python -m benchmarks.verify_aws

The environment names a table, as `eventsrc.aws.cloudformation` makes it, and a Kinesis data stream.
Both are for this alone; region and credentials are boto3's. A minute costs a few cents. Writers append
from several threads, a follower reads the feed meanwhile, and a publisher puts it into Kinesis. It ends
with 1 if an event was skipped, doubled or out of order in the feed, or out of order in its shard, and
prints what it has measured. Lambda's retries are not tried: deploy the function of the how-to for that.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from uuid import uuid4

from eventsrc import Append, Failure, ReadFeed, StreamId, Success, event, world
from eventsrc.aws import DynamoStore, config
from eventsrc.aws.kinesis import KinesisBroker
from eventsrc.events.positions import Cursor
from eventsrc.publishing import Carried, CloudEvent, Publisher, Verbatim, publish_once
from eventsrc.views.memory import MemoryViews

TABLE: Final = "EVENTSRC_VERIFY_TABLE"
STREAM: Final = "EVENTSRC_VERIFY_STREAM"
WITHIN: Final = 60.0
"""Seconds in which Kinesis must show what it has taken."""


@event("verify.counted")
class Counted:
    number: int


def main(seconds: float, writers: int) -> list[str]:
    """Runs all; answers what was wrong."""
    import boto3

    db = boto3.client("dynamodb", config=config())
    kinesis = boto3.client("kinesis")
    run, stream = uuid4().hex, os.environ[STREAM]
    wrong: list[str] = []
    feed = Publisher(run, Verbatim(f"urn:uuid:{run}"), prefix=f"verify/{run}/", batch=1000)
    with DynamoStore(db, os.environ[TABLE], timeout=20) as store, MemoryViews() as views:
        began = store.run(ReadFeed()).end
        app = store | views | world | KinesisBroker(kinesis, stream, packed=True)
        app.run(publish_once(feed))  # it begins here
        places = {
            shard: kinesis.get_shard_iterator(
                StreamName=stream, ShardId=shard, ShardIteratorType="LATEST"
            )["ShardIterator"]
            for shard in shards(kinesis, stream)
        }
        over = threading.Event()
        with ThreadPoolExecutor(writers + 1) as threads:
            reading = threads.submit(followed, store, began, over)
            writing = [threads.submit(written, store, run, n, seconds) for n in range(writers)]
            took = sorted(each for one in writing for each in one.result())
            over.set()
            seen = reading.result()
        wrong += judged(seen)
        late = time.monotonic()
        app.run(publish_once(feed))
        published = time.monotonic() - late
        came = [*arrived(kinesis, places, len(took))]
        wrong += judged_streams(came, len(took))
        print(f"{len(took)} appends by {writers} threads in {seconds:.0f} s")
        for name, share in (("p50", 0.5), ("p99", 0.99), ("most", 1.0)):
            print(f"  {name:<5} {took[min(int(share * len(took)), len(took) - 1)] * 1000:8.1f} ms")
        print(f"{len(came)} events through Kinesis, put there in {published:.1f} s")
    return wrong


def written(store: DynamoStore, run: str, writer: int, seconds: float) -> list[float]:
    """Appends for a while; answers how long each took."""
    took: list[float] = []
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        match store.run(Append(StreamId(f"verify/{run}/{writer}"), (Counted(len(took)),))):
            case Success():
                took.append(time.monotonic() - now)
            case Failure(why):
                raise SystemExit(f"an append failed: {why}")
    return took


def followed(store: DynamoStore, after: Cursor, over: threading.Event) -> list[tuple[int, str, int]]:
    """The events that a follower sees: position, stream and version."""
    seen: list[tuple[int, str, int]] = []
    while True:
        is_last = over.is_set()
        page = store.run(ReadFeed(after, 1000))
        seen += [(each.position, str(each.stream), each.version) for each in page.events]
        after = page.next
        if is_last and not page.events and page.blocked is None:
            return seen


def judged(seen: list[tuple[int, str, int]]) -> Iterator[str]:
    """The faults of a feed: positions without holes, versions one by one."""
    positions = [position for position, _, _ in seen]
    if positions != sorted({*positions}):
        yield "the feed has positions twice, or out of order"
    heads: dict[str, int] = {}
    for _, stream, version in seen:
        if stream in heads and version != heads[stream] + 1:
            yield f"the feed has version {version} of {stream} after {heads[stream]}"
        heads[stream] = version
    if sum(stream.startswith("verify/") for _, stream, _ in seen) == 0:
        yield "the feed has none of the events"


def judged_streams(came: list[tuple[str, int]], count: int) -> Iterator[str]:
    """The faults of what came through Kinesis: the versions of each stream one by one, none missing."""
    heads: dict[str, int] = {}
    for stream, version in came:
        if version > heads.get(stream, 0) + 1:
            yield f"Kinesis has version {version} of {stream} after {heads.get(stream, 0)}"
        heads[stream] = max(version, heads.get(stream, 0))
    if sum(heads.values()) != count:
        yield f"Kinesis has {sum(heads.values())} of {count} events"


def shards(kinesis: Any, stream: str) -> list[str]:
    """The ids of the open shards of a stream."""
    told = kinesis.list_shards(StreamName=stream)["Shards"]
    return [
        each["ShardId"] for each in told if not each["SequenceNumberRange"].get("EndingSequenceNumber")
    ]


def arrived(kinesis: Any, places: dict[str, Any], count: int) -> Iterator[tuple[str, int]]:
    """The stream and version of each event that shards bring, until there are enough, or time is up."""
    end, found = time.monotonic() + WITHIN, 0
    pause = threading.Event()
    while found < count and time.monotonic() < end:
        for shard in [*places]:
            told = kinesis.get_records(ShardIterator=places[shard])
            places[shard] = told["NextShardIterator"]
            for record in told["Records"]:
                for each in map(Carried.of, CloudEvent.parse_all(record["Data"])):
                    if each.stream.startswith("verify/"):
                        found += 1
                        yield str(each.stream), each.version
        pause.wait(0.25 * len(places))  # a shard bears five reads a second


if __name__ == "__main__":
    asked = ArgumentParser("python -m benchmarks.verify_aws")
    asked.add_argument("--seconds", type=float, default=60.0, help="for how long to append")
    asked.add_argument("--writers", type=int, default=32, help="threads that append")
    options = asked.parse_args()
    missing = [name for name in (TABLE, STREAM) if not os.environ.get(name)]
    if missing:
        print(f"set {' and '.join(missing)}: a table, and a Kinesis data stream, for this alone")
        sys.exit(2)
    faults = main(options.seconds, options.writers)
    print(*faults or ["nothing was skipped, doubled or out of order"], sep="\n")
    sys.exit(bool(faults))
