"""Testing with eventsrc: every schedule and fault of your programs, the contract of a store, strategies
for Hypothesis, checkers of histories.

It needs the extra `testing`, that is pytest and Hypothesis.
"""

import pytest

pytest.register_assert_rewrite("eventsrc.testing._contract", "eventsrc.testing._contract.machine")

from eventsrc.testing._contract import StoreContract  # noqa: E402
from eventsrc.testing._contract.history import (  # noqa: E402
    Attempt,
    Look,
    check_feed,
    check_reads,
    check_stream,
)
from eventsrc.testing._contract.machine import StoreMachine  # noqa: E402
from eventsrc.testing._given import Given, NotGiven, Then  # noqa: E402
from eventsrc.testing._scenarios.faults import (  # noqa: E402
    AGAIN,
    CONFLICT,
    CRASH,
    DROPPED,
    EVERY_FAULT,
    LATE,
    LOST,
    REFUSED,
    RESTART,
    SLOW,
    STALLED,
    AnswerLost,
    Fault,
)
from eventsrc.testing._scenarios.footprints import CLOCK, Footprint, reads, writes  # noqa: E402
from eventsrc.testing._scenarios.judging import check_history, check_view  # noqa: E402
from eventsrc.testing._scenarios.running import (  # noqa: E402
    BadScenario,
    BadSchedule,
    Crashed,
    Endless,
    NotAsBefore,
    Raised,
)
from eventsrc.testing._scenarios.scenario import After, Found, Scenario  # noqa: E402
from eventsrc.testing._scenarios.simulation import Rows, SimulatedStore, SimulatedViews  # noqa: E402
from eventsrc.testing._service_strategies import histories, operations, programs  # noqa: E402
from eventsrc.testing._steps import Steps, step, together  # noqa: E402
from eventsrc.testing._strategies import (  # noqa: E402
    appends,
    appends_to_several,
    events,
    json_values,
    stream_ids,
    unstorable_values,
)

__all__ = [
    "AGAIN",
    "CLOCK",
    "CONFLICT",
    "CRASH",
    "DROPPED",
    "EVERY_FAULT",
    "LATE",
    "LOST",
    "REFUSED",
    "RESTART",
    "SLOW",
    "STALLED",
    "After",
    "AnswerLost",
    "Attempt",
    "BadScenario",
    "BadSchedule",
    "Crashed",
    "Endless",
    "Fault",
    "Footprint",
    "Found",
    "Given",
    "Look",
    "NotAsBefore",
    "NotGiven",
    "Raised",
    "Rows",
    "Scenario",
    "SimulatedStore",
    "SimulatedViews",
    "Steps",
    "StoreContract",
    "StoreMachine",
    "Then",
    "appends",
    "appends_to_several",
    "check_feed",
    "check_history",
    "check_reads",
    "check_stream",
    "check_view",
    "events",
    "histories",
    "json_values",
    "operations",
    "programs",
    "reads",
    "step",
    "stream_ids",
    "together",
    "unstorable_values",
    "writes",
]
