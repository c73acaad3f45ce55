"""The queries that the page asks, and the interpreter of these alone."""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias, TypeVar

from eventsrc._clock import within
from eventsrc.events.epochs import Epochs
from eventsrc.programs.interpreter import AsyncInterpreter, Interpreter, on
from eventsrc.programs.program import Effect
from eventsrc.programs.world import Elapsed, world
from eventsrc.stores.operations import (
    Appended,
    FeedPage,
    FindAppend,
    GetEpochs,
    LoadSnapshot,
    Page,
    Read,
    ReadFeed,
    Snapshot,
)
from eventsrc.views.operations import GetLive, GetParked, GetProgress, Parked, Progress

R = TypeVar("R")

StoreQuery: TypeAlias = Read | ReadFeed | FindAppend | LoadSnapshot | GetEpochs
ViewQuery: TypeAlias = GetProgress | GetParked | GetLive
Query: TypeAlias = StoreQuery | ViewQuery | Elapsed


class Queries(Interpreter[Query]):
    """Answers the queries by an application, and has no handler for anything else."""

    def __init__(self, app: AsyncInterpreter[Any]) -> None:
        self._app = app

    async def answered(self, program: Effect[Any, R], seconds: float) -> R:
        """The result of a program. Raises TimeoutError if it takes longer.

        What an application without an event loop answers, a thread waits for; it ends by the deadlines
        of its store.
        """
        if isinstance(self._app, Interpreter):
            asked = asyncio.to_thread(self.run, program)
        else:
            asked = self.run_async(program)
        return await within(seconds, asked)

    def _run(self, op: Any) -> Any:
        assert isinstance(self._app, Interpreter)
        return self._app.run(op)

    @on(Read)
    def read(self, op: Read) -> Page[Any]:
        return self._run(op)  # type: ignore[no-any-return]

    @on(ReadFeed)
    def read_feed(self, op: ReadFeed) -> FeedPage[Any]:
        return self._run(op)  # type: ignore[no-any-return]

    @on(FindAppend)
    def find_append(self, op: FindAppend) -> Appended | None:
        return self._run(op)  # type: ignore[no-any-return]

    @on(LoadSnapshot)
    def load_snapshot(self, op: LoadSnapshot) -> Snapshot | None:
        return self._run(op)  # type: ignore[no-any-return]

    @on(GetEpochs)
    def get_epochs(self, op: GetEpochs) -> Epochs:
        return self._run(op)  # type: ignore[no-any-return]

    @on(GetProgress)
    def get_progress(self, op: GetProgress) -> Progress:
        return self._run(op)  # type: ignore[no-any-return]

    @on(GetParked)
    def get_parked(self, op: GetParked) -> tuple[Parked, ...]:
        return self._run(op)  # type: ignore[no-any-return]

    @on(GetLive)
    def get_live(self, op: GetLive) -> int:
        return self._run(op)  # type: ignore[no-any-return]

    @on(Elapsed)
    def elapsed(self, op: Elapsed) -> float:
        return world.run(op)

    @on(Read).coroutine
    async def read_async(self, op: Read) -> Page[Any]:
        return await self._app.run_async(op)

    @on(ReadFeed).coroutine
    async def read_feed_async(self, op: ReadFeed) -> FeedPage[Any]:
        return await self._app.run_async(op)

    @on(FindAppend).coroutine
    async def find_append_async(self, op: FindAppend) -> Appended | None:
        return await self._app.run_async(op)

    @on(LoadSnapshot).coroutine
    async def load_snapshot_async(self, op: LoadSnapshot) -> Snapshot | None:
        return await self._app.run_async(op)

    @on(GetEpochs).coroutine
    async def get_epochs_async(self, op: GetEpochs) -> Epochs:
        return await self._app.run_async(op)

    @on(GetProgress).coroutine
    async def get_progress_async(self, op: GetProgress) -> Progress:
        return await self._app.run_async(op)

    @on(GetParked).coroutine
    async def get_parked_async(self, op: GetParked) -> tuple[Parked, ...]:
        return await self._app.run_async(op)

    @on(GetLive).coroutine
    async def get_live_async(self, op: GetLive) -> int:
        return await self._app.run_async(op)
