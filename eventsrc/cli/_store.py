"""Commands that look at a store and its events."""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs
import click

from eventsrc._errors import harmless
from eventsrc.cli._output import (
    compact,
    json_line,
    kind_of,
    line,
    plain_entry,
    progress,
    when,
)
from eventsrc.cli._target import Place, as_json, at_place, reading, store_url
from eventsrc.events.positions import START, Cursor, Token
from eventsrc.events.stream_id import StreamId
from eventsrc.following.waiting import wait_for_events
from eventsrc.inspection import Counting, Entry, count, entries, event_at, feed_entries, summary
from eventsrc.programs.interpreter import Interpreter
from eventsrc.programs.world import Chance, Sleep, world
from eventsrc.stores.newest import newest
from eventsrc.stores.operations import MAX_PAGE, StoreError, StoreOp
from eventsrc.streams.past import as_of

At = Cursor | Token | datetime | None


@click.command()
@store_url
@at_place
@as_json
def info(url: str, at: At, as_json: bool) -> None:
    """Sum up a store: its id, its events, and since when it has them."""
    with reading(url, at) as store:
        found = store.run(summary())
        epoch = found.epochs.current
        durability = getattr(store, "durability", None)
        facts = {
            "store": found.store_id,
            "kind": type(store).__name__ if at is None else "as of the past",
            "durability": durability,
            "events": found.events,
            "first": found.first,
            "last": found.last,
            "cursor": str(found.end),
            "epoch": epoch,
        }
    if as_json:
        json_line({key: _plain(value) for key, value in facts.items()})
        return
    times = {"first": when(found.first), "last": when(found.last)}
    shown = {**facts, "events": f"{found.events:,}", **times}
    for key, value in shown.items():
        if value:
            line(f"{key:<12}{value}")


@click.command()
@store_url
@click.argument("prefix", default="")
@click.option("--all-streams", is_flag=True, help="Show the library's own streams too.")
@at_place
@as_json
def streams(url: str, prefix: str, all_streams: bool, at: At, as_json: bool) -> None:
    """List the streams, or those below PREFIX, with their versions. It reads the whole feed."""
    with reading(url, at) as store:
        counting = _counted(store, prefix, all_streams)
    found = list(counting.streams())
    width = max((len(harmless(one.stream)) for one in found), default=0)
    for one in found:
        if as_json:
            json_line({key: _plain(value) for key, value in attrs.asdict(one).items()})
        else:
            times = f"{when(one.first)}  {when(one.last)}"
            line(f"{harmless(one.stream):<{width}}  {one.version:>8,}  {times}")


@click.command()
@store_url
@click.argument("stream")
@click.option("--after", default=0, help="Go on from this version.")
@click.option("--limit", default=1000, show_default=True, help="Show at most so many events.")
@click.option("--newest", is_flag=True, help="Begin with the newest.")
@at_place
@as_json
def show(url: str, stream: str, after: int, limit: int, newest: bool, at: At, as_json: bool) -> None:
    """Show the events of STREAM as they are stored."""
    with reading(url, at) as store:
        left, shown = limit, 0
        while left > 0:
            page = store.run(entries(StreamId(stream), after, min(left, 1000), newest))
            for entry in page:
                _show(entry, as_json)
            shown += len(page)
            left -= len(page)
            if not page or (newest and page[-1].version == 1):
                break
            after = page[-1].version
    if not shown:
        _missing(f"{stream} has no events to show")


@click.command()
@store_url
@click.argument("place")
@at_place
@as_json
def event(url: str, place: str, at: At, as_json: bool) -> None:
    """Show all of one event: PLACE is its position in the feed, its id, or the id of its append."""
    with reading(url, at) as store:
        entry = store.run(event_at(_place(place)))
    if entry is None:
        _missing(f"there is no event {place}")
    elif as_json:
        json_line(plain_entry(entry))
    else:
        for key, value in plain_entry(entry).items():
            line(f"{key:<12}{compact(value) if key in ('metadata', 'data') else value}")


