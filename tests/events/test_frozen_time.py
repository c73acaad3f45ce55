"""Dates and times made while a test freezes the time are the values that they look like."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
import time_machine
from freezegun import freeze_time

from eventsrc import MemoryStore, Stream
from eventsrc.events.event import EventTypes, event
from tests.events.values import own_codec

NOON = dt.datetime(2020, 1, 1, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize("freeze", [freeze_time, time_machine.travel])
@pytest.mark.parametrize("used_before", [True, False])
def test_events_are_stored_and_read_before_while_and_after_the_time_is_frozen(
    freeze: Callable[[str], object], used_before: bool
) -> None:
    codec = own_codec()
    types: EventTypes = codec.types

    @event("test.due", types=types)
    class Due:
        at: dt.datetime
        day: dt.date | None = None

    due, store = Stream("due", events=Due), MemoryStore(codec)
    early = Due(NOON, NOON.date())
    made = [early] if used_before else []
    if used_before:
        store.run(due.append(early))
    with freeze("2024-05-05"):  # type: ignore[attr-defined]
        now = Due(dt.datetime.now(dt.UTC), dt.date.today())  # noqa: DTZ011
        for one in (early, now):
            store.run(due.append(one))
        assert [each.data for each in store.run(due.history())] == [*made, early, now]
    store.run(due.append(now))
    back = [each.data for each in store.run(due.history())]
    assert back == [*made, early, now, now]
    assert {type(each.at) for each in back} == {dt.datetime}
    assert now.at.year == 2024
