"""Output of the command line: lines for people, or lines of JSON.

Names and data come from anywhere, so control characters and those that turn the direction of writing
are shown as escapes, and never reach a terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import attrs
import click

from eventsrc._errors import harmless
from eventsrc.inspection import Entry
from eventsrc.views.operations import Parked


def line(text: str) -> None:
    """Writes a line for people."""
    click.echo(harmless(text))


def json_line(value: Any) -> None:
    """Writes a line of JSON, in ASCII."""
    click.echo(json.dumps(value, separators=(",", ":")))


def compact(value: Any) -> str:
    """A value as JSON on one line, for people."""
    return json.dumps(value, ensure_ascii=False)


def when(time: datetime | None) -> str:
    """A time for people, to the second."""
    return "" if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def plain_entry(entry: Entry) -> dict[str, Any]:
    """An entry as a line of JSON has it."""
    return {
        "position": entry.position,
        "stream": entry.stream,
        "version": entry.version,
        "type": entry.type,
        "schema": entry.schema,
        "codec": entry.codec,
        "recorded_at": entry.recorded_at.isoformat(),
        "id": str(entry.id),
        "append_id": str(entry.append_id),
        "metadata": entry.metadata,
        "data": entry.value,
    }


def kind_of(entry: Entry) -> str:
    """The type of an entry, with its version if it is not the first."""
    return entry.type if entry.schema == 1 else f"{entry.type} v{entry.schema}"


@contextmanager
def progress(what: str, end: int) -> Iterator[Callable[[int], None]]:
    """A bar on the standard error, if that is a terminal; it is told how far the work has come."""
    if not sys.stderr.isatty():
        yield lambda _position: None
        return
    from rich.console import Console  # which takes as long to import as everything else
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=end)
        yield lambda position: bar.update(task, completed=position)


def show_parked(held: Sequence[Parked], *, as_json: bool) -> None:
    """Shows what is parked, and ends the command: by 1 if anything is."""
    for each in held:
        if as_json:
            json_line(attrs.asdict(each))
        else:
            tried = f"{each.attempts} attempts since {each.since}"
            line(f"{each.stream}@{each.version}  {each.type}  {tried}")
            line(f"    {each.error}")
    click.get_current_context().exit(1 if held else 0)
