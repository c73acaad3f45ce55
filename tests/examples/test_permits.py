"""The permits example: a log replayed, replayed again, damaged, and killed while it is replayed."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner, Result

from eventsrc import ReadFeed, Recorded, SqliteStore, SqliteViews
from examples.permits.__main__ import main
from examples.permits.cases import CaseId, StepTaken, cases
from examples.permits.log import read_log
from examples.permits.replay import replay
from examples.permits.views import VIEWS, MostSteps, PermitQueries, Total, Totals
from examples.places import Views, opened, opened_async
from examples.tables import tables
from tests.examples.conftest import url
from tests.faults import scaled
from tests.processes.forked import Forked
from tests.processes.replaying import replay_it

ROOT = Path(__file__).parents[2]
RECEIPT = Path(os.environ.get("EVENTSRC_RECEIPT_CSV", ROOT / "../shared/data/receipt.csv"))
HEADER = (
    "case:channel,case:concept:name,case:department,concept:instance,concept:name,org:group,"
    "org:resource,time:timestamp"
)

ROWS = 8577
"""How many the receipt log has."""

needs_receipt = pytest.mark.skipif(
    not RECEIPT.is_file(), reason=f"{RECEIPT} is not there: EVENTSRC_RECEIPT_CSV can say where it is"
)


@attrs.frozen
class Facts:
    """What a log says, without its order between cases."""

    steps: dict[str, list[tuple[str, str, str, str, str]]]
    users: set[str]
    groups: set[str]
    memberships: set[tuple[str, str]]

    def totals(self) -> Totals:
        steps = sum(map(len, self.steps.values()))
        people = len(self.users), len(self.groups), len(self.memberships)
        return Totals(len(self.steps), steps, *people)


def events_of(facts: Facts) -> int:
    """How many events record the facts: one for each."""
    return sum(attrs.astuple(facts.totals()))


def facts_of_log(path: Path) -> Facts:
    """The straight computation."""
    facts = Facts(defaultdict(list), set(), set(), set())
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            user, group = row["org:resource"], row["org:group"]
            step = row["concept:instance"], row["concept:name"], user, group, row["time:timestamp"]
            facts.steps[row["case:concept:name"]].append(step)
            facts.users.update({user} - {""})
            facts.groups.update({group} - {""})
            if user and group:
                facts.memberships.add((user, group))
    return facts


def facts_of_views(views: Views) -> Facts:
    facts = Facts(defaultdict(list), set(), set(), set())
    with views.reading(*VIEWS) as db:
        rows = tables(db).rows
        steps = 'SELECT "case", task, name, "user", "group", at FROM step ORDER BY "case", version'
        for case, *step in rows(steps):
            facts.steps[case].append(tuple(step))
        assert {id for (id,) in rows("SELECT id FROM permit")} == set(facts.steps)
        facts.users.update(name for (name,) in rows("SELECT name FROM users"))
        facts.groups.update(name for (name,) in rows("SELECT name FROM groups"))
        memberships = (
            "SELECT users.name, groups.name FROM memberships "
            'JOIN users ON users.id = "user" JOIN groups ON groups.id = "group"'
        )
        facts.memberships.update(rows(memberships))
    return facts


def facts_in(store: Path) -> Facts:
    with SqliteViews(store, VIEWS) as views:
        return facts_of_views(views)


def feed_of(store: Path) -> list[Recorded[object]]:
    events: list[Recorded[object]] = []
    with SqliteStore(store, read_only=True) as reader:
        page = reader.run(ReadFeed(limit=10_000))
        while page.events:
            events += page.events
            page = reader.run(ReadFeed(page.next, limit=10_000))
    return events


def run(log: Path, store: Path | str, *options: str) -> Result:
    return CliRunner().invoke(main, [str(log), "--store", str(store), *options])


def made_log(path: Path, rows: int, seed: int = 7) -> Path:
    """A log whose cases are mingled, whose clock jumps, and whose texts are not all plain."""
    chance = random.Random(seed)
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(HEADER + "\n")
        writer = csv.writer(file)
        for number in range(rows):
            user, group = chance.choice(["", "ann", "bob", "Zoë", "TEST", "test"]), chance.choice("AB/")
            zone = timezone(timedelta(hours=chance.randrange(3)))
            at = datetime.fromtimestamp(chance.randrange(10**9), zone).isoformat(" ")
            case = chance.choice(["%2F", "a/b", "ü", *"cdefghijklmnop"])
            name = chance.choice(['say "yes", or no', "wait", "prüfen"])
            group = group if chance.random() < 0.9 else ""
            writer.writerow(["web", case, "all", f"task-{number}", name, group, user, at])
    return path


@pytest.fixture(name="log")
def a_log(tmp_path: Path) -> Path:
    return made_log(tmp_path / "log.csv", rows=scaled(200, 600))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


# --- the real log ---------------------------------------------------------------------------------


def beginning(log: Path, path: Path, rows: int) -> Path:
    """The first rows of a log, as a log."""
    with log.open("rb") as lines:
        path.write_bytes(b"".join(islice(lines, 1 + rows)))
    return path


@pytest.fixture
def receipt(tmp_path: Path) -> Path:
    """The receipt log: its beginning, or all of it in the longer tier."""
    return beginning(RECEIPT, tmp_path / "receipt.csv", rows=scaled(500, ROWS))


@attrs.frozen
class Replayed:
    """What is in the views of a log that has been replayed."""

    facts: Facts
    totals: Totals
    most: tuple[tuple[str, int], ...]
    """The case with the most steps, and how many they are."""


def replayed(log: Path, where: str, is_async: bool) -> Replayed:
    async def replaying() -> Replayed:
        async with AsyncExitStack() as stack:
            if is_async:
                events, views = await stack.enter_async_context(opened_async(where, VIEWS))
            else:
                events, views = stack.enter_context(opened(where, VIEWS))
            with log.open("rb") as lines:
                assert await replay(events, views, read_log(lines)) == []
            queries = PermitQueries(views)
            most = queries.run(MostSteps("case", 1))
            return Replayed(facts_of_views(views), queries.run(Total()), most)

    return asyncio.run(replaying())


@needs_receipt
def test_the_views_of_the_whole_receipt_log_equal_a_straight_computation() -> None:
    found = replayed(RECEIPT, "memory", is_async=False)
    assert found.facts == facts_of_log(RECEIPT)
    assert found.totals == found.facts.totals()
    assert found.totals == Totals(cases=1434, steps=ROWS, users=48, groups=10, memberships=215)
    assert found.most == (("case-9289", 25),)


@needs_receipt
@pytest.mark.parametrize("place", ["file", "PostgresStore", "AsyncPostgresStore"])
def test_the_views_of_the_receipt_log_equal_a_straight_computation_in_every_database(
    place: str, receipt: Path, store: Path, request: pytest.FixtureRequest
) -> None:
    where = str(store) if place == "file" else url(request.getfixturevalue("postgres_dsn"))
    found, expected = replayed(receipt, where, place == "AsyncPostgresStore"), facts_of_log(receipt)
    assert found.facts == expected
    assert found.totals == expected.totals()
    assert [steps for _, steps in found.most] == [max(map(len, expected.steps.values()))]


@needs_receipt
def test_replaying_the_receipt_log_again_changes_nothing(receipt: Path, store: Path) -> None:
    first = run(receipt, store)
    recorded = feed_of(store)
    again = run(receipt, store)
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert feed_of(store) == recorded
    assert f"{len(recorded)} events are new" in first.stdout
    assert "0 events are new" in again.stdout


def test_a_log_that_is_replayed_in_postgres_twice_is_recorded_once(
    log: Path, postgres_dsn: str
) -> None:
    where, expected = url(postgres_dsn), facts_of_log(log)
    first, again = run(log, where, "--batch", "50"), run(log, where)
    assert (first.exit_code, again.exit_code) == (0, 0), first.stderr + again.stderr
    assert f"{events_of(expected)} events are new" in first.stdout
    assert "0 events are new" in again.stdout
    with opened(where, VIEWS) as (_, views):
        assert facts_of_views(views) == expected


def test_a_postgres_that_is_not_there_stops_the_replay_with_its_status(log: Path) -> None:
    result = run(log, "postgresql://localhost:1/nothing")
    assert result.exit_code == 2
    assert "cannot be connected to" in result.stderr


# --- what is recorded -----------------------------------------------------------------------------


@pytest.mark.parametrize("batch", ["1", "7", "500"])
def test_the_views_equal_a_straight_computation_however_many_rows_are_taken_at_a_time(
    log: Path, store: Path, batch: str
) -> None:
    assert run(log, store, "--batch", batch).exit_code == 0
    assert facts_in(store) == facts_of_log(log)
    recorded = feed_of(store)
    run(log, store, "--batch", "50")
    assert feed_of(store) == recorded


def test_the_steps_of_a_case_are_in_the_order_of_the_log_with_their_times(
    log: Path, store: Path
) -> None:
    run(log, store)
    with SqliteStore(store) as events:
        for case, expected in facts_of_log(log).steps.items():
            history = [recorded.data for recorded in events.run(cases[CaseId(case)].history())]
            steps = [event for event in history if isinstance(event, StepTaken)]
            assert history[1:] == steps
            assert [(s.task, s.name, s.user, s.group, s.at.isoformat(" ")) for s in steps] == expected


def test_the_rows_that_a_log_has_gained_since_are_added(log: Path, store: Path, tmp_path: Path) -> None:
    longer = made_log(tmp_path / "longer.csv", rows=scaled(250, 700))
    run(log, store)
    recorded = feed_of(store)
    run(longer, store)
    assert feed_of(store)[: len(recorded)] == recorded
    assert facts_in(store) == facts_of_log(longer)


def test_two_replays_at_once_record_everything_once(log: Path, store: Path) -> None:
    with start(log, store) as one, start(log, store) as other:
        assert [one.wait(30), other.wait(30)] == [0, 0]
    found, expected = facts_in(store), facts_of_log(log)
    assert found.totals() == expected.totals()
    assert found.memberships == expected.memberships
    assert {case: sorted(steps) for case, steps in found.steps.items()} == {
        case: sorted(steps) for case, steps in expected.steps.items()
    }


# --- rows that are bad ----------------------------------------------------------------------------

GOOD = [
    b"web,c1,all,t1,ask,A,ann,2020-01-01 10:00:00+01:00",
    b"web,c1,all,t3,tell,B,,2020-01-02T11:00:00Z",
]
BAD = {
    b"web,c1,all,t2,ask,A,ann": "7 columns",
    b"web,c1,all,t2,ask,A,ann,2020-01-01 10:00:00+01:00,more": "9 columns",
    b"web,c1,all,t2,ask,A,ann,yesterday": "yesterday",
    b"web,c1,all,t2,ask,A,ann,2020-01-01 10:00:00": "no time zone",
    b"web, ,all,t2,ask,A,ann,2020-01-01 10:00:00+01:00": "case:concept:name",
    b"web,c1,all,,ask,A,ann,2020-01-01 10:00:00+01:00": "concept:instance",
    b"web,c1,all,t2,ask,A,\xff\xfe,2020-01-01 10:00:00+01:00": "utf-8",
    b"web," + b"c" * 600 + b",all,t2,ask,A,ann,2020-01-01 10:00:00+01:00": "512",
    b'web,c1,all,t2,"ask,A,ann,2020-01-01 10:00:00+01:00': "CSV",
    b"web,c1,all,t2,ask,A,ann,2020-01-01\r10:00:00+01:00": "CSV",
    b"web,c1,all,t1,something else,Z,zed,2020-01-01 10:00:00+01:00": "t1",
}


@pytest.mark.parametrize("row", BAD, ids=BAD.values())
def test_a_row_that_is_bad_is_reported_by_its_line_and_spoils_no_other(
    row: bytes, tmp_path: Path, store: Path
) -> None:
    log = tmp_path / "log.csv"
    log.write_bytes(b"\n".join([HEADER.encode(), GOOD[0], b"", row, GOOD[1], b""]))
    for _ in range(2):
        result = run(log, store)
        assert result.exit_code == 1
        assert f"{log}:4: " in result.stderr
        assert BAD[row] in result.stderr
        assert "1 row could not be recorded" in result.stdout
        assert facts_in(store).totals() == Totals(cases=1, steps=2, users=1, groups=2, memberships=1)


def test_a_row_that_is_repeated_is_recorded_once(tmp_path: Path, store: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_bytes(b"\r\n".join([b"\xef\xbb\xbf" + HEADER.encode(), *GOOD, *GOOD]))
    assert run(log, store).exit_code == 0
    assert facts_in(store).totals() == Totals(cases=1, steps=2, users=1, groups=2, memberships=1)


@pytest.mark.parametrize("content", [b"", b"a,b,c\n1,2,3\n", b"\xff\n", HEADER.encode()[:-9]])
def test_a_file_that_is_no_log_is_refused_with_a_status_of_its_own(
    content: bytes, tmp_path: Path, store: Path
) -> None:
    log = tmp_path / "log.csv"
    log.write_bytes(content)
    result = run(log, store)
    assert result.exit_code == 2
    assert "its first line" in result.stderr


def test_a_file_that_is_no_store_is_refused_with_a_status_of_its_own(log: Path, store: Path) -> None:
    store.write_text(
        "this is no SQLite file, and long enough for SQLite to see that it is not one" * 20
    )
    result = run(log, store)
    assert result.exit_code == 2
    assert str(store) in result.stderr


# --- kills ----------------------------------------------------------------------------------------


def start(log: Path, store: Path) -> Forked:
    return Forked(replay_it, str(log), str(store))


def killed(log: Path, store: Path, events: int, after: float) -> bool:
    """Starts a replay and kills it so many seconds after its store has so many events.

    Answers whether it was killed, and had not come to its end before.
    """
    with start(log, store) as replaying:
        deadline = time.monotonic() + 30
        while replaying.returncode is None and count(store) < events:
            assert time.monotonic() < deadline, "the replay does not get on"
            time.sleep(0.002)
        time.sleep(after)
        replaying.kill()
    return replaying.returncode == -signal.SIGKILL


def count(store: Path) -> int:
    """How many events a store has, which may be about to be made."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM eventsrc_event").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


