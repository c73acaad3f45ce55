"""A process that appends until its files may not grow, then may again, and appends on.

python -m tests.processes.fill PATH BYTES
It prints, as JSON: the batches that were acknowledged, those that are not known and found not stored,
and how the append that found no room was answered.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from eventsrc import Append, SqliteStore, StreamId, Success, Unknown
from eventsrc.stores.operations import FindAppend, StoreError
from tests.kits.events import CODEC, Tick


def main(path: Path, most: int) -> None:
    """Appends batches of 5 ticks."""
    acknowledged: list[int] = []
    refused: list[int] = []
    answers: list[str] = []
    with SqliteStore(path, CODEC) as store:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
        for batch in range(10_000):
            if len(answers) == 3:
                resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            try:
                answer = store.run(
                    Append(StreamId("ticks"), tuple(Tick(batch, n, 5) for n in range(5)))
                )
            except StoreError as error:
                answers.append(type(error).__name__)
                refused.append(batch)
                continue
            if isinstance(answer, Success):
                acknowledged.append(batch)
                if len(answers) == 3:
                    break
            else:
                unknown = answer.failure()
                assert isinstance(unknown, Unknown), unknown
                answers.append("Unknown")
                found = store.run(FindAppend(unknown.append_id))
                (acknowledged if found else refused).append(batch)
    print(json.dumps([acknowledged, refused, answers]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
