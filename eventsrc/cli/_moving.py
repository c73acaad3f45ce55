"""Commands that move data: exports, copies, and whether two stores are the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from eventsrc._errors import harmless
from eventsrc.cli._output import json_line, line, progress
from eventsrc.cli._target import as_json, confirm, do_not_ask, store_url
from eventsrc.inspection import StoreSummary, summary
from eventsrc.moving import (
    Difference,
    ExportReader,
    ExportWriter,
    both,
    compare,
    copy,
    follow_copy,
    promote,
    verify,
)
from eventsrc.opening import open_store, scheme_of
from eventsrc.programs.interpreter import Interpreter
from eventsrc.programs.world import world
from eventsrc.stores.copying import GetIdentity
from eventsrc.stores.operations import NotAStore, ReadFeed

_EXPORT = "export:"

_file = click.argument("file", type=click.Path(dir_okay=False))
_there = click.argument("file", type=click.Path(dir_okay=False, exists=True))
_dry = click.option("--dry-run", is_flag=True, help="Only say what would be done.")


@click.command("export")
@store_url
@_file
@as_json
def export_(url: str, file: str, as_json: bool) -> None:
    """Write all that a store has into FILE, as lines of JSON.

    One that was broken off goes on where it was; an old export of the same store is brought up to date.
    """
    _export(url, file, as_json)


@click.command()
@store_url
@_file
@as_json
def backup(url: str, file: str, as_json: bool) -> None:
    """Export a store into FILE, then read FILE back and hold it against the store."""
    _export(url, file, as_json)
    with source(url) as store, ExportReader(file) as reader:
        with progress("reading back", _end(reader)) as come_to:
            reader.run(verify(lambda position, _: come_to(position)))
        found = both(reader, store).run(compare())
    if found is not None and not (found.one is None and found.other is not None):
        _report(found, as_json)


@click.command("import")
@_there
@store_url
@do_not_ask
@_dry
@as_json
def import_(file: str, url: str, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Copy the export in FILE into the empty store at URL, which is made if it is not there."""
    _copy(f"{_EXPORT}{file}", url, yes, dry_run, as_json)


