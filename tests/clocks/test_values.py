"""Dates and times made while a test freezes the time are the values that they look like."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid1

import pytest

from eventsrc import Codec, Do, MemoryStore, Now, Stream, World, program, world
from eventsrc.events.event import EventTypes, event
from eventsrc.recording import RunFile, recording
from eventsrc.recording.portable import Portable
from tests.clocks.frozen import Freeze, each_way
from tests.kits.values import own_codec

NOON = dt.datetime(2020, 1, 1, 12, tzinfo=dt.UTC)


@each_way
@pytest.mark.parametrize("used_before", [True, False])
def test_events_are_stored_and_read_before_while_and_after_the_time_is_frozen(
    freeze: Freeze, used_before: bool
) -> None:
    codec = own_codec()
    types: EventTypes = codec.types

    @event("test.due", types=types)
    class Due:
        at: dt.datetime
        day: dt.date | None = None
        amount: Decimal = Decimal("1.10")
        id: UUID | None = None

    due, store = Stream("due", events=Due), MemoryStore(codec)
    early = Due(NOON, NOON.date())
    made = [early] if used_before else []
    if used_before:
        store.run(due.append(early))
    with freeze("2024-05-05"):
        now = Due(dt.datetime.now(dt.UTC), dt.date.today(), Decimal("2.50"), uuid1())  # noqa: DTZ011
        for one in (early, now):
            store.run(due.append(one))
        assert [each.data for each in store.run(due.history())] == [*made, early, now]
    store.run(due.append(now))
    back = [each.data for each in store.run(due.history())]
    assert back == [*made, early, now, now]
    assert {type(each.at) for each in back} == {dt.datetime}
    assert {type(each.day) for each in back} == {dt.date}
    assert [(type(each.amount), type(each.id)) for each in back[-2:]] == [(Decimal, UUID)] * 2
    assert now.at.year == 2024


@program
def due_at(at: dt.datetime, days: tuple[dt.date, ...]) -> Do[World, list[object]]:
    return [(yield from Now()), at, *days]


@each_way
@pytest.mark.parametrize("read_later", [True, False])
def test_runs_that_are_recorded_while_the_time_is_frozen_are_read_as_they_were(
    freeze: Freeze, read_later: bool, tmp_path: Path
) -> None:
    path = tmp_path / "runs.jsonl"
    with freeze("2024-05-05"):
        with RunFile(path) as runs:
            today = dt.date.today()  # noqa: DTZ011
            made = recording(world, runs).run(due_at(dt.datetime.now(dt.UTC), (today,)))
        if not read_later:
            assert [type(value) for value in answered(path)] == KINDS
    assert answered(path) == made
    assert [type(value) for value in answered(path)] == KINDS
    assert made[1] == dt.datetime(2024, 5, 5, tzinfo=dt.UTC)


KINDS = [type(NOON), type(NOON), type(NOON.date())]  # in a list, where freezegun does not replace them


def answered(path: Path) -> list[object]:
    """The answer of the one run in a file."""
    (line,) = path.read_text().splitlines()
    answer: list[object] = Portable(Codec()).value(json.loads(line)["answer"])
    return answer
