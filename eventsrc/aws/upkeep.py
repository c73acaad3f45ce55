"""Upkeep of a table, for operators, who may scan it and delete items; no store does either.

    python -m eventsrc.aws.upkeep repair TABLE    after the table was restored from a backup
    python -m eventsrc.aws.upkeep sweep TABLE     now and then, where large events are appended

A backup may have some of what a transaction stored last, and not the rest. `repair` ends the feed
before the first commit of which something is missing, deletes what came after, and begins another
epoch: cursors, tokens and views that name what was lost are errors from then on. No store may be open
on the table. Doing it twice, or again after it was killed, does no harm.

`sweep` deletes the chunks of bodies, kept apart, that no event names, since their append was refused or
its process was killed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs

from eventsrc.aws._feed import Feed
from eventsrc.aws._items import META, commit_of, epochs_of, epochs_text, is_fence
from eventsrc.aws._talk import Item, Key, Table, number
from eventsrc.aws.cloud import new_client
from eventsrc.events.epochs import Epochs
from eventsrc.events.record import Corrupted
from eventsrc.stores.operations import NotAStore
from eventsrc.stores.prepare import microseconds

__all__ = ["Repaired", "repair", "sweep"]

_BATCH = 50
"""The commits whose parts are looked for at once."""

_BACK = 100_000
"""The positions before the end that was known once from which on commits are looked at."""


@attrs.frozen
class Repaired:
    """The state of a table that was repaired."""

    end: int
    """The position of the last event that it has."""
    deleted: int
    """The items that were deleted: commits, and what belongs to commits after the end."""
    epoch: int
    """The epoch that was begun."""


def repair(
    client: Any, table: str, *, timeout: float = 60.0, clock: Callable[[], float] = time.time
) -> Repaired:
    """Makes a store again of a table that was restored from a backup.

    timeout: how many seconds DynamoDB may take for each item that is asked for or deleted.
    Raises NotAStore for a table that has none.
    """
    place = Table(client, table, timeout)
    meta = place.talk().get(META, 0)
    if meta is None or "e" not in meta:
        raise NotAStore(f"table {table!r} has no store in it that could be repaired")
    feed = Feed()
    feed.epochs = Epochs(epochs_of(meta))
    end = _whole_end(place, feed, number(meta, "hint"))
    begins = tuple((epoch, min(position, end)) for epoch, position in feed.epochs.begins)
    place.talk().set(
        META,
        0,
        "SET e = :e, hint = :end",
        {":e": {"S": epochs_text(begins)}, ":end": {"N": str(end)}},
    )
    deleted = _cut(place, end)
    feed.end, feed.epochs = end, Epochs(begins)
    return Repaired(end, deleted, feed.raise_epoch(place.talk(), microseconds(clock)))


def _whole_end(place: Table, feed: Feed, hint: int) -> int:
    """The end of the last commit before the first of which something is missing."""
    at = max(hint - _BACK, 0)
    while at:  # a place where a commit ends
        try:
            feed.end = at
            at = feed.covering(place.talk(), at).last
            break
        except Corrupted:
            at = max(at - _BACK, 0)
    while True:
        talk = place.talk()
        items, _ = talk.query(feed.key_at(at + 1), at + 1, at + _BACK, _BATCH)
        commits: list[Item] = []
        following = at + 1
        for item in items:
            if is_fence(item) or number(item, "n") != following:
                break
            commits.append(item)
            following = number(item, "l") + 1
        if not commits:
            return at
        keys = {number(item, "n"): _keys(item) for item in commits}
        there = talk.many([key for some in keys.values() for key in some], keys_only=True)
        for item in commits:
            if not all(key in there for key in keys[number(item, "n")]):
                return at
            at = number(item, "l")


def _keys(item: Item) -> list[Key]:
    """The keys of a commit's parts."""
    return [entry.key for entry in commit_of(item).entries]


def _cut(place: Table, end: int) -> int:
    """Deletes what belongs to commits after the end, and snapshots of streams that are shorter then."""
    deleted = 0
    cut: set[str] = set()
    for p, item in _scanned(place, "p, n, f"):
        is_beyond = p[:2] in ("s/", "a/") and number(item, "f") > end
        if p[:2] == "s/" and is_beyond:
            cut.add(p[2:])
        if is_beyond or (p[:2] == "f/" and number(item, "n") > end):
            place.talk().delete(p, number(item, "n"))
            deleted += 1
    for p, item in _scanned(place, "p, n"):
        if p[:2] == "v/" and _stream_of(p) in cut:
            place.talk().delete(p, number(item, "n"))
            deleted += 1
    return deleted


def _stream_of(p: str) -> str:
    """The stream of a snapshot, from its key."""
    _, _, length, rest = p.split("/", 3)
    return rest[int(length) + 1 :]


def sweep(
    client: Any,
    table: str,
    *,
    older: float = 86_400.0,
    timeout: float = 60.0,
    clock: Callable[[], float] = time.time,
) -> int:
    """Deletes chunks that nothing names; answers how many.

    older: how many seconds ago they must have been written, by the clocks of those who did: longer than
        any append takes.
    """
    place = Table(client, table, timeout)
    until = microseconds(clock) - round(older * 1_000_000)
    found = [
        (p, number(item, "n"))
        for p, item in _scanned(place, "p, n, t")
        if p[:2] == "b/" and number(item, "t") < until
    ]
    if not found:
        return 0
    named = {item["b"]["S"] for _, item in _scanned(place, "p, n, b") if "b" in item}
    loose = [(p, n) for p, n in found if p[2:] not in named]
    for p, n in loose:
        place.talk().delete(p, n)
    return len(loose)


def _scanned(place: Table, attributes: str) -> Iterator[tuple[str, Item]]:
    """All items of a table, with some of their attributes, by their partitions."""
    for item in place.scan(attributes):
        yield item["p"]["S"], item


def main(arguments: Sequence[str] | None = None, client: Any = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m eventsrc.aws.upkeep", description=__doc__)
    parser.add_argument("what", choices=["repair", "sweep"])
    parser.add_argument("table")
    parser.add_argument("--region", default="", help="as boto3 is configured if not given")
    parser.add_argument("--endpoint", default="", help="a URL in the place of AWS's own")
    parser.add_argument("--profile", default="", help="whose credentials to use")
    asked = parser.parse_args(arguments)
    if client is None:
        client = new_client(asked.region, asked.endpoint, asked.profile)
    if asked.what == "repair":
        done = repair(client, asked.table)
        print(  # noqa: T201
            f"{asked.table} ends at position {done.end}; {done.deleted} items were deleted; it is in "
            f"epoch {done.epoch}"
        )
    else:
        print(f"{sweep(client, asked.table)} chunks deleted from {asked.table}")  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
