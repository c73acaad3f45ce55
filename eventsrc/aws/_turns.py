"""Turns: which of several processes may commit next, first come first served.

Without them whoever wins a race for a position in the feed knows the new end first and wins again, and
each loser has paid for a transaction. A process takes a ticket, and commits when the number before its
own was served. The commit itself says which number it serves: so who waits learns of its turn, and of
what it has to know for it, by reading on in the feed.

All that is advice: who goes without it may lose a race, and breaks nothing. No clock is compared with
another's: whoever waits skips a number that has not been served for too long, by its own.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from eventsrc._clock import monotonic
from eventsrc.aws._feed import Feed
from eventsrc.aws._items import META
from eventsrc.aws._talk import Talk, Throttled, Unmet, Unsent, number
from eventsrc.stores.operations import Lost

TURN: Final = 0.3
"""The seconds after which the turn of a process that is gone is taken over."""

_LOOK: Final = 0.1
"""The seconds after which it is looked whether a number was given back."""

_POLL: Final = 0.003
"""The seconds between two looks at the feed, for each number that comes before."""

_ALONE: Final = 8
"""The commits after which one who sees no others looks whether they wait for a turn."""

_PLACE: Final = META, 1


class Turns:
    """The turns of one process."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._given = 0
        self._last = 0
        """The last ticket that it knows to be taken."""
        self._alone = 0
        """The commits since it looked whether others wait."""
        self.ticket = 0
        """The number that it has and that was not served yet; 0 for none."""

    def take(self, talk: Talk) -> None:
        """Waits for its turn, if others commit too. The feed is fresh then.

        If DynamoDB has too much to do for that, it goes without.
        """
        if self.ticket:  # it has lost a race in its turn
            self._feed.refresh(talk)
        elif self._feed.is_shared or self._is_awaited(talk):
            try:
                found = talk.update(*_PLACE, "ADD t :one", {":one": {"N": "1"}})
            except (Throttled, Unsent, Lost):
                self._feed.refresh(talk)
                return
            self.ticket, self._given = number(found, "t"), number(found, "s")
            self._last = self.ticket
            self._wait(talk)

    def _is_awaited(self, talk: Talk) -> bool:
        """Whether others wait for a turn; it looks now and then, as who always wins sees none."""
        self._alone += 1
        if self._alone < _ALONE:
            return False
        self._alone = 0
        before, self._last = self._last, number(talk.get(*_PLACE) or {}, "t")
        return self._last > before

    def committed(self) -> None:
        """Notes that a commit has served its number."""
        self.ticket = 0

    def give(self, talk: Talk) -> None:
        """Gives back a number that was not served by a commit."""
        if self.ticket:
            ticket, self.ticket = self.ticket, 0
            self._serve(talk, ticket)

    def _wait(self, talk: Talk) -> None:
        served, since, looked = -1, 0.0, 0.0
        while True:
            self._feed.refresh(talk)
            now = monotonic()
            if max(self._feed.served, self._given) != served:
                served, since, looked = max(self._feed.served, self._given), now, now
            ahead = self.ticket - 1 - served
            if ahead <= 0 or talk.is_over:
                return
            if now - looked > _LOOK:
                if now - since > TURN:
                    self._serve(talk, served + 1)
                looked = now
                self._given = number(talk.get(*_PLACE) or {}, "s")
            else:
                talk.pause(_POLL * min(ahead, 8))

    def _serve(self, talk: Talk, ticket: int) -> None:
        """Notes in the table that a number was served."""
        with suppress(Unmet, Throttled, Unsent, Lost):  # others have got on, or will skip it
            values = {":it": {"N": str(ticket)}}
            talk.update(*_PLACE, "SET s = :it", values, "attribute_not_exists(s) OR s < :it")
