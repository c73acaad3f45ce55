"""Testing with eventsrc: the contract of a store, strategies for Hypothesis, checkers of histories.

It needs the extra `testing`, that is pytest and Hypothesis.
"""

import pytest

pytest.register_assert_rewrite("eventsrc.testing.contract", "eventsrc.testing.machine")

from eventsrc.testing.contract import StoreContract  # noqa: E402
from eventsrc.testing.history import (  # noqa: E402
    Attempt,
    Look,
    check_feed,
    check_reads,
    check_stream,
)
from eventsrc.testing.machine import StoreMachine  # noqa: E402
from eventsrc.testing.strategies import (  # noqa: E402
    appends,
    appends_to_several,
    events,
    json_values,
    stream_ids,
    unstorable_values,
)

__all__ = [
    "Attempt",
    "Look",
    "StoreContract",
    "StoreMachine",
    "appends",
    "appends_to_several",
    "check_feed",
    "check_reads",
    "check_stream",
    "events",
    "json_values",
    "stream_ids",
    "unstorable_values",
]
