"""Views that are declared wrongly say so, and not by doing nothing."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from eventsrc import SqliteViews, View, synchronise
from eventsrc.views.memory import MemoryViews
from eventsrc.views.operations import GetParked, GetProgress
from eventsrc.views.view import ViewError
from tests.kits.library import TYPES, Noted, books, filled


async def coroutine(*_: Any) -> None:
    raise AssertionError("nobody awaits it")


async def stream(*_: Any) -> AsyncIterator[int]:
    yield 1


def generator(*_: Any) -> Iterator[int]:
    yield 1


class Callable:
    """Looks like a plain function."""

    async def __call__(self, *_: Any) -> None:
        raise AssertionError("nobody awaits it")


NEVER_RUN: list[Any] = [coroutine, stream, generator, functools.partial(coroutine, 1)]


@pytest.mark.parametrize("handler", NEVER_RUN)
def test_handlers_that_would_never_run_are_refused(handler: Any) -> None:
    view: View[Any] = View("notes", types=TYPES)
    for register in (view.on(Noted), view.on_many(Noted), view.schema):
        with pytest.raises(ViewError, match="handlers are plain functions"):
            register(handler)


@pytest.mark.parametrize(
    "handler", [Callable(), lambda *_: coroutine(), lambda *_: generator(), lambda *_: stream()]
)
@pytest.mark.parametrize("takes_many", [False, True])
def test_a_handler_that_answers_what_it_should_have_done_applies_nothing(
    handler: Any, takes_many: bool
) -> None:
    view: View[Any] = View("notes", types=TYPES)
    (view.on_many if takes_many else view.on)(Noted)(handler)
    with SqliteViews.temporary() as views:
        (filled(2, 4) | views).run(synchronise(view))
        assert views.run(GetProgress(view)).applied == 0
        parked = views.run(GetParked(view))
        assert [each.stream for each in parked] == [books[0].id, books[1].id]
        assert all("has not run" in each.error for each in parked)


def test_a_schema_that_answers_what_it_should_have_done_is_refused() -> None:
    view: View[Any] = View("notes", types=TYPES)
    view.schema(lambda _: coroutine())  # type: ignore[arg-type]
    with pytest.raises(ViewError, match="has not run"):
        SqliteViews.temporary([view])


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": 5},
        {"name": ""},
        {"name": "a\0b"},
        {"name": "\ud800"},
        {"name": "x" * 101},
        {"version": 0},
        {"version": True},
        {"version": "2"},
        {"version": 2**70},
        {"partitions": 0},
        {"partitions": 1.5},
        {"failing": "skip"},
        {"unknown": "ignore"},
    ],
)
def test_what_no_view_can_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ViewError):
        View(**{"name": "notes", **wrong})


def test_two_views_of_one_name_and_version_are_refused() -> None:
    one: View[Any] = View("twice", types=TYPES)
    other: View[Any] = View("twice", types=TYPES)
    for databases in (SqliteViews.temporary, MemoryViews):
        with pytest.raises(ViewError, match=r"two views View\('twice', version=1\)"):
            databases([one, other])
        databases([one, one, View("twice", version=2, types=TYPES)]).close()
