"""Runs as operators see them: by their journals alone, with none of the application's code.

`eventsrc runs` of the command line is made of these programs. What a run was begun with, and what its
steps were answered, needs the classes that the journal names: see `Runs.status` and `Runs.history`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import attrs

from eventsrc.durable._steps import until_of
from eventsrc.durable.journal import (
    PREFIX,
    Begun,
    CancelAsked,
    Ended,
    Entry,
    Parked,
    Retried,
    RunKey,
    Signalled,
    Waits,
    journals,
)
from eventsrc.durable.runs import State, tell
from eventsrc.events.codec import Codec
from eventsrc.events.event import EventTypes
from eventsrc.events.positions import START
from eventsrc.events.recorded import Recorded
from eventsrc.programs.program import Do, Program, program
from eventsrc.recording.portable import Names, Portable
from eventsrc.stores.operations import Append, Read, ReadFeed


@attrs.frozen
class ListedRun:
    """A run at a moment, as its journal tells without the application's code.

    The fields are those of RunStatus, less the result.
    """

    name: str
    """Of the runs that it is one of."""
    id: str
    state: State
    begun: datetime
    since: datetime
    version: int
    why: str = ""
    until: datetime | None = None
    waits_for: str | None = None
    is_cancelling: bool = False


@program
def list_runs(name: str | None = None) -> Do[ReadFeed, tuple[ListedRun, ...]]:
    """All runs of a store, in the order in which they were begun.

    name: of the runs; None for those of every name.
    It reads all journals, also those of runs that have ended. Raises BadStreamId for a name that none
    can have.
    """
    prefix = PREFIX if name is None else journals[RunKey(name, "x")].id[:-1]
    found: dict[str, ListedRun] = {}
    asked: dict[str, str] = {}
    at = START
    while True:
        page = yield from ReadFeed(at, prefix=prefix)
        for entry in page.events:
            if isinstance(entry.data, CancelAsked):
                asked[entry.stream] = entry.data.why
            if entry.stream in found:
                run = found[entry.stream]
                found[entry.stream] = _after(run, entry, asked.get(entry.stream))
            elif isinstance(entry.data, Begun):
                key, time = journals.key(entry.stream), entry.recorded_at
                found[entry.stream] = ListedRun(key.name, key.id, "ready", time, time, 1)
        if page.next >= page.end:
            return tuple(found.values())
        at = page.next


def retry_run(name: str, id: str) -> Program[Append | Read, None]:
    """As `Runs.retry`."""
    return tell(journals[RunKey(name, id)], Retried())


def cancel_run(name: str, id: str, why: str = "") -> Program[Append | Read, None]:
    """As `Runs.cancel`."""
    return tell(journals[RunKey(name, id)], CancelAsked(why))


def signal_run(name: str, id: str, signal: str, data: Any = None) -> Program[Append | Read, None]:
    """As `Runs.signal`, of plain JSON. Raises NotPortable for anything else."""
    portable = Portable(Codec(EventTypes()), names=Names(_NOTHING))
    return tell(journals[RunKey(name, id)], Signalled(signal, portable.plain(data)))


_NOTHING: Sequence[Any] = ()


def _after(run: ListedRun, entry: Recorded[Entry], asked: str | None) -> ListedRun:
    """The run with one more entry in its journal. asked: why it is to be cancelled, if it is."""
    run = attrs.evolve(run, since=entry.recorded_at, version=entry.version)
    if run.state in ("ended", "cancelled"):
        return run
    its, is_cancelling = entry.data, asked is not None
    going = attrs.evolve(
        run, state="ready", why=asked or "", until=None, waits_for=None, is_cancelling=is_cancelling
    )
    match its:
        case Ended():
            state: State = "cancelled" if its.is_cancelled else "ended"
            return attrs.evolve(going, state=state, why="", is_cancelling=False)
        case Waits():
            return attrs.evolve(going, state="waiting", until=until_of(its), waits_for=its.stream)
        case Parked():
            return attrs.evolve(going, state="parked", why=its.why)
        case Signalled() if run.state == "parked":
            return run
        case _:
            return going
