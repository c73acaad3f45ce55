"""Processes that take courses in one file at once, and those that give its events tags."""

from __future__ import annotations

import itertools
import os
import random
import signal
import sqlite3
import sys
from typing import Final

from eventsrc import SqliteStore, StreamId, Success, event, world
from eventsrc.events.codec import Codec
from eventsrc.events.event import EventTypes
from eventsrc.events.tags import Tag
from eventsrc.sqlite._file import SqliteFile
from eventsrc.stores.operations import Append
from eventsrc.stores.tags import IndexTags, OtherTags
from examples.courses.events import CourseId, StudentId
from examples.courses.service import join

COURSES: Final = [CourseId(f"course-{number}") for number in range(12)]
STUDENTS: Final = 8
LATE: Final = StreamId("late")
KEYS: Final = 3
late: Final = Tag("late", key=str)


def late_types(*, tagged: bool) -> tuple[EventTypes, type]:
    """The types of a program that declares its events with tags, or of the one before it."""
    types = EventTypes()

    @event("joiner.noted", tags={"key": late} if tagged else {}, types=types)
    class Noted:
        key: str

    return types, Noted


def rush(path: str, seed: str, joins: str) -> None:
    """Waits for a line, takes courses, and prints each that it was told to have."""
    chance = random.Random(int(seed))
    with SqliteStore(path, timeout=30) as store:
        app = store | world
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(int(joins)):
            who, which = StudentId(f"student-{chance.randrange(STUDENTS)}"), chance.choice(COURSES)
            if isinstance(app.run(join(who, which)), Success):
                print(f"{who} {which}", flush=True)


def note_untagged(path: str) -> None:
    """Appends events of a type without its tags until it is refused; prints how many, and why not."""
    types, cls = late_types(tagged=False)
    with SqliteStore(path, Codec(types), timeout=30) as store:
        print("ready", flush=True)
        for count in itertools.count():
            try:
                store.run(Append(LATE, (cls(f"{count % KEYS}"),))).unwrap()
            except OtherTags as error:
                print(count, type(error).__name__, flush=True)
                return


def index_and_die(path: str, step: str) -> None:
    """Gives events their tags, ten positions at a time; killed when it begins its n-th statement.

    Prints "done" if it gets through.
    """
    types, _ = late_types(tagged=True)
    _die_at(int(step))
    with SqliteStore(path, Codec(types)) as store:
        while not store.run(IndexTags(limit=10)).is_done:
            pass
    print("done")


def _die_at(step: int) -> None:
    steps = itertools.count(1)
    connect = SqliteFile._connect

    def tick(_: str) -> None:
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def connected(file: SqliteFile, timeout: float) -> sqlite3.Connection:
        connection = connect(file, timeout)
        connection.set_trace_callback(tick)
        return connection

    SqliteFile._connect = connected  # type: ignore[method-assign, assignment]
