"""Hypothesis strategies for what goes into stores."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from eventsrc.stream_id import StreamId
from eventsrc.testing.notes import Noted, Renamed

_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def stream_ids(prefix: str = "") -> st.SearchStrategy[StreamId]:
    """Stream ids of one to three segments, below a prefix; with all that a segment may hold."""
    segment = st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=12
    )
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


def notes() -> st.SearchStrategy[Noted | Renamed]:
    """Events of the store contract."""
    return st.builds(Noted, json_values()) | st.builds(Renamed, _TEXT)


def batches(max_size: int = 5) -> st.SearchStrategy[tuple[Noted | Renamed, ...]]:
    """Events to append together."""
    return st.lists(notes(), min_size=1, max_size=max_size).map(tuple)
