"""Tags in a SQLite store: events of a boundary, found by an index, and the indexing of older ones."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator, Mapping, Sequence
from heapq import merge
from itertools import groupby, islice
from typing import Any, Final

from eventsrc.events.codec import Codec, Encoded
from eventsrc.events.event import EventType
from eventsrc.sqlite import _sql as sql
from eventsrc.sqlite._rows import check_positions, check_streams, end_of, kinds_of, of_one_page
from eventsrc.stores._known import Kinds
from eventsrc.stores._tagging import Bound, BoundItem, not_indexed, stored_tags
from eventsrc.stores.operations import MAX_PAGE
from eventsrc.stores.tags import Indexed, IndexTags

_LOST: Final = ""
"""The type of an event whose kind is not found, which is damaged: whoever reads it is told."""


def known_types(connection: sqlite3.Connection, items: Sequence[BoundItem]) -> dict[Any, str]:
    """The names of event types by the numbers of their kinds.

    Raises NotIndexed if events that one of the items might match have not been given their tags.
    """
    rows = connection.execute(sql.DECLARATIONS).fetchall()
    for _, type_name, tags, is_whole, _ in rows:
        for item in items:
            declared = item.declared.get(type_name)
            if declared is not None and not (is_whole and tags == declared):
                raise not_indexed(type_name)
    return {row[0]: row[1] for row in rows}


def is_changed(connection: sqlite3.Connection, bound: Bound, end: int) -> bool:
    """Whether an event of a boundary came after it was read, and up to the end of the feed.

    A cursor that is beyond that end counts as changed, for whoever then looks closer.
    """
    after = bound.cursor.position
    if after == end:
        return False
    types = known_types(connection, bound.items)
    if after > end:
        return True
    for item in bound.items:  # as a rule, one of its tags has not come since
        if all(connection.execute(sql.TAGGED, (tag, after)).fetchone() for tag in item.tags):
            for _ in positions(connection, types, (item,), after, end):
                return True
    return False


def last_to_look_at(items: Sequence[BoundItem], after: int, end: int) -> int:
    """The last position of a page: where an index leads to all, the end."""
    return end if all(item.tags for item in items) else min(after + MAX_PAGE, end)


def positions(
    connection: sqlite3.Connection,
    types: Mapping[Any, str],
    items: Sequence[BoundItem],
    after: int,
    until: int,
) -> Iterator[int]:
    """The positions of the events that one of the items matches, in their order."""
    found = merge(*(_of_item(connection, types, item, after, until) for item in items))
    return (position for position, _ in groupby(found))


def page(connection: sqlite3.Connection, found: Iterator[int], limit: int) -> tuple[list[Any], bool]:
    """The rows of the first events at some positions that a page holds, and whether there are more."""
    rows, is_cut = of_one_page(_rows(connection, islice(found, limit)), data=5, rest=7)
    check_streams([row[1] for row in rows])
    check_positions([row[0] for row in rows])
    return rows, is_cut or len(rows) == limit


def index(
    connection: sqlite3.Connection,
    op: IndexTags,
    types: Mapping[str, EventType],
    codec: Codec,
    kinds: Kinds,
    secret: bytes,
) -> Indexed:
    """Gives the events of some types their tags, from where that was left off."""
    end, _ = end_of(connection)
    todo: dict[int, tuple[EventType, int]] = {}
    for number, type_name, tags, is_whole, at in connection.execute(sql.DECLARATIONS).fetchall():
        kind = types.get(type_name)
        if kind is None or (is_whole and tags == kind.declared):
            continue
        if tags != kind.declared:
            connection.execute(sql.FORGET_TAGS, (number,))
            at = 0
        todo[number] = kind, at
    if not todo:
        return Indexed(end, True)
    after = min(at for _, at in todo.values())
    until = min(after + op.limit, end)
    known = kinds_of(connection, kinds, todo.keys())
    for position, number, data in connection.execute(sql.DATA_BETWEEN, (after, until)).fetchall():
        if number in todo and position > todo[number][1]:
            kind = todo[number][0]
            tags = stored_tags(kind, codec.decode(Encoded(known[number], data)), secret)
            connection.executemany(sql.ADD_TAG, [(tag, position, number) for tag in tags])
    for number, (kind, at) in todo.items():
        connection.execute(sql.DECLARE, (kind.declared, until == end, max(at, until), number))
    return Indexed(until, until == end)


def _of_item(
    connection: sqlite3.Connection,
    types: Mapping[Any, str],
    item: BoundItem,
    after: int,
    until: int,
) -> Iterator[int]:
    if not item.tags:
        for position, kind, stream in connection.execute(sql.BETWEEN, (after, until)):
            if item.takes(stream, types.get(kind, _LOST)):
                yield position
        return
    for position, kind in _with_all(connection, item.tags, after):
        if position > until:
            return
        stream = item.prefix
        if item.prefix:
            ((stream,),) = connection.execute(sql.STREAM_AT, (position,)).fetchall()
        if item.takes(stream, types.get(kind, _LOST)):
            yield position


def _with_all(
    connection: sqlite3.Connection, tags: Sequence[str], after: int
) -> Iterator[tuple[int, Any]]:
    """The events that have all of some tags.

    Each tag's index is entered at the position that the tag before has come to, so that the rarest
    decides how many steps it takes. (Veldhuizen, Leapfrog Triejoin, 2014.)
    """
    if len(tags) == 1:
        yield from connection.execute(sql.TAGGED, (tags[0], after))
        return
    place, agreed, turn = after, 0, 0
    while True:
        row = connection.execute(
            sql.TAGGED, (tags[turn], place if not agreed else place - 1)
        ).fetchone()
        if row is None:
            return
        agreed = agreed + 1 if agreed and row[0] == place else 1
        place = row[0]
        if agreed == len(tags):
            yield row
            agreed = 0
        turn = (turn + 1) % len(tags)


def _rows(
    connection: sqlite3.Connection, found: Iterator[int]
) -> Generator[tuple[Any, ...], None, None]:
    for position in found:
        yield from connection.execute(sql.AT, (position,)).fetchall()
