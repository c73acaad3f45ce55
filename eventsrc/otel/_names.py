"""The names of spans, attributes and metrics, in one place, since the conventions still change.

Those that begin with `messaging.` and `error.` are of the semantic conventions 1.45 of OpenTelemetry.
"""

from __future__ import annotations

from typing import Final

SCOPE: Final = "eventsrc"
"""The name of the instrumentation."""

SYSTEM: Final = "messaging.system"
OPERATION_TYPE: Final = "messaging.operation.type"
TEMPLATE: Final = "messaging.destination.template"
DESTINATION: Final = "messaging.destination.name"
COUNT: Final = "messaging.batch.message_count"
ERROR_TYPE: Final = "error.type"

OUTCOME: Final = "eventsrc.outcome"
EXPECTED: Final = "eventsrc.expected"
VERSION: Final = "eventsrc.version"
ACTUAL: Final = "eventsrc.conflict.actual"
STORE: Final = "eventsrc.store_id"
VIEW: Final = "eventsrc.view"
VIEW_VERSION: Final = "eventsrc.view.version"

DURATION: Final = "eventsrc.operation.duration"
EVENTS: Final = "eventsrc.events"
LAG: Final = "eventsrc.view.lag"
BEHIND: Final = "eventsrc.view.behind"
PARKED: Final = "eventsrc.view.parked"
AWAY: Final = "eventsrc.view.away"
