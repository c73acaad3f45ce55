"""The tags that an append brings, and the boundaries that it depends on, as a store wants them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

import attrs

from eventsrc._errors import with_article
from eventsrc.events.codec import Codec, Encoded, Undecodable, UnknownEvent
from eventsrc.events.epochs import Epochs
from eventsrc.events.event import EventType, EventTypeError, Opaque
from eventsrc.events.positions import BadCursor, Cursor
from eventsrc.events.tags import Boundary, BoundaryItem, is_own_type
from eventsrc.stores.tags import IndexTags, NotIndexed, OtherTags, Unchanged

UNDECLARED: Final = ""
"""The declaration of an event without tags."""


@attrs.frozen
class Tagging:
    """The tags of an append's events, which are counted from 0."""

    declared: tuple[str, ...]
    """For each event, the tags that its type is declared with: EventType.declared."""
    tags: tuple[tuple[int, str], ...]
    """The number of an event, and a tag that it has, as it is stored."""

    def of(self, number: int) -> tuple[str, ...]:
        """The tags of an event."""
        return tuple(tag for its, tag in self.tags if its == number)


@attrs.frozen
class BoundItem:
    """An item of a boundary, with its tags as they are stored."""

    tags: tuple[str, ...]
    types: frozenset[str] | None
    prefix: str
    declared: Mapping[str, str]
    """The types whose events might match by tags, and how they are declared: that must be so of all."""

    def takes(self, stream: str, type_name: str) -> bool:
        """Whether an event of a stream and a type matches, if it has the tags."""
        if self.types is None:
            return not is_own_type(type_name) and stream.startswith(self.prefix)
        return type_name in self.types and stream.startswith(self.prefix)

    def matches(self, stream: str, type_name: str, tags: frozenset[str]) -> bool:
        """Whether an event matches."""
        return self.takes(stream, type_name) and tags.issuperset(self.tags)


@attrs.frozen
class Bound:
    """A boundary that must be unchanged since a position."""

    boundary: Boundary
    cursor: Cursor
    items: tuple[BoundItem, ...]

    def check(self, epochs: Epochs, end: int) -> None:
        """Raises WrongEpoch or BadCursor for a cursor that the store has never come to, or lost."""
        epochs.check(self.cursor)
        if self.cursor.position > end:
            raise BadCursor(f"cursor {self.cursor} is beyond the end of the feed, {end}: read anew")


def tagging_of(
    events: Sequence[object], encoded: Sequence[Encoded], codec: Codec, secret: bytes
) -> Tagging | None:
    """The tags of an append's events; None if none of them is declared with any."""
    tagged = codec.types.tagged
    if not tagged or tagged.keys().isdisjoint([one.kind.type for one in encoded]):
        return None
    declared: list[str] = []
    tags: list[tuple[int, str]] = []
    for number, (event, one) in enumerate(zip(events, encoded, strict=True)):
        kind = tagged.get(one.kind.type)
        if kind is not None and type(event) is Opaque:
            try:
                event = codec.decode(one)
            except (UnknownEvent, Undecodable):  # it has tags that nobody here can tell
                kind = None
        declared.append(UNDECLARED if kind is None else kind.declared)
        if kind is not None:
            tags += [(number, text) for text in stored_tags(kind, event, secret)]
    return Tagging(tuple(declared), tuple(tags))


def stored_tags(kind: EventType, event: object, secret: bytes) -> tuple[str, ...]:
    """The tags of an event as they are stored."""
    return tuple([value.stored(secret) for value in kind.tags_of(event)])


def bounds_of(unchanged: object, codec: Codec, store_id: str, secret: bytes) -> tuple[Bound, ...]:
    """The boundaries of an AppendIf. Raises as `items_of`, and WrongStore for another's cursor."""
    if not isinstance(unchanged, tuple | list) or not unchanged:
        _refuse("unchanged", unchanged, "a tuple of Unchanged; without any, use AppendAll")
    bounds: list[Bound] = []
    for asked in unchanged:
        if type(asked) is not Unchanged:
            _refuse("one of unchanged", asked, "an Unchanged")
        if not isinstance(asked.cursor, Cursor):
            _refuse("cursor", asked.cursor, "a Cursor: START, or the `end` of a page")
        asked.cursor.check(store_id)
        bounds.append(Bound(asked.boundary, asked.cursor, items_of(asked.boundary, codec, secret)))
    return tuple(bounds)


def items_of(boundary: object, codec: Codec, secret: bytes) -> tuple[BoundItem, ...]:
    """A boundary's items. Raises TypeError for what is none, and EventTypeError for unknown tags."""
    if type(boundary) is not Boundary:
        _refuse("boundary", boundary, "a Boundary: write about(...)")
    return tuple(_item(item, codec, secret) for item in boundary.items)


def _item(item: BoundaryItem, codec: Codec, secret: bytes) -> BoundItem:
    names = frozenset([tag.name for tag in item.tags])
    declared = codec.types.declaring(names) if names else {}
    if item.types is not None:
        declared = {name: text for name, text in declared.items() if name in item.types}
    if names and not declared:
        raise EventTypeError(
            f"no event type of this store is declared with {' and '.join(sorted(names))}: import the "
            "module that declares it, or correct the boundary"
        )
    texts = sorted([tag.stored(secret) for tag in item.tags])
    return BoundItem(tuple(texts), item.types, item.prefix, declared)


def check_indexing(op: IndexTags, codec: Codec) -> dict[str, EventType]:
    """The types to index, by their names. Raises for an IndexTags that makes no sense."""
    if not isinstance(op.types, frozenset):
        _refuse("types", op.types, "a frozenset of the stored names of event types")
    if type(op.limit) is not int or op.limit < 1:
        raise ValueError(f"limit is {op.limit!r:.100}: it must be a number from 1")
    tagged = codec.types.tagged
    unknown = sorted(op.types - tagged.keys())
    if unknown:
        raise EventTypeError(f"{unknown[0]!r} is no event type with tags: declare it with tags=")
    return {name: kind for name, kind in tagged.items() if not op.types or name in op.types}


def not_indexed(type_name: str) -> NotIndexed:
    """The error for a boundary on tags that some events of a type have not been given yet."""
    return NotIndexed(
        f"events of {type_name!r} were stored before its tags were declared as they are now: run "
        "index_tags() until it is done, and stop the processes that declare others"
    )


def other_tags(type_name: str, stored: str, declared: str) -> OtherTags:
    """The error for an event that is declared otherwise than all stored ones of its type."""
    return OtherTags(
        f"events of {type_name!r} are stored with the tags {stored!r}, and are declared here with "
        f"{declared!r}: update this program or, if this is the newer one, run index_tags()"
    )


def _refuse(name: str, value: Any, wanted: str) -> NoReturn:
    raise TypeError(f"{name} is {value!r:.100}, {with_article(type(value))}, and must be {wanted}")
