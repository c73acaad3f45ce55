"""A store with all kinds of things in it, to be copied."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID, uuid5

import attrs

from eventsrc import Append, AppendAll, Interpreter, StreamAppend, StreamId, event
from eventsrc.events.event import Opaque
from eventsrc.stores.operations import Appended

NAMES = UUID(int=7)


@event("test.moving.sold")
class Sold:
    item: str
    total: int = 0


@event("test.moving.noted", version=2, upcast={1: dict})
class Noted:
    text: str


@attrs.define
class Filled:
    """Appends, and how each was answered."""

    asked: list[Append | AppendAll] = attrs.field(factory=list[Any])
    answers: list[Appended] = attrs.field(factory=list[Appended])

    def again(self, store: Interpreter[Any]) -> list[Any]:
        """The answers to those whose ids were chosen, sent once more."""
        return [store.run(op).unwrap() for op in self.asked if op.append_id is not None]

    def keyed(self) -> list[Appended]:
        """The first answers to those."""
        pairs = zip(self.asked, self.answers, strict=True)
        return [answer for op, answer in pairs if op.append_id is not None]


STRANGE = (
    b"\xff\x00 no text",
    b'{"a":\n1}',
    b' {"a":1}',
    b'{"a":NaN}',
    b'"],\\"d\\":"',
    '{"s":"ü\u2028"}'.encode(),
    b"1e400",
)
"""Data that is no JSON, or hard to tell from the line that it stands in."""


def fill(store: Interpreter[Any], count: int, seed: int = 1) -> Filled:
    """Appends events of all kinds: with chosen ids and without, to one stream and several."""
    chance = random.Random(seed)
    filled = Filled()
    for number in range(count):
        stream = StreamId(f"sales/{chance.randrange(5)}")
        events: tuple[Any, ...] = tuple(
            Sold('chair,"d":é', number) for _ in range(chance.randint(1, 4))
        )
        if number % 7 == 3:
            events += (Noted("\x00 & \u2028"), Opaque("odd", 3, "json", chance.choice(STRANGE)))
        metadata: dict[str, Any] = {"actor": 'höm,"d":er', "c": [1, {"d": 2}]} if number % 3 else {}
        append_id = uuid5(NAMES, f"{seed}/{number}") if number % 2 else None
        request = b"asked" if number % 4 == 1 else None
        op: Append | AppendAll
        if number % 5 == 2:
            parts = StreamAppend(stream, events), StreamAppend(StreamId("log"), (Noted("it"),))
            op = AppendAll(parts, (), append_id, metadata, request)
        else:
            op = Append(stream, events, append_id=append_id, metadata=metadata, request=request)
        filled.asked.append(op)
        filled.answers.append(store.run(op).unwrap())
    return filled
