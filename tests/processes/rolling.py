"""A process of a rolling deploy, which appends to streams that others append to: rolling.py CODE STORE.

CODE: "old", which stores version 1 and reads version 2; "new", which stores version 2; "unready", which
knows of version 1 alone. It prints the outcome as JSON at the end of its input.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from eventsrc import Fold, StreamId, Success, event, world
from eventsrc.errors import EventsrcError
from eventsrc.events.codec import Codec
from eventsrc.events.event import EventTypes
from eventsrc.opening import open_store
from eventsrc.streams.stream import Stream

STREAMS = 3


def moved(code: str) -> tuple[EventTypes, type]:
    """The event as some code declares it: an amount in euros or, in version 2, in cents."""
    types = EventTypes()
    back = {2: lambda new: {"euros": new["cents"] // 100}} if code == "old" else {}

    if code == "new":

        @event(
            "test.rolling.moved",
            version=2,
            upcast={1: lambda old: {"cents": 100 * old["euros"]}},
            types=types,
        )
        class InCents:
            cents: int

        return types, InCents

    @event("test.rolling.moved", downcast=back, types=types)
    class InEuros:
        euros: int

    return types, InEuros


def amount(each: Any) -> int:
    """In euros."""
    return int(each.euros if hasattr(each, "euros") else each.cents // 100)


def main(code: str, address: str) -> None:
    types, cls = moved(code)
    made = cls(1) if code != "new" else cls(100)
    total: Fold[int, Any] = Fold(0, lambda so_far, each: so_far + amount(each))
    decided, failed = 0, ""
    with open_store(address, codec=Codec(types)) as store:
        app: Any = store | world
        print("begins", flush=True)
        for number, _ in enumerate(sys.stdin):
            stream: Stream[Any] = Stream(StreamId(f"rolling/{number % STREAMS}"), events=cls)
            try:
                answer = app.run(stream.decide(total, lambda _: Success([made]), within=20))
                decided += isinstance(answer, Success)
            except EventsrcError as error:
                failed = type(error).__name__
    print(json.dumps([decided, failed]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
