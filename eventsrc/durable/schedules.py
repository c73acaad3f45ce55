"""Schedules: what is done every night, or whenever a cron text says.

    @program
    def nightly() -> Do[RepeatOp, None]:
        yield from repeat(Daily(time(2), "Europe/Berlin"), lambda due: reports.start(str(due.date())))

    nightlies = Runs("nightly", nightly, id=lambda: "nightly")

A schedule is a run: it sleeps until the next time, and begins another run whose id is made of that
time. So each is begun once, whoever works and however often it is killed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any, Never, Protocol, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import attrs

from eventsrc.programs.program import Do, Effect, program
from eventsrc.programs.world import Now, Sleep

RepeatOp: TypeAlias = Now | Sleep
"""The operations of `repeat`, beside those of what it does."""


class Schedule(Protocol):
    """Times at which something is done."""

    def next(self, after: datetime) -> datetime:
        """The first of its times that is later. after: with a time zone, as is the answer."""
        ...


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"{name!r} is no time zone that is known here: name one such as 'Europe/Berlin', and "
            "install the package tzdata where the system has none"
        ) from error


@attrs.frozen
class Daily:
    """Every day at a time of a time zone.

    In the night in which clocks are set forward, a time that there is not is that much later; in the
    one in which they are set back, of a time that comes twice it is the first.
    Raises ValueError for a zone that is not known, and for a time with one of its own.
    """

    at: time
    zone: str = "UTC"
    _zone: ZoneInfo = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        if self.at.tzinfo is not None:
            raise ValueError(f"{self.at!r} has a time zone of its own: name it as `zone`")
        object.__setattr__(self, "_zone", _zone(self.zone))

    def next(self, after: datetime) -> datetime:
        """The first of its times that is later than a moment."""
        day = after.astimezone(self._zone).date()
        while True:
            due = datetime.combine(day, self.at, self._zone).astimezone(UTC).astimezone(self._zone)
            if due > after:
                return due
            day += timedelta(days=1)


@attrs.frozen
class Cron:
    """The times of a cron text, such as "0 6 * * mon", in a time zone. It needs the extra `cron`.

    Raises ValueError for a text that is none, and for a zone that is not known.
    """

    text: str
    zone: str = "UTC"
    _zone: ZoneInfo = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_zone", _zone(self.zone))
        self._times(datetime.now(UTC))

    def next(self, after: datetime) -> datetime:
        """The first of its times that is later than a moment. Raises ValueError if there is none."""
        for due in self._times(after.astimezone(self._zone)):
            found: datetime = due
            return found
        raise ValueError(f"{self.text!r} has no time after {after}: it names a day that never comes")

    def _times(self, after: datetime) -> Any:
        try:
            from cronsim import CronSim, CronSimError  # type: ignore[import-untyped,unused-ignore]
        except ImportError as error:
            raise ImportError(
                "a cron text needs the extra cron: pip install 'eventsrc[cron]'"
            ) from error
        try:
            return CronSim(self.text, after)
        except CronSimError as error:
            raise ValueError(
                f"{self.text!r:.60} is no cron text: give minute, hour, day, month and weekday, as in "
                "'0 6 * * mon'"
            ) from error


@program
def repeat(schedule: Schedule, begin: Callable[[datetime], Effect[Any, Any]]) -> Do[Any, Never]:
    """Does something at each time of a schedule, for ever: to be the body of a run.

    begin: makes what is done of the time at which it was due, such as `Runs.start`. The times that pass
        while no worker is there are made up for, one by one.
    """
    due = schedule.next((yield from Now()))
    while True:
        while (left := (due - (yield from Now())).total_seconds()) > 0:
            yield from Sleep(left)
        yield from begin(due)
        due = schedule.next(due)