@click.command()
@store_url
@click.option("--prefix", default="", help="Only streams below it, such as orders/.")
@click.option("--type", "types", multiple=True, help="Only events of this type; may be given again.")
@click.option("--since", type=Place(), help="Begin after a cursor, or at a time.")
@click.option("--last", default=10, show_default=True, help="Show the last so many events.")
@click.option("--follow", is_flag=True, help="Go on as events come, until Ctrl-C.")
@click.option("--all-streams", is_flag=True, help="Show the library's own streams too.")
@as_json
def tail(
    url: str,
    prefix: str,
    types: tuple[str, ...],
    since: At,
    last: int,
    follow: bool,
    all_streams: bool,
    as_json: bool,
) -> None:
    """Show the end of the feed, and with --follow what comes."""
    wanted = frozenset(types) or None
    with reading(url) as store:
        after = _begin(store, prefix, wanted, all_streams, since, last)
        app = store | world
        is_away = False
        while True:
            try:
                page, after, end = app.run(feed_entries(after, 1000, prefix, wanted, all_streams))
                if not page and follow and after >= end:
                    app.run(wait_for_events(after, within=0.5))
            except StoreError as error:
                if not (follow and error.may_pass):
                    raise
                if not is_away:
                    click.echo(harmless(f"waits: {error}"), err=True)
                is_away = True
                app.run(Sleep(0.5 + app.run(Chance())))
                continue
            if is_away:
                click.echo("goes on", err=True)
                is_away = False
            for entry in page:
                _show(entry, as_json, stream=True)
            if after >= end and not follow:
                break


@click.command()
@store_url
@click.argument("prefix", default="")
@click.option("--all-streams", is_flag=True, help="Count the library's own streams too.")
@at_place
@as_json
def stats(url: str, prefix: str, all_streams: bool, at: At, as_json: bool) -> None:
    """Count the events by type. It reads the whole feed."""
    with reading(url, at) as store:
        counting = _counted(store, prefix, all_streams)
    found = list(counting.types())
    width = max((len(harmless(one.type)) for one in found), default=0)
    for one in found:
        if as_json:
            json_line(attrs.asdict(one))
        else:
            numbers = f"{one.events:>10,}  {one.bytes:>14,} bytes"
            line(f"{harmless(one.type):<{width}}  v{one.schema:<3} {numbers}")


def _counted(store: Interpreter[StoreOp], prefix: str, all_streams: bool) -> Counting:
    counting, after = Counting(), START
    end = store.run(summary()).end
    with progress("reading", end.position) as come_to:
        while after < end:
            after, end = store.run(count(counting, after, prefix, all_streams))
            come_to(after.position)
    return counting


def _begin(
    store: Interpreter[StoreOp],
    prefix: str,
    types: frozenset[str] | None,
    all_streams: bool,
    since: At,
    last: int,
) -> Cursor:
    """The cursor at which `tail` begins."""
    if isinstance(since, Cursor):
        return since
    if isinstance(since, Token):
        raise click.BadParameter("a token is no position in the feed: give a cursor or a time")
    if since is not None:
        return as_of(store, since).run(summary()).end
    at, missing = store.run(summary()).end, last
    while missing > 0 and at != START:
        page = store.run(newest(at, min(missing, MAX_PAGE), prefix, types, all_streams))
        at, missing = page.next, missing - len(page.events)
    return at


def _show(entry: Entry, as_json: bool, stream: bool = False) -> None:
    if as_json:
        json_line(plain_entry(entry))
        return
    place = f"{entry.position:>8}  {entry.stream}@{entry.version}" if stream else f"{entry.version:>6}"
    line(f"{place}  {when(entry.recorded_at)}  {kind_of(entry)}  {compact(entry.value)}")


def _place(text: str) -> int | UUID:
    if text.isdigit() and int(text) > 0:
        return int(text)
    with contextlib.suppress(ValueError):
        return UUID(text)
    raise click.BadParameter(f"{text!r:.60} is no position and no id", param_hint="PLACE")


def _missing(text: str) -> None:
    click.echo(harmless(text), err=True)
    click.get_current_context().exit(1)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
