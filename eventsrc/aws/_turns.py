"""Turns: which of several processes may commit next, first come first served.

Without them whoever wins a race for a place in the feed knows the new end first and wins again, and
each loser has paid for a transaction. A process takes a ticket, and commits when its number is served.
All that is advice: who goes without it may lose a race, and breaks nothing. No clock is compared with
another's: whoever waits skips a number that has been served for too long, by its own.
"""

from __future__ import annotations

from typing import Final

from eventsrc._clock import monotonic
from eventsrc.aws._items import META
from eventsrc.aws._talk import Talk, Throttled, Unmet, Unsent, number
from eventsrc.stores.operations import Lost

TURN: Final = 0.3
"""The seconds after which the turn of a process that is gone is taken over."""

_PLACE: Final = META, 1


class Turns:
    """The turns of one process."""

    def __init__(self) -> None:
        self._ticket = 0
        """The number that it has and has not given back; 0 for none."""

    def take(self, talk: Talk) -> None:
        """Waits for its turn, or until DynamoDB has too much to do for that."""
        try:
            found = talk.update(*_PLACE, "ADD t :one", {":one": {"N": "1"}})
            self._ticket = number(found, "t")
            self._wait(talk, number(found, "s") + 1)
        except (Throttled, Unsent, Lost):
            self._ticket = 0

    def give(self, talk: Talk) -> None:
        """Ends its turn."""
        if self._ticket:
            ticket, self._ticket = self._ticket, 0
            self._serve(talk, ticket)

    def _wait(self, talk: Talk, serving: int) -> None:
        since = monotonic()
        while serving < self._ticket and not talk.is_over:
            ahead = self._ticket - serving
            if monotonic() - since > TURN:
                self._serve(talk, serving)
            else:
                talk.pause(0.004 * min(ahead, 8))
            item = talk.get(*_PLACE)
            now = number(item, "s") + 1 if item else self._ticket
            if now != serving:
                serving, since = now, monotonic()

    def _serve(self, talk: Talk, ticket: int) -> None:
        """Marks a number as served, and so the next one's turn."""
        try:
            values = {":it": {"N": str(ticket)}, ":before": {"N": str(ticket - 1)}}
            condition = "s = :before" if ticket > 1 else "attribute_not_exists(s) OR s = :before"
            talk.update(*_PLACE, "SET s = :it", values, condition)
        except (Unmet, Throttled, Unsent, Lost):
            pass  # it was taken over, or will be
