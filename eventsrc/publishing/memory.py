"""A broker in memory, for tests: it keeps what was published."""

from __future__ import annotations

import threading
from collections.abc import Callable

from eventsrc.programs.interpreter import Interpreter, on
from eventsrc.publishing.cloud_event import CloudEvent
from eventsrc.publishing.operations import Publish, Published, Refused
from eventsrc.stores.operations import Unreachable


class MemoryBroker(Interpreter[Publish]):
    """Keeps all events that come, in the order of their coming.

    refuses: answers why it does not take an event; None to take it.
    """

    def __init__(self, refuses: Callable[[CloudEvent], str | None] = lambda _event: None) -> None:
        self.refuses = refuses
        self.is_away = False
        """True makes it as a broker that does not answer."""
        self._came: list[CloudEvent] = []
        self._lock = threading.Lock()

    @property
    def came(self) -> tuple[CloudEvent, ...]:
        """All events that came; those that came again too."""
        with self._lock:
            return tuple(self._came)

    @on(Publish)
    def publish(self, op: Publish) -> Published:
        """Keeps the events."""
        if self.is_away:
            raise Unreachable("the broker in memory is away: set is_away to False")
        refused: dict[str, Refused] = {}
        with self._lock:
            for event in op.events:
                if event.subject in refused:
                    continue
                why = self.refuses(event)
                if why is None:
                    self._came.append(CloudEvent.parse(event.to_json()))  # as another process has it
                else:
                    refused[event.subject] = Refused(event.id, why)
        return Published(tuple(refused.values()))
