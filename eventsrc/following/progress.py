"""Drawing how views come along: a bar for each, with its pace, its lag and what is parked.

    with showing(store | views | world, users, groups):
        app.run(rebuild(users))

Needs the extra `cli`, for rich. What is drawn are the plain values of watching.py.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from eventsrc.following.status import Status, WatchOp, status
from eventsrc.programs.interpreter import Interpreter
from eventsrc.stores.operations import StoreError
from eventsrc.views.view import View


@contextmanager
def showing(
    app: Interpreter[WatchOp],
    *views: View[Any],
    every: float = 0.25,
    console: Console | None = None,
) -> Iterator[None]:
    """Draws how the views come along, while the `with` block does the work.

    app: the store, the views and the world.
    every: how many seconds are between two looks, each a few queries for each view.
    console: where to draw; the standard error if not given.
    While a database is away it says so. What else goes wrong while it looks is raised at the end of the
    block.
    """
    over = threading.Event()
    errors: list[BaseException] = []
    with _progress(console or Console(stderr=True)) as progress:
        lines = {view: _Line(progress, view) for view in views}

        def look() -> None:
            for view, line in lines.items():
                try:
                    line.show(app.run(status(view)))
                except StoreError as error:
                    if not error.may_pass:
                        raise
                    line.show_away()

        def draw() -> None:
            try:
                while not over.wait(every):
                    look()
            except BaseException as error:
                errors.append(error)

        look()
        drawing = threading.Thread(target=draw, name="eventsrc-progress")
        drawing.start()
        try:
            yield
        finally:
            over.set()
            drawing.join()
        look()
    if errors:
        raise errors[0]


class _Line:
    """The line of one view."""

    def __init__(self, progress: Progress, view: View[Any]) -> None:
        self._progress = progress
        self._before: Status | None = None
        name = f"{view.name} {view.version}"
        self._task: TaskID = progress.add_task(name, total=None, pace="", state="")

    def show_away(self) -> None:
        """Draws that nothing is known."""
        self._before = None
        self._progress.update(self._task, pace="", state="away")

    def show(self, now: Status) -> None:
        """Draws a status."""
        if now.away is not None:
            self.show_away()
            return
        before, self._before = self._before, now
        pace = now.pace_since(before) if before is not None else 0.0
        state = "live" if now.live == now.view.version else "not live"
        if now.lag:
            state = f"{_shown(now.lag)} behind, {state}"
        if now.parked:
            state += f", {len(now.parked)} parked"
        self._progress.update(
            self._task,
            total=max(now.end.position, 1),
            completed=now.done * max(now.end.position, 1),
            pace=f"{_shown(pace)}/s",
            state=state,
        )


def _shown(number: float) -> str:
    return f"{number:,.0f}".replace(",", " ")


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[pace]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[state]}"),
        console=console,
        transient=False,
    )
