"""A service of somebody else: it knows of the platform what its external events say, and no more.

It has a store of its own. Each external event takes effect once, however often it comes.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from eventsrc import Do, Recorded, Streams, View, event, program
from eventsrc.publishing import CloudEvent
from eventsrc.stores.operations import Append
from examples.tables import Database, tables

INBOX: Final = "newsletter"


@event("newsletter.reader-named")
class ReaderNamed:
    reader: str
    name: str


@event("newsletter.reader-addressed")
class ReaderAddressed:
    reader: str
    email: str


@attrs.frozen
class Named:
    """The fields that it wants of `user-named`; others are passed over."""

    user: str
    name: str


@attrs.frozen
class Addressed:
    """The fields that it wants of `user-addressed`."""

    user: str
    email: str


readers = Streams("readers/{reader}", key=str, events=ReaderNamed | ReaderAddressed)


@program
def take(came: CloudEvent) -> Do[Append, None]:
    """The effect of an external event here; of most, none."""
    match came.type:
        case "example.identity.user-named.v1":
            named = came.data_as(Named)
            yield from readers[named.user].append(ReaderNamed(named.user, named.name))
        case "example.identity.user-addressed.v1":
            addressed = came.data_as(Addressed)
            to = ReaderAddressed(addressed.user, addressed.email)
            yield from readers[addressed.user].append(to)


letters: View[Any] = View("letters")
"""The names and addresses of readers."""


@letters.schema
def create(db: Database) -> None:
    tables(db).create("letters", {"reader": str, "name": str, "email": str}, "reader")


@letters.on(ReaderNamed)
def name(db: Database, event: Recorded[ReaderNamed]) -> None:
    tables(db).put("letters", {"reader": event.data.reader, "name": event.data.name}, "reader")


@letters.on(ReaderAddressed)
def address(db: Database, event: Recorded[ReaderAddressed]) -> None:
    tables(db).put("letters", {"reader": event.data.reader, "email": event.data.email}, "reader")
