"""The group of all commands, and the way errors end them."""

from __future__ import annotations

import sys
from typing import Any

import click

from eventsrc._errors import EventsrcError, harmless
from eventsrc.cli import _folding, _moving, _publish, _runs, _store, _views, _web
from eventsrc.events.positions import BadCursor, BadToken, WrongStore
from eventsrc.events.stream_id import BadStreamId
from eventsrc.opening import BadUrl, MissingExtra
from eventsrc.stores.copying import NotACopy
from eventsrc.stores.operations import StoreError

_WRONG_USE = BadUrl, BadStreamId, BadCursor, BadToken, WrongStore, MissingExtra, NotACopy


class _Commands(click.Group):
    """Commands whose errors are a sentence and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command; an error of the library's ends it by 1, 2 or 3."""
        try:
            return super().invoke(ctx)
        except EventsrcError as error:
            sys.stderr.write(f"{harmless(str(error))}\n")
            ctx.exit(2 if isinstance(error, _WRONG_USE) else 3 if isinstance(error, StoreError) else 1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="eventsrc")
def main() -> None:
    """Look into a store of events and its views.

    A store is a URL: sqlite:PATH or postgresql://USER@HOST/DATABASE. It is opened to be read, but for
    what mends views and publishers, tells runs something, or writes a copy, which asks first.
    """


for command in (
    _store.info,
    _store.streams,
    _store.show,
    _store.event,
    _store.tail,
    _store.stats,
    _folding.fold,
    _folding.diff,
    _folding.trace,
    _moving.export_,
    _moving.import_,
    _moving.copy_,
    _moving.promote_,
    _moving.compare_,
    _moving.verify_,
    _moving.backup,
    _moving.migrate,
    _views.views,
    _runs.runs,
    _publish.publish,
    _web.web,
):
    main.add_command(command)
