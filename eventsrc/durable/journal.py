"""The journal of a run: a stream of its own, below `eventsrc/runs/`.

It says what the program was begun with, what its operations were answered, what it waits for, what it
was told from outside, and how it ended. Each write of a worker expects the journal's exact version, so
that of two workers only one can go on; what others tell a run, such as that it is to end, is taken in
where it comes between.

What is in `steps` is described in _steps.py.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import attrs

from eventsrc.events.event import own_event
from eventsrc.streams.stream import Streams

Steps: TypeAlias = list[dict[str, Any]]


@attrs.frozen
class RunKey:
    """The key of a journal: the name of the runs, and the id of one."""

    name: str
    id: str


@own_event("run.begun")
class Begun:
    """A run was begun, with these arguments of its program."""

    args: list[Any]
    kwargs: dict[str, Any]


@own_event("run.went-on")
class WentOn:
    """A run has gone on: what its operations were answered.

    asks: the command that is performed next, outside the store: if nothing follows, nobody knows
        whether it was.
    """

    steps: list[dict[str, Any]]
    asks: dict[str, Any] | None = None


@own_event("run.waits")
class Waits:
    """A run has gone on, and then waits.

    until: a time, as ISO 8601 has it; None if it waits for as long as it takes.
    stream, types: where an event of one of these stored names ends the waiting; None and empty if none.
    """

    steps: list[dict[str, Any]]
    asks: dict[str, Any]
    until: str | None
    stream: str | None
    types: list[str]


@own_event("run.signalled")
class Signalled:
    """A run was told something from outside."""

    name: str
    data: Any


@own_event("run.cancel-asked")
class CancelAsked:
    """A run is to be cancelled: it undoes what it has done, and ends."""

    why: str


@own_event("run.parked")
class Parked:
    """A run cannot go on by itself. It stays as it is until it is retried.

    why: in a line or two. details: such as a traceback.
    """

    steps: list[dict[str, Any]]
    why: str
    details: str


@own_event("run.retried")
class Retried:
    """A parked run is to be tried again from where it was."""


@own_event("run.ended")
class Ended:
    """A run has ended, with this answer of its program; or it was cancelled, and has none."""

    steps: list[dict[str, Any]]
    answer: Any
    is_cancelled: bool = False


Entry: TypeAlias = Begun | WentOn | Waits | Signalled | CancelAsked | Parked | Retried | Ended
"""The events of a journal."""

MESSAGES: Final = (Signalled, CancelAsked, Retried)
"""The events that others write: they may come between any two of a worker's."""

journals: Final = Streams("eventsrc/runs/{name}/{id}", key=RunKey, events=Entry)
"""The journals of all runs."""

PREFIX: Final = "eventsrc/runs/"
