"""Watching: what is told of stores and views, and what is drawn."""

from __future__ import annotations

import asyncio
import io
import logging
from typing import Any

import pytest
from rich.console import Console

from eventsrc import (
    Append,
    Interpreter,
    MemoryStore,
    Read,
    SqliteViews,
    StreamId,
    on,
    rebuild,
    synchronise,
    world,
)
from eventsrc.following.progress import showing
from eventsrc.following.status import Status, WatchOp
from eventsrc.metering import Measured, logged, metered
from eventsrc.stores.operations import StoreBusy, StoreClosed, Unreachable
from tests.kits.library import CODEC, Closed, Noted, books, filled, notes_view

HERE = books[0].id


def measured(app: Interpreter[Any], *effects: Any) -> list[Measured]:
    """What is told of some effects."""
    found: list[Measured] = []
    told = metered(app, found.append)
    for effect in effects:
        told.run(effect)
    return found


def test_appends_tell_how_they_ended_and_how_long_they_took() -> None:
    store = MemoryStore(CODEC)
    appends = [Append(HERE, (Noted(1), Noted(2))), Append(HERE, (Noted(3),), 0), Read(HERE)]
    one, two = measured(store, *appends)
    assert [(m.name, m.outcome, m.events) for m in (one, two)] == [
        ("Append", "appended", 2),
        ("Append", "conflict", 0),
    ]
    assert one.seconds > 0
    assert one.labels == {"operation": "Append", "outcome": "appended"}


def test_pages_of_views_tell_their_view_and_what_was_parked() -> None:
    store = filled(2, 4)
    store.run(books[0].append(Closed("tired")))
    view = notes_view()

    @view.on(Closed)
    def closed(db: object, event: object) -> None:
        raise ValueError("not this one")

    with SqliteViews.temporary([view]) as views:
        found = measured(store | views, synchronise(view))
    assert [(m.name, m.outcome, m.events) for m in found] == [
        ("Apply", "failed", 4),
    ]
    assert all(m.labels["view"] == "notes" and m.labels["version"] == "1" for m in found)


def test_an_error_of_a_handler_that_does_not_come_again_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = filled(2, 4)
    store.run(books[0].append(Closed("tired")))
    view = notes_view()
    errors = [TimeoutError("of a signal's handler")]

    @view.on(Closed)
    def closed(db: object, event: object) -> None:
        if errors:
            raise errors.pop()

    with SqliteViews.temporary([view]) as views:
        done = (store | views).run(synchronise(view))
    assert (done.applied, done.parked) == (5, ())
    (record,) = caplog.records
    assert record.getMessage() == f"{view!r} met an error that did not come again"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], TimeoutError)


def test_what_raises_is_told_and_raised() -> None:
    def busy(op: Append) -> object:
        raise StoreBusy("others are faster")

    found: list[Measured] = []
    app = metered(on(Append).run(busy), found.append)  # type: ignore[arg-type]
    with pytest.raises(StoreBusy):
        app.run(Append(HERE, (Noted(1),)))
    assert [(m.outcome, str(m.error), m.events) for m in found] == [("raised", "others are faster", 0)]


def test_in_an_event_loop_it_is_told_too() -> None:
    found: list[Measured] = []
    app = metered(MemoryStore(CODEC), found.append)
    asyncio.run(app.run_async(Append(HERE, (Noted(1),))))
    assert [m.outcome for m in found] == ["appended"]


def test_lines_have_stable_keys_and_levels(caplog: pytest.LogCaptureFixture) -> None:
    store = metered(MemoryStore(CODEC), logged())
    with caplog.at_level(logging.INFO, "eventsrc.metering"):
        store.run(Append(HERE, (Noted(1),)))
        store.run(Append(HERE, (Noted(1),), 0))
        store.run(Append(StreamId("x"), (Noted(1),), append_id=None))
    (conflict,) = caplog.records
    assert conflict.levelno == logging.INFO
    assert conflict.__dict__["eventsrc_operation"] == "Append"
    assert conflict.__dict__["eventsrc_outcome"] == "conflict"
    assert conflict.__dict__["eventsrc_events"] == 0
    assert conflict.__dict__["eventsrc_seconds"] > 0


def test_only_what_is_asked_for_is_told() -> None:
    found: list[Measured] = []
    store = metered(MemoryStore(CODEC), found.append, only=(Read,))
    store.run(Append(HERE, (Noted(1),)))
    store.run(Read(HERE))
    assert [(m.name, m.outcome) for m in found] == [("Read", "done")]


def test_a_rebuild_is_drawn_until_its_view_is_live() -> None:
    store, old, new = filled(3, 2500), notes_view(), notes_view(version=2)
    drawn = io.StringIO()
    console = Console(file=drawn, width=100, force_terminal=False)
    with SqliteViews.temporary([old]) as views:
        app = store | views | world
        with showing(app, old, new, every=0.001, console=console):
            app.run(rebuild(new))
    last = drawn.getvalue().splitlines()[-2:]
    assert "notes 1" in last[0]
    assert "2 500 behind, not live" in last[0]
    assert "notes 2" in last[1]
    assert "100 %" in last[1]
    assert last[1].rstrip().endswith("live")


def test_what_goes_wrong_while_it_is_drawn_is_raised() -> None:
    looks = iter(range(1))

    def status_once(status: Status) -> Status:
        next(looks)
        return status

    store, view = filled(1, 1), notes_view()
    with SqliteViews.temporary([view]) as views:
        app: Interpreter[WatchOp] = store | views | world
        console = Console(file=io.StringIO())

        def broken(op: object) -> object:
            if next(looks, None) is None:
                raise StoreClosed("not any more")
            return op

        with pytest.raises(StoreClosed), showing(app.around(broken), view, console=console):  # type: ignore[arg-type]
            pass


@pytest.mark.parametrize("what", ["views", "all"])
def test_a_database_that_is_away_is_drawn_as_that(what: str) -> None:
    store, view, is_away = filled(1, 3), notes_view(), [True]
    drawn = io.StringIO()

    def away(op: Any) -> Any:
        if is_away[0]:
            raise Unreachable("nobody answers")
        return op

    with SqliteViews.temporary([view]) as views:
        below: Any = store | views.around(away)
        if what == "all":
            below = store.around(away) | views.around(away)
        app = below | world
        with showing(app, view, every=60, console=Console(file=drawn, width=100)):
            pass
        assert "away" in drawn.getvalue()
        is_away[0] = False
        with showing(app, view, every=60, console=Console(file=drawn, width=100)):
            pass
    assert "3 behind" in drawn.getvalue()
