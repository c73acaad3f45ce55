"""Views that are fed on AWS Lambda: by a table's stream of changes, or by the feed through Kinesis.

    handler = lambda_handler(users, DynamoStore(client, "events") | PostgresViews(dsn, [users]))

The records may come in any order, doubled, and again: a view applies each event once, in the order of
its stream, and reads from the store what is missing in between. Push is for speed. An event whose
record is lost for good shows in no gap if no other follows it: so also run `synchronise` on a timer.
"""

from __future__ import annotations

import json
import logging
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import attrs

from eventsrc._errors import EventsrcError
from eventsrc.aws._items import StreamPart, part_of, unpack
from eventsrc.events.codec import Codec
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.following.parking import PUT_ASIDE
from eventsrc.following.synchroniser import SyncOp, deliver
from eventsrc.programs.interpreter import Interpreter
from eventsrc.programs.program import Do, program
from eventsrc.publishing import Carried, CloudEvent
from eventsrc.stores.operations import Read
from eventsrc.views.operations import Applied, Failed, GetParked, Park
from eventsrc.views.view import View

__all__ = ["Handler", "lambda_handler"]

Handler: TypeAlias = Callable[[Mapping[str, Any], object], dict[str, Any]]
"""A function that Lambda calls with an event and a context."""

_log: Final = logging.getLogger("eventsrc.aws")


MOST_KEPT: Final = 1000
"""The most records that are kept aside in a view: what is beyond is logged alone."""

SHOWN: Final = 20_000
"""The most characters of a record that are kept aside."""

HandlerOp: TypeAlias = SyncOp | Park
"""The operations of a handler, on the store and on the database of the view."""


@attrs.frozen
class _PutAside:
    """A record that cannot be decoded, and never will be: it holds nothing up.

    place: the event's id as Lambda has it, with the shard and the sequence number.
    record: it, as JSON.
    """

    place: str
    reason: str
    record: str


def lambda_handler(
    view: View[Any],
    app: Interpreter[HandlerOp],
    *,
    codec: Codec | None = None,
) -> Handler:
    """A Lambda function that applies what comes to a view.

    app: the table's store and the database of the view, joined; made once, when the function starts.
    codec: what it decodes with; one for all registered events if not given.

    It takes records of DynamoDB Streams, with new images, of Kinesis Data Streams for DynamoDB, and of
    a Kinesis data stream into which a publisher puts the feed, as `Verbatim` has it; the mapping must
    have ReportBatchItemFailures. Events that are parked fail nothing. Nor does a record that cannot be
    decoded: it is logged, and kept where the view parks, as a stream below `eventsrc/put-aside/`, until
    `skip`. If the store or the view's database does not answer, the batch comes again from its first
    record; what is no error of this library is raised, and has the same effect.
    """
    reader = Codec() if codec is None else codec

    def handle(event: Mapping[str, Any], context: object) -> dict[str, Any]:
        records: Sequence[Any] = event["Records"]
        came: list[StreamPart | Carried] = []
        aside: list[_PutAside] = []
        for record in records:
            try:
                came += _decoded(record)
            except (EventsrcError, ValueError, KeyError, TypeError, AttributeError) as error:
                text = json.dumps(record, ensure_ascii=False)[:SHOWN]
                aside.append(_PutAside(_id(record), f"{type(error).__name__}: {error}", text))
        try:
            app.run(_applying(view, tuple(came), tuple(aside), reader))
        except EventsrcError as error:
            _log.warning("the batch is to come again: %s", error)
            return {"batchItemFailures": [{"itemIdentifier": _number(records[0])}]}
        return {"batchItemFailures": []}

    return handle


@program
def _applying(
    view: View[Any], came: tuple[StreamPart | Carried, ...], aside: tuple[_PutAside, ...], codec: Codec
) -> Do[HandlerOp, Applied]:
    """Applies what came; events that are too large to travel are read from the store."""
    if aside:
        yield from _keep(view, aside)
    events: list[Recorded[Any]] = []
    for each in came:
        if isinstance(each, Carried):
            events += yield from each.recorded(codec)
            continue
        if not each.name:
            events += [Recorded(record, codec) for record in unpack(each, each.data)]
            continue
        after = each.first - 1
        while after < each.last:
            page = yield from Read(StreamId(each.stream), after, each.last - after)
            if not page.events:
                break
            events += page.events
            after = page.events[-1].version
    return (yield from deliver(view, events))


def _keep(view: View[Any], aside: Sequence[_PutAside]) -> Do[HandlerOp, None]:
    """Keeps records that are no events where the view parks, as long as there is room."""
    parked = yield from GetParked(view, MOST_KEPT, PUT_ASIDE)
    kept = {str(each.stream) for each in parked if each.stream.startswith(PUT_ASIDE)}
    for each in aside:
        _log.error("record %s is put aside: %s", each.place, each.reason)
        stream = StreamId(PUT_ASIDE + quote(each.place, safe=":-_.")[:300])
        if stream not in kept and len(kept) < MOST_KEPT:
            kept.add(str(stream))
            error = f"{each.reason}\n{each.record}"
            yield from Park(view, Failed(stream, 1, 0, "eventsrc/put-aside", error, False, True))


def _decoded(record: Mapping[str, Any]) -> Iterator[StreamPart | Carried]:
    """The events that a record has; none for changes of other sorts."""
    if "kinesis" in record:
        data = b64decode(record["kinesis"]["data"], validate=True)
        told = json.loads(data)
        if isinstance(told, list) or "specversion" in told:
            yield from [Carried.of(each) for each in CloudEvent.parse_all(data)]
            return
        record = told
    change = record["dynamodb"]
    if record["eventName"] == "INSERT" and change["Keys"]["p"]["S"][:2] == "s/":
        part = part_of({name: _value(told) for name, told in change["NewImage"].items()})
        if not part.name:
            unpack(part, part.data)  # which says if it was damaged on the way
        yield part


def _value(told: Mapping[str, Any]) -> dict[str, Any]:
    """An attribute as boto3's client has it: bytes come as base64."""
    ((kind, value),) = told.items()
    return {kind: b64decode(value, validate=True) if kind == "B" else value}


def _number(record: Any) -> str:
    """The sequence number of a record, by which Lambda knows it."""
    if "kinesis" in record:
        return str(record["kinesis"]["sequenceNumber"])
    return str(record["dynamodb"]["SequenceNumber"])


def _id(record: Any) -> str:
    """The id of a record, which is the same when it comes again."""
    return str(record.get("eventID") or _number(record))
