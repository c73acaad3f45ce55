"""Somebody who appends while things go wrong, and notes what each append was told.

What an append raises means that nothing was stored, and so it is noted as refused. What became of one
that is Unknown is asked, or settled by appending it again, when things are well.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import attrs

from eventsrc import ANY, NO_STREAM, Append, Interpreter, StoreOp, StreamId, Success
from eventsrc.stores.operations import FindAppend, Rejected, StoreError, Unknown
from eventsrc.testing._contract.history import Attempt, check_stream
from tests.kits.events import Tick
from tests.kits.feed import whole_feed

STREAMS = [StreamId(f"ticks/{number}") for number in range(4)]


@attrs.define
class Noted:
    """An append and what it was told."""

    op: Append
    attempt: Attempt


@attrs.define
class Witness:
    """Appends ticks that nobody else does.

    number: by which its ticks are known from those of others.
    believes: what it takes an append for whose answer is Unknown; in the controls, something wrong.
    """

    number: int
    believes: Callable[[Interpreter[StoreOp], Append, Unknown], Any] = lambda _store, _op, told: told
    noted: list[Noted] = attrs.field(factory=list[Noted])
    told: Counter[str] = attrs.field(factory=Counter[str])
    latest: float = 0
    """When the latest append began that was acknowledged."""
    longest: float = 0
    """How long an append took at most."""
    chance: random.Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.chance = random.Random(self.number)

    def next(self) -> Append:
        """An append of a few events or of one, with an id of its own or without, some in vain."""
        batch, size = len(self.noted), self.chance.choice([1, 1, 1, 2, 3])
        ticks = tuple(Tick(1_000_000 * self.number + batch, number, size) for number in range(size))
        expected = NO_STREAM if self.chance.random() < 0.1 else ANY
        key = uuid4() if self.chance.random() < 0.3 else None
        return Append(self.chance.choice(STREAMS), ticks, expected, key)

    def append(self, store: Interpreter[StoreOp]) -> None:
        """Appends, and notes it."""
        op = self.next()
        began = time.perf_counter()
        self.note(store, op, began, outcome(store, op))

    def note(self, store: Interpreter[StoreOp], op: Append, began: float, answer: Any) -> None:
        """Notes what it was told."""
        ended = time.perf_counter()
        self.longest = max(self.longest, ended - began)
        self.told[type(answer).__name__] += 1
        if isinstance(answer, StoreError):
            answer = Rejected(str(answer))
        elif isinstance(answer, Unknown):
            answer = self.believes(store, op, answer)
            ended = float("inf")
        elif not isinstance(answer, Rejected):
            answer = attrs.evolve(answer, events=()) if hasattr(answer, "events") else answer
            self.latest = began
        brought = tuple((tick.batch, tick.number) for tick in op.events if isinstance(tick, Tick))
        self.noted.append(Noted(op, Attempt(began, ended, brought, answer)))

    def settle(self, store: Interpreter[StoreOp]) -> int:
        """Asks what became of every other append that is not known, and appends the rest again; answers
        how many were found."""
        found = 0
        unknown = [one for one in self.noted if isinstance(one.attempt.answer, Unknown)]
        for number, one in enumerate(unknown):
            append_id = key_of(one.attempt.answer)
            answer: Any = store.run(FindAppend(append_id))
            found += answer is not None
            if number % 2:
                again = outcome(store, Append(one.op.stream, one.op.events, one.op.expected, append_id))
                assert answer in (None, again), "a retry answers as the append did"
                answer = again
            one.attempt = attrs.evolve(
                one.attempt, answer=Rejected("not stored") if answer is None else answer
            )
        return found


def settled_at_once(store: Interpreter[StoreOp], op: Append, told: Unknown) -> Any:
    """What became of an append, found out while what was sent may still be on its way.

    What is found is stored; whether it is or not, a retry answers for good.
    """
    try:
        found: Any = store.run(FindAppend(told.append_id))
    except StoreError:
        return told
    again = outcome(store, Append(op.stream, op.events, op.expected, told.append_id))
    if isinstance(again, StoreError | Unknown):
        return told if found is None else found
    assert found in (None, again), "a retry answers as the append did"
    return again


def key_of(answer: object) -> UUID:
    assert isinstance(answer, Unknown)
    return answer.append_id


def outcome(store: Interpreter[StoreOp], op: Append) -> Any:
    """What an append is told, or the error that it raises."""
    try:
        answer: Any = store.run(op)
    except StoreError as error:
        return error
    return answer.unwrap() if isinstance(answer, Success) else answer.failure()


def wrong_with(witnesses: list[Witness], store: Interpreter[StoreOp]) -> list[str]:
    """What is lost, there in part, there twice, or there though it was said not to be."""
    wrong: list[str] = []
    final: dict[StreamId, list[tuple[int, int]]] = {stream: [] for stream in STREAMS}
    for position, recorded in enumerate(whole_feed(store), 1):
        ids = final[recorded.stream]
        ids.append((recorded.data.batch, recorded.data.number))
        if (recorded.position, recorded.version) != (position, len(ids)):
            wrong.append(f"{recorded.stream}@{recorded.version} at {recorded.position} is after a hole")
    for stream, ids in final.items():
        noted = [one for witness in witnesses for one in witness.noted if one.op.stream == stream]
        wrong += check_stream(stream, [one.attempt for one in noted], ids)
    return wrong


def at_work(
    witnesses: list[Witness], stores: list[Any]
) -> tuple[threading.Event, list[threading.Thread]]:
    """Has witnesses append in threads until the event is set."""
    over = threading.Event()

    def work(witness: Witness) -> None:
        store = stores[witness.number % len(stores)]
        while not over.is_set():
            witness.append(store)

    threads = [threading.Thread(target=work, args=(witness,)) for witness in witnesses]
    for thread in threads:
        thread.start()
    return over, threads
