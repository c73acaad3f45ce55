"""The library eventsourcing, in two set-ups: its own, and events as msgspec structs.

The first is its tutorial's: aggregates with command methods, and JSON. The second follows its example
of msgspec structs: frozen structs, a mapper that leaves everything to msgspec, and functions that make
aggregates of events. Events are put into its event store, which is the shortest way that it documents;
service calls go through its repository and `save`.
"""

from __future__ import annotations

import abc
import datetime
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import (
    InfrastructureFactory,
    Mapper,
    StoredEvent,
    Tracking,
    TrackingRecorder,
    Transcoder,
)
from eventsourcing.projection import Projection
from eventsourcing.sqlite import SQLiteTrackingRecorder
from eventsourcing.utils import Environment, get_topic, resolve_topic

from benchmarks.facts import Layout, key, moment
from benchmarks.systems import Log, System

_BATCH = 10_000
_PAGE = 1_000
_MEMORY = "eventsourcing.popo"
_SQLITE = "eventsourcing.sqlite"

# --- its own set-up -------------------------------------------------------------------------------


class Thing(Aggregate):
    """An aggregate as in its tutorial."""

    @event("Named")
    def __init__(self, thing: UUID, name: str) -> None:
        self.thing = thing
        self.name = name
        self.names = 1

    @event("Renamed")
    def rename(self, thing: UUID, name: str) -> None:
        """Gives it a name."""
        self.name = name
        self.names += 1


def _declared(stream: int, version: int) -> Any:
    facts = {
        "originator_id": key(stream),
        "originator_version": version,
        "timestamp": moment(version),
        "thing": key(stream),
        "name": f"Homer {version % 1000}",
    }
    if version == 1:
        return Thing.Named(originator_topic=get_topic(Thing), **facts)
    return Thing.Renamed(**facts)


# --- msgspec structs ------------------------------------------------------------------------------


class Renamed(msgspec.Struct, frozen=True):
    """An event as a struct."""

    originator_id: UUID
    originator_version: int
    timestamp: datetime.datetime
    thing: UUID
    name: str


class Named(msgspec.Struct, frozen=True):
    """What the events of a thing make of it."""

    id: UUID
    version: int
    name: str
    created_on: datetime.datetime
    modified_on: datetime.datetime


def project(named: Named | None, events: Iterable[Renamed]) -> Named | None:
    """The thing after some more events."""
    for one in events:
        created = one.timestamp if named is None else named.created_on
        named = Named(one.originator_id, one.originator_version, one.name, created, one.timestamp)
    return named


class MsgspecMapper(Mapper[UUID]):
    """Leaves events to msgspec, whose encoder and decoders it keeps."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._encode = msgspec.json.Encoder().encode
        self._decoders: dict[str, Any] = {}

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        """An event as it is stored."""
        return StoredEvent(
            originator_id=domain_event.originator_id,
            originator_version=domain_event.originator_version,
            topic=get_topic(type(domain_event)),
            state=self._encode(domain_event),
        )

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        """An event as it was."""
        topic = stored_event.topic
        decode = self._decoders.get(topic)
        if decode is None:
            decode = self._decoders[topic] = msgspec.json.Decoder(resolve_topic(topic)).decode
        return decode(stored_event.state)


class NoTranscoder(Transcoder):
    """Takes the transcoder's place where the mapper does its work."""

    def encode(self, obj: Any) -> bytes:
        """Is not called."""
        raise NotImplementedError

    def decode(self, data: bytes) -> Any:
        """Is not called."""
        raise NotImplementedError


def _struct(stream: int, version: int) -> Renamed:
    return Renamed(key(stream), version, moment(version), key(stream), f"Homer {version % 1000}")


# --- a view ---------------------------------------------------------------------------------------


class NamesInterface(TrackingRecorder):
    """The view's one command."""

    @abc.abstractmethod
    def set_name(self, thing: UUID, name: str, tracking: Tracking) -> None:
        """Keeps a name, and where the view is."""


