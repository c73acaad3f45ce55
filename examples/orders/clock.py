"""A world whose time passes when it is told to, for stories and tests."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from eventsrc import Interpreter, NewId, Now, Sleep, on
from eventsrc.programs.world import Chance, Elapsed, World


class Clock(Interpreter[World]):
    """It stands still until `pass_by`, and sleeping takes no time of ours."""

    def __init__(self, begin: datetime = datetime(2026, 12, 1, 12, tzinfo=UTC)) -> None:
        self._begin = begin
        self._seconds = 0.0

    def pass_by(self, seconds: float) -> None:
        """Has time pass."""
        self._seconds += seconds

    @on(Now)
    def now(self, op: Now) -> datetime:
        return self._begin + timedelta(seconds=self._seconds)

    @on(Elapsed)
    def elapsed(self, op: Elapsed) -> float:
        return self._seconds

    @on(Sleep)
    def sleep(self, op: Sleep) -> None:
        self._seconds += op.seconds

    @on(NewId)
    def new_id(self, op: NewId) -> UUID:
        return uuid4()

    @on(Chance)
    def chance(self, op: Chance) -> float:
        return 0.5
