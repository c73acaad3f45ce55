"""Internal events as they are stored, on their way to views of the same service.

    out = Publisher("feed", Verbatim("https://shop.example/events"), begin="start")
    (store | views | world | KinesisBroker(client, "shop-events", packed=True)).run(publish(out))

A broker takes the events of a feed to views that do not read it: `eventsrc.aws.delivery` applies what
comes through Kinesis. An event travels as the bytes that were stored, with its checksums, so a receiver
has just what the store has. It is nothing for other services: for these there are transformers.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any, Final

import attrs

from eventsrc._pickling import ByName
from eventsrc.events.codec import Codec, Kind
from eventsrc.events.record import Record, check_data, check_rest
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.program import Do, program
from eventsrc.publishing.cloud_event import CloudEvent, NotACloudEvent
from eventsrc.stores.operations import Page, Read

TYPE: Final = "eventsrc.recorded.v1"
"""The type of an internal event as it travels."""

LARGEST: Final = 500_000
"""The most bytes of data and metadata that travel with an event: a record of Kinesis has a mebibyte."""


class Verbatim(ByName):
    """All internal events, as they are stored, for a publisher to send.

    source: a URI that names the store's service.
    largest: the most bytes of data and metadata that travel; of larger events only the place does, and
        who gets it reads the event from the store.
    """

    def __init__(self, source: str, *, largest: int = LARGEST) -> None:
        self.source: Final = source
        self._largest = largest

    def transform(self, event: Recorded[Any]) -> CloudEvent:
        """An internal event, to be sent. Raises Corrupted for one that was changed meanwhile."""
        record = check_rest(check_data(event.record))
        told: dict[str, Any] = {"version": record.version, "position": record.position}
        if len(record.data) + len(record.rest) <= self._largest:
            told |= {
                "kind": [*record.kind],
                "recorded_at": record.recorded_at,
                "data": b64encode(record.data).decode(),
                "crc": record.data_crc,
                "rest": b64encode(record.rest).decode(),
            }
        return CloudEvent(
            id=str(event.id),
            source=self.source,
            type=TYPE,
            subject=record.stream,
            time=event.recorded_at,
            data=told,
            extensions={"sequence": f"{record.version:019}"},
        )

    def __repr__(self) -> str:
        return f"Verbatim({self.source!r})"


@attrs.frozen
class Carried:
    """An internal event that has come: its place, and its record if it was not too large to travel."""

    stream: StreamId
    version: int
    position: int
    record: Record | None

    @staticmethod
    def of(event: CloudEvent) -> Carried:
        """The internal event that another was made of by Verbatim.

        Raises NotACloudEvent for another sort of event, and Corrupted for one that was changed.
        """
        if event.type != TYPE:
            raise NotACloudEvent(
                f"event {event.id} is of type {event.type}, and no internal event: those are {TYPE}"
            )
        told = event.data
        try:
            stream, version, position = StreamId(event.subject), told["version"], told["position"]
            if type(version) is not int or type(position) is not int or min(version, position) < 1:
                raise ValueError(f"its place is {version!r}, at {position!r}")
            if "data" not in told:
                return Carried(stream, version, position, None)
            data, rest = (b64decode(told[name], validate=True) for name in ("data", "rest"))
            kind = Kind(*told["kind"])
            beside = kind, int(told["recorded_at"]), data, int(told["crc"]), rest
            record = Record(position, stream, version, *beside)
            check_rest(check_data(record))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise NotACloudEvent(
                f"event {event.id} is no internal event as it travels: {error!r}"
            ) from error
        return Carried(stream, version, position, record)

    @program
    def recorded(self, codec: Codec) -> Do[Read, tuple[Recorded[Any], ...]]:
        """The event; read from the store if it did not travel, and nothing if the store has none."""
        if self.record is not None:
            return (Recorded(self.record, codec),)
        page: Page[Any] = yield from Read(self.stream, self.version - 1, 1)
        return tuple(page.events)
