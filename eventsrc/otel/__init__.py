"""Traces and metrics by OpenTelemetry: the extra `otel`. Services know nothing of it.

    app = traced(store | views, streams=[profiles, groups])
    app = metered(app, measured(meter))
    watch(meter, app, [user_names])

`traced` makes spans of programs and of what they ask of stores and views, and writes the trace into the
metadata of appends, so that whatever applies the events later can link to it. `measured` counts what
`eventsrc.metering` tells of. `watch` reports how far views are behind.
"""

from __future__ import annotations

from eventsrc.otel.metrics import measured, watch
from eventsrc.otel.tracing import TRACED, traced

__all__ = ["TRACED", "measured", "traced", "watch"]
