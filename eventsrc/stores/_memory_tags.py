"""The tags of events in the memory store: the rules of wholeness in their plainest form."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence

import attrs

from eventsrc.events.codec import Codec, Encoded, Kind
from eventsrc.events.event import EventType
from eventsrc.events.record import Record
from eventsrc.stores._tagging import (
    UNDECLARED,
    BoundItem,
    Tagging,
    not_indexed,
    other_tags,
    stored_tags,
)


@attrs.define
class _Declared:
    """The tags that the stored events of a kind have, and whether all of them have them."""

    text: str
    is_whole: bool


class MemoryTags:
    """The tags of a feed's events. Whoever uses it holds the store's lock."""

    def __init__(self) -> None:
        self._kinds: dict[Kind, _Declared] = {}
        self._tags: dict[int, frozenset[str]] = {}
        self._positions: dict[str, list[int]] = {}

    def add(self, records: Sequence[Record], tagging: Tagging | None) -> None:
        """Keeps the tags of records that are about to be stored. Raises OtherTags, and keeps none."""
        if tagging is None and len(records) == 1:  # as of nearly all
            kind = self._kinds.get(records[0].kind)
            if kind is not None and not kind.is_whole:
                return
        declared = [UNDECLARED] * len(records) if tagging is None else tagging.declared
        for record, text in zip(records, declared, strict=True):
            kind = self._kinds.get(record.kind)
            if kind is not None and kind.is_whole and kind.text != text:
                raise other_tags(record.kind.type, kind.text, text)
        for number, (record, text) in enumerate(zip(records, declared, strict=True)):
            kind = self._kinds.setdefault(record.kind, _Declared(text, text != UNDECLARED))
            if tagging is not None and kind.text == text:
                self._keep(record.position, frozenset(tagging.of(number)))

    def remove(self, records: Sequence[Record]) -> None:
        """Forgets the tags of records that were not stored after all."""
        for record in records:
            for tag in self._tags.pop(record.position, ()):
                positions = self._positions.get(tag, [])
                if record.position in positions:  # or a signal's handler raised before it was there
                    positions.remove(record.position)

    def check_indexed(self, items: Sequence[BoundItem]) -> None:
        """Raises NotIndexed if events that might match have not been given their tags."""
        for item in items:
            for kind, stored in self._kinds.items():
                text = item.declared.get(kind.type)
                if text is not None and not (stored.is_whole and stored.text == text):
                    raise not_indexed(kind.type)

    def find(
        self, items: Sequence[BoundItem], feed: Sequence[Record], after: int, limit: int
    ) -> list[Record]:
        """The first events after a position that one of the items matches."""
        found: dict[int, Record] = {}
        for item in items:
            count = 0
            for position in self._candidates(item, after, len(feed)):
                record = feed[position - 1]
                tags = self._tags.get(position, frozenset())
                if item.matches(record.stream, record.kind.type, tags):
                    found[position] = record
                    count += 1
                    if count == limit:
                        break
        return [found[position] for position in sorted(found)[:limit]]

    def index(
        self, types: Mapping[str, EventType], feed: Sequence[Record], codec: Codec, secret: bytes
    ) -> None:
        """Gives all events of some types their tags, unless they have them."""
        for kind, stored in self._kinds.items():
            declared = types.get(kind.type)
            if declared is None or (stored.is_whole and stored.text == declared.declared):
                continue
            its = [record for record in feed if record.kind == kind]
            given = [
                stored_tags(declared, codec.decode(Encoded(kind, record.data)), secret)
                for record in its
            ]
            self.remove(its)
            for record, tags in zip(its, given, strict=True):
                self._keep(record.position, frozenset(tags))
            stored.text, stored.is_whole = declared.declared, True
        for positions in self._positions.values():
            positions.sort()

    def _keep(self, position: int, tags: frozenset[str]) -> None:
        if tags:
            self._tags[position] = tags
        for tag in tags:
            self._positions.setdefault(tag, []).append(position)

    def _candidates(self, item: BoundItem, after: int, end: int) -> Iterator[int]:
        if not item.tags:
            yield from range(after + 1, end + 1)
            return
        rarest = min((self._positions.get(tag, []) for tag in item.tags), key=len)
        yield from rarest[bisect_right(rarest, after) :]
