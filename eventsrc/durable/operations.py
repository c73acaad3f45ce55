"""Operations of a run, besides those of its application.

All of them mean something outside of a run too, so that a program that is durable by `Runs` can be run
at once by any interpreter of a store and the world.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, Never, TypeAlias, TypeVar
from uuid import UUID

import attrs
from returns.result import Failure, Success

from eventsrc._errors import EventsrcError
from eventsrc.events.recorded import Recorded
from eventsrc.programs.operation import Derived
from eventsrc.programs.program import Do, Effect, Outcome, pure
from eventsrc.programs.world import Elapsed, NewId, Sleep
from eventsrc.stores.operations import Page, Read
from eventsrc.streams.stream import Stream

if TYPE_CHECKING:
    from typing_extensions import TypeForm

E = TypeVar("E")

EVERY: Final = 0.05
"""Seconds between two looks at a stream, outside of a run."""

MINUTES: Final = 60.0
HOURS: Final = 3600.0
DAYS: Final = 86400.0


class Cancelled(BaseException):
    """Raised in a run that is cancelled, where it performs its next operation: see `Runs.cancel`.

    A BaseException, so that `except Exception` lets it pass; `finally` and `with` see it, and
    may perform operations.
    """


class NotInARun(EventsrcError):
    """An operation that only a run can answer was performed outside of one."""


@attrs.frozen
class TimedOut:
    """Nothing came in the time that was given."""

    seconds: float


class StepId(Derived[UUID]):
    """An id of the step that comes next, the same however often it is performed.

    In a handler that is a program, of the step that it performs. It is the key with which an effect
    outside the store, such as a payment, is done once: give it to whoever does it. Outside of a run it
    is a new id.
    """

    lower = (NewId,)

    def meaning(self) -> Effect[NewId, UUID]:
        """A new id."""
        return NewId()


class Changed(Derived[bool]):
    """Whether the code after it is to be as it is now: False in a run that had passed here before.

    name: of the change, of its own in the program. A run answers the same every time.
    """

    lower = ()

    name: str

    def meaning(self) -> Effect[Never, bool]:
        """True: there is no run that began before the change."""
        return pure(True)


class Next(Derived[Outcome[Recorded[E], TimedOut]], Generic[E]):
    """The next event of a stream, of some types: one that is there, or else that comes.

    The first `Next` of a stream in a run looks at the stream from its beginning, and each later one
    behind the event that the one before answered.

    types: a class, or a union of some; all of the stream's if None.
    within: seconds to wait, after which it answers a Failure of TimedOut; None for as long as it takes.
    after: the version behind which to look, in place of that.
    """

    lower = (Read, Elapsed, Sleep)

    stream: Stream[Any]
    types: TypeForm[E] | None = None
    within: float | None = None
    after: int | None = None

    def meaning(self) -> Do[Read | Elapsed | Sleep, Outcome[Recorded[Any], TimedOut]]:
        """Looks at the stream again and again."""
        wanted = self.wanted()
        after = self.after or 0
        began = yield from Elapsed()
        while True:
            found = yield from first_of(self.stream, wanted, after)
            if found is not None:
                return Success(found)
            if self.within is not None:
                left = began + self.within - (yield from Elapsed())
                if left <= 0:
                    return Failure(TimedOut(self.within))
                yield from Sleep(min(EVERY, left))
            else:
                yield from Sleep(EVERY)

    def wanted(self) -> frozenset[type]:
        """The classes of the events that it waits for. Raises EventTypeError for no event types."""
        its = self.stream.events
        if self.types is None:
            return its
        wanted = Stream(self.stream.id, events=self.types).events
        if not wanted <= its:
            others = ", ".join(sorted(each.__qualname__ for each in wanted - its))
            raise ValueError(f"{self.stream!r} has no {others}: wait for events that it has")
        return wanted


class Signal(Derived[Outcome[Any, TimedOut]]):
    """Waits for what the run is told under a name, by `Runs.signal`: each is answered once.

    within: seconds to wait, after which it answers a Failure of TimedOut; None for as long as it takes.
    """

    lower = ()

    name: str
    within: float | None = None

    def meaning(self) -> Effect[Never, Any]:
        """Raises NotInARun."""
        raise NotInARun(f"{self!r}: only a run can be told something; begin one, by Runs.start")


RunOp: TypeAlias = StepId | Changed | Next[Any] | Signal
"""The operations of a run."""


def first_of(
    stream: Stream[Any], wanted: frozenset[type], after: int
) -> Do[Read, Recorded[Any] | None]:
    """The first event of some types behind a version; those that are not known are passed over."""
    while True:
        page: Page[Any] = yield from Read(stream.id, after, 100)
        for recorded in page.events:
            if recorded.is_known and type(recorded.data) in wanted:
                return recorded
        after += len(page.events)
        if after >= page.head:
            return None
