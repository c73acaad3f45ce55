"""Waiting for events by a table's stream of changes: followers rest until something is written.

    changes = boto3.client("dynamodbstreams")
    with StreamListener(changes, arn) as listener:
        (store | views | world | listener).run(follow(user_names))

A follower reads the feed in any case, where nothing is skipped: its view is kept as by any other
follower, with its progress in the view's own transaction and with its leases. The stream only says
*when* to read. So nothing has to be known of the places in its shards, and no change that is lost,
doubled or late does any harm: whoever waits looks anyway when its time is over.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any, Final, Protocol

import attrs

from eventsrc._clock import monotonic, within
from eventsrc._errors import EventsrcError
from eventsrc.aws._items import part_of
from eventsrc.events.positions import Cursor
from eventsrc.events.record import Corrupted
from eventsrc.following.waiting import WaitForEvents, check_every
from eventsrc.programs.interpreter import on
from eventsrc.programs.opened import Opened
from eventsrc.publishing import Carried, CloudEvent
from eventsrc.stores.operations import StoreClosed

__all__ = ["StreamListener"]

AWAY: Final = 1.0
"""Seconds between two attempts while the stream cannot be read; whoever waits is told at each."""

LISTED: Final = 30.0
"""Seconds after which the shards are listed again, for those that came without a parent's end."""

_log: Final = logging.getLogger("eventsrc.aws")


class StreamListener(Opened[WaitForEvents]):
    """Waits for events by DynamoDB Streams, or by a Kinesis data stream, into which DynamoDB puts the
    table's changes, or a publisher the feed, as `eventsrc.publishing.Verbatim` has it.

    client: boto3's client of `dynamodbstreams` or of `kinesis`.
    stream: the stream's ARN.
    every: seconds between two reads of a shard. A shard of Kinesis bears five reads a second by all of
        its readers, and one of DynamoDB Streams two readers.

    Any number of threads and tasks may wait. While the stream cannot be read, which is logged once, who
    waits is told about every second that there may be news.
    """

    def __init__(self, client: Any, stream: str, *, every: float = 0.5) -> None:
        check_every(every)
        self._shards = _shards_of(client, stream)
        self._every = every
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._waiting: dict[Future[bool], Cursor] = {}
        self._end = 0
        """The greatest position that the stream has told of."""
        self._is_closed = False
        self._thread: threading.Thread | None = None

    @on(WaitForEvents)
    def wait(self, op: WaitForEvents) -> bool:
        """Waits until the stream tells of an event beyond the cursor."""
        news = self._expect(op.after)
        try:
            return news.result(min(op.within, threading.TIMEOUT_MAX))
        except TimeoutError:
            return False
        finally:
            self._forget(news)

    @on(WaitForEvents).coroutine
    async def wait_async(self, op: WaitForEvents) -> bool:
        """Waits until the stream tells of an event beyond the cursor, in an event loop."""
        news = self._expect(op.after)
        try:
            return await within(op.within, asyncio.wrap_future(news))
        except TimeoutError:
            return False
        finally:
            self._forget(news)

    def close(self) -> None:
        """Stops reading; all who wait are told at once. Closing twice is closing once."""
        if self._pid != os.getpid():  # its lock may be held by a thread that the fork did not copy
            return
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._tell(StoreClosed("the listener was closed: open it again"))
        if self._thread is not None:
            self._thread.join(AWAY)

    def _expect(self, after: Cursor) -> Future[bool]:
        """A future that is told of an event beyond a cursor."""
        if self._pid != os.getpid():
            raise StoreClosed("the listener was opened before a fork: open one in this process")
        news: Future[bool] = Future()
        with self._changed:
            if self._is_closed:
                raise StoreClosed("the listener was closed: open it again")
            if self._end > after.position:
                news.set_result(True)
                return news
            self._waiting[news] = after
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._listen, name="eventsrc-stream", daemon=True
                )
                self._thread.start()
            self._changed.notify_all()
        return news

    def _forget(self, news: Future[bool]) -> None:
        with self._changed:
            self._waiting.pop(news, None)

    def _tell(self, error: Exception | None = None, end: int | None = None) -> None:
        """Tells who waits that there may be news; with an end, those alone who wait for no more."""
        with self._changed:
            for news, after in [*self._waiting.items()]:
                if end is not None and after.position >= end:
                    continue
                del self._waiting[news]
                if not news.set_running_or_notify_cancel():
                    continue
                if error is None:
                    news.set_result(True)
                else:
                    news.set_exception(error)

    # --- the thread that reads

    def _listen(self) -> None:
        """Reads the shards for as long as somebody waits, until it is closed."""
        reading: _Reading | None = None
        is_away = False
        while self._is_wanted():
            began = monotonic()
            try:
                if reading is None:
                    reading = _Reading(self._shards)
                    self._tell()  # what was written before it read is news to nobody but the feed
                for end in reading.read():
                    self._end = max(self._end, end)
                    self._tell(end=None if not end else self._end)
            except Exception as error:
                reading = None
                if not is_away:
                    _log.warning("the stream of changes cannot be read, the feed is polled: %s", error)
                is_away = True
                self._end = 0
                self._rest(AWAY)
                self._tell()
            else:
                if is_away:
                    _log.warning("the stream of changes is read again")
                is_away = False
                self._rest(self._every - (monotonic() - began))

    def _is_wanted(self) -> bool:
        """Waits until somebody waits; answers False once it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or bool(self._waiting))
            return not self._is_closed

    def _rest(self, seconds: float) -> None:
        end = monotonic() + seconds
        with self._changed:
            while not self._is_closed and (left := end - monotonic()) > 0:
                self._changed.wait(left)


# --- shards


class _Shards(Protocol):
    """The shards of a stream, by the one or the other of AWS's services."""

    def listed(self) -> dict[str, bool]:
        """All shards that there still are, and whether each is open."""
        ...

    def iterator(self, shard: str, where: str) -> str | None:
        """A place in a shard: "LATEST" or "TRIM_HORIZON"."""
        ...

    def records(self, iterator: str) -> tuple[list[int], str | None]:
        """The positions that records tell of, 0 for one that tells none, and the place behind them."""
        ...


