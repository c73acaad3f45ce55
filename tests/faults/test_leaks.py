"""A service that runs for long: what was asked and answered leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from eventsrc import (
    Append,
    Do,
    Interpreter,
    MemoryStore,
    Read,
    ReadFeed,
    SqliteStore,
    StoreOp,
    StreamId,
    View,
    event,
    gather,
    program,
    world,
)
from eventsrc.events.positions import Token
from eventsrc.following.session import Session
from eventsrc.http import Problem, append_id, expected, preferences, refusal
from eventsrc.metering import metered
from eventsrc.stores.metadata import with_metadata
from eventsrc.streams.fold import Fold, Load
from eventsrc.streams.past import as_of
from eventsrc.streams.remembering import remembering
from eventsrc.views.memory import MemoryViews
from tests.faults import scaled

HERE = StreamId("here")


@event("leaks.said")
class Said:
    text: str


names: View[Any] = View("names")
total: Fold[int, Any] = Fold(0, lambda state, _: state + 1)


class Service:
    """Requests of many kinds, each with programs, streams and texts of its own."""

    def __init__(self, store: Any) -> None:
        self.known: Token = store.run(Append(HERE, (Said("first"),))).unwrap().token
        self.app: Interpreter[Any] = store | MemoryViews([names]) | world

    def ask(self, number: int) -> None:
        text = f"request {number} {uuid4()}"

        @program
        def request() -> Do[StoreOp | Load, Any]:
            yield from Read(HERE)
            yield from gather(Read(StreamId(f"none/{number}")), ReadFeed(limit=1))
            yield from Load(HERE, total)
            return (yield from Append(HERE, (Said(text),), 7))

        self.app.run(request())
        self.app.run(with_metadata(request(), correlation_id=text))
        remembering(metered(self.app, lambda _: None), 10).run(request())
        as_of(self.app, self.known).run(Read(HERE))
        Session().noting(self.app).run(Read(HERE))
        headers = {"idempotency-key": text, "prefer": "wait=1", "if-match": f'"{text[:20]}"'}
        append_id(headers, text)
        preferences(headers)
        with pytest.raises(Problem) as raised:
            expected(headers)
        refusal(raised.value)

    async def ask_async(self, number: int) -> None:
        for one in range(2):
            task = asyncio.create_task(self.app.run_async(Append(HERE, (Said(str(number)),), 7 + one)))
            if one:
                task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self.app.run_async(Read(HERE))

    async def rest(self) -> None:
        """Lets the threads end what those who are gone have left to them."""
        await asyncio.gather(*[asyncio.to_thread(int) for _ in range(64)])


def kept(ask: Callable[[int], object], times: int, rest: Callable[[], object] = int) -> float:
    """The blocks of memory that each of so many requests leaves behind, once all is warm.

    rest: is called after them.
    """
    found: list[float] = []
    for turn in range(3):
        gc.collect()
        before = sys.getallocatedblocks()
        for number in range(turn * times, (turn + 1) * times):
            ask(number)
        rest()
        gc.collect()
        found.append((sys.getallocatedblocks() - before) / times)
    return min(found)


@pytest.fixture(params=["memory", "sqlite"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    if request.param == "memory":
        yield Service(MemoryStore())
    else:
        with SqliteStore(tmp_path / "store.db", durability="process") as store:
            yield Service(store)


def test_a_served_request_leaves_nothing_behind(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventsrc.programs.interpreter.MOST_ACCEPTED", 10)
    assert kept(service.ask, scaled(200)) < 0.5


def test_a_million_small_requests_are_served_in_the_same_memory(service: Service) -> None:
    """So many in the longer tier. A request reads, loads and is refused an append of its own text."""

    @program
    def small(number: int) -> Do[StoreOp | Load, Any]:
        yield from Load(HERE, total)
        return (yield from Append(HERE, (Said(str(number)),), 7))

    requests = scaled(1_000, 333_334)  # three times as many in all
    assert kept(lambda number: service.app.run(small(number)), requests) * requests < 500


def kept_by_tasks(service: Service, times: int, remembered: list[object] | None = None) -> float:
    async def ask(number: int) -> None:
        if remembered is not None:
            remembered.append([object() for _ in range(50)])
        await service.ask_async(number)

    with asyncio.Runner() as runner:
        return kept(lambda number: runner.run(ask(number)), times, lambda: runner.run(service.rest()))


def test_a_task_that_is_cancelled_leaves_nothing_behind(service: Service) -> None:
    assert kept_by_tasks(service, scaled(200)) < 1


def test_control_what_is_remembered_of_tasks_is_seen(service: Service) -> None:
    assert kept_by_tasks(service, 200, []) > 1


def test_control_functions_that_are_remembered_for_ever_are_seen(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventsrc.programs.interpreter.MOST_ACCEPTED", sys.maxsize)
    assert kept(service.ask, 200) > 1
