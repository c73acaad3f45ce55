"""Those who append to the same streams at once, and note what they were told: threads or processes.

Two ways to be broken, for the controls: `careless` decides by what was read before the transaction,
and `ignoring` drops a row in silence if another is in its place.
"""

from __future__ import annotations

import pickle
import random
import sys
import time
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

import attrs

from eventsrc import ANY, Append, Conflict, Head, Interpreter, SqliteStore, StoreOp, StreamId, Success
from eventsrc.events.epochs import FIRST
from eventsrc.sqlite import _sql
from eventsrc.sqlite._appending import Appending
from eventsrc.sqlite._rows import head_of
from eventsrc.stores._known import Kinds
from eventsrc.testing._contract.history import Attempt, Look
from tests.kits.events import CODEC, Tick

HOT: Final = StreamId("hot")
STREAMS: Final = [HOT, *[StreamId(f"warm/{number}") for number in range(8)]]

Kind: TypeAlias = Literal["exact", "any"]


@attrs.define
class Notes:
    """What a contender did to each stream and was told."""

    attempts: dict[StreamId, list[Attempt]] = attrs.field(factory=dict[StreamId, list[Attempt]])
    looks: dict[StreamId, list[Look]] = attrs.field(factory=dict[StreamId, list[Look]])
    wrong: list[str] = attrs.field(factory=list[str])

    def add(self, other: Notes) -> None:
        for stream, attempts in other.attempts.items():
            self.attempts.setdefault(stream, []).extend(attempts)
        for stream, looks in other.looks.items():
            self.looks.setdefault(stream, []).extend(looks)
        self.wrong += other.wrong

    @property
    def operations(self) -> int:
        """How many there were."""
        appends = sum(len(noted) for noted in self.attempts.values())
        return appends + sum(len(noted) for noted in self.looks.values())


class Contender:
    """Appends single ticks, half of them to the hot stream, at the version that it believes in, and
    looks at a stream now and then."""

    def __init__(self, seed: int, kind: Kind) -> None:
        self.seed = seed
        self.kind = kind
        self.chance = random.Random(seed)
        self.versions = dict.fromkeys(STREAMS, 0)
        self.notes = Notes()
        self.done = 0

    def next(self) -> Append | Head:
        """What it does next."""
        stream = HOT if self.chance.random() < 0.5 else self.chance.choice(STREAMS)
        if self.chance.random() < 0.1:
            return Head(stream)
        self.done += 1
        expected = ANY if self.kind == "any" else self.versions[stream]
        return Append(stream, (Tick(self.seed, self.done, 1),), expected)

    def note(self, op: Append | Head, answer: Any, began: float, ended: float) -> None:
        """Notes what it was told."""
        stream = op.stream
        if isinstance(op, Head):
            self.notes.looks.setdefault(stream, []).append(Look(began, ended, answer))
            return
        told = answer.unwrap() if isinstance(answer, Success) else answer.failure()
        if isinstance(answer, Success):
            if isinstance(op.expected, int) and told.version != op.expected + 1:
                self.notes.wrong.append(f"{stream} was at {told.version - 1}, and not at {op.expected}")
            self.versions[stream] = told.version
        elif isinstance(told, Conflict):
            if told.actual == op.expected:
                self.notes.wrong.append(f"{stream} was at {op.expected}, and that was refused")
            self.versions[stream] = told.actual
            told = attrs.evolve(told, events=())
        attempt = Attempt(began, ended, ((self.seed, self.done),), told)
        self.notes.attempts.setdefault(stream, []).append(attempt)

    def contend(self, store: Interpreter[StoreOp], appends: int) -> Notes:
        """Appends so many times."""
        while self.done < appends:
            op = self.next()
            began = time.perf_counter()
            answer: Any = store.run(op)
            self.note(op, answer, began, time.perf_counter())
            if self.chance.random() < 0.02:
                time.sleep(self.chance.random() / 1000)
        return self.notes


def be_careless() -> None:
    """Breaks the store in this process: it reads, checks, and then inserts."""

    def transact(store: SqliteStore, group: Sequence[Any]) -> list[Any]:
        with store._file.reading() as connection:
            streams = {part.stream for job in group for part in job.asked.parts}
            known = {stream: head_of(connection, stream) for stream in streams}
        with store._file.writing(group[0].deadline) as connection:
            writing = Appending(connection, store.store_id, store._ids, store.codec, Kinds(), FIRST, 0)
            for stream, (number, version, _) in known.items():
                if number is not None:
                    writing.numbers[stream], writing.versions[stream] = number, version
            return [writing.append(job.asked) for job in group]

    SqliteStore._transact = transact  # type: ignore[method-assign, assignment]


def be_ignoring() -> None:
    """Breaks the store in this process: events that are in the way of others vanish."""
    _sql.ADD_EVENT = (  # type: ignore[misc]
        "INSERT OR IGNORE INTO eventsrc_event VALUES "
        "((SELECT coalesce(max(position), 0) + 1 FROM eventsrc_event) + 0 * ?,"
        " ?, ?, ?, ?, ?, ?, ?)"
    )


def main(path: str, seed: str, appends: str, kind: Kind, *broken: str) -> None:
    """Waits for a line, appends to a file that others append to, and pickles what it noted."""
    if "careless" in broken:
        be_careless()
    if "ignoring" in broken:
        be_ignoring()
    with SqliteStore(path, CODEC, timeout=30) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        notes = Contender(int(seed), kind).contend(store, int(appends))
    sys.stdout.buffer.write(pickle.dumps(notes))
