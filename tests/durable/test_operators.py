"""Runs as operators see them: as the application does, without its code."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from returns.result import Failure, Success

from eventsrc import Do, MemoryStore, program
from eventsrc.durable import Next, Runs, Signal
from eventsrc.durable.operators import ListedRun, cancel_run, list_runs, retry_run, signal_run
from eventsrc.durable.runs import NoSuchRun
from eventsrc.durable.work import work_off
from eventsrc.errors import NotPortable
from tests.durable.service import CODEC, Booked, Clock, Outside, Paid, app_of, books, payments


@program
def errand(id: str, fails: bool) -> Do[Any, str]:
    yield from books.append(Booked(id, 1))
    match (yield from Signal("go", within=50)):
        case Success(told):
            pass
        case Failure():
            told = "late"
    if fails and told != "well":
        raise ValueError("it went wrong")
    yield from Next(payments[id], Paid, within=50)
    return str(told)


errands = Runs("errand", errand, id=lambda id, fails: id, codec=CODEC)
others = Runs("other", errand, id=lambda id, fails: id, codec=CODEC)

ACTIONS = st.tuples(
    st.sampled_from(["work", "go", "pay", "pass", "cancel", "retry"]), st.sampled_from("12")
)


@settings(max_examples=25)
@given(actions=st.lists(ACTIONS, max_size=8), fails=st.booleans())
def test_all_runs_are_listed_in_the_states_that_they_are_in(
    actions: list[tuple[str, str]], fails: bool
) -> None:
    clock = Clock()
    app = app_of(MemoryStore(CODEC), Outside(), clock)
    for each in (errands, others):
        for id in "12":
            app.run(each.start(id, fails))
    for action, id in actions:
        match action:
            case "work":
                app.run(work_off(errands))
            case "go":
                app.run(signal_run("errand", id, "go", {"n": 1}))
            case "pay":
                app.run(payments[id].append(Paid(id)))
            case "pass":
                clock.seconds += 60
            case "cancel":
                app.run(cancel_run("errand", id, "no more"))
            case _:
                app.run(retry_run("errand", id))
        listed = app.run(list_runs())
        assert [(run.name, run.id) for run in listed] == [
            (each.name, id) for each in (errands, others) for id in "12"
        ]
        for run, runs in zip(listed, [errands, errands, others, others], strict=True):
            status = attrs.asdict(app.run(runs.status(run.id)))
            del status["result"]
            assert attrs.asdict(run) == {"name": runs.name, **status}
        assert app.run(list_runs("other")) == listed[2:]


def test_a_run_that_is_not_there_is_told_nothing() -> None:
    store = MemoryStore(CODEC)
    for tell in (retry_run("a", "1"), cancel_run("a", "1"), signal_run("a", "1", "go")):
        with pytest.raises(NoSuchRun):
            store.run(tell)
    with pytest.raises(NotPortable):
        signal_run("a", "1", "go", object())
    assert store.run(list_runs()) == ()


def test_a_listed_run_names_its_journal() -> None:
    app = app_of(MemoryStore(CODEC), Outside(), Clock())
    app.run(errands.start("a/b", False))
    (run,) = app.run(list_runs())
    assert isinstance(run, ListedRun)
    assert (run.name, run.id, run.version) == ("errand", "a/b", 1)
