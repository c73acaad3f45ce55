"""A broker of external events: a Kinesis data stream, whose shards keep the order of each subject.

broker = KinesisBroker(boto3.client("kinesis"), "orders")
(store | views | world | broker).run(publish(out))
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import attrs

from eventsrc._clock import monotonic
from eventsrc.programs.interpreter import Interpreter, on
from eventsrc.publishing import CloudEvent, Publish, Published, Refused
from eventsrc.publishing.operations import by_subject
from eventsrc.stores.operations import Unreachable

__all__ = ["KinesisBroker"]

MOST: Final = 500
"""The most records of a request."""

ROOM: Final = 5 * 1024 * 1024
"""The most bytes of a request, keys included."""

LARGEST: Final = 1024 * 1024
"""The most bytes of a record, its key included, unless the stream allows for more."""

_PAUSES: Final = (0.05, 1.0)
"""The shortest and the longest seconds to wait for a shard that has no capacity left."""


@attrs.define
class _Queue:
    """The events of a subject that are still to be sent, in their order."""

    subject: str
    events: deque[CloudEvent]


class KinesisBroker(Interpreter[Publish]):
    """Puts events into a Kinesis data stream, with the subject as a record's partition key.

    client: boto3's client of `kinesis`. stream: the stream's name or ARN.
    timeout: the seconds after which what is left is answered as not sent.
    largest: the most bytes that a record of the stream may have.
    packed: whether a record may have several events of a subject, as a batch of CloudEvents in JSON
        (see `CloudEvent.parse_all`), instead of one.

    PutRecords may store a later record of a request and refuse an earlier one. So a subject has one
    record in a request, and its next one follows when that was stored; shards without capacity left
    hold up their own subjects alone. What is too large is refused.
    """

    def __init__(
        self,
        client: Any,
        stream: str,
        *,
        timeout: float = 5.0,
        largest: int = LARGEST,
        packed: bool = False,
    ) -> None:
        self._client = client
        self._stream = {"StreamARN" if stream.startswith("arn:") else "StreamName": stream}
        self._timeout = timeout
        self._largest = largest
        self._packed = packed

    @on(Publish)
    def publish(self, op: Publish) -> Published:
        """Sends events, each subject's in their order, and waits until the stream has them."""
        deadline = monotonic() + self._timeout
        refused: list[Refused] = []
        waiting: deque[_Queue] = deque()
        for subject, events in by_subject(op.events).items():
            queue = _Queue(subject, deque(events))
            large = next((event for event in events if _size([event]) > self._largest), None)
            if large is not None:
                why = f"it has more than the {self._largest} bytes that a record may have"
                refused.append(Refused(large.id, why))
                while queue.events and queue.events[-1] is not large:
                    queue.events.pop()
                queue.events.pop()
            if queue.events:
                waiting.append(queue)
        shortest, longest = _PAUSES
        seconds = shortest
        while waiting:
            if monotonic() > deadline:
                return _cut_off(op, waiting, refused)
            taken = self._taken(waiting)
            failed = self._put([events for _, events in taken])
            for (queue, events), has_failed in zip(taken, failed, strict=True):
                if not has_failed:
                    for _ in events:
                        queue.events.popleft()
            went = [(queue, no) for (queue, _), no in zip(taken, failed, strict=True) if queue.events]
            waiting.extendleft(queue for queue, no in reversed(went) if not no)
            # behind the others, or the subjects of a shard without capacity would fill all requests
            waiting.extend(queue for queue, no in went if no)
            if all(failed):
                time.sleep(seconds * random.uniform(0.5, 1))
                seconds = min(2 * seconds, longest)
            else:
                seconds = shortest
        return Published(tuple(refused))

    def _taken(self, waiting: deque[_Queue]) -> list[tuple[_Queue, list[CloudEvent]]]:
        """The subjects of the next request, with the events of one record each."""
        taken: list[tuple[_Queue, list[CloudEvent]]] = []
        room = ROOM
        while waiting and len(taken) < MOST:
            events = self._record(waiting[0])
            size = _size(events)
            if taken and size > room:
                break
            room -= size
            taken.append((waiting.popleft(), events))
        return taken

    def _record(self, queue: _Queue) -> list[CloudEvent]:
        """The first events of a subject, as many as a record has."""
        first, *others = queue.events if self._packed else (queue.events[0],)
        events, size = [first], _size([first]) + len(b"[]")
        for event in others:
            size += len(event.to_json()) + len(b",")
            if size > self._largest:
                break
            events.append(event)
        return events

    def _put(self, packs: Sequence[Sequence[CloudEvent]]) -> list[bool]:
        """Which of some records the stream did not take. Raises Unreachable if it takes none."""
        from botocore import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
            exceptions as bc,  # pyright: ignore
        )

        records = [
            {"PartitionKey": _key(events[0].subject), "Data": _written(events)} for events in packs
        ]
        try:
            told = self._client.put_records(Records=records, **self._stream)
        except bc.ClientError as error:
            refused: Any = error
            if refused.response["Error"].get("Code") in _BUSY:
                return [True] * len(records)
            raise Unreachable(f"Kinesis does not take the events: {error}") from error
        except bc.BotoCoreError as error:
            raise Unreachable(f"Kinesis does not answer: {error}") from error
        return ["ErrorCode" in each and bool(each["ErrorCode"]) for each in told["Records"]]


def _written(events: Sequence[CloudEvent]) -> bytes:
    """The data of a record: an event, or a batch of several."""
    if len(events) == 1:
        return events[0].to_json()
    return b"[" + b",".join([event.to_json() for event in events]) + b"]"


def _size(events: Sequence[CloudEvent]) -> int:
    return len(_written(events)) + len(_key(events[0].subject).encode())


def _key(subject: str) -> str:
    """The partition key of a subject, of 1 to 256 characters."""
    return subject[:256] or "-"


def _cut_off(op: Publish, waiting: deque[_Queue], refused: list[Refused]) -> Published:
    """The answer when time is over: all from the first event on that was not sent comes again."""
    left = {event.id for queue in waiting for event in queue.events}
    first = next(index for index, event in enumerate(op.events) if event.id in left)
    sent = {event.id for event in op.events[:first]}
    return Published(tuple(each for each in refused if each.id in sent), left=len(op.events) - first)


_BUSY: Final = frozenset({"ProvisionedThroughputExceededException", "LimitExceededException"})