class SQLiteNames(SQLiteTrackingRecorder, NamesInterface):
    """The view in a file, with its position in the same transaction."""

    def construct_create_table_statements(self) -> list[str]:
        """The tables."""
        return [
            *super().construct_create_table_statements(),
            "CREATE TABLE IF NOT EXISTS names (id TEXT PRIMARY KEY, name TEXT NOT NULL)",
        ]

    def set_name(self, thing: UUID, name: str, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(
                "INSERT INTO names VALUES (?, ?) ON CONFLICT DO UPDATE SET name = excluded.name",
                (str(thing), name),
            )


class Names(Projection[NamesInterface]):
    """Keeps the view in step with the events."""

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Applies an event."""
        self.view.set_name(domain_event.thing, domain_event.name, tracking)


# --- the logs -------------------------------------------------------------------------------------


class PeerLog(Log):
    """An application of it."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.app: Application[UUID] = Application(env={**environment, **self.settings})

    settings: dict[str, str] = {}  # noqa: RUF012
    batch = _BATCH

    @abc.abstractmethod
    def make(self, stream: int, version: int) -> Any:
        """An event."""

    def events(self, stream: int, first: int, count: int) -> Sequence[Any]:
        return [self.make(stream, version) for version in range(first, first + count)]

    def append(self, stream: int, version: int, events: Sequence[Any]) -> None:
        self.app.events.put(events)

    def read(self, stream: int) -> int:
        count, last = 0, ""
        for one in self.app.events.get(key(stream)):
            last = one.name
            count += 1
        assert last
        return count

    def scan(self) -> int:
        return sum(one.name != "" for one, _ in self._feed())

    def synchronise(self, folder: Path) -> int:
        environment = Environment(
            "names", {"PERSISTENCE_MODULE": _SQLITE, "SQLITE_DBNAME": str(folder / "views.db")}
        )
        factory: InfrastructureFactory[Any] = InfrastructureFactory.construct(environment)
        names = Names(factory.tracking_recorder(SQLiteNames))
        count = 0
        for one, number in self._feed():
            names.process_event(one, Tracking(self.app.name, number))
            count += 1
        factory.close()
        return count

    def fill(self, layout: Layout) -> None:
        turns = iter(layout.turns())
        while batch := list(islice(turns, max(self.batch // layout.at_once, 1))):
            self.app.events.put(
                [self.make(stream, version) for versions, stream in batch for version in versions]
            )

    def close(self) -> None:
        self.app.close()

    def _feed(self) -> Iterable[tuple[Any, int]]:
        """All events with their numbers, as a follower of the application gets them."""
        at, decode = 0, self.app.mapper.to_domain_event
        while page := self.app.recorder.select_notifications(at, _PAGE, inclusive_of_start=False):
            for notification in page:
                yield decode(notification), notification.id
            at = page[-1].id


class DeclaredLog(PeerLog):
    """An application in its own set-up."""

    def make(self, stream: int, version: int) -> Any:
        return _declared(stream, version)

    def call(self, stream: int) -> None:
        thing: Any = self.app.repository.get(key(stream))
        thing.rename(key(stream), f"Marge {thing.names}")
        self.app.save(thing)


class StructLog(PeerLog):
    """An application whose events are structs."""

    settings = {  # noqa: RUF012
        "MAPPER_TOPIC": get_topic(MsgspecMapper),
        "TRANSCODER_TOPIC": get_topic(NoTranscoder),
    }

    def make(self, stream: int, version: int) -> Any:
        return _struct(stream, version)

    def call(self, stream: int) -> None:
        thing: Any = self.app.repository.get(key(stream), projector_func=project)
        at, name = moment(stream), f"Marge {thing.version}"
        self.app.save(Renamed(thing.id, thing.version + 1, at, thing.id, name))


def systems() -> list[System]:
    """Both set-ups."""
    return [
        _system("eventsourcing", "eventsourcing", DeclaredLog),
        _system("eventsourcing msgspec", "eventsourcing-msgspec", StructLog),
    ]


def _system(name: str, files: str, log: type[PeerLog]) -> System:
    def open_sqlite(folder: Path) -> Log:
        return log({"PERSISTENCE_MODULE": _SQLITE, "SQLITE_DBNAME": str(folder / "log.db")})

    return System(name, "peer", files, open_sqlite, lambda: log({"PERSISTENCE_MODULE": _MEMORY}))
