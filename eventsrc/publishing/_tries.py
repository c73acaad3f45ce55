"""Finding the event whose rule ends the process, as views find one whose handler does.

A process that has not yet shown that it survives rules marks the first event of each batch before it
runs any, and takes the mark away before it publishes. Who finds the mark of an earlier process goes on
with one event at a time; an event at which several processes in a row have ended is not tried again.

The mark is a snapshot of the publisher's stream, which is replaced and leaves nothing behind.
"""

from __future__ import annotations

import json
from typing import Any, Final

from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.program import Do
from eventsrc.stores.operations import LoadSnapshot, SaveSnapshot, Snapshot
from eventsrc.views.operations import Failed

VAIN_STARTS: Final = 1
"""Processes in a row that must have ended in a batch before events are tried one by one."""

VAIN_TRIES: Final = 2
"""Processes in a row that must have ended with an event as the first before it is parked."""


class Tries:
    """The marks of one process, for the partitions of a publisher.

    enough: events that are tried one by one, after which a process has shown that it survives.
    """

    def __init__(self, stream: StreamId, enough: int) -> None:
        self._stream = stream
        self._enough = enough
        self._version: dict[int, int] = {}
        self._left: dict[int, int] = {}
        """Of each partition in which events are tried one by one, how many are left of that."""
        self._proved: set[int] = set()

    def is_over(self, partition: int) -> bool:
        """Whether the process has shown that it survives."""
        return partition in self._proved

    def is_one_by_one(self, partition: int) -> bool:
        """Whether events are tried one by one."""
        return partition in self._left

    def begin(
        self, partition: int, event: Recorded[Any]
    ) -> Do[LoadSnapshot | SaveSnapshot, Failed | None]:
        """Marks an event, before its rule is run; answers why it is not to be run, if that is so."""
        kept = yield from LoadSnapshot(self._stream, _name(partition), 1)
        position, tries = (0, 0) if kept is None else json.loads(kept.data)
        tries = tries + 1 if position == event.position else 1
        self._version[partition] = 1 if kept is None else kept.version + 1
        if tries > VAIN_TRIES:
            self._left[partition] = self._enough
            yield from self._save(partition, 0, 0)
            why = f"{tries - 1} processes in a row ended while the rule of this event ran"
            place = event.stream, event.version, event.position, event.type
            return Failed(*place, why, is_deadly=True)
        if position and tries > VAIN_STARTS:
            self._left.setdefault(partition, self._enough)
        yield from self._save(partition, event.position, tries)
        return None

    def end(self, partition: int) -> Do[SaveSnapshot, None]:
        """Takes the mark away, after the rules have run."""
        yield from self.survived(partition)
        left = self._left.get(partition, 0)
        if left > 1:
            self._left[partition] = left - 1
        else:
            self._left.pop(partition, None)
            self._proved.add(partition)

    def survived(self, partition: int) -> Do[SaveSnapshot, None]:
        """Takes the mark away, of rules that have not all run."""
        self._version[partition] += 1
        yield from self._save(partition, 0, 0)

    def _save(self, partition: int, position: int, tries: int) -> Do[SaveSnapshot, None]:
        data = json.dumps([position, tries]).encode()
        version = self._version[partition]
        yield from SaveSnapshot(Snapshot(self._stream, _name(partition), 1, version, data))


def _name(partition: int) -> str:
    return f"tries of {partition}"
