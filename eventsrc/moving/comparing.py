"""Programs that look whether a store is sound, and where two differ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs

from eventsrc.events.pages import records_of
from eventsrc.events.positions import START, Cursor
from eventsrc.events.record import Corrupted, Record, check_all
from eventsrc.moving.copying import PAGE, CopyingOp, There
from eventsrc.programs.program import Do, program
from eventsrc.stores.copying import GetIdentity, Identity
from eventsrc.stores.operations import FeedPage, ReadFeed


@attrs.frozen
class Difference:
    """The first difference of two stores."""

    what: str
    """It, in a sentence."""
    position: int = 0
    """Of the first event that differs; 0 if the stores differ in themselves."""
    one: Record | None = None
    other: Record | None = None
    """The event there of each; None where there is none."""


def _tell_nobody(_position: int, _end: int) -> None:
    pass


@program
def verify(tell: Callable[[int, int], None] = _tell_nobody) -> Do[ReadFeed, int]:
    """Reads all that a store, or an export, has, and answers the number of its events.

    tell: called with the position that was reached and the last one, after each page.
    Raises Corrupted, or BadExport, at the first that is not what was stored.
    """
    after, end = START, 1
    while after.position < end:
        page = yield from ReadFeed(after, PAGE, all_streams=True)
        end = page.end.position
        position = after.position
        records = records_of(page.events)
        for record in records:
            position += 1
            if record.position != position:
                raise Corrupted(f"the event at position {position} is missing")
        check_all(records)
        after = page.next
        tell(after.position, end)
    return end


@program
def compare(
    whole: bool = False, tell: Callable[[int, int], None] = _tell_nobody
) -> Do[CopyingOp, Difference | None]:
    """The first difference of a store and the other, by `both`; None if there is none.

    whole: whether to read all of both. Or else it looks at the last event that both have and, if that
        differs, goes by halves to the first that does. That finds where two copies went on differently,
        by reading a few dozen events; it does not find one event that was changed in the midst of
        others: `verify` finds it, by its checksums, or a whole comparison.
    tell: as of `verify`.
    """
    one: Identity = yield from GetIdentity()
    other: Identity = yield from There(GetIdentity())
    if one.store_id != other.store_id:
        return Difference(f"they are two stores, {one.store_id!r} and {other.store_id!r}")
    sides = _Sides(one, other)
    ends = yield from sides.ends()
    common = min(ends)
    found = yield from (sides.first_of_all(common, tell) if whole else sides.first(common))
    if found is None and one.epochs.begins != other.epochs.begins:
        return Difference(f"they are in epochs {one.epochs.begins} and {other.epochs.begins}")
    if found is None and one.secret != other.secret:
        return Difference("their secrets differ: they make ids and digests in two ways")
    if found is None and ends[0] != ends[1]:
        longer = "first" if ends[0] > ends[1] else "second"
        events = yield from sides.at(common + 1)
        what = f"the {longer} goes on after position {common}, up to {max(ends)}"
        return Difference(what, common + 1, *events)
    return found


class _Sides:
    """The feeds of two stores."""

    def __init__(self, one: Identity, other: Identity) -> None:
        self._one: Final = one
        self._other: Final = other

    def ends(self) -> Do[CopyingOp, tuple[int, int]]:
        pages = yield from self._pages(0, 1)
        return pages[0].end.position, pages[1].end.position

    def at(self, position: int) -> Do[CopyingOp, tuple[Record | None, Record | None]]:
        """The event at a position of each."""
        pages = yield from self._pages(position - 1, 1)
        one, other = ([event.record for event in page.events] for page in pages)
        return (one[0] if one else None), (other[0] if other else None)

    def first(self, common: int) -> Do[CopyingOp, Difference | None]:
        """The first difference up to a position, if from there on they differ: by halves."""
        if not common:
            return None
        one, other = yield from self.at(common)
        if one == other:
            return None
        found = one, other
        low, high = 0, common  # equal up to low, different at high
        while high - low > 1:
            middle = (low + high) // 2
            one, other = yield from self.at(middle)
            if one == other:
                low = middle
            else:
                high, found = middle, (one, other)
        return _difference(high, *found)

    def first_of_all(
        self, common: int, tell: Callable[[int, int], None]
    ) -> Do[CopyingOp, Difference | None]:
        """The first difference up to a position: all is read."""
        position = 0
        while position < common:
            pages = yield from self._pages(position, min(PAGE, common - position))
            for one, other in zip(*[records_of(page.events) for page in pages], strict=False):
                position += 1
                if one != other:
                    return _difference(position, one, other)
            tell(position, common)
        return None

    def _pages(self, position: int, limit: int) -> Do[CopyingOp, tuple[FeedPage[Any], FeedPage[Any]]]:
        one = yield from _read(self._one, position, limit)
        other = yield from There(_read(self._other, position, limit))
        return one, other


def _read(identity: Identity, position: int, limit: int) -> ReadFeed:
    # a place before the current epoch may be one that it has in common with the earlier ones
    after = Cursor(identity.store_id, position, identity.epochs.current) if position else START
    return ReadFeed(after, limit, all_streams=True)


def _difference(position: int, one: Record | None, other: Record | None) -> Difference:
    parts = [
        name
        for name, left, right in zip(Record._fields, one or (), other or (), strict=False)
        if left != right and name not in ("position", "data_crc")
    ]
    what = f"the events at position {position} differ in {', '.join(parts) or 'their checksums'}"
    return Difference(what, position, one, other)
