"""Commands that look at publishers and mend them: the application's, which `--app` names."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from eventsrc._errors import harmless
from eventsrc.cli._output import json_line, line, show_parked
from eventsrc.cli._target import as_json, confirm, do_not_ask, listed_at, named, reading, store_url
from eventsrc.events.positions import START, Cursor
from eventsrc.events.stream_id import StreamId
from eventsrc.following.status import status as status_of
from eventsrc.opening import open_store, open_views
from eventsrc.programs.interpreter import AsyncInterpreter, Interpreter
from eventsrc.programs.program import Program
from eventsrc.programs.world import world
from eventsrc.publishing import Publisher
from eventsrc.publishing import retry as retry_parked
from eventsrc.publishing import skip as skip_event
from eventsrc.stores.operations import MAX_PAGE, ReadFeed
from eventsrc.views.operations import GetParked


@click.group()
def publish() -> None:
    """Look at publishers, and mend them.

    --app names them, as module:name of a Publisher or of several. Their progress is kept at the store's
    URL, unless --views-url names another.
    """


def _shared(function: Any) -> Any:
    """The arguments that all commands of publishers have."""
    app = click.option("--app", required=True, help="The publishers: module:name of one or several.")
    where = click.option("--views-url", help="Where their progress is kept, if not with the store.")
    return store_url(app(where(function)))


_broker = click.option(
    "--broker",
    required=True,
    help="Where to publish: module:name of an interpreter of Publish, or of a function, async or not, "
    "that makes one.",
)
_name = click.argument("name")


@publish.command()
@_shared
@as_json
def status(url: str, app: str, views_url: str | None, as_json: bool) -> None:
    """Show how far each publisher is, its owners, and what is parked."""
    is_behind = False
    with _opened(url, app, views_url, read_only=True) as (running, found):
        for out in found:
            now = running.run(status_of(out.view))
            is_behind = is_behind or bool(now.parked)
            owners = [each.owner for each in now.partitions if each.owner is not None]
            since = None if now.waiting_since is None else now.waiting_since.isoformat()
            if as_json:
                facts = {"lag": now.lag, "waiting_since": since, "parked": len(now.parked)}
                json_line({"publisher": out.name, **facts, "owners": owners})
            else:
                parked = f"{len(now.parked)} parked" if now.parked else "none parked"
                waits = f"since {since}" if since else ""
                line(f"{out.name:<24} {now.lag:>10,} behind  {waits}  {parked}  {' '.join(owners)}")
    click.get_current_context().exit(1 if is_behind else 0)


@publish.command()
@_shared
@_name
@as_json
def parked(url: str, app: str, views_url: str | None, name: str, as_json: bool) -> None:
    """Show the parked streams of the publisher NAME, each with the event that failed and its error."""
    with _opened(url, app, views_url, read_only=True) as (running, found):
        held = running.run(GetParked(_chosen(found, name).view))
    show_parked(held, as_json=as_json)


@publish.command()
@store_url
@click.option("--app", required=True, help="The publishers: module:name of one or several.")
@_name
@click.option("--after", default=str(START), help="A cursor: only what comes after it.")
def preview(url: str, app: str, name: str, after: str) -> None:
    """Show what the publisher NAME would make of the feed, a CloudEvent in each line. Nothing is sent.

    Compare the output of two releases to see what others would notice. Events whose rules fail go to
    the standard error, and end it by 1.
    """
    out = _chosen(listed_at(app, Publisher, "Publisher"), name)
    cursor, is_well = Cursor.parse(after), True
    with reading(url) as store:
        while True:
            page = store.run(ReadFeed(cursor, MAX_PAGE, out.view.prefix))
            for event in page.events:
                try:
                    made = out.public.transform(event)
                except Exception as error:
                    is_well = False
                    told = f"{type(error).__name__}: {error}"
                    click.echo(harmless(f"{event.stream}@{event.version}: {told}"), err=True)
                    continue
                if made is not None:
                    json_line(made.to_dict())
            cursor = page.next
            if cursor >= page.end or page.blocked is not None:
                break
    click.get_current_context().exit(0 if is_well else 1)


@publish.command()
@_shared
@_name
@click.argument("streams", nargs=-1)
@_broker
@do_not_ask
def retry(
    url: str,
    app: str,
    views_url: str | None,
    name: str,
    streams: tuple[str, ...],
    broker: str,
    yes: bool,
) -> None:
    """Publish parked streams of the publisher NAME: STREAMS, or all."""
    with _opened(url, app, views_url) as (running, found):
        out = _chosen(found, name)
        held = [each.stream for each in running.run(GetParked(out.view))]
        chosen = [StreamId(stream) for stream in streams] or held
        confirm(yes, f"publish {len(chosen)} parked streams of {out.name}")
        left = _run(running, broker, retry_parked(out, *chosen)) if chosen else ()
    for each in left:
        line(f"{each.stream}@{each.version} failed again: {each.error}")
    click.get_current_context().exit(1 if left else 0)


@publish.command()
@_shared
@_name
@click.argument("stream")
@click.option("--why", required=True, help="The reason, which is kept in eventsrc/operators.")
@_broker
@do_not_ask
def skip(
    url: str,
    app: str,
    views_url: str | None,
    name: str,
    stream: str,
    why: str,
    broker: str,
    yes: bool,
) -> None:
    """Never publish the event at which STREAM is parked in the publisher NAME, and go on behind it."""
    with _opened(url, app, views_url) as (running, found):
        out = _chosen(found, name)
        its = [each for each in running.run(GetParked(out.view)) if each.stream == stream]
        place = f"event {its[0].version} ({its[0].type})" if its else "an event"
        confirm(yes, f"never publish {place} of {stream} by {out.name}")
        left = _run(running, broker, skip_event(out, StreamId(stream), why))
    for each in left:
        line(f"{each.stream}@{each.version} failed: {each.error}")
    click.get_current_context().exit(1 if left else 0)


@contextmanager
def _opened(
    url: str, app: str, views_url: str | None, *, read_only: bool = False
) -> Iterator[tuple[Interpreter[Any], list[Publisher]]]:
    """The store, its views and the world, and the publishers that the application has."""
    found = listed_at(app, Publisher, "Publisher")
    with open_store(url, read_only=read_only) as store, open_views(views_url or url) as kept:
        yield store | kept | world, found


def _chosen(found: list[Publisher], name: str) -> Publisher:
    """The publisher of a name."""
    its = [out for out in found if out.name == name]
    if not its:
        names = harmless(", ".join(sorted(out.name for out in found)))
        raise click.BadParameter(f"{name!r:.100} is not there: --app has {names}", param_hint="NAME")
    return its[0]


def _run(running: Interpreter[Any], broker: str, program: Program[Any, Any]) -> Any:
    """Runs a program with a broker that `module:name` names, or makes, in an event loop."""
    value = named(broker, "--broker")

    async def run() -> Any:
        made = value() if callable(value) else value
        if inspect.isawaitable(made):
            made = await made
        if not isinstance(made, AsyncInterpreter):
            raise click.BadParameter(
                f"{broker!r:.100} is no interpreter of Publish, and makes none", param_hint="--broker"
            )
        return await (running | made).run_async(program)

    return asyncio.run(run())
