"""Tests of conditions: an append is stored just if they hold, in one stream or in several."""

from __future__ import annotations

from uuid import uuid4

import attrs
import pytest
from returns.result import Success

from eventsrc.events.positions import NotInToken
from eventsrc.stores.operations import (
    CONFLICT_EVENTS,
    EXISTS,
    NO_STREAM,
    Append,
    AppendAll,
    Condition,
    Conflict,
    Expected,
    FindAppend,
    Head,
    Read,
    Rejected,
    StreamAppend,
)
from eventsrc.testing._contract._shared import (
    CONDITIONS,
    ContractPart,
    Store,
    accepted,
    append,
    but,
    end_of,
    feed_of,
    filled,
    fresh,
    is_met,
    left_alone,
    read_all,
    refusal,
    texts_of,
)
from eventsrc.testing._contract.samples import Noted


class Conditions(ContractPart):
    """Tests of conditions: an append is stored just if they hold, in one stream or in several."""

    # --- appending on conditions ----------------------------------------------------------------------

    @pytest.mark.parametrize("existing", [0, 1, 3])
    @pytest.mark.parametrize("expected", CONDITIONS, ids=repr)
    def test_an_append_is_stored_just_if_its_condition_holds(
        self, store: Store, expected: int, existing: int
    ) -> None:
        stream = filled(store, existing)
        if is_met(expected, existing):
            assert (
                accepted(store.run(Append(stream, (Noted("new"),), expected))).version == existing + 1
            )
            assert texts_of(store, stream) == [*map(str, range(1, existing + 1)), "new"]
        else:
            with left_alone(store, stream):
                conflict = refusal(store.run(Append(stream, (Noted("new"),), expected)))
            assert isinstance(conflict, Conflict)
            assert (conflict.stream, conflict.expected) == (stream, expected)
            assert conflict.actual == existing

    def test_a_version_that_is_too_high_leaves_no_hole(self, store: Store) -> None:
        stream = filled(store, 2)
        with left_alone(store, stream):
            conflict = refusal(store.run(Append(stream, (Noted("far"),), 7)))
        assert conflict == Conflict(stream, 7, 2)
        assert append(store, stream, "near").version == 3
        assert texts_of(store, stream) == ["1", "2", "near"]

    def test_a_conflict_carries_the_events_since_the_expected_version(self, store: Store) -> None:
        stream = filled(store, 3)
        for expected in range(3):
            conflict = refusal(store.run(Append(stream, (Noted("late"),), expected)))
            assert isinstance(conflict, Conflict)
            assert conflict.events == tuple(read_all(store, stream)[expected:])
            assert [e.data.text for e in conflict.events] == ["1", "2", "3"][expected:]

    def test_a_conflict_carries_the_oldest_hundred_events_at_most(self, store: Store) -> None:
        stream = filled(store, CONFLICT_EVENTS + 50)
        for expected in (0, 10, 50, 60):
            conflict = refusal(store.run(Append(stream, (Noted("late"),), expected)))
            assert isinstance(conflict, Conflict)
            came = [recorded.version for recorded in conflict.events]
            last = min(expected + CONFLICT_EVENTS, conflict.actual)
            assert came == [*range(expected + 1, last + 1)]
            assert conflict.actual == CONFLICT_EVENTS + 50
            assert conflict.missed == conflict.actual - expected

    @pytest.mark.parametrize(("expected", "existing"), [(NO_STREAM, 2), (EXISTS, 0)], ids=repr)
    def test_a_conflict_with_no_exact_version_carries_no_events(
        self, store: Store, expected: Expected, existing: int
    ) -> None:
        stream = filled(store, existing)
        conflict = refusal(store.run(Append(stream, (Noted("no"),), expected)))
        assert conflict == Conflict(stream, expected, existing)  # type: ignore[arg-type]

    def test_a_token_demands_the_version_that_it_has_seen(self, store: Store) -> None:
        stream, other = filled(store, 2), fresh()
        token = store.run(Read(stream)).token | store.run(Read(other)).token
        assert accepted(store.run(Append(stream, (Noted("3"),), token))).version == 3
        with left_alone(store, stream):
            conflict = refusal(store.run(Append(stream, (Noted("again"),), token)))
        assert isinstance(conflict, Conflict)
        assert (conflict.expected, conflict.actual) == (2, 3)
        assert accepted(store.run(Append(other, (Noted("1"),), token))).version == 1
        assert isinstance(refusal(store.run(Append(other, (Noted("1"),), token))), Conflict)

    def test_a_token_that_does_not_name_a_stream_demands_nothing_of_it_and_is_refused(
        self, store: Store
    ) -> None:
        stream, other = filled(store, 1), fresh()
        token = store.run(Read(stream)).token
        part = StreamAppend(stream, (Noted("new"),))
        with left_alone(store, stream, other):
            for asked in self.claimed(
                Append(other, (Noted("new"),), token),
                AppendAll((part, StreamAppend(other, (Noted("new"),), token))),
                AppendAll((part,), (Condition(other, token),)),
            ):
                with pytest.raises(NotInToken, match=f"not {other}"):
                    store.run(asked)

    # --- several streams at once ----------------------------------------------------------------------

    @pytest.mark.usefixtures("appends_to_several")
    def test_an_append_to_several_streams_is_stored_in_all(self, store: Store) -> None:
        one, two, new, begin = filled(store, 1), filled(store, 2), fresh(), end_of(store)
        parts = (
            StreamAppend(two, (Noted("3"),), 2),
            StreamAppend(new, (Noted("1"), Noted("2")), NO_STREAM),
            StreamAppend(one, (Noted("2"),), EXISTS),
        )
        answer = accepted(store.run(AppendAll(parts)))
        assert dict(answer.token.versions) == {one: 2, two: 3, new: 2}
        assert [texts_of(store, stream) for stream in (one, two, new)] == [
            ["1", "2"],
            ["1", "2", "3"],
            ["1", "2"],
        ]
        came = [(recorded.stream, recorded.version) for recorded in feed_of(store, begin)]
        assert came == [(two, 3), (new, 1), (new, 2), (one, 2)]
        assert feed_of(store, answer.cursor) == []

    @pytest.mark.usefixtures("appends_to_several")
    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_an_append_to_several_streams_is_stored_in_none_if_one_is_in_conflict(
        self, store: Store, place: int
    ) -> None:
        streams = [filled(store, 1), filled(store, 1), filled(store, 1)]
        parts = [StreamAppend(stream, (Noted("2"),), 1) for stream in streams]
        parts[place] = attrs.evolve(parts[place], expected=0)
        append_id = uuid4()
        with left_alone(store, *streams):
            conflict = refusal(store.run(AppendAll(tuple(parts), append_id=append_id)))
        (first,) = read_all(store, streams[place])
        assert conflict == Conflict(streams[place], 0, 1, (first,))
        assert not self.finding or store.run(FindAppend(append_id)) is None

    @pytest.mark.usefixtures("appends_to_several")
    @pytest.mark.parametrize("existing", [0, 1, 3])
    @pytest.mark.parametrize("expected", CONDITIONS, ids=repr)
    def test_a_condition_on_a_stream_that_is_only_read_decides_too(
        self, store: Store, expected: int, existing: int
    ) -> None:
        read, written = filled(store, existing), fresh()
        asked = AppendAll((StreamAppend(written, (Noted("new"),)),), (Condition(read, expected),))
        if is_met(expected, existing):
            assert dict(accepted(store.run(asked)).token.versions) == {written: 1}
            assert store.run(Head(read)) == existing
        else:
            with left_alone(store, read, written):
                conflict = refusal(store.run(asked))
            assert isinstance(conflict, Conflict)
            assert (conflict.stream, conflict.expected) == (read, expected)
            assert conflict.actual == existing

    @pytest.mark.usefixtures("appends_to_several")
    def test_an_append_to_several_streams_can_be_retried(self, store: Store) -> None:
        one, two, read = fresh(), fresh(), filled(store, 1)
        parts = (StreamAppend(one, (Noted("a"),), 0), StreamAppend(two, (Noted("b"),), NO_STREAM))
        asked = AppendAll(parts, (Condition(read, 1),), uuid4())
        answer = store.run(asked)
        append(store, read, "so that the condition does not hold any more")
        append(store, one, "nor this one")
        with left_alone(store, one, two):
            assert store.run(asked) == answer
            changed = but(asked, appends=(parts[0], StreamAppend(two, (Noted("c"),))))
            assert isinstance(refusal(store.run(changed)), Rejected)
        assert isinstance(answer, Success)
