"""A process that starts writers to be killed: one for each line on its input, forked and so at once.

python -m tests.processes.postgres.nursery DSN [--early | --one-by-one]
It prints `pid N` for each writer, which prints a line for each batch that was acknowledged until it is
killed; then it prints `dead`. Broken, with --early, a batch is acknowledged before it is appended.
"""

from __future__ import annotations

import os
import random
import sys

from eventsrc import Append, StreamId, Success
from eventsrc.postgres.store import PostgresStore
from tests.kits.events import CODEC, Tick


def main(dsn: str, *broken: str) -> None:
    """Starts a writer for each seed that is asked for."""
    PostgresStore(dsn, codec=CODEC).close()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            write(dsn, int(line), broken)
        print(f"pid {pid}", flush=True)
        os.waitpid(pid, 0)
        print("dead", flush=True)


def write(dsn: str, seed: int, broken: tuple[str, ...]) -> None:
    """Appends batches of 1 to 5 ticks to 4 streams."""
    chance = random.Random(seed)
    with PostgresStore(dsn, codec=CODEC) as store:
        for batch in range(seed * 1_000_000, (seed + 1) * 1_000_000):
            stream = StreamId(f"ticks/{chance.randrange(4)}")
            size = chance.randint(1, 5)
            ticks = tuple(Tick(batch, number, size) for number in range(size))
            if "--early" in broken:
                say(batch)
            for some in [(tick,) for tick in ticks] if "--one-by-one" in broken else [ticks]:
                assert isinstance(store.run(Append(stream, some)), Success)
            if "--early" not in broken:
                say(batch)


def say(batch: int) -> None:
    """Prints a line, all of it or nothing."""
    os.write(1, b"%d\n" % batch)


if __name__ == "__main__":
    main(*sys.argv[1:])
