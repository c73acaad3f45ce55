"""Commands that look at durable runs, and tell them something: none needs the application."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import attrs
import click

from eventsrc.cli._output import json_line, line, when
from eventsrc.cli._target import as_json, confirm, do_not_ask, reading, store_url
from eventsrc.durable.operators import ListedRun, cancel_run, list_runs, retry_run, signal_run
from eventsrc.opening import open_store

STATES = ("ready", "waiting", "parked", "ended", "cancelled")

_name = click.argument("name")
_id = click.argument("id")


@click.group()
def runs() -> None:
    """Look at durable runs, and retry, cancel or signal them.

    A run has a NAME, that of its Runs, and an ID. `eventsrc show URL eventsrc/runs/NAME/ID` shows its
    journal.
    """


@runs.command("list")
@store_url
@click.option("--name", help="Only runs of this name.")
@click.option("--state", type=click.Choice(STATES), help="Only runs in this state.")
@click.option("--all", "show_all", is_flag=True, help="Also runs that have ended.")
@as_json
def list_(url: str, name: str | None, state: str | None, show_all: bool, as_json: bool) -> None:
    """Show the runs that have not ended, and how many are in each state; end by 1 if one is parked."""
    with reading(url) as store:
        found = store.run(list_runs(name))
    for run in found:
        if run.state == state or (state is None and (show_all or not _is_over(run))):
            if as_json:
                json_line({field: _plain(value) for field, value in attrs.asdict(run).items()})
            else:
                line(f"{run.state:<9}  {when(run.since)}  {run.name}/{run.id}  {_more(run)}".rstrip())
    if not as_json:
        counts = Counter[str](run.state for run in found)
        line(", ".join(f"{counts[one]:,} {one}" for one in STATES if counts[one]) or "no runs")
    click.get_current_context().exit(1 if any(run.state == "parked" for run in found) else 0)


@runs.command()
@store_url
@_name
@click.argument("ids", nargs=-1)
@do_not_ask
def retry(url: str, name: str, ids: tuple[str, ...], yes: bool) -> None:
    """Have parked runs of NAME go on from where they were: IDS, or all."""
    with open_store(url) as store:
        parked = [run.id for run in store.run(list_runs(name)) if run.state == "parked"]
        chosen = ids or parked
        confirm(yes, f"have {len(chosen)} runs of {name} go on")
        for id in chosen:
            store.run(retry_run(name, id))


@runs.command()
@store_url
@_name
@_id
@click.option("--why", default="", help="The reason, which its journal keeps.")
@do_not_ask
def cancel(url: str, name: str, id: str, why: str, yes: bool) -> None:
    """Have a run undo what it did, and end."""
    with open_store(url) as store:
        confirm(yes, f"cancel the run {id} of {name}")
        store.run(cancel_run(name, id, why))


@runs.command()
@store_url
@_name
@_id
@click.argument("signal")
@click.argument("data", default="null")
@do_not_ask
def signal(url: str, name: str, id: str, signal: str, data: str, yes: bool) -> None:
    """Tell a run something: what its operation Signal(SIGNAL) answers. DATA is JSON."""
    try:
        value = json.loads(data)
    except ValueError as error:
        raise click.BadParameter(f"{data!r:.60} is no JSON: {error}", param_hint="DATA") from error
    with open_store(url) as store:
        confirm(yes, f"send {signal} to the run {id} of {name}")
        store.run(signal_run(name, id, signal, value))


def _is_over(run: ListedRun) -> bool:
    return run.state in ("ended", "cancelled")


def _more(run: ListedRun) -> str:
    """The end of waiting, or the reason for which a run is parked."""
    parts = ["is being cancelled"] if run.is_cancelling else []
    if run.until is not None:
        parts.append(f"until {when(run.until)}")
    if run.waits_for is not None:
        parts.append(f"for {run.waits_for}")
    return "  ".join([*parts, run.why]).strip()


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
