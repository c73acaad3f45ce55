"""Events of other libraries, as a store that is copied from: `both(source, store).run(copy())`.

A source says how many events there are, and gives pages of them; the rest is here. So an import is
resumed as any copy is, is compared and verified, and can be exported. For the tables of the library
`eventsourcing` there is a source; docs/how-to/import.md shows how to write another.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final, TypeAlias
from uuid import UUID, uuid5

import attrs

from eventsrc._errors import EventsrcError
from eventsrc.events.codec import Codec, Encoded, Kind
from eventsrc.events.epochs import FIRST
from eventsrc.events.pages import Events
from eventsrc.events.positions import Cursor
from eventsrc.events.record import Record, make_record
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.interpreter import Interpreter, on
from eventsrc.stores.copying import GetIdentity, Identity
from eventsrc.stores.operations import FeedPage, ReadFeed
from eventsrc.stores.prepare import asked_for, check, check_end, of_one_page


class BadImport(EventsrcError):
    """Events of another library cannot be imported as they are."""


@attrs.frozen
class Foreign:
    """An event of another library, as it is to be here.

    version: its position in its stream, from 1. event: an event of yours.
    """

    stream: str
    version: int
    event: object
    recorded_at: datetime
    metadata: Mapping[str, Any] = attrs.field(factory=dict[str, Any])


class ForeignStore(Interpreter[GetIdentity | ReadFeed]):
    """The base of sources: a subclass says how many events there are, and which.

    What it answers must be the same each time, but for events that come after the others: an import
    that is resumed goes on where it was. Each event becomes an append of its own, with an id that is
    made from its stream and version.
    codec: what it encodes with; one for all registered events if not given.
    """

    def __init__(self, codec: Codec | None = None) -> None:
        self.codec: Final = Codec() if codec is None else codec

    @abstractmethod
    def count(self) -> int:
        """The number of events."""

    @abstractmethod
    def page(self, after: int, limit: int) -> Sequence[Foreign]:
        """The events behind so many, at most `limit`. Raises BadImport for one that has no form."""

    @on(GetIdentity)
    def get_identity(self, op: GetIdentity) -> Identity:
        """An id and a secret for the store, which are made from the first event."""
        first = self._records(0, 1)
        if not first:
            raise BadImport("there is no event to import")
        told = blake2b(repr(first[0]).encode(), digest_size=40).digest()
        return Identity(told[:8].hex(), told[8:], FIRST)

    @on(ReadFeed)
    def read_feed(self, op: ReadFeed) -> FeedPage[object]:
        """A page of the feed."""
        check(op)
        store_id = self.get_identity(GetIdentity()).store_id
        after, end = op.after.check(store_id), self.count()
        check_end(op, end)
        found = of_one_page(self._records(after, op.limit))
        last = found[-1].position if found else after
        events = Events[object](asked_for(op, found), self.codec)
        return FeedPage(events, Cursor(store_id, last), Cursor(store_id, end))

    def _records(self, after: int, limit: int) -> list[Record]:
        records: list[Record] = []
        for foreign in self.page(after, limit):
            stream = StreamId(foreign.stream)
            (encoded,) = self.codec.encode_all((foreign.event,))
            records.append(
                make_record(
                    after + len(records) + 1,
                    stream,
                    foreign.version,
                    uuid5(_NAMES, f"{stream}@{foreign.version}").bytes,
                    0,
                    encoded,
                    self.codec.encode_metadata(foreign.metadata),
                    (foreign.recorded_at - _EPOCH) // timedelta(microseconds=1),
                )
            )
        return records


_NAMES: Final = UUID("b3a0c3b4-6e0e-5a9d-9d6f-0f7c6d1c2e11")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# --- the library `eventsourcing`


Change: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
"""Makes the fields of an event of yours of those that the other library stored."""


@attrs.frozen
class Topic:
    """The form here of the events of a topic.

    event: the class of yours. change: makes its fields; the same ones if not given.
    """

    event: type
    change: Change | None = None


class EventsourcingTables(ForeignStore):
    """The events in a table of the library `eventsourcing`, version 9, in SQLite or Postgres.

    connection: of `sqlite3` or of psycopg, to the database.
    topics: for each topic, such as `bank.domain:Account.Opened`, the class of yours, or a Topic.
    stream: the id of the stream of an aggregate, by its UUID and the topic of the event.
    table: its name. order: the column of the order of events; rowid, or notification_id in Postgres.
    read: makes a dict of the stored bytes, where they are not plain JSON: were encrypted, say.
    The types that the library's own transcoder writes (UUID, Decimal, datetime) are taken as such.
    """

    def __init__(
        self,
        connection: Any,
        topics: Mapping[str, type | Topic],
        stream: Callable[[UUID, str], str],
        *,
        table: str = "stored_events",
        order: str = "rowid",
        read: Callable[[bytes], dict[str, Any]] | None = None,
        codec: Codec | None = None,
    ) -> None:
        super().__init__(codec)
        if not all(name.replace("_", "").isalnum() for name in (table, order)):
            raise ValueError(f"{table!r} or {order!r} is no name: use letters, digits and _")
        self._connection = connection
        self._topics = {name: to if isinstance(to, Topic) else Topic(to) for name, to in topics.items()}
        self._stream = stream
        self._table, self._order = table, order
        self._read = _read_json if read is None else read
        self._reached = 0, 0
        """So many events, and the number in the column of the order of the last of them."""

    def survey(self) -> Counter[str]:
        """The number of events of each topic, those that no class was given for included."""
        asked = f"SELECT topic, count(*) FROM {self._table} GROUP BY topic"  # noqa: S608 - a checked name
        return Counter(dict(self._connection.execute(asked).fetchall()))

    def count(self) -> int:
        """The number of events."""
        asked = f"SELECT count(*) FROM {self._table}"  # noqa: S608 - a checked name
        ((number,),) = self._connection.execute(asked).fetchall()
        return int(number)

    def page(self, after: int, limit: int) -> Sequence[Foreign]:
        """The events behind so many, in the order in which they were stored."""
        passed, place = self._reached if self._reached[0] <= after else (0, 0)
        columns = f"{self._order}, originator_id, originator_version, topic, state"
        asked = (
            f"SELECT {columns} FROM {self._table} WHERE {self._order} > {place:d} "  # noqa: S608 - as above
            f"ORDER BY {self._order} LIMIT {limit:d} OFFSET {after - passed:d}"
        )
        rows = self._connection.execute(asked).fetchall()
        if rows:
            self._reached = after + len(rows), rows[-1][0]
        return [self._foreign(*row) for row in rows]

    def _foreign(self, number: int, originator: Any, version: int, topic: str, state: Any) -> Foreign:
        where = f"event {version} of {originator} ({self._order} {number})"
        to = self._topics.get(topic)
        if to is None:
            raise BadImport(
                f"{where} has topic {topic!r}, for which no class is given: add it to topics"
            )
        try:
            told = self._read(state.encode() if isinstance(state, str) else bytes(state))
            stamp = told.pop("timestamp", None)
            told.pop("originator_topic", None)
            fields = told if to.change is None else to.change(told)
            kind = self._kind(to.event)
            event = self.codec.decode(Encoded(kind, json.dumps(fields, ensure_ascii=False).encode()))
            at = _EPOCH if stamp is None else datetime.fromisoformat(stamp)
        except (EventsrcError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise BadImport(f"{where}, of topic {topic!r}, has no form here: {error}") from error
        aggregate = originator if isinstance(originator, UUID) else UUID(str(originator))
        origin = {"origin": "eventsourcing"}
        return Foreign(self._stream(aggregate, topic), version, event, at, origin)

    def _kind(self, cls: type) -> Kind:
        known = self.codec.types.of(cls)
        return Kind(known.name, known.version, "json")


def _read_json(state: bytes) -> dict[str, Any]:
    told = json.loads(state, object_hook=_transcoded)
    if type(told) is not dict:
        raise ValueError("it is no JSON object: give `read`, which makes a dict of it")
    return told


def _transcoded(value: dict[str, Any]) -> Any:
    """A value that the other library's transcoder marked, as the JSON that is stored here."""
    if value.keys() != {"_type_", "_data_"}:
        return value
    match value["_type_"]:
        case "uuid_hex":
            return str(UUID(value["_data_"]))
        case "datetime_iso":
            return value["_data_"].replace("+00:00", "Z")
        case "decimal_str" | "date_iso":
            return value["_data_"]
    raise ValueError(f"it has a value of type {value['_type_']!r}: give `read`, which knows it")
