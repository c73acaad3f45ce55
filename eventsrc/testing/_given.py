"""Given events, when a program is run, then there are these events, and this answer.

    Given({accounts["joint"]: [Moved(100)]}).when(withdraw("joint", 60)).then(
        {accounts["joint"]: [Moved(-60)]}, answer=Success(None)
    )

The store is a simulated one, and so are time, ids and chance: a test gives the same each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, Self, TypeAlias, TypeVar

import attrs
from returns.result import Failure

from eventsrc._errors import EventsrcError
from eventsrc.events.codec import Codec
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.interpreter import Interpreter, scope_for, scope_of
from eventsrc.programs.program import Effect
from eventsrc.programs.world import World, world
from eventsrc.stores.operations import Append, StoreOp
from eventsrc.streams.stream import Stream
from eventsrc.testing._differences import differences
from eventsrc.testing._scenarios.judging import whole_feed
from eventsrc.testing._scenarios.running import Plan, Running
from eventsrc.testing._scenarios.simulation import SimulatedStore
from eventsrc.testing._scenarios.story import shown

R = TypeVar("R")

Events: TypeAlias = Mapping[Any, Sequence[object]]
"""Events by their stream: a Stream, or its id."""

MOST_STEPS: Final = 100_000
"""The most steps of a program before it is taken for endless."""

_ANYTHING: Final[Any] = object()


class NotGiven(EventsrcError):
    """Events that were to be there before could not be stored."""


class Given:
    """The events that have happened before.

    events: by stream, a Stream or its id; they are appended in this order.
    on: makes the program's interpreter, of that of the store and the world; that itself if not given.
    codec: as of a store.
    Raises NotGiven for events that cannot be stored.
    """

    def __init__(
        self,
        events: Events | None = None,
        *,
        on: Callable[[Interpreter[StoreOp | World]], Interpreter[Any]] | None = None,
        codec: Codec | None = None,
    ) -> None:
        store = SimulatedStore(codec)
        both = store | world
        app: Interpreter[Any] = both if on is None else on(both)
        self._store = store
        self._app = app
        plan = Plan({}, lambda: scope_of(world.but(app)), most_steps=MOST_STEPS)
        self._running = Running(plan)
        for stream, its in (events or {}).items():
            if its:
                done = store.run(Append(_id(stream), tuple(its)))
                if isinstance(done, Failure):
                    raise NotGiven(f"{shown(list(its))} cannot be appended to {_id(stream)}: {done}")
        self._before = len(store.run(whole_feed()))

    def and_when(self, program: Effect[Any, Any]) -> Self:
        """Runs a program first; what it appends is given, not new."""
        self._running.alone(program)
        self._before = len(self._store.run(whole_feed()))
        return self

    def when(self, program: Effect[Any, R]) -> Then[R]:
        """Runs a program; what it answers, or raises, and what it appends is to be looked at."""
        scope_for(self._app, program)
        answer: Any = None
        error: Exception | None = None
        try:
            answer = self._running.alone(program)
        except Exception as raised:
            error = raised
        new: dict[StreamId, list[object]] = {}
        for event in self._store.run(whole_feed())[self._before :]:
            new.setdefault(event.stream, []).append(event.data)
        return Then(answer, error, new)


@attrs.frozen
class Then(Generic[R]):
    """The result of a program in a given history.

    answer: the program's, or None if it raised the `error`.
    events: those that it appended, by the ids of their streams.
    """

    answer: R
    error: Exception | None
    events: Mapping[StreamId, Sequence[object]]

    def then(
        self,
        events: Events | None = None,
        *,
        answer: Any = _ANYTHING,
        raises: type[Exception] | None = None,
    ) -> Then[R]:
        """These events were appended, and no others.

        answer: what the program must have answered; anything, if not given.
        raises: the type of exception that it must have raised.
        Raises AssertionError with what is different, or what the program raised and should not have.
        """
        if self.error is not None and (raises is None or not isinstance(self.error, raises)):
            raise self.error
        wrong: list[str] = []
        if raises is not None and self.error is None:
            wrong.append(f"{raises.__name__} was expected, and the answer is {shown(self.answer)}")
        if answer is not _ANYTHING:
            wrong += differences(answer, self.answer, "answer")
        expected = {_id(stream): list(its) for stream, its in (events or {}).items() if its}
        for stream in {**expected, **self.events}:
            its = list(self.events.get(stream, []))
            wrong += differences(expected.get(stream, []), its, f"events of {stream}")
        if wrong:
            raise AssertionError("\n".join(wrong))
        return self


def _id(stream: Any) -> StreamId:
    return stream.id if isinstance(stream, Stream) else StreamId(stream)
