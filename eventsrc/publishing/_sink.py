"""The view of a publisher: its progress, leases and parked streams are kept, and it has no rows."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from eventsrc.events.recorded import Recorded
from eventsrc.stores.operations import StoreBusy
from eventsrc.views.view import View

Key: TypeAlias = tuple[str, int]
"""An event's stream and version."""

Verdicts: TypeAlias = dict[Key, Exception | None]
"""Of events that are done with None, of those that cannot be the reason."""


class _Unpublished(StoreBusy):
    """A publisher's view is brought forward by somebody who has not published its events."""


class Sink(View[Any]):
    """The view of a publisher: it builds nothing, and takes events that are done with alone.

    So nobody who brings it forward without publishing can have it pass over an event.
    """

    def __init__(self, name: str, prefix: str, partitions: int) -> None:
        super().__init__(f"eventsrc.publishing.{name}", prefix=prefix, partitions=partitions)
        self._known: list[Mapping[Key, Exception | None]] = []
        self._lock = threading.Lock()

    @contextmanager
    def knowing(self, verdicts: Mapping[Key, Exception | None]) -> Iterator[None]:
        """While it is brought forward by somebody who knows which events are done with, or why not."""
        with self._lock:
            self._known = [*self._known, verdicts]
        try:
            yield
        finally:
            with self._lock:
                self._known = [each for each in self._known if each is not verdicts]

    def apply(self, database: Any, event: Recorded[Any]) -> None:
        """Raises why an event cannot be published, and _Unpublished if nobody has published it."""
        verdicts = [each[key_of(event)] for each in self._known if key_of(event) in each]
        if not verdicts:
            raise _Unpublished(
                f"{event.stream}@{event.version} was not published: bring {self!r} forward by the "
                "programs of eventsrc.publishing alone"
            )
        if None not in verdicts:
            error = verdicts[0]
            assert error is not None
            self.tell(error, event)
            raise error


def key_of(event: Recorded[Any]) -> Key:
    """The key of an event."""
    return event.record.stream, event.record.version


def all_well(events: Iterable[Recorded[Any]]) -> Verdicts:
    """The verdicts on events that are done with."""
    return {key_of(event): None for event in events}