@click.command("copy")
@click.argument("url")
@click.argument("to")
@click.option("--follow", is_flag=True, help="Keep the copy up to date, until Ctrl-C: a standby.")
@do_not_ask
@_dry
@as_json
def copy_(url: str, to: str, follow: bool, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Copy a store into the empty one at TO, which is made if it is not there.

    The copy has the same id, and takes no appends before it is whole. Nothing is to append to the store
    meanwhile: what comes later is not copied. With --follow it is, and the copy takes no appends until
    it is promoted.
    """
    _copy(url, to, yes, dry_run, as_json, follow)


@click.command("promote")
@store_url
@do_not_ask
def promote_(url: str, yes: bool) -> None:
    """Make a standby the store, in another epoch: tokens of what never arrived are errors then."""
    with open_store(url) as store:
        found = store.run(summary())
        if not found.epochs.is_copy:
            click.echo("the store is no copy: it takes appends already", err=True)
            click.get_current_context().exit(2)
        at = f"with {found.events:,} events"
        confirm(yes, f"make {_shown(url)} the store {found.store_id}, {at}: the first must not go on")
        epoch = _any(store).run(promote())
    line(f"promoted, in epoch {epoch}")


@click.command("compare")
@click.argument("one")
@click.argument("other")
@click.option("--whole", is_flag=True, help="Read all of both.")
@as_json
def compare_(one: str, other: str, whole: bool, as_json: bool) -> None:
    """Find the first difference of two stores, or exports: export:FILE.

    It looks where they end and, if they differ there, goes by halves to where they parted.
    """
    with (
        source(one) as store,
        source(other) as second,
        progress("comparing", min(_end(store), _end(second))) as come_to,
    ):
        found = both(store, second).run(compare(whole, lambda position, _: come_to(position)))
    if found is not None:
        _report(found, as_json)
    elif as_json:
        json_line({"same": True})
    else:
        line("no difference")


@click.command("verify")
@click.argument("where", metavar="URL")
@as_json
def verify_(where: str, as_json: bool) -> None:
    """Read all of a store, or of an export: export:FILE, and find the first event that is damaged."""
    with source(where) as store, progress("reading", _end(store)) as come_to:
        events = store.run(verify(lambda position, _: come_to(position)))
    if as_json:
        json_line({"events": events, "sound": True})
    else:
        line(f"{events:,} events, all as they were stored")


@click.command()
@store_url
@click.option("--check", is_flag=True, help="Only say whether it is up to date.")
@do_not_ask
def migrate(url: str, check: bool, yes: bool) -> None:
    """Bring the tables of a store up to date, as opening it to write does."""
    try:
        with open_store(url, read_only=True) as store:
            store.run(ReadFeed(limit=1))
    except NotAStore as old:
        if check:
            raise
        click.echo(harmless(str(old)), err=True)
        confirm(yes, f"make the tables of {_shown(url)}, or bring them up to date")
        with open_store(url) as store:
            store.run(ReadFeed(limit=1))
        line("up to date now")
    else:
        line("up to date")


@contextlib.contextmanager
def source(where: str) -> Iterator[Interpreter[Any]]:
    """A store, or an export, that is read."""
    if where.startswith(_EXPORT):
        try:
            reader = ExportReader(where.removeprefix(_EXPORT))
        except OSError as error:
            raise click.BadParameter(f"{where} cannot be read: {error.strerror}") from error
        with reader:
            yield reader
    else:
        with open_store(where, read_only=True) as store:
            yield store


def _export(url: str, file: str, as_json: bool) -> None:
    with source(url) as store:
        try:
            writer = ExportWriter(file)
        except OSError as error:
            raise click.BadParameter(f"{file} cannot be written: {error.strerror}") from error
        with writer, progress("exporting", _end(store)) as come_to:
            done = both(store, writer).run(copy(lambda position, _: come_to(position)))
    if as_json:
        json_line({"events": done.events, "file": file})
    else:
        line(f"{done.events:,} events in {file}")


def _copy(url: str, to: str, yes: bool, dry_run: bool, as_json: bool, follow: bool = False) -> None:
    with source(url) as store:
        identity = store.run(GetIdentity())
        end = _end(store)
        there = _summary(to)
        if there is not None and there.events and there.store_id != identity.store_id:
            raise click.BadParameter(
                f"{_shown(to)} has {there.events:,} events of another store: give an empty one"
            )
        has = "is new" if there is None else f"has {there.events:,} of them"
        what = f"copy {end:,} events of store {identity.store_id} into {_shown(to)}, which {has}"
        if dry_run:
            line(f"This would {what}.")
            return
        confirm(yes, f"{what}{', and go on' if follow else ''}")
        with open_store(to) as target:
            app = both(store, target) | world
            if follow:
                app.run(follow_copy(lambda position, _: _told(position, as_json)))
            with progress("copying", end) as come_to:
                done = app.run(copy(lambda position, _: come_to(position)))
    if as_json:
        json_line({"events": done.events, "epoch": done.epoch})
    else:
        line(f"{done.events:,} events copied")


def _told(position: int, as_json: bool) -> None:
    if as_json:
        json_line({"position": position})
    else:
        line(f"{position:,} events")


def _summary(url: str) -> StoreSummary | None:
    """Sums up a store; None if there is none yet."""
    if scheme_of(url) == "sqlite" and not Path(url.partition(":")[2]).exists():
        return None
    try:
        with open_store(url, read_only=True) as store:
            return store.run(summary())
    except NotAStore:
        return None


def _shown(url: str) -> str:
    """A URL that may be shown: others than those of files may have a password in them."""
    scheme = scheme_of(url)
    return url if scheme == "sqlite" else f"the {scheme} store"


def _end(store: Interpreter[Any]) -> int:
    return store.run(ReadFeed(limit=1)).end.position


def _any(store: Any) -> Interpreter[Any]:
    return store  # type: ignore[no-any-return]


def _report(found: Difference, as_json: bool) -> None:
    if as_json:
        json_line({"same": False, "what": found.what, "position": found.position or None})
    else:
        line(found.what)
    click.get_current_context().exit(1)
