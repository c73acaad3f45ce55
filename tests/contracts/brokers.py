"""What every broker must do with what is published: a class of tests, given a Bench.

class TestKinesis(BrokerContract):
    @pytest.fixture
    def bench(self) -> Iterator[Bench]: ...
"""

from __future__ import annotations

import asyncio
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any
from uuid import uuid4

import attrs
import pytest

from eventsrc import AsyncInterpreter, MemoryStore, Recorded, event, world
from eventsrc.events.codec import Codec
from eventsrc.events.event import EventTypes
from eventsrc.publishing import (
    CloudEvent,
    Publish,
    Published,
    Publisher,
    Transformer,
    by_subject,
    publish_once,
)
from eventsrc.stores.operations import StoreError
from eventsrc.streams.stream import Streams
from eventsrc.views.memory import MemoryViews

TYPES = EventTypes()
CODEC = Codec(TYPES)
_numbers = itertools.count()


@event("test.broker.noted", types=TYPES)
class Noted:
    number: int


@attrs.frozen
class Note:
    """A note was made."""

    number: int


public = Transformer("https://test.example/notes", types=TYPES)


@public.of(Noted, name="example.test.noted")
def _(event: Recorded[Noted]) -> Note:
    return Note(event.data.number)


notes = Streams("notes/{id}", key=str, events=Noted)


def made(subject: str, number: int, *, text: str = "") -> CloudEvent:
    """An event that never was before."""
    sequence = f"{number:019}"
    data = {"number": number, "text": text}
    source, kind = "https://test.example/notes", "example.test.noted.v1"
    return CloudEvent(str(uuid4()), source, kind, subject, None, data, {"sequence": sequence})


class Bench(ABC):
    """A broker to be tested, which nobody else uses."""

    broker: AsyncInterpreter[Publish]
    needs_loop = False
    """Whether the interpreter runs in an event loop alone."""

    @abstractmethod
    def came(self) -> Sequence[CloudEvent]:
        """All that the broker has, as its readers get it, in its order; what came twice may be there
        twice."""

    @abstractmethod
    def away(self) -> AbstractContextManager[object]:
        """While it does not answer; with what it has by then kept."""

    @abstractmethod
    def unacceptable(self, subject: str) -> CloudEvent:
        """An event that it does not take."""

    def run(self, program: Any, beside: AsyncInterpreter[Any] | None = None) -> Any:
        """Runs a program, in an event loop of its own if need be."""
        app: Any = self.broker if beside is None else beside | self.broker
        return asyncio.run(app.run_async(program)) if self.needs_loop else app.run(program)


class BrokerContract:
    """Tests of an interpreter of Publish."""

    @pytest.fixture
    def bench(self) -> Any:
        raise NotImplementedError

    def test_what_is_published_comes_as_it_was(self, bench: Bench) -> None:
        events = [made("notes/ä", 1, text="Grüße, \u2028 🎈 \"'"), made("notes/b", 2**53, text="")]
        assert bench.run(Publish(tuple(events))) == Published()
        assert sorted(bench.came(), key=_by_id) == sorted(events, key=_by_id)

    def test_nothing_is_published_by_no_events(self, bench: Bench) -> None:
        assert bench.run(Publish(())) == Published()
        assert not bench.came()

    def test_events_of_a_subject_keep_their_order(self, bench: Bench) -> None:
        subjects = [f"notes/{number}" for number in range(7)]
        events = [made(subjects[number % 7], number) for number in range(100)]
        for first in (0, 50):
            _publish_all(bench, events[first : first + 50])
        assert by_subject(bench.came()) == by_subject(events)

    def test_what_is_published_again_has_the_same_id(self, bench: Bench) -> None:
        events = [made("notes/a", number) for number in range(3)]
        for _ in range(2):
            _publish_all(bench, events)
        assert _first(bench.came()) == events

    def test_what_is_refused_holds_back_its_subject_alone(self, bench: Bench) -> None:
        bad = bench.unacceptable("notes/a")
        first, last, other = made("notes/a", 1), made("notes/a", 2), made("notes/b", 1)
        answer: Published = bench.run(Publish((first, bad, last, other)))
        (refused,) = answer.refused
        assert (refused.id, answer.left) == (bad.id, 0)
        assert refused.why
        assert sorted(bench.came(), key=_by_id) == sorted([first, other], key=_by_id)

    def test_a_broker_that_is_away_is_an_error_that_may_pass(self, bench: Bench) -> None:
        with bench.away():
            with pytest.raises(StoreError) as error:
                bench.run(Publish((made("notes/a", 1),)))
            assert error.value.may_pass, error.value
        after = made("notes/a", 2)
        _publish_all(bench, [after])
        assert bench.came()[-1] == after

    def test_a_publisher_goes_on_where_it_was_when_the_broker_is_back(self, bench: Bench) -> None:
        store, views = MemoryStore(CODEC), MemoryViews()
        out = Publisher(f"p{next(_numbers)}", public, begin="start", batch=4)
        app = store | views | world
        for number in range(10):
            store.run(notes[str(number % 3)].append(Noted(number)))
        bench.run(publish_once(out), app)
        with bench.away():
            for number in range(10, 20):
                store.run(notes[str(number % 3)].append(Noted(number)))
            with pytest.raises(StoreError):
                bench.run(publish_once(out), app)
        bench.run(publish_once(out), app)
        came = by_subject(_first(bench.came()))
        assert {subject: [each.data["number"] for each in its] for subject, its in came.items()} == {
            f"notes/{name}": [*range(name, 20, 3)] for name in range(3)
        }


def _publish_all(bench: Bench, events: Sequence[CloudEvent]) -> None:
    """Publishes what is left, too."""
    while events:
        answer: Published = bench.run(Publish(tuple(events)))
        assert not answer.refused
        assert answer.left < len(events)
        events = events[len(events) - answer.left :]


def _first(events: Sequence[CloudEvent]) -> list[CloudEvent]:
    """Each event as it came first."""
    return [*{event.id: event for event in reversed(events)}.values()][::-1]


_by_id: Callable[[CloudEvent], str] = lambda event: event.id  # noqa: E731
