"""What publishing has stored, and what it has sent, stays as it was: ids, names, bytes."""

from __future__ import annotations

from uuid import UUID

import attrs

from eventsrc import Append, MemoryStore, Recorded, StreamId, event
from eventsrc.events.codec import Codec, Encoded, Kind
from eventsrc.events.event import EventTypes
from eventsrc.publishing import CloudEvent, Transformer, arrived
from eventsrc.publishing._sending import Began
from eventsrc.stores.operations import Read
from eventsrc.streams.stream import Stream

TYPES = EventTypes()


@event("test.formats.placed", types=TYPES)
class Placed:
    order: str


@attrs.frozen
class OrderPlaced:
    order: str


public = Transformer("https://shop.example", types=TYPES)


@public.of(Placed, name="placed", version=3)
def placed(event: Recorded[Placed]) -> OrderPlaced:
    return OrderPlaced(event.data.order)


SENT = (
    '{"specversion":"1.0","id":"0190b2c4-1b1e-7c3a-8c57-0123456789ab","source":"https://shop.example",'
    '"type":"placed.v3","subject":"orders/ü","time":"2023-11-14T22:13:20Z",'
    '"datacontenttype":"application/json","sequence":"0000000000000000001",'
    '"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","correlationid":"c",'
    '"data":{"order":"ü"}}'
)


def test_an_external_event_has_the_same_bytes_as_ever() -> None:
    store = MemoryStore(Codec(TYPES), store_id="it", clock=lambda: 1_700_000_000.0)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    store.run(
        Append(
            StreamId("orders/ü"),
            (Placed("ü"),),
            append_id=UUID("0190b2c4-1b1e-7c3a-8c57-0123456789ab"),
            metadata={"traceparent": trace, "correlation_id": "c", "actor": "nobody's business"},
        )
    )
    (recorded,) = store.run(Read(StreamId("orders/ü"))).events
    made = public.transform(recorded)
    assert made is not None
    assert made.to_json().decode() == SENT


def test_an_event_that_arrives_has_the_same_append_id_as_ever() -> None:
    store = MemoryStore(Codec(TYPES))
    ledger = Stream("ledger", events=Placed)
    store.run(
        arrived(CloudEvent.parse(SENT), lambda _event: ledger.append(Placed("ü")), inbox="billing")
    )
    (recorded,) = store.run(ledger.history())
    assert recorded.append_id == UUID("a14a00ce-0447-535f-b99d-52f3a3c80306")


def test_where_a_publisher_began_is_read_as_it_was_written() -> None:
    kind = Kind("eventsrc/publisher.began", 1, "json")
    assert Codec(TYPES).decode(Encoded(kind, b'{"cursor":"it.12"}')) == Began("it.12")
