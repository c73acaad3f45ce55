"""The guard decides which events a view applies, whatever is delivered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from eventsrc import Codec, Recorded, StreamId
from eventsrc.events.codec import Encoded, Kind
from eventsrc.events.record import make_record
from eventsrc.views.guard import Gap, Moves, Sorted, moves_of, sort_out

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


@given(states, deliveries)
def test_events_are_in_turn_if_all_of_them_are_to_be_applied_where_the_guards_are_then(
    applied: dict[str, int], events: list[Recorded[object]]
) -> None:
    work = sort_out(applied, events)
    moves = moves_of(events)
    are_next = len(work.to_apply) == len(events)
    if moves is None:
        assert not are_next
    else:
        assert are_next == (moves.before.items() <= applied.items())
        assert sort_out(moves.before, events).applied == moves.after


def test_events_in_turn_may_begin_anywhere() -> None:
    events = [recorded("a", 3), recorded("b", 1), recorded("a", 4)]
    assert moves_of(events) == Moves({"a": 2, "b": 0}, {"a": 4, "b": 1})
    assert moves_of([]) == Moves({}, {})


def test_an_event_that_comes_early_shows_the_gap() -> None:
    work = sort_out({"a": 1}, [recorded("a", 2), recorded("a", 5), recorded("b", 1)])
    assert [event.version for event in work.to_apply] == [2, 1]
    assert work.gaps == (Gap(StreamId("a"), 2, 5),)


def test_events_that_skip_a_version_or_repeat_one_are_not_in_turn() -> None:
    for versions in ((3, 5), (3, 3), (3, 2), (1000, 1002)):
        assert moves_of([recorded("a", version) for version in versions]) is None
    many = [recorded("a", version) for version in range(1000, 1010)]
    assert moves_of(many) == Moves({"a": 999}, {"a": 1009})


def test_an_early_event_leaves_no_gap_once_those_before_it_have_come() -> None:
    for last in (1005, 1006):
        versions = [1005, *range(1002, last + 1)]
        work = sort_out({"a": 1001}, [recorded("a", version) for version in versions])
        assert [event.version for event in work.to_apply] == [*range(1002, last + 1)]
        assert work.gaps == ()
