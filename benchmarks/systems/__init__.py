"""What is measured: each system can do the same work, the way that it recommends."""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import attrs

from benchmarks.facts import Layout

T = TypeVar("T")


class Log(abc.ABC):
    """A database of a system, open. Streams and their versions are numbers here, versions from 1."""

    @abc.abstractmethod
    def events(self, stream: int, first: int, count: int) -> Sequence[Any]:
        """Events of the system's own kind with the versions from `first` on; this is not measured."""

    @abc.abstractmethod
    def append(self, stream: int, version: int, events: Sequence[Any]) -> None:
        """Appends events, if the stream is at the version."""

    async def append_async(self, stream: int, version: int, events: Sequence[Any]) -> None:
        """As `append`, in a task; for systems that have such."""
        raise NotImplementedError

    def append_beside(self, stream: int, version: int, events: Sequence[Any]) -> None:
        """As `append`, in one of many threads; where that is another way."""
        self.append(stream, version, events)

    def push(self, stream: int) -> None:
        """Appends an event to a stream that others append to as well, however often it takes."""
        raise NotImplementedError

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine that calls `append_async`, in the event loop of the database."""
        return asyncio.run(work)

    @abc.abstractmethod
    def read(self, stream: int) -> int:
        """Folds the decoded events of a stream; answers how many there are."""

    @abc.abstractmethod
    def scan(self) -> int:
        """Decodes all events in the order of the feed, a page at a time; answers how many there are."""

    @abc.abstractmethod
    def call(self, stream: int) -> None:
        """A service call: loads the state of a stream, decides, appends an event."""

    @abc.abstractmethod
    def synchronise(self, folder: Path) -> int:
        """Brings a new view in a file of its own up to date, each event exactly once; answers how many
        events it has applied."""

    @abc.abstractmethod
    def fill(self, layout: Layout) -> None:
        """Appends the events of a layout, many at a time; this is not measured."""

    @abc.abstractmethod
    def close(self) -> None:
        """Closes the database."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@attrs.frozen
class System:
    """A library, or the engine itself, in one of its set-ups.

    files: whose files they are: those with the same can read each other's.
    open: opens the database in a folder, which may be new.
    open_memory: makes one in memory, if the system has such.
    open_postgres: opens the one at an address in Postgres, if the system can.
    rival: for eventsrc, the name of the raw system that it is held against.
    """

    name: str
    kind: Literal["peer", "raw", "eventsrc"]
    files: str
    open: Callable[[Path], Log] | None
    open_memory: Callable[[], Log] | None = None
    rival: str = ""
    open_postgres: Callable[[str], Log] | None = None
