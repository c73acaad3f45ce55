"""A process that appends to a table with several threads, and says which events are stored.

    python -m tests.processes.servers.writer URL TABLE ME THREADS SECONDS LATENCY CHEAT

It writes a line as soon as it is ready, begins when it reads one, and at the end writes a line of JSON:
when each append began and how long it took, in seconds, the transactions that it stored, and the races
that it lost, both after a while. CHEAT makes a control of it: `early` says that an event is stored
before it is, `rude` waits for no turn.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time

from returns.result import Success

from eventsrc import Append, StreamId, event
from eventsrc.aws import DynamoStore
from eventsrc.aws._turns import Turns
from tests.servers.distant import Distant, Network
from tests.servers.tables import Tables

WARM_UP = 1.0
"""The seconds that processes take to learn of each other; what happens in them is not counted."""


@event("tests.servers.written")
class Written:
    text: str


def main(
    url: str, table: str, me: str, threads: int, seconds: float, latency: float, cheat: str
) -> None:
    """Appends until its time is over."""
    if cheat == "rude":
        setattr(Turns, "take", lambda self, talk: self._feed.refresh(talk))  # noqa: B010
    tell = threading.Lock()

    def say(line: str) -> None:
        with tell:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    client = Distant(Tables(url).client, Network(latency=latency))
    took: list[tuple[float, float]] = []
    with DynamoStore(client, table, timeout=20) as store:
        say("ready")
        sys.stdin.readline()
        until = time.monotonic() + seconds

        def figures() -> tuple[int, int]:
            return store._core.appending.commits, store._core.appending.lost_races

        before: list[int] = []

        def work(thread: int) -> None:
            dice, n = random.Random(f"{me}.{thread}"), 0
            while time.monotonic() < until:
                n += 1
                text = f"{me}.{thread}.{n}"
                if cheat == "early":
                    say(text)
                began = time.monotonic()
                if not before and began > until - seconds + WARM_UP:
                    before.extend(figures())
                answer = store.run(Append(StreamId(f"s/{dice.randrange(40)}"), (Written(text),)))
                took.append((began - until + seconds, time.monotonic() - began))
                assert isinstance(answer, Success), answer
                say(text)

        running = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
        for each in running:
            each.start()
        for each in running:
            each.join()
        commits, lost = figures()
        say(json.dumps([took, commits - before[0], lost - before[1]] if before else [took, 0, 0]))


if __name__ == "__main__":
    url, table, me, threads, seconds, latency, cheat = sys.argv[1:]
    main(url, table, me, int(threads), float(seconds), float(latency), cheat)
