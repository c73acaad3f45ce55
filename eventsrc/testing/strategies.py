"""Hypothesis strategies for what goes into stores: stream ids, values, events, appends."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import strategies as st

from eventsrc.store import ANY, EXISTS, NO_STREAM, Append, AppendAll, Condition, StreamAppend
from eventsrc.stream_id import StreamId
from eventsrc.testing.samples import Counted, Held, Noted, Renamed

_TEXT = st.text(st.characters(codec="utf-8"))


def stream_ids(prefix: str = "") -> st.SearchStrategy[StreamId]:
    """Stream ids of one to three segments below a prefix, with all that a segment may hold."""
    segment = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=12)
    segments = st.lists(segment, min_size=1, max_size=3)
    return segments.map(lambda parts: StreamId(prefix + "/".join(parts)))


def json_values() -> st.SearchStrategy[Any]:
    """JSON-able values that can be stored exactly."""
    leaves = (
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | _TEXT
    )
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
        max_leaves=10,
    )


def unstorable_values() -> st.SearchStrategy[Any]:
    """Values that would not come back as they were, bare or inside others."""
    bad = st.sampled_from(
        [float("nan"), float("inf"), 2**63, -(2**63) - 1, "\ud800", (1, 2), {1: 2}, object(), b"", {1}]
    )
    return st.recursive(
        bad, lambda inner: st.lists(inner, min_size=1) | st.fixed_dictionaries({"a": inner})
    )


def metadata() -> st.SearchStrategy[dict[str, Any]]:
    """What may be said about an append."""
    return st.dictionaries(_TEXT, json_values(), max_size=4)


def events(*types: type[Any]) -> st.SearchStrategy[Any]:
    """Events of these types, or of the kit's own if none are given, built from their fields' types.

    A field typed Any gets JSON-able values; strategies for other types are those that Hypothesis knows.
    """
    return st.one_of([_events_of(kind) for kind in types or (Noted, Counted, Held, Renamed)])


def _events_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    attrs.resolve_types(kind)
    fields = {field.alias: _values_of(field.type) for field in attrs.fields(kind) if field.init}
    return st.builds(kind, **fields)


def _values_of(kind: Any) -> st.SearchStrategy[Any]:
    if kind is Any:
        return json_values()
    if kind is int:
        return st.integers(-(2**63), 2**63 - 1)
    if kind is float:
        return st.floats(allow_nan=False, allow_infinity=False)
    if kind is str:
        return _TEXT
    return st.from_type(kind)


def batches(
    of: st.SearchStrategy[Any] | None = None, max_size: int = 4
) -> st.SearchStrategy[tuple[Any, ...]]:
    """Events to append together."""
    return st.lists(events() if of is None else of, min_size=1, max_size=max_size).map(tuple)


_expected = st.sampled_from([ANY, ANY, NO_STREAM, EXISTS, 0, 1, 2, 5])


def appends(
    streams: st.SearchStrategy[StreamId] | None = None, ids: st.SearchStrategy[Any] | None = None
) -> st.SearchStrategy[Append]:
    """Appends to one stream, on any condition; under ids that are drawn, or none."""
    return st.builds(
        Append,
        stream=stream_ids() if streams is None else streams,
        events=batches(),
        expected=_expected,
        append_id=st.none() if ids is None else ids,
        metadata=metadata(),
    )


def appends_to_several(
    streams: st.SearchStrategy[StreamId] | None = None, ids: st.SearchStrategy[Any] | None = None
) -> st.SearchStrategy[AppendAll]:
    """Appends to up to three streams, with up to two conditions on streams that are only read."""
    names = stream_ids() if streams is None else streams
    parts = st.builds(StreamAppend, names, batches(max_size=2), _expected)
    unique = st.lists(parts, min_size=1, max_size=3, unique_by=lambda part: part.stream)
    conditions = st.lists(st.builds(Condition, names, _expected), max_size=2)
    return st.builds(
        AppendAll,
        appends=unique.map(tuple),
        conditions=conditions.map(tuple),
        append_id=st.none() if ids is None else ids,
        metadata=metadata(),
    )
