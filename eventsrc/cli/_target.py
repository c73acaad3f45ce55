"""Arguments that commands share: the store, the time that is looked at, the form of the output."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any, TypeVar

import click

from eventsrc._errors import harmless
from eventsrc.events.positions import BadCursor, BadToken, Cursor, Token
from eventsrc.opening import open_store
from eventsrc.programs.interpreter import Interpreter
from eventsrc.stores.operations import StoreOp
from eventsrc.streams.past import as_of

T = TypeVar("T")

store_url = click.argument("url")
as_json = click.option("--json", "as_json", is_flag=True, help="Write a line of JSON for each thing.")


do_not_ask = click.option("--yes", is_flag=True, help="Do not ask.")


def named(app: str, option: str = "--app") -> Any:
    """The value of the application that `module:name` names. option: the one by which it is given."""
    module, _, name = app.partition(":")
    sys.path.insert(0, "")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise click.BadParameter(f"{app!r:.100} names nothing: {error}", param_hint=option) from error


def confirm(yes: bool, what: str) -> None:
    """Asks whether to do something, unless told not to."""
    if not yes:
        click.confirm(harmless(f"This will {what}. Go on?"), abort=True, err=True)


class Place(click.ParamType[Cursor | Token | datetime]):
    """A time with its zone, a cursor or a token."""

    name = "time|cursor|token"

    def convert(self, value: Any, param: Any, ctx: Any) -> Cursor | Token | datetime:
        """Reads the text of a place."""
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            return self._text(value, param, ctx)
        if time.tzinfo is None:
            self.fail(f"{value} has no time zone: write {value}Z for UTC", param, ctx)
        return time

    def _text(self, value: str, param: Any, ctx: Any) -> Cursor | Token:
        for read in (Cursor.parse, Token.parse):
            with contextlib.suppress(BadCursor, BadToken):
                return read(value)
        text = f"{value!r:.60} is no time such as 2026-12-01T12:00Z, and no cursor or token"
        raise click.BadParameter(text, ctx, param)


at_place = click.option(
    "--as-of",
    "at",
    type=Place(),
    help="Look at the store as it was at a time, a cursor or a token.",
)


@contextlib.contextmanager
def reading(url: str, at: Cursor | Token | datetime | None = None) -> Iterator[Interpreter[StoreOp]]:
    """The store that a URL names, to be read, as it is or as it was."""
    with open_store(url, read_only=True) as store:
        yield store if at is None else as_of(store, at)


def listed_at(name: str, kind: type[T], what: str) -> list[T]:
    """The values of a kind that `module:name` names by --app: one, or several."""
    value = named(name)
    found = [value] if isinstance(value, kind) else value
    is_list = isinstance(found, list | tuple) and found
    if not is_list or not all(isinstance(each, kind) for each in found):
        raise click.BadParameter(
            f"{name!r:.100} is no {what}, and no list of them: name one as module:name",
            param_hint="--app",
        )
    return list(found)