def _shards_of(client: Any, stream: str) -> _Shards:
    service = client.meta.service_model.service_name
    kinds: dict[str, Any] = {"dynamodbstreams": _TableShards, "kinesis": _KinesisShards}
    if service not in kinds:
        raise ValueError(
            f"the client is of {service!r}: give boto3.client('dynamodbstreams') or ('kinesis')"
        )
    found: _Shards = kinds[service](client, stream)
    return found


class _Reading:
    """The places up to which the shards of a stream are read: from now on."""

    def __init__(self, shards: _Shards) -> None:
        self._shards = shards
        self._places: dict[str, str | None] = {
            shard: shards.iterator(shard, "LATEST") if is_open else None
            for shard, is_open in shards.listed().items()
        }
        self._listed = monotonic()

    def read(self) -> Iterator[int]:
        """The positions that shards tell of; those that came meanwhile are read from their start."""
        has_ended = False
        for shard, place in self._places.items():
            if place is not None:
                found, self._places[shard] = self._shards.records(place)
                has_ended = has_ended or self._places[shard] is None
                yield from found
        if has_ended or monotonic() - self._listed > LISTED:
            listed = self._shards.listed()  # one may have come, been written and ended since
            self._listed = monotonic()
            known = {shard: place for shard, place in self._places.items() if shard in listed}
            for shard in listed.keys() - known.keys():
                known[shard] = self._shards.iterator(shard, "TRIM_HORIZON")
            self._places = known


@attrs.frozen
class _TableShards:
    """The shards of DynamoDB Streams."""

    client: Any
    stream: str

    def listed(self) -> dict[str, bool]:
        found: dict[str, bool] = {}
        after: dict[str, str] = {}
        while True:
            told = self.client.describe_stream(StreamArn=self.stream, **after)["StreamDescription"]
            found |= {each["ShardId"]: _is_open(each) for each in told["Shards"]}
            if not told.get("LastEvaluatedShardId"):
                return found
            after = {"ExclusiveStartShardId": told["LastEvaluatedShardId"]}

    def iterator(self, shard: str, where: str) -> str | None:
        asked = {"StreamArn": self.stream, "ShardId": shard, "ShardIteratorType": where}
        found: str | None = self.client.get_shard_iterator(**asked).get("ShardIterator")
        return found

    def records(self, iterator: str) -> tuple[list[int], str | None]:
        told = self.client.get_records(ShardIterator=iterator)
        ends = [_end_of(record["dynamodb"].get("NewImage")) for record in told["Records"]]
        return [end for end in ends if end is not None], told.get("NextShardIterator")


@attrs.frozen
class _KinesisShards:
    """The shards of a Kinesis data stream."""

    client: Any
    stream: str

    def listed(self) -> dict[str, bool]:
        found: dict[str, bool] = {}
        asked: dict[str, str] = {"StreamARN": self.stream}
        while True:
            told = self.client.list_shards(**asked)
            found |= {each["ShardId"]: _is_open(each) for each in told["Shards"]}
            if not told.get("NextToken"):
                return found
            asked = {"NextToken": told["NextToken"]}

    def iterator(self, shard: str, where: str) -> str | None:
        asked = {"StreamARN": self.stream, "ShardId": shard, "ShardIteratorType": where}
        found: str | None = self.client.get_shard_iterator(**asked).get("ShardIterator")
        return found

    def records(self, iterator: str) -> tuple[list[int], str | None]:
        told = self.client.get_records(ShardIterator=iterator, StreamARN=self.stream)
        return [_told(each["Data"]) for each in told["Records"]], told.get("NextShardIterator")


def _is_open(shard: Mapping[str, Any]) -> bool:
    return not shard["SequenceNumberRange"].get("EndingSequenceNumber")


def _told(data: bytes) -> int:
    """The position that a Kinesis record tells of; 0 if it tells none."""
    try:
        told = json.loads(data)
        if isinstance(told, list) or "specversion" in told:  # the feed, as a publisher puts it there
            return max([Carried.of(each).position for each in CloudEvent.parse_all(data)])
        return _end_of(told["dynamodb"]["NewImage"]) or 0
    except (EventsrcError, ValueError, KeyError, TypeError):
        return 0


def _end_of(image: Mapping[str, Any] | None) -> int | None:
    """The last position of the part that an item is; None if it is none, 0 if it does not tell."""
    if image is None or image.get("p", {}).get("S", "")[:2] != "s/":
        return None
    try:
        return part_of(dict(image)).end
    except (Corrupted, ValueError, KeyError, TypeError, AttributeError):
        return 0
