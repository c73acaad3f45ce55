"""A double of Lambda's event source mapping, with the rules that AWS documents.

A batch comes again from the lowest sequence number that the function names, or whole if the function
raises, dies, or names what is not in the batch. A batch that failed is split in two, if that is asked
for, and given up when its retries end. Records of different partition keys may go their own ways.
"""

from __future__ import annotations

import contextlib
from typing import Any

import attrs

from eventsrc.aws.delivery import Handler


class Killed(BaseException):
    """The process of the function has died."""


def number_of(record: dict[str, Any]) -> str:
    """The sequence number of a record."""
    if "kinesis" in record:
        return str(record["kinesis"]["sequenceNumber"])
    return str(record["dynamodb"]["SequenceNumber"])


@attrs.define
class SourceMapping:
    """Invokes a function with batches of a shard's records."""

    handler: Handler
    retries: int = 10
    bisects: bool = False
    given_up: list[str] = attrs.Factory(list[str])
    """The sequence numbers of what is lost, as an on-failure destination is told."""
    calls: int = 0
    splits: int = 0

    def send(self, batch: list[dict[str, Any]], tries: int = 0) -> None:
        """Has a batch done, or given up."""
        left = batch
        while left:
            before, left = left, self._invoke(left)
            if not left:
                return
            if len(left) < len(before):  # a part was done
                tries = 0
                continue
            tries += 1
            if tries > self.retries:
                self.given_up += map(number_of, left)
                return
            if self.bisects and len(left) > 1:
                self.splits += 1
                middle = len(left) // 2
                self.send(left[:middle], tries)
                left = left[middle:]

    def _invoke(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The records that are left to do."""
        self.calls += 1
        try:
            answer = self.handler({"Records": batch}, None)
        except (Exception, Killed):
            return batch
        failed = {item["itemIdentifier"] for item in answer["batchItemFailures"]}
        numbers = [number_of(record) for record in batch]
        if not failed <= {*numbers}:
            return batch
        return batch[min(map(numbers.index, failed)) :] if failed else []


def swallowing(handler: Handler) -> Handler:
    """A handler that says that all is well, whatever happened."""

    def handle(event: Any, context: object) -> dict[str, Any]:
        with contextlib.suppress(Exception, Killed):
            handler(event, context)
        return {"batchItemFailures": []}

    return handle
