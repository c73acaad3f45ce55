"""The guard decides which events a view applies, whatever is delivered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from eventsrc import Codec, Recorded, StreamId
from eventsrc.codec import Encoded, Kind
from eventsrc.guard import Gap, Sorted, sort_out
from eventsrc.record import make_record

CODEC = Codec()


def recorded(stream: str, version: int) -> Recorded[object]:
    record = make_record(
        version, stream, version, bytes(16), 0, Encoded(Kind("x", 1, "json"), b"{}"), b"", 0
    )
    return Recorded(record, CODEC)


deliveries = st.lists(st.builds(recorded, st.sampled_from(["a", "b"]), st.integers(1, 6)))
states = st.fixed_dictionaries({"a": st.integers(0, 4), "b": st.integers(0, 4)})


@given(states, deliveries)
def test_each_stream_is_applied_in_steps_of_one_from_where_it_was(
    applied: dict[str, int], events: list[Recorded[object]]
) -> None:
    at = dict(applied)
    work = sort_out(applied, events)
    for event in work.to_apply:
        assert event.version == at[event.stream] + 1
        at[event.stream] = event.version
    assert {**applied, **work.applied} == at


@given(states, deliveries)
def test_what_is_neither_applied_nor_ignored_waits_behind_a_gap(
    applied: dict[str, int], events: list[Recorded[object]]
) -> None:
    work = sort_out(applied, events)
    gaps = {gap.stream: gap for gap in work.gaps}
    left = len(events) - len(work.to_apply) - work.ignored
    for event in events:
        at = work.applied.get(event.stream, applied[event.stream])
        if event.version > at:
            assert event.stream in gaps
            left -= 1
    assert left >= 0
    assert all(gap.applied < gap.came for gap in work.gaps)


@given(states, deliveries)
def test_delivering_the_same_again_applies_nothing_more_where_there_was_no_gap(
    applied: dict[str, int], events: list[Recorded[object]]
) -> None:
    work = sort_out(applied, events)
    if not work.gaps:
        again = sort_out({**applied, **work.applied}, events)
        assert again == Sorted((), len(events), (), {}, {})


def test_an_event_that_comes_early_shows_the_gap() -> None:
    work = sort_out({"a": 1}, [recorded("a", 2), recorded("a", 5), recorded("b", 1)])
    assert [event.version for event in work.to_apply] == [2, 1]
    assert work.gaps == (Gap(StreamId("a"), 2, 5),)
