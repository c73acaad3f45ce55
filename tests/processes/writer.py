"""A process that appends until it is killed: it prints a line for each batch that was acknowledged.

python -m tests.processes.writer PATH SEED [--one-by-one]
"""

from __future__ import annotations

import random
import sys

from eventsrc import Append, SqliteStore, StreamId, Success
from tests.kits.events import CODEC, Tick


def main(path: str, asked: str, *broken: str) -> None:
    """Appends batches of 1 to 5 ticks to 4 streams; broken (the control): one commit for each tick."""
    seed, one_by_one = int(asked), "--one-by-one" in broken
    chance = random.Random(seed)
    with SqliteStore(path, CODEC, timeout=30) as store:
        for batch in range(seed * 1_000_000, (seed + 1) * 1_000_000):
            stream = StreamId(f"ticks/{chance.randrange(4)}")
            size = chance.randint(1, 5)
            ticks = tuple(Tick(batch, number, size) for number in range(size))
            for some in [(tick,) for tick in ticks] if one_by_one else [ticks]:
                assert isinstance(store.run(Append(stream, some)), Success)
            print(batch, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
