"""Commands that show states, and what led to what."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from typing import Any

import attrs
import click

from eventsrc._errors import harmless
from eventsrc.cli._output import compact, json_line, kind_of, line, plain_entry, progress, when
from eventsrc.cli._target import as_json, at_place, named, reading, store_url
from eventsrc.events.positions import START
from eventsrc.events.stream_id import StreamId
from eventsrc.inspection import Effect, Tracing, summary
from eventsrc.inspection import trace as trace_page
from eventsrc.programs.interpreter import Interpreter
from eventsrc.streams.fold import Fold, Folded, NoSuchVersion, load, load_at

_stream = click.argument("stream")
_fold = click.option("--app", required=True, help="The fold: module:name of a Fold.")


@click.command()
@store_url
@_stream
@_fold
@click.option("--at", "version", type=click.IntRange(min=0), help="After the event of this version.")
@at_place
@as_json
def fold(url: str, stream: str, app: str, version: int | None, at: Any, as_json: bool) -> None:
    """Show the state that a fold of yours makes of STREAM, now or at a version."""
    with reading(url, at) as store:
        found = _state(store, StreamId(stream), _fold_of(app), version)
    if as_json:
        json_line({"stream": stream, "version": found.version, "state": _plain(found.state)})
    else:
        for each in _lines(found.state):
            line(each)


@click.command()
@store_url
@_stream
@click.argument("first", type=click.IntRange(min=0))
@click.argument("second", type=click.IntRange(min=0))
@_fold
@as_json
def diff(url: str, stream: str, first: int, second: int, app: str, as_json: bool) -> None:
    """Show how the state of STREAM at version SECOND differs from that at version FIRST.

    The exit code is 1 if it does.
    """
    its = _fold_of(app)
    with reading(url) as store:
        one, other = (_state(store, StreamId(stream), its, at).state for at in (first, second))
    if as_json:
        json_line({"first": _plain(one), "second": _plain(other), "same": _plain(one) == _plain(other)})
    else:
        names = f"{stream}@{first}", f"{stream}@{second}"
        for each in difflib.unified_diff(_lines(one), _lines(other), *names, lineterm=""):
            line(each)
    click.get_current_context().exit(0 if _plain(one) == _plain(other) else 1)


@click.command()
@store_url
@click.argument("correlation")
@at_place
@as_json
def trace(url: str, correlation: str, at: Any, as_json: bool) -> None:
    """Show the events of a CORRELATION as a tree of causes and effects. It reads the whole feed.

    CORRELATION is a correlation_id, or the id of the event that began it.
    """
    tracing, after = Tracing(correlation), START
    with reading(url, at) as store:
        end = store.run(summary()).end
        with progress("reading", end.position) as come_to:
            while after < end:
                after, end = store.run(trace_page(tracing, after))
                come_to(after.position)
    roots = tracing.roots()
    if not roots:
        click.echo(harmless(f"no event has the correlation {correlation}"), err=True)
        click.get_current_context().exit(1)
    _show(roots, 0, as_json)


def _show(effects: Sequence[Effect], depth: int, as_json: bool) -> None:
    for effect in effects:
        entry = effect.entry
        if as_json:
            json_line({"depth": depth, **plain_entry(entry)})
        else:
            place = f"{entry.stream}@{entry.version}"
            text = f"{kind_of(entry)}  {place}  {when(entry.recorded_at)}  {compact(entry.value)}"
            line(f"{'  ' * depth}{text}")
        _show(effect.effects, depth + 1, as_json)


def _fold_of(app: str) -> Fold[Any, Any]:
    found = named(app)
    if not isinstance(found, Fold):
        raise click.BadParameter(f"{app!r:.100} is no Fold", param_hint="--app")
    return found.without_saving()


def _state(
    store: Interpreter[Any], stream: StreamId, its: Fold[Any, Any], version: int | None
) -> Folded[Any]:
    try:
        asked: Any = load(stream, its) if version is None else load_at(stream, its, version)
        return store.run(asked)
    except NoSuchVersion as error:
        click.echo(harmless(str(error)), err=True)
        click.get_current_context().exit(1)


def _plain(value: Any) -> Any:
    """A state as JSON can have it; what it cannot have, by its repr."""
    if attrs.has(type(value)):
        return {name: _plain(each) for name, each in attrs.asdict(value, recurse=False).items()}
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(each) for each in value), key=repr)
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)


def _lines(state: Any) -> list[str]:
    return json.dumps(_plain(state), indent=2, ensure_ascii=False).splitlines()
