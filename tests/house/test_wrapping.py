"""Whatever wraps an interpreter gives one of the same kind, which performs what the first did."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eventsrc import (
    AsyncInterpreter,
    Do,
    Interpreter,
    MemoryStore,
    SqliteStore,
    StoreOp,
    Translation,
    on,
    program,
    world,
)
from eventsrc.following.session import Session
from eventsrc.metering import logged, metered
from eventsrc.otel import traced
from eventsrc.postgres import AsyncPostgresStore, PostgresStore
from eventsrc.recording import RunFile, recording
from eventsrc.stores.operations import Append, Head
from eventsrc.streams.past import as_of
from eventsrc.streams.remembering import remembering
from tests.kits.counting import Counted, counter, total


class Again(Translation[Head, StoreOp]):
    """Asks for a head by the store below."""

    @on(Head).program
    def head(self, op: Head) -> Do[StoreOp, int]:
        return (yield from op)


def passing(op: Any) -> Do[Any, Any]:
    """Performs an operation as it is."""
    return (yield from op)


WRAPPERS: dict[str, Callable[[Any, Path], Any]] = {
    "metered": lambda store, _: metered(store, logged()),
    "recording": lambda store, folder: recording(store | world, RunFile(folder / "runs.jsonl")),
    "traced": lambda store, _: traced(store),
    "remembering": lambda store, _: remembering(store),
    "noting": lambda store, _: Session().noting(store),
    "joined": lambda store, _: store | world,
    "but": lambda store, _: store.but(Again().into(store)),
    "around": lambda store, _: store.around(passing, only=(Append, Head)),
}


@program
def count() -> Do[StoreOp, int]:
    yield from counter.append(Counted(2), Counted(3))
    folded = yield from counter.get(total)
    return folded.state


@pytest.mark.parametrize("name", WRAPPERS)
@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres"])
def test_a_wrapped_interpreter_runs(
    name: str, kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store: Any = MemoryStore()
    if kind == "sqlite":
        store = SqliteStore(tmp_path / "store.db", durability="process")
    elif kind == "postgres":
        store = PostgresStore(request.getfixturevalue("postgres_dsn"))
    wrapped = WRAPPERS[name](store, tmp_path)
    assert isinstance(wrapped, Interpreter)
    assert wrapped.run(count()) == 5
    assert as_of(store, store.run(counter.read()).token).run(counter.head()) == 2
    if kind != "memory":
        store.close()


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapped_interpreter_for_an_event_loop_runs_in_one(
    name: str, tmp_path: Path, postgres_dsn: str
) -> None:
    async def work() -> None:
        async with AsyncPostgresStore(postgres_dsn) as store:
            wrapped = WRAPPERS[name](store, tmp_path)
            assert isinstance(wrapped, AsyncInterpreter)
            assert not isinstance(wrapped, Interpreter)
            assert await wrapped.run_async(count()) == 5
            past = as_of(store, (await store.run_async(counter.read())).token)
            assert not isinstance(past, Interpreter)
            assert await past.run_async(counter.head()) == 2

    asyncio.run(work())


def test_an_interpreter_with_handlers_that_need_an_event_loop_needs_one() -> None:
    async def head(op: Head) -> int:
        return 7

    changed: Any = MemoryStore().but(on(Head).run_async(head))  # type: ignore[arg-type]
    assert isinstance(changed, AsyncInterpreter)
    assert not isinstance(changed, Interpreter)
    assert asyncio.run(changed.run_async(counter.head())) == 7
