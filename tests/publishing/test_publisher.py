"""Publishers on views in memory and in SQLite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventsrc import MemoryStore, world
from eventsrc.programs.interpreter import Interpreter, on
from eventsrc.publishing import (
    CloudEvent,
    Publish,
    Published,
    Publisher,
    Refused,
    publish_once,
    retry,
)
from eventsrc.stores.operations import Unreachable
from eventsrc.views.memory import MemoryViews
from tests.contracts.publishing import (
    KillingContract,
    PublishingContract,
    missing_in,
    names,
    notes,
)
from tests.kits.library import CODEC, Noted, books
from tests.kits.views import Kit


class TestPublishersInMemory(PublishingContract):
    @pytest.fixture
    def kit(self) -> Kit:
        return Kit("memory", MemoryViews())


class TestPublishersInSqlite(PublishingContract, KillingContract):
    @pytest.fixture
    def kit(self, tmp_path: Path) -> Kit:
        return Kit(str(tmp_path / "store.db"))


class Moody(Interpreter[Publish]):
    """A broker that takes as many events as it likes, refuses some, and goes away in the middle.

    moods: of each Publish how many events it takes, and what it does then.
    """

    def __init__(self, moods: Iterator[tuple[int, str]]) -> None:
        self.came: list[CloudEvent] = []
        self._moods = moods

    @on(Publish)
    def publish(self, op: Publish) -> Published:
        takes, then = next(self._moods, (1_000, "all"))
        self.came += op.events[:takes]
        left: Sequence[CloudEvent] = op.events[takes:]
        if not left:
            return Published()
        if then == "away":
            raise Unreachable("it went away")
        if then == "left" and takes:
            return Published(left=len(left))
        refused = left[0]
        self.came += [event for event in left if event.subject != refused.subject]
        return Published((Refused(refused.id, "in no mood"),))


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.integers(0, 3), max_size=12), max_size=5),
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["away", "left", "refuse"])), max_size=10),
    st.integers(1, 5),
)
def test_whatever_the_broker_does_each_stream_comes_whole_and_in_order(
    rounds: list[list[int]], moods: list[tuple[int, str]], batch: int
) -> None:
    store, broker = MemoryStore(CODEC), Moody(iter(moods))
    out = Publisher(next(names), notes(), begin="start", batch=batch)
    app = store | MemoryViews() | world | broker
    number = 0
    for books_of_round in [*rounds, []]:
        for book in books_of_round:
            store.run(books[book].append(Noted(number)))
            number += 1
        _bring_forward(app, out)
    for _ in moods:
        _bring_forward(app, out)
    app.run(retry(out))
    app.run(publish_once(out))
    assert missing_in(broker.came, store) == ""


def _bring_forward(app: Any, out: Publisher) -> None:
    with suppress(Unreachable):
        app.run(publish_once(out))
        app.run(retry(out))


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a/b"},
        {"name": "a" * 81},
        {"begin": "now"},
        {"batch": 0},
        {"batch": True},
    ],
)
def test_a_publisher_is_declared_well(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"publisher|begin|batch"):
        Publisher(**{"name": "main", "public": notes(), **wrong})