@pytest.mark.parametrize("seed", range(scaled(2, 48)))
def test_a_replay_killed_while_it_appends_leaves_beginnings_of_cases_and_is_completed_by_the_next(
    seed: int, log: Path, store: Path
) -> None:
    chance, expected = random.Random(seed), facts_of_log(log)
    events = int(events_of(expected) * (seed % 3 + chance.random()) / 3)
    killed(log, store, events, after=chance.uniform(0, 0.004))
    with SqliteStore(store) as left:
        for case, steps in expected.steps.items():
            history = [event.data for event in left.run(cases[CaseId(case)].history())]
            tasks = [event.task for event in history if isinstance(event, StepTaken)]
            assert tasks == [task for task, *_ in steps[: len(tasks)]]
    assert run(log, store).exit_code == 0
    assert facts_in(store) == expected


@pytest.mark.parametrize(("share", "after"), [(0.0, 0.02), (0.0, 0.1), (1.0, 0.01), (1.0, 0.03)])
def test_a_replay_killed_as_it_begins_or_brings_views_up_to_date_is_completed_by_the_next(
    share: float, after: float, log: Path, store: Path
) -> None:
    expected = facts_of_log(log)
    killed(log, store, int(events_of(expected) * share), after)
    assert run(log, store).exit_code == 0
    assert facts_in(store) == expected
    assert len(feed_of(store)) == events_of(expected)


def test_a_replay_killed_again_and_again_is_completed_in_the_end(log: Path, store: Path) -> None:
    chance = random.Random(11)
    left: list[int] = []
    kills = 0
    for _ in range(6):
        kills += killed(
            log, store, count(store) + chance.randrange(100), after=chance.uniform(0, 0.004)
        )
        left.append(count(store))
    assert kills > 1
    assert left == sorted(left)
    assert run(log, store).exit_code == 0
    expected = facts_of_log(log)
    assert facts_in(store) == expected
    assert len(feed_of(store)) == events_of(expected)


# --- the terminal ---------------------------------------------------------------------------------


def test_a_progress_bar_is_shown_on_a_terminal(log: Path) -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "examples.permits", str(log)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=theirs):
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError), open(ours, "rb", buffering=0) as terminal:  # noqa: PTH123
            while read := terminal.read(4096):
                shown += read
    assert b"100%" in shown
