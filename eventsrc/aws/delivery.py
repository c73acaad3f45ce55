"""Views that are fed by a table's stream of changes, on AWS Lambda.

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

import attrs

from eventsrc._errors import EventsrcError
from eventsrc.aws._items import Part, part_of, unpack
from eventsrc.events.codec import Codec
from eventsrc.events.record import Corrupted
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.following.synchroniser import SyncOp, deliver
from eventsrc.programs.interpreter import Interpreter
from eventsrc.programs.program import Do, program
from eventsrc.stores.operations import Read
from eventsrc.views.operations import Applied
from eventsrc.views.view import View

__all__ = ["Handler", "PutAside", "lambda_handler"]

Handler: TypeAlias = Callable[[Mapping[str, Any], object], dict[str, Any]]
"""A function that Lambda calls with an event and a context."""

_log: Final = logging.getLogger("eventsrc.aws")


@attrs.frozen
class PutAside:
    """A record that cannot be decoded, and never will be: it holds nothing up."""

    sequence_number: str
    reason: str


def lambda_handler(
    view: View[Any],
    app: Interpreter[SyncOp],
    *,
    codec: Codec | None = None,
    put_aside: Callable[[PutAside], object] | None = None,
) -> Handler:
    """A Lambda function that applies a table's changes to a view.

    app: the table's store and the database of the view, joined; made once, when the function starts.
    codec: what it decodes with; one for all registered events if not given.
    put_aside: is told of records that cannot be decoded; they are logged if it is not given.

    It takes records of DynamoDB Streams, with new images, and of Kinesis Data Streams for DynamoDB; the
    mapping must have ReportBatchItemFailures. Events that are parked, and records that are put aside,
    fail nothing. If the store or the view's database does not answer, the batch comes again from its
    first record; what is no error of this library is raised, and has the same effect.
    """
    reader = Codec() if codec is None else codec
    tell = _warn if put_aside is None else put_aside

    def handle(event: Mapping[str, Any], context: object) -> dict[str, Any]:
        records: Sequence[Any] = event["Records"]
        parts: list[Part] = []
        for record in records:
            try:
                parts += _parts(record)
            except (Corrupted, ValueError, KeyError, TypeError, AttributeError) as error:
                tell(PutAside(_number(record), f"{type(error).__name__}: {error}"))
        try:
            app.run(_applying(view, tuple(parts), reader))
        except EventsrcError as error:
            _log.warning("the batch is to come again: %s", error)
            return {"batchItemFailures": [{"itemIdentifier": _number(records[0])}]}
        return {"batchItemFailures": []}

    return handle


@program
def _applying(view: View[Any], parts: tuple[Part, ...], codec: Codec) -> Do[SyncOp, Applied]:
    """Applies the events of some parts; those whose bodies are kept apart are read from the store."""
    events: list[Recorded[Any]] = []
    for part in parts:
        if not part.name:
            events += [Recorded(record, codec) for record in unpack(part, part.data)]
            continue
        after = part.first - 1
        while after < part.last:
            page = yield from Read(StreamId(part.stream), after, part.last - after)
            if not page.events:
                break
            events += page.events
            after = page.events[-1].version
    return (yield from deliver(view, events))


def _parts(record: Mapping[str, Any]) -> Iterator[Part]:
    """The part that a record has; none for changes of other sorts."""
    if "kinesis" in record:
        record = json.loads(b64decode(record["kinesis"]["data"]))
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


def _warn(aside: PutAside) -> None:
    _log.error("record %s is put aside: %s", aside.sequence_number, aside.reason)
