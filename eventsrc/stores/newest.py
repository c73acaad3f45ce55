"""The feed backwards: its newest events, and where those of a family or of some types end."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Final

import attrs

from eventsrc.events.positions import START, Cursor
from eventsrc.events.recorded import Recorded
from eventsrc.programs.program import Do, program
from eventsrc.stores.epochs import get_epochs
from eventsrc.stores.operations import MAX_PAGE, FeedPage, ReadFeed
from eventsrc.stores.prepare import check, check_end, of_one_page

_WINDOW: Final = 1_000
"""The positions that are looked at first, where only some of their events are asked for."""

_WINDOWS: Final = 4
"""The most windows that a page is found in."""


@program
def newest(
    cursor: Cursor | None = None,
    limit: int = 500,
    prefix: str = "",
    types: frozenset[str] | None = None,
    all_streams: bool = False,
) -> Do[ReadFeed, FeedPage[Any]]:
    """One page of the feed backwards: the events before a cursor, the newest first.

    cursor: where to go back from, such as a page's `next`, and as it is after an event, that is the
        first; None for the end of the feed.
    limit, prefix, types, all_streams: as of ReadFeed.
    The page's `next` is where to go back from for the next one; there is none when that is START. Of a
    family or of types that are rare a page may be short, or empty, before: some thousands of positions
    are looked at for one. A limit of 1 finds the newest event of a family, whose position is the end of
    the family; and `ReadFeed(page.next, prefix=prefix)` goes forward from the oldest of the page.
    Raises as ReadFeed does.
    """
    asked = ReadFeed(START if cursor is None else cursor, limit, prefix, types, all_streams=all_streams)
    check(asked)
    is_told = cursor is not None and cursor.position > 0
    if cursor is None or not is_told:  # of the prefix, for whoever may ask for that alone
        end = (yield from ReadFeed(START, 1, prefix, types, all_streams=all_streams)).end
        cursor = end if cursor is None else attrs.evolve(end, position=0)
    end, high = cursor, cursor.position
    found: Sequence[Recorded[Any]] = ()
    span = _WINDOW if prefix or types is not None else limit
    for _ in range(_WINDOWS):
        if high == 0 or len(found) == limit:
            break
        low, page = yield from _up_to(high, attrs.evolve(cursor, position=max(high - span, 0)), asked)
        if is_told:
            yield from _check(cursor, page.end)
        is_told, end = False, page.end
        if page.next.position < high:
            return FeedPage(found, attrs.evolve(end, position=high), end, page.blocked)
        until = bisect_right(page.events, high, key=lambda event: event.position)
        both = (*found, *page.events[:until][::-1])
        found = both[: min(len(of_one_page([event.record for event in both])), limit)]
        if len(found) < len(both):
            high = found[-1].position - 1
            break
        # as far as the store looks at once, or where what is left to find is likely to be
        reach = max(MAX_PAGE, page.next.position - low)
        span = min(2 * (high - low) * (limit - len(found)) // until, reach) if until else reach
        span, high = max(span, _WINDOW), low
    return FeedPage(found, attrs.evolve(end, position=high), end)


def _check(cursor: Cursor, end: Cursor) -> Do[ReadFeed, None]:
    """Raises WrongStore, WrongEpoch or BadCursor for what the store with this end never had."""
    cursor.check(end.store_id)
    if cursor.epoch != end.epoch:
        (yield from get_epochs()).check(cursor)
    check_end(ReadFeed(cursor), end.position)


def _up_to(high: int, after: Cursor, asked: ReadFeed) -> Do[ReadFeed, tuple[int, FeedPage[Any]]]:
    """The page, with the position it begins at, that has all from there to a position.

    It begins at a cursor, or later if all from there on is more than a page holds: then the newer half
    is tried. What is beyond the position is in it too.
    """
    while True:
        low = after.position
        page = yield from ReadFeed(
            after, min(high - low, MAX_PAGE), asked.prefix, asked.types, all_streams=asked.all_streams
        )
        if page.next.position >= high or high - low == 1:
            return low, page
        after = attrs.evolve(after, position=(low + high) // 2)
