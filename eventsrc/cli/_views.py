"""Commands that look at views and mend them: those need the application's views, by `--app`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from eventsrc._errors import harmless
from eventsrc.cli._output import json_line, line, show_parked
from eventsrc.cli._target import as_json, confirm, do_not_ask, listed_at, store_url
from eventsrc.events.stream_id import StreamId
from eventsrc.following.parking import retry as retry_parked
from eventsrc.following.parking import skip as skip_event
from eventsrc.following.rebuild import rebuild as rebuild_view
from eventsrc.following.status import status as status_of
from eventsrc.opening import open_store, open_views
from eventsrc.programs.interpreter import Interpreter
from eventsrc.programs.world import world
from eventsrc.views.operations import Discard, GetParked, GoLive
from eventsrc.views.view import View


@click.group()
def views() -> None:
    """Look at views, and mend them.

    --app names them, as module:name of a View or of several. Views are opened at the store's URL,
    unless --views-url names another.
    """


def _shared(function: Any) -> Any:
    """The arguments that all commands of views have."""
    app = click.option("--app", required=True, help="The views: module:name of a View or of several.")
    where = click.option("--views-url", help="Where the views are kept, if not with the store.")
    return store_url(app(where(function)))


_version = click.option(
    "--version", type=int, help="The version of the view; if not given, the highest."
)
_name = click.argument("name")


@views.command()
@_shared
@as_json
def status(url: str, app: str, views_url: str | None, as_json: bool) -> None:
    """Show how far each view is, its owners, and what is parked."""
    is_behind = False
    with opened(url, app, views_url, read_only=True) as (running, found):
        for view in found:
            now = running.run(status_of(view))
            is_behind = is_behind or bool(now.parked)
            owners = [each.owner for each in now.partitions if each.owner is not None]
            facts = {
                "view": view.name,
                "version": view.version,
                "live": now.live == view.version,
                "lag": now.lag,
                "done": round(now.done, 4),
                "applied": sum(each.applied for each in now.partitions),
                "parked": len(now.parked),
                "owners": owners,
            }
            if as_json:
                json_line(facts)
            else:
                live = "live" if facts["live"] else "not live"
                name = harmless(f"{view.name} {view.version}")
                parked = f"{len(now.parked)} parked" if now.parked else "none parked"
                line(f"{name:<24} {now.lag:>10,} behind  {live:<8}  {parked}  {' '.join(owners)}")
    click.get_current_context().exit(1 if is_behind else 0)


@views.command()
@_shared
@_name
@_version
@as_json
def parked(
    url: str, app: str, views_url: str | None, name: str, version: int | None, as_json: bool
) -> None:
    """Show the parked streams of the view NAME, each with the event that failed and its error."""
    with opened(url, app, views_url, read_only=True) as (running, found):
        held = running.run(GetParked(_chosen(found, name, version)))
    show_parked(held, as_json=as_json)


@views.command()
@_shared
@_name
@click.argument("streams", nargs=-1)
@_version
@do_not_ask
def retry(
    url: str,
    app: str,
    views_url: str | None,
    name: str,
    streams: tuple[str, ...],
    version: int | None,
    yes: bool,
) -> None:
    """Try parked streams of the view NAME again: STREAMS, or all."""
    with opened(url, app, views_url) as (running, found):
        view = _chosen(found, name, version)
        held = [each.stream for each in running.run(GetParked(view))]
        chosen = [StreamId(stream) for stream in streams] or held
        confirm(yes, f"try {len(chosen)} parked streams of {view.name} {view.version} again")
        left = running.run(retry_parked(view, *chosen))
    for each in left:
        line(f"{each.stream}@{each.version} failed again: {each.error}")
    click.get_current_context().exit(1 if left else 0)


@views.command()
@_shared
@_name
@click.argument("stream")
@click.option("--why", required=True, help="The reason, which is kept in eventsrc/operators.")
@_version
@do_not_ask
def skip(
    url: str,
    app: str,
    views_url: str | None,
    name: str,
    stream: str,
    why: str,
    version: int | None,
    yes: bool,
) -> None:
    """Have the view NAME go past the event at which STREAM is parked, for good."""
    with opened(url, app, views_url) as (running, found):
        view = _chosen(found, name, version)
        its = [each for each in running.run(GetParked(view)) if each.stream == stream]
        place = f"event {its[0].version} ({its[0].type})" if its else "an event"
        confirm(yes, f"skip {place} of {stream} in {view.name} {view.version}, for good")
        left = running.run(skip_event(view, StreamId(stream), why))
    for each in left:
        line(f"{each.stream}@{each.version} failed: {each.error}")
    click.get_current_context().exit(1 if left else 0)


@views.command()
@_shared
@_name
@_version
@click.option("--pace", type=float, help="At most so many events a second.")
@click.option("--in-place", is_flag=True, help="Remove what the version has built first.")
@do_not_ask
def rebuild(
    url: str,
    app: str,
    views_url: str | None,
    name: str,
    version: int | None,
    pace: float | None,
    in_place: bool,
    yes: bool,
) -> None:
    """Build a version of the view NAME, and have queries read it when it has caught up."""
    with opened(url, app, views_url) as (running, found):
        view = _chosen(found, name, version)
        how = "in place, with nothing to read meanwhile" if in_place else "beside the live one"
        confirm(yes, f"build {view.name} {view.version} {how}")
        outcome = running.run(rebuild_view(view, pace, in_place=in_place))
    built = outcome.value_or(None)
    if built is None:
        line(f"{len(outcome.failure().parked)} streams are parked, and it does not go live")
        click.get_current_context().exit(1)
    else:
        line(f"{built.applied:,} events applied, and live")


@views.command()
@_shared
@_name
@_version
@do_not_ask
def live(url: str, app: str, views_url: str | None, name: str, version: int | None, yes: bool) -> None:
    """Have queries read this version of the view NAME from now on."""
    with opened(url, app, views_url) as (running, found):
        view = _chosen(found, name, version)
        confirm(yes, f"have queries read {view.name} {view.version}")
        running.run(GoLive(view))


@views.command()
@_shared
@_name
@_version
@do_not_ask
def discard(
    url: str, app: str, views_url: str | None, name: str, version: int | None, yes: bool
) -> None:
    """Remove what a version of the view NAME has built."""
    with opened(url, app, views_url) as (running, found):
        view = _chosen(found, name, version)
        confirm(yes, f"remove what {view.name} {view.version} has built")
        running.run(Discard(view))


@contextmanager
def opened(
    url: str, app: str, views_url: str | None, *, read_only: bool = False
) -> Iterator[tuple[Interpreter[Any], list[View[Any]]]]:
    """The store, its views and the world, and the views that the application has."""
    found = listed_at(app, View, "View")
    with open_store(url, read_only=read_only) as store, open_views(views_url or url) as kept:
        yield store | kept | world, found


def _chosen(found: list[View[Any]], name: str, version: int | None) -> View[Any]:
    """The view of a name and version."""
    named = [view for view in found if view.name == name and version in (None, view.version)]
    if not named:
        names = ", ".join(sorted({f"{view.name} {view.version}" for view in found}))
        raise click.BadParameter(f"{name!r:.100} is not there: --app has {names}", param_hint="NAME")
    return max(named, key=lambda view: view.version)
