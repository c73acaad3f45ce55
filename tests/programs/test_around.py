"""Middleware that is put around operations is around each of them, however it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from eventsrc import Append, Do, Fold, MemoryStore, Query, Read, Snapshots, gather_all, on
from eventsrc.errors import MissingHandlers
from eventsrc.preview import preview
from eventsrc.programs.operation import Derived
from eventsrc.programs.program import intercept, pure
from eventsrc.streams.fold import LATEST_SNAPSHOT, Load
from eventsrc.streams.past import as_it_was, as_of
from eventsrc.streams.remembering import remembering
from tests.kits.counting import Counted, counter, total


class Denied(Exception):
    """The middleware was asked."""


def deny(op: Any) -> Do[Any, Any]:
    raise Denied(op)
    yield


class Sensitive:
    """Marks operations."""


class Find(Query[str]):
    key: str


class FindSecret(Find):
    """One that only some may ask."""


class FindSalary(Find, Sensitive):
    """One with a mark."""


class Twice(Derived[str]):
    """Means a Find."""

    lower = (Find,)
    key: str

    def meaning(self) -> Any:
        return Find(self.key).map(lambda text: text * 2)


found = on(Find).run(lambda op: f"found {op.key}")
x = FindSecret("x")

WAYS: dict[str, tuple[Any, Any]] = {
    "a subclass that its base's handler performs": (
        found.around(deny, only=FindSecret),
        FindSecret("x"),
    ),
    "a subclass by a mark": (found.around(deny, only=Sensitive), FindSalary("x")),
    "a subclass of what is surrounded": (found.around(deny, only=Find), x),
    "what a derived operation means": (found.around(deny, only=Find), Twice("x")),
    "a derived operation with a handler": (
        (found | on(Twice).run(lambda op: op.key)).around(deny, only=Find),
        Twice("x"),
    ),
    "a derived operation by its name": (found.around(deny, only=Twice), Twice("x")),
    "all derived operations": (found.around(deny, only=Derived), Twice("x")),
    "operations side by side": (
        found.around(deny, only=FindSecret),
        gather_all([Find("x"), FindSecret("y")]),
    ),
    "what is joined later": (
        found.around(deny, only=FindSecret) | on(Append).always(None),  # type: ignore[arg-type]
        FindSecret("x"),
    ),
    "the inner of two": (
        found.around(deny, only=FindSecret).around(lambda op: op, only=Find),
        FindSecret("x"),
    ),
    "the outer of two": (
        found.around(lambda op: op, only=Find).around(deny, only=Sensitive),
        FindSalary("x"),
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_way_leads_around_middleware(way: str) -> None:
    app, program = WAYS[way]
    with pytest.raises(Denied):
        app.run(program)
    with pytest.raises(Denied):
        asyncio.run(app.run_async(program))


def test_the_others_are_performed_as_ever() -> None:
    assert found.around(deny, only=FindSecret).run(Find("x")) == "found x"
    assert found.around(deny, only=Sensitive).run(Twice("x").meaning()) == "found xfound x"
    replaced = found.around(deny, only=FindSecret).but(on(FindSecret).always("replaced"))
    assert replaced.run(FindSecret("x")) == "replaced"


@pytest.mark.parametrize("wrap", [lambda store: store, remembering], ids=["store", "remembering"])
@pytest.mark.parametrize("only", [Read, Load])
def test_folds_are_not_around_it(wrap: Callable[[Any], Any], only: type) -> None:
    kept: Fold[int, Any] = Fold(0, total.evolve, snapshots=Snapshots("kept", of=int, every=1))
    store = MemoryStore()
    store.run(counter.append(Counted(2)))
    app = wrap(store)
    app.run(counter.get(kept))
    guarded = app.around(deny, only=only)
    for program in (counter.get(total), counter.get(kept), counter.get(kept, LATEST_SNAPSHOT)):
        with pytest.raises(Denied):
            guarded.run(program)


def test_previews_are_not_around_it() -> None:
    store = MemoryStore()
    denied = [
        preview(store.around(deny, only=Append), counter.append(Counted(1))).outcome,
        preview(store.around(deny, only=Read), counter.read()).outcome,
    ]
    assert [type(outcome.failure()) for outcome in denied] == [Denied, Denied]
    assert preview(store.around(deny, only=Read), pure(1)).outcome.unwrap() == 1


def test_neither_the_past_nor_another_handler_is_around_it() -> None:
    store = MemoryStore()
    place = store.run(counter.append(Counted(1))).cursor
    guarded = store.around(deny, only=Read)

    def asked_again(op: Any) -> Do[Any, Any]:
        return (yield from op)

    for ask in (
        lambda app: as_of(app, place).run(counter.read()),
        lambda app: app.run(as_it_was(counter.read(), place)),
        lambda app: app.run(intercept(counter.read(), asked_again)),
        lambda app: app.run(gather_all([counter.read(), counter.get(total)])),
    ):
        ask(store)
        with pytest.raises(Denied):
            ask(guarded)


def test_an_only_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(MissingHandlers, match="no handler for Read"):
        found.around(deny, only=Read)
    with pytest.raises(MissingHandlers, match="Append, Read"):
        found.around(deny, only=(Read, Append))
