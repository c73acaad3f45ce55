"""The operations of a store that keeps tags: reading across streams, and appending if nothing changed.

They stand beside StoreOp: a store that does not interpret them is a store all the same. What they find
are events like any others, in streams, with versions and positions.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias, TypeVar
from uuid import UUID

import attrs

from eventsrc.events.codec import Json
from eventsrc.events.positions import START, Cursor
from eventsrc.events.tags import Boundary
from eventsrc.programs.operation import Command, Query
from eventsrc.programs.program import Do, Outcome, program
from eventsrc.stores.operations import (
    Append,
    AppendAll,
    Appended,
    Condition,
    Conflict,
    FeedPage,
    NotAppended,
    StoreError,
    StreamAppend,
)

R = TypeVar("R")

INDEXED_AT_ONCE: Final = 1_000
"""The positions of the feed that IndexTags looks at, unless it is told otherwise."""


class NotIndexed(StoreError):
    """A boundary is about a tag that events which are stored already have not been given yet."""


class OtherTags(StoreError):
    """An append brings an event with other tags than the events of its type are declared to have."""


@attrs.frozen
class Unchanged:
    """A demand that no event of a boundary comes after a cursor; with START, that there is none."""

    boundary: Boundary
    cursor: Cursor


@attrs.frozen
class BoundaryChanged(Conflict):
    """Nothing is stored: an event of a boundary came after the cursor that was expected.

    stream, actual: of the first such event; `expected` is the version before it, and `events` has it.
    """

    boundary: Boundary = attrs.field(factory=Boundary)

    def __str__(self) -> str:
        return f"a conflict: {self.stream} has version {self.actual}, which is within {self.boundary}"


class AppendIf(Command[Outcome[Appended, NotAppended]]):
    """Appends to several streams, all or nothing, if some boundaries are unchanged.

    unchanged: the boundaries, each with the cursor that its reader has come to: `end` of a page.
    conditions: on streams that are only read. Otherwise as AppendAll.
    """

    appends: tuple[StreamAppend, ...]
    unchanged: tuple[Unchanged, ...]
    conditions: tuple[Condition, ...] = ()
    append_id: UUID | None = None
    metadata: Json = attrs.field(factory=dict[str, Any], hash=False)
    request: bytes | None = None


class ReadTagged(Query[FeedPage[Any]]):
    """One page of the events of a boundary, in the order of the feed.

    after: START, or a page's `next`. limit: at most so many events, 1 to 10 000.
    A page may be short, or empty, before the last one, as of ReadFeed: go on from `next` until that is
    `end`, the end of the feed when the page was read, which is the cursor to expect no change since.
    Raises NotIndexed for a tag that was declared after some of its events were stored, until IndexTags
    is done, and EventTypeError for a tag that no event type of the store's codec is declared with.
    """

    boundary: Boundary
    after: Cursor = START
    limit: int = 500


@attrs.frozen
class Indexed:
    """The progress of IndexTags: it has looked at the feed up to a position."""

    position: int
    is_done: bool


class IndexTags(Command[Indexed]):
    """Gives stored events the tags that their types have by now, a part of the feed at a time.

    types: stored names of event types; all that are declared with tags if there are none.
    limit: how many positions of the feed to look at.
    It goes on where it was, in any process; of a type whose declaration has changed it begins anew.
    """

    types: frozenset[str] = frozenset()
    limit: int = INDEXED_AT_ONCE


TagOp: TypeAlias = AppendIf | ReadTagged | IndexTags
"""The operations, besides, of a store that keeps tags."""

AnyAppend: TypeAlias = Append | AppendAll | AppendIf
"""An operation that appends: what is done around appends is done around each of these."""

APPENDS: Final[tuple[type, ...]] = (Append, AppendAll, AppendIf)
"""The types of AnyAppend."""


def parts_of(op: AnyAppend) -> tuple[StreamAppend, ...]:
    """The parts of an append, one for each stream."""
    if isinstance(op, Append):
        return (StreamAppend(op.stream, op.events, op.expected),)
    return op.appends


@program
def index_tags(types: frozenset[str] = frozenset()) -> Do[IndexTags, int]:
    """Gives stored events the tags of their types; answers up to which position. See IndexTags.

    It may be run while others append, and again if it was interrupted.
    """
    while True:
        done = yield from IndexTags(types)
        if done.is_done:
            return done.position
