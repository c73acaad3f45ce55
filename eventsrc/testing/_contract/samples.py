"""Samples for the kit's own tests: events of a few kinds, and names that have broken other stores.

The events' stored names begin with `eventsrc.testing.`, so that they are in nobody's way;
that of Kept with `eventsrc/`, as those of the library's own streams do.
"""

from __future__ import annotations

from typing import Any, Final

from eventsrc.events.codec import Codec
from eventsrc.events.event import EventTypes, Opaque, event, own_event


@event("eventsrc.testing.noted")
class Noted:
    """A text."""

    text: str


@event("eventsrc.testing.counted")
class Counted:
    """A number."""

    number: int


@event("eventsrc.testing.held")
class AnyValue:
    """Any value that JSON has."""

    value: Any


@event(
    "eventsrc.testing.renamed",
    version=2,
    upcast={1: lambda old: {"name": old["nick"], "formal": False}},
)
class Renamed:
    """An event of a second version; in the first it was a RenamedBefore."""

    name: str
    formal: bool


@own_event("testing.kept")
class Kept:
    """A number, in a stream of the library's own."""

    number: int


BEFORE: Final = EventTypes()
"""The event types of a program from before Renamed had a second version."""


@event("eventsrc.testing.renamed", types=BEFORE)
class RenamedBefore:
    """Renamed in its first version."""

    nick: str


def renamed_before(nick: str) -> Opaque:
    """An event of Renamed's first version, as a program of BEFORE stores it."""
    kind, data = Codec(BEFORE).encode(RenamedBefore(nick))
    return Opaque(*kind, data)


UNKNOWN: Final = (
    Opaque("eventsrc.testing.unheard-of", 1, "json", b'{ "spaced": 1.0, "spaced" :[2e0] }\n'),
    Opaque("eventsrc.testing.noted", 99, "json", '{"text":"of a later version: ä"}'.encode()),
    Opaque("eventsrc.testing.noted", 1, "another-codec", b"\x00\xff\xfe no text at all"),
    Opaque("eventsrc.testing.unheard-of", 2**63 - 1, "json", b""),
)
"""Events of a type, a version and a codec that nobody knows."""

HOSTILE_NAMES: Final = (
    "'",
    '"',
    "`",
    "\\",
    "a'; DROP TABLE eventsrc_event;--",
    "--",
    "%s",
    "%(stream)s",
    "$1",
    "?",
    ":name",
    "{}",
    "{0.__class__}",
    "..",
    "~",
    "*",
    "\ufeff",
    "\ufffe",
    "\U0010ffff",
    "é",
    "e\u0301",
    "ﬁ",
    "fi",
    "case",
    "Case",
    "CASE",
    "straße",
    "STRASSE",
    "ı",
    "I",
    "i",
    "space",
    "space ",
    " space",
    " ",
    "\u200b",
    "\u00a0",
    "שלום",
    "_",
    "%",
    "a_b",
    "a%b",
    "axb",
    "a[x]b",
    "null",
    "None",
    "0",
    "00",
    "0.0",
    "1e0",
    "👩‍👩‍👧",
)
"""Segments of stream ids: all different, some of them hard to tell apart, none of them code."""
