"""How long it takes until a view shows events of other streams than the poisoned ones.

Two followers keep two views alike, of streams that are appended to at a steady pace; one of them meets
poison of every kind in other streams, and events that are taken at the fourth try. Passed if the 99th
percentile of the lag of the sound streams is below twice that without poison.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any, Final

import pytest

from eventsrc import Append, Recorded, StreamId, View, follow, world
from eventsrc.events.event import Opaque
from tests.contracts.poison import KINDS, notes
from tests.faults import scaled
from tests.kits.library import Noted
from tests.kits.views import Kit, Views
from tests.processes.workers import Say, Worker

EVERY: Final = 0.05
"""How often a follower looks for new events, in seconds."""

PACE: Final = 0.02
"""How long it is from one event of a sound stream to the next, in seconds."""

LOOK: Final = 0.01
"""How often it is looked what a view shows, in seconds."""

SAMPLES: Final = 100
"""How many such events there are in a phase."""

OTHERS: Final = 20
"""For so many of them there is one of another stream."""

PATIENCE: Final = 0.5
"""For how many seconds more the last of a phase are looked for."""

GRAIN: Final = 0.005
"""How long the machine may take for something else, in seconds: lags are a few times that."""

MORE: Final = 10
"""How many rounds are added at most, since what else the machine does may fall into one of the two."""

PASSING: Final = Noted(667)
"""What is taken at the fourth try."""

POISON: Final = [*KINDS.values(), Opaque("test.view.unknown", 1, "json", b"{}"), PASSING]


def view_of(kit: Kit, name: str) -> View[Any]:
    """A view of the streams below a name."""
    tries = Counter[int]()

    def fail(event: Recorded[Any]) -> None:
        if event.is_known and event.data == PASSING:
            tries[event.position] += 1
            if tries[event.position] <= 3:
                raise ConnectionError("try again")

    return notes(kit, is_fixed=False, name=name, prefix=f"{name}/", before=fail)


def keep_following(kit: Kit, say: Say, name: str, is_broken: bool) -> None:
    """Follows a view; broken, it tries an event that fails for ever, and nothing else."""
    view = view_of(kit, name)
    with kit.open_store() as store, kit.open(view) as views:
        app = store | views | world
        if is_broken:
            vars(view).update(failing="stop")
        say("ready")
        while True:
            try:
                app.run(follow(view, EVERY))
            except Exception:
                if not is_broken:
                    raise
                time.sleep(0.001)


class Phases:
    """Appends to streams below a name, and looks how long it takes until a view shows it."""

    def __init__(self, kit: Kit, store: Any, views: Views, name: str, others: Iterable[Any]) -> None:
        self.view = view_of(kit, name)
        self.p99s: list[float] = []
        self._kit, self._store, self._views, self._name = kit, store, views, name
        self._others = itertools.cycle(others)
        self._numbers = itertools.count(1000)
        self._waiting: dict[int, tuple[str, float]] = {}
        self._lags: list[float] = []

    def measure(self) -> None:
        """Appends to sound streams at a steady pace, and beside them, now and then, to another."""
        due = time.monotonic()
        self._lags = []
        for number in itertools.islice(self._numbers, SAMPLES):
            if number % OTHERS == 0:
                other = StreamId(f"{self._name}/other/{number}")
                self._store.run(Append(other, (next(self._others),)))
            stream = StreamId(f"{self._name}/sound/{number % 3}")
            self._store.run(Append(stream, (Noted(number),)))
            self._waiting[number] = stream, time.monotonic()
            due += PACE
            self._look()
            while (left := due - time.monotonic()) > 0:
                time.sleep(min(LOOK, left))
                self._look()
        while self._waiting and time.monotonic() < due + PATIENCE:
            time.sleep(LOOK)
            self._look()
        self._lags += [time.monotonic() - since for _, since in self._waiting.values()]
        self._waiting.clear()
        self.p99s.append(sorted(self._lags)[math.ceil(0.99 * SAMPLES) - 1])

    def _look(self) -> None:
        """Notes which events are to be seen now."""
        seen = self._kit.rows(self._views, self.view)
        now = time.monotonic()
        last = {
            stream: int(numbers.rpartition(",")[2])
            for stream, numbers in seen.items()
            if "sound" in stream
        }
        for number, (stream, since) in list(self._waiting.items()):
            if number <= last.get(stream, 0):
                self._lags.append(now - since)
                del self._waiting[number]


def p99s(kit: Kit, rounds: int, more: int = 0, *, is_broken: bool = False) -> tuple[float, float]:
    """The p99 of the lag of sound streams, in seconds, without poison in others and with it.

    Each is the median of some rounds, in which the two take turns.
    more: how many rounds to add, as long as in the last ones streams are less fresh beside poison.
    """
    names = ("calm", "poisoned")
    with ExitStack() as opened:
        store = opened.enter_context(kit.open_store())
        views = opened.enter_context(kit.open(*(view_of(kit, name) for name in names)))
        for name in names:
            worker = opened.enter_context(Worker(keep_following, kit, name, is_broken))
            assert worker.says("ready")
        calm = Phases(kit, store, views, "calm", [Noted(1)])
        poisoned = Phases(kit, store, views, "poisoned", POISON)
        for number in range(rounds + more):
            for phase in (calm, poisoned) if number % 2 else (poisoned, calm):
                phase.measure()
            found = statistics.median(calm.p99s[-rounds:]), statistics.median(poisoned.p99s[-rounds:])
            if number + 1 >= rounds and is_as_fresh(*found):
                break
        return found


def is_as_fresh(calm: float, poisoned: float) -> bool:
    return poisoned < 2 * calm + GRAIN


class LagContract:
    """Tests over a fixture `kit`."""

    @pytest.mark.timeout(600)
    def test_other_streams_are_as_fresh_as_without_poison(
        self, kit: Kit, figure: Callable[[str], None]
    ) -> None:
        calm, poisoned = p99s(kit, scaled(1, 32), MORE)
        figure(f"p99 of the lag {calm * 1e3:.1f} ms without poison, {poisoned * 1e3:.1f} ms with it")
        assert is_as_fresh(calm, poisoned)

    def test_control_poison_that_holds_back_everything_is_caught(self, kit: Kit) -> None:
        assert not is_as_fresh(*p99s(kit, 1, is_broken=True))
