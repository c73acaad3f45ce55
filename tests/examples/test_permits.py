"""The permits example: a log replayed, replayed again, damaged, and killed while it is replayed."""

from __future__ import annotations

import asyncio
import csv
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner, Result

from eventsrc import Interpreter, Recorded, ReadFeed, SqliteStore, SqliteViews, StoreOp, synchronise
from examples.permits.__main__ import main, opened, services_on
from examples.permits.cases import CaseId, StepTaken, cases
from examples.permits.log import read_log
from examples.permits.replay import replay
from examples.permits.views import VIEWS, Totals

ROOT = Path(__file__).parents[2]
RECEIPT = Path(os.environ.get("EVENTSRC_RECEIPT_CSV", ROOT / "../shared/data/receipt.csv"))
HEADER = (
    "case:channel,case:concept:name,case:department,concept:instance,concept:name,org:group,"
    "org:resource,time:timestamp"
)

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


def facts_of_views(views: SqliteViews) -> Facts:
    facts = Facts(defaultdict(list), set(), set(), set())
    with views.reading() as db:
        for case, *step in db.conn.execute(
            "SELECT [case], task, name, user, [group], at FROM step ORDER BY [case], version"
        ):
            facts.steps[case].append(tuple(step))
        assert {id for (id,) in db.conn.execute("SELECT id FROM permit")} == set(facts.steps)
        facts.users.update(name for (name,) in db.conn.execute("SELECT name FROM person"))
        facts.groups.update(name for (name,) in db.conn.execute("SELECT name FROM team"))
        facts.memberships.update(db.conn.execute("SELECT person, team FROM member"))
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
            at = datetime.fromtimestamp(chance.randrange(10**9)).astimezone().isoformat(" ")
            case = chance.choice(["%2F", "a/b", "ü", *"cdefghijklmnop"])
            name = chance.choice(['say "yes", or no', "wait", "prüfen"])
            group = group if chance.random() < 0.9 else ""
            writer.writerow(["web", case, "all", f"task-{number}", name, group, user, at])
    return path


@pytest.fixture(name="log")
def a_log(tmp_path: Path) -> Path:
    return made_log(tmp_path / "log.csv", rows=600)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store.db"
