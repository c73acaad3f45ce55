"""E-FAIR: processes that append to a Postgres store without a pause all get their share.

Passed if none of four gets less than a tenth of the mean, and none waits for two seconds.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from eventsrc.postgres import PostgresStore
from eventsrc.stores import postgres_sql as sql
from tests.faults.events import CODEC
from tests.faults.race import race

HOG = """
import json, sys, time
from eventsrc import Append, StreamId
from eventsrc.postgres import PostgresStore
from tests.faults.events import CODEC, Tick
dsn, name, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
with PostgresStore(dsn, codec=CODEC, timeout=30) as store:
    print("ready", flush=True); sys.stdin.readline()
    done, worst, end = 0, 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        store.run(Append(StreamId(name), (Tick(done, 0, 1),) * 20)).unwrap()
        worst = max(worst, time.monotonic() - began)
        done += 1
print(json.dumps([done, worst]))
"""


def compete(dsn: str, seconds: float) -> list[tuple[int, float]]:
    """Four processes append at once; answers how often each did, and its longest wait in seconds."""
    PostgresStore(dsn, codec=CODEC).close()
    return race(HOG, lambda number: [dsn, f"hog/{number}", str(seconds)])


@pytest.mark.timeout(120)
def test_no_process_starves_and_none_waits_long(
    postgres_dsn: str, figure: Callable[[str], None]
) -> None:
    shares = compete(postgres_dsn, 2.5)
    done, waits = zip(*shares, strict=True)
    figure(f"{min(done)} to {max(done)} appends each, and {max(waits):.2f} s the longest wait")
    assert min(done) >= 0.1 * sum(done) / len(done), shares
    assert max(waits) < 2.0, shares


@pytest.mark.timeout(120)
def test_control_a_lock_that_is_tried_now_and_again_is_less_fair(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (script,) = sql.SCRIPTS
    queue = "PERFORM pg_advisory_xact_lock({lock});"
    tries = "WHILE NOT pg_try_advisory_xact_lock({lock}) LOOP PERFORM pg_sleep(0.5); END LOOP;"
    assert script.count(queue) == 2
    monkeypatch.setattr(sql, "SCRIPTS", (script.replace(queue, tries),))
    shares = compete(postgres_dsn, 1.2)
    assert max(wait for _, wait in shares) > 0.4, shares
