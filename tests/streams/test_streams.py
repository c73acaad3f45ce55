"""Streams as services use them: appending, reading and folding, on a memory store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from functools import reduce
from itertools import takewhile
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from returns.result import Failure, Success

from eventsrc import (
    ANY,
    EXISTS,
    NO_STREAM,
    Append,
    Codec,
    Conflict,
    Do,
    Fold,
    MemoryStore,
    Outcome,
    ReadFeed,
    Rejected,
    Stream,
    Streams,
    Token,
    Unknown,
    program,
)
from eventsrc.errors import AppendFailed, NotInToken, NotStorable
from eventsrc.events.event import EventTypeError
from eventsrc.events.positions import BadToken, WrongStore
from eventsrc.events.stream_id import BadStreamId, StreamId
from eventsrc.stores.operations import Appended, NotAppended
from eventsrc.streams.fold import PAGE, NoSuchVersion
from tests.kits.counting import Counted, Counting, Elsewhere, Reset, counter, total

START_OF_TIME = datetime(2024, 1, 1, tzinfo=UTC)
ID = UUID(int=42)
CODEC = Codec()

events = st.builds(Counted, st.integers(-100, 100)) | st.builds(Reset)
histories = st.lists(events, max_size=12)

log: Fold[tuple[Counting, ...], Counting] = Fold((), lambda seen, event: (*seen, event))
"""The fold that forgets nothing."""


@pytest.fixture
def store() -> MemoryStore:
    """A store with nothing in it."""
    return MemoryStore()


def holding(history: Sequence[Counting], clock: Callable[[], float] = lambda: 0.0) -> MemoryStore:
    """A store in which the counter's stream has these events, each appended alone."""
    store = MemoryStore(CODEC, clock=clock)
    for event in history:
        store.run(counter.append(event))
    return store


# --- appending ------------------------------------------------------------------------------------


@given(st.lists(st.lists(events, min_size=1, max_size=4), max_size=5))
def test_events_are_kept_in_the_order_in_which_they_are_appended(appends: list[list[Counting]]) -> None:
    store = holding([])
    versions = [store.run(counter.append(*some)).version for some in appends]
    assert versions == [sum(map(len, appends[: n + 1])) for n in range(len(appends))]
    history = store.run(counter.history())
    assert [recorded.data for recorded in history] == [event for some in appends for event in some]
    assert [recorded.version for recorded in history] == list(range(1, len(history) + 1))


def test_an_append_answers_with_what_it_has_seen(store: MemoryStore) -> None:
    appended = store.run(counter.append(Counted(), Counted(), append_id=ID))
    assert appended.append_id == ID
    assert appended.version == 2
    assert appended.token == Token(store.store_id, {counter.id: 2})
    assert store.run(ReadFeed(appended.cursor)).events == ()


def test_metadata_is_kept_with_each_event(store: MemoryStore) -> None:
    store.run(counter.append(Counted(), Counted(), metadata={"actor": "homer"}))
    store.run(counter.append(Counted()))
    metadata = [recorded.metadata for recorded in store.run(counter.history())]
    assert metadata == [{"actor": "homer"}, {"actor": "homer"}, {}]


def test_an_event_of_another_type_is_refused_before_there_is_a_program() -> None:
    with pytest.raises(EventTypeError, match=r"Elsewhere\(\) is no event of counter"):
        counter.part(Elsewhere())  # type: ignore[arg-type]
    with pytest.raises(
        EventTypeError, match=r"Elsewhere\(\) is no event of counter, which has Counted"
    ):
        counter.append(Counted(), Elsewhere())  # type: ignore[arg-type]
    with pytest.raises(EventTypeError):
        counter.append_at(0, Elsewhere())  # type: ignore[arg-type]


def test_an_object_that_is_no_event_is_refused_when_it_is_appended(store: MemoryStore) -> None:
    numbers: Stream[int] = Stream("numbers", events=int)
    with pytest.raises(EventTypeError, match="int is not an event type: decorate it"):
        store.run(numbers.append(5))


def test_an_append_of_nothing_is_refused(store: MemoryStore) -> None:
    with pytest.raises(ValueError, match="there are no events to append to counter"):
        store.run(counter.append())


def test_nothing_of_an_append_is_kept_if_one_of_its_events_cannot_be(store: MemoryStore) -> None:
    with pytest.raises(NotStorable, match=r"events\[1\].by cannot be stored: 'two'"):
        store.run(counter.append(Counted(1), Counted("two")))  # type: ignore[arg-type]
    assert store.run(counter.head()) == 0
    assert store.run(ReadFeed()).events == ()


def test_the_same_append_again_is_stored_once_and_answered_alike(store: MemoryStore) -> None:
    appending = counter.append(Counted(1), append_id=ID)
    first = store.run(appending)
    store.run(counter.append(Counted(2)))
    assert store.run(appending) == first
    assert store.run(counter.head()) == 2


def test_other_events_under_the_same_id_are_rejected_with_the_reason(store: MemoryStore) -> None:
    store.run(counter.append(Counted(1), append_id=ID))
    for appending in (
        counter.append(Counted(2), append_id=ID),
        counter.append_at(1, Counted(2), append_id=ID).map(_anything),
    ):
        with pytest.raises(AppendFailed, match="has been used for other events") as failed:
            store.run(appending)
        assert isinstance(failed.value.why, Rejected)
    assert store.run(counter.head()) == 1


def _anything(answer: Any) -> Any:
    return answer


@program
def losing_answers(op: Append) -> Do[Append, Outcome[Appended, NotAppended]]:
    """An append that is performed, and whose answer gets lost."""
    yield from op
    return Failure(Unknown(op.append_id or ID, "the connection broke"))


def test_an_append_whose_answer_was_lost_raises_and_says_so(store: MemoryStore) -> None:
    unreliable = store.around(losing_answers, only=Append)
    with pytest.raises(AppendFailed, match="the connection broke") as failed:
        unreliable.run(counter.append(Counted(), append_id=ID))
    assert failed.value.why == Unknown(ID, "the connection broke")
    with pytest.raises(AppendFailed):
        unreliable.run(counter.append_at(1, Counted()))


# --- appending at a version -----------------------------------------------------------------------


@given(histories, st.integers(0, 15))
def test_an_append_at_a_version_succeeds_just_if_the_stream_is_there(
    history: list[Counting], expected: int
) -> None:
    store = holding(history)
    outcome = store.run(counter.append_at(expected, Counted()))
    head = len(history)
    if expected == head:
        assert outcome.unwrap().version == head + 1
        assert store.run(counter.head()) == head + 1
    else:
        conflict = outcome.failure()
        assert (conflict.stream, conflict.expected, conflict.actual) == (counter.id, expected, head)
        assert [recorded.data for recorded in conflict.events] == history[expected:]
        assert store.run(counter.head()) == head


@pytest.mark.parametrize(
    ("expected", "on_empty", "on_full"),
    [(ANY, True, True), (NO_STREAM, True, False), (EXISTS, False, True)],
    ids=repr,
)
def test_an_append_can_ask_for_a_stream_or_for_none(
    expected: Any, on_empty: bool, on_full: bool
) -> None:
    for history, succeeds in (([], on_empty), ([Counted()], on_full)):
        outcome = holding(history).run(counter.append_at(expected, Counted()))
        assert isinstance(outcome, Success if succeeds else Failure)


def test_an_append_at_a_token_succeeds_where_nothing_happened_since(store: MemoryStore) -> None:
    token = store.run(counter.append(Counted(1))).token
    outcome = store.run(counter.append_at(token, Counted(2)))
    assert outcome.unwrap().token.covers(token)
    assert store.run(counter.append_at(outcome.unwrap().token, Counted(3))).unwrap().version == 3


def test_an_append_at_a_stale_token_conflicts_with_what_happened_since(store: MemoryStore) -> None:
    token = store.run(counter.append(Counted(1))).token
    store.run(counter.append(Counted(2), Counted(3)))
    conflict = store.run(counter.append_at(token, Counted(4))).failure()
    assert isinstance(conflict, Conflict)
    assert [recorded.data for recorded in conflict.events] == [Counted(2), Counted(3)]
    assert store.run(counter.head()) == 3


def test_a_token_of_what_was_lost_in_a_restore_is_none() -> None:
    before = MemoryStore(CODEC, store_id="one")
    token = before.run(counter.append(Counted(1), Counted(2))).token
    restored = MemoryStore(CODEC, store_id="one")
    restored.run(counter.append(Counted(1)))
    with pytest.raises(BadToken, match="seen version 2 of .* at 1: the store was restored"):
        restored.run(counter.append_at(token, Counted(3)))


def test_a_token_that_has_not_seen_a_stream_is_no_condition_for_it(store: MemoryStore) -> None:
    elsewhere: Stream[Elsewhere] = Stream("elsewhere", events=Elsewhere)
    token = store.run(elsewhere.append(Elsewhere())).token
    with pytest.raises(NotInToken, match=f"names elsewhere, and not {counter.id}"):
        store.run(counter.append_at(token, Counted()))
    with pytest.raises(NotInToken, match=f"names elsewhere, and not {counter.id}"):
        store.run(counter.at(log, token))
    assert store.run(counter.head()) == 0


def test_a_token_that_saw_a_stream_empty_expects_it_to_be_so(store: MemoryStore) -> None:
    token = store.run(counter.get(log)).token
    assert store.run(counter.append_at(token, Counted())).unwrap().version == 1
    assert isinstance(store.run(counter.append_at(token, Counted())), Failure)


def test_a_token_that_came_by_way_of_a_client_is_as_good(store: MemoryStore) -> None:
    sent = str(store.run(counter.append(Counted())).token)
    assert isinstance(store.run(counter.append_at(Token.parse(sent), Counted())), Success)


def test_a_token_of_another_store_is_an_error(store: MemoryStore) -> None:
    token = MemoryStore().run(counter.append(Counted())).token
    store.run(counter.append(Counted()))
    with pytest.raises(WrongStore):
        store.run(counter.append_at(token, Counted()))


# --- reading --------------------------------------------------------------------------------------


@given(histories, st.integers(0, 15), st.integers(1, 15))
def test_a_page_is_a_slice_of_the_history(history: list[Counting], after: int, limit: int) -> None:
    page = holding(history).run(counter.read(after, limit))
    assert [recorded.data for recorded in page.events] == history[after : after + limit]
    assert page.head == len(history)
    assert page.token[counter.id] == len(history)


@given(histories, st.integers(1, 5))
def test_pages_one_after_another_are_the_history_in_either_direction(
    history: list[Counting], limit: int
) -> None:
    store = holding(history)
    for backwards in (False, True):
        found: list[Counting] = []
        after = 0
        while page := store.run(counter.read(after, limit, backwards)).events:
            found += [recorded.data for recorded in page]
            after = page[-1].version
            if backwards and after == 1:
                break
        assert found == (history[::-1] if backwards else history)


def test_a_stream_that_nobody_wrote_to_is_empty(store: MemoryStore) -> None:
    assert store.run(counter.head()) == 0
    assert store.run(counter.history()) == ()
    assert store.run(counter.read()).events == ()
    folded = store.run(counter.get(total))
    assert (folded.state, folded.version) == (0, 0)


@pytest.mark.parametrize("limit", [0, -1, 10_001, True, 1.0])
def test_a_page_of_no_or_too_many_events_is_refused(store: MemoryStore, limit: Any) -> None:
    with pytest.raises(ValueError, match="ask for 1 to 10000 events at a time"):
        store.run(counter.read(limit=limit))


@pytest.mark.parametrize("length", [PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 2 * PAGE + 1])
def test_a_long_stream_is_read_and_folded_to_its_end(store: MemoryStore, length: int) -> None:
    store.run(counter.append(*[Counted()] * length))
    assert len(store.run(counter.history())) == length
    folded = store.run(counter.get(total))
    assert (folded.state, folded.version, folded.token[counter.id]) == (length, length, length)
    for version in (PAGE - 1, length - 1, length):
        assert store.run(counter.at(total, version)).state == version
    assert store.run(counter.as_of(total, datetime.now(UTC) + timedelta(days=1))).state == length


# --- folding --------------------------------------------------------------------------------------


@given(histories)
def test_the_state_at_every_version_is_the_fold_of_the_events_up_to_it(history: list[Counting]) -> None:
    store = holding(history)
    for version in range(len(history) + 1):
        folded = store.run(counter.at(total, version))
        assert folded.state == reduce(total.evolve, history[:version], total.initial)
        assert folded.version == version
        assert folded.token == Token(store.store_id, {counter.id: version})
    assert store.run(counter.get(total)) == store.run(counter.at(total, len(history)))


@given(histories, st.integers(1, 5))
def test_a_version_that_the_stream_has_not_reached_is_an_error(
    history: list[Counting], more: int
) -> None:
    store = holding(history)
    told = f"counter is at version {len(history)}: it has no version {len(history) + more} yet"
    with pytest.raises(NoSuchVersion, match=told):
        store.run(counter.at(total, len(history) + more))


def test_a_version_below_nought_is_an_error(store: MemoryStore) -> None:
    with pytest.raises(ValueError, match="-1 is no version"):
        store.run(counter.at(total, -1))


seconds = st.integers(-20, 20)


@given(st.lists(seconds, max_size=12), seconds)
def test_the_state_as_of_a_time_is_of_the_events_before_the_first_that_is_later(
    clock: list[int], at: int
) -> None:
    readings = iter(clock)
    history: list[Counting] = [Counted(n) for n, _ in enumerate(clock)]
    store = holding(history, lambda: START_OF_TIME.timestamp() + next(readings))
    folded = store.run(counter.as_of(log, START_OF_TIME + timedelta(seconds=at)))
    reached = len(list(takewhile(lambda second: second <= at, clock)))
    assert folded.state == tuple(history[:reached])
    assert (folded.version, folded.token[counter.id]) == (reached, reached)


@given(st.lists(seconds, min_size=1, max_size=12))
def test_no_order_depends_on_the_clock(clock: list[int]) -> None:
    readings = iter(clock)
    history: list[Counting] = [Counted(n) for n, _ in enumerate(clock)]
    store = holding(history, lambda: START_OF_TIME.timestamp() + next(readings))
    found = store.run(counter.history())
    assert [recorded.data for recorded in found] == history
    assert [recorded.version for recorded in found] == list(range(1, len(clock) + 1))
    feed = store.run(ReadFeed()).events
    assert [recorded.data for recorded in feed] == history
    assert [recorded.position for recorded in feed] == list(range(1, len(clock) + 1))
    assert store.run(counter.get(log)).state == tuple(history)


def test_when_a_clock_was_put_back_later_events_count_from_when_it_is_past_the_earlier() -> None:
    readings = iter([10, 5, 12])
    history: list[Counting] = [Counted(1), Counted(2), Counted(3)]
    store = holding(history, lambda: START_OF_TIME.timestamp() + next(readings))
    as_of = [
        store.run(counter.as_of(log, START_OF_TIME + timedelta(seconds=second))).version
        for second in (5, 9, 10, 11, 12)
    ]
    assert as_of == [0, 0, 2, 2, 3]


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)), st.integers(-23, 23))  # noqa: DTZ001
def test_a_time_is_the_same_moment_in_every_time_zone(time: datetime, hours: int) -> None:
    store = holding([Counted()], START_OF_TIME.timestamp)
    moment = time.replace(tzinfo=UTC)
    elsewhere = moment.astimezone(timezone(timedelta(hours=hours)))
    expected = int(moment >= START_OF_TIME)
    assert store.run(counter.as_of(total, moment)).version == expected
    assert store.run(counter.as_of(total, elsewhere)).version == expected


def test_a_time_without_a_zone_is_refused(store: MemoryStore) -> None:
    with pytest.raises(ValueError, match="has no time zone: write"):
        store.run(counter.as_of(total, datetime(2024, 1, 1)))  # noqa: DTZ001


@given(st.sampled_from([0, -62_135_596_800, 253_402_300_799, -1, 0.5, 2**31, 2**33]))
def test_a_clock_may_show_any_year_from_1_to_9999(second: float) -> None:
    store = holding([Counted()], lambda: second)
    assert 1 <= store.run(counter.history())[0].recorded_at.year <= 9999
    assert store.run(counter.get(total)).version == 1


@settings(max_examples=20)
@given(histories, histories)
def test_programs_are_values_that_can_be_run_again(
    first: list[Counting], second: list[Counting]
) -> None:
    getting = counter.get(log)
    store = holding(first)
    assert store.run(getting).state == tuple(first)
    for event in second:
        store.run(counter.append(event))
    assert store.run(getting).state == (*first, *second)
    assert getting == counter.get(log)


# --- streams as values ----------------------------------------------------------------------------


def test_streams_of_one_id_and_the_same_events_are_equal() -> None:
    again: Stream[Counting] = Stream("counter", events=Reset | Counted)
    narrower: Stream[Counted] = Stream("counter", events=Counted)
    assert again == counter
    assert hash(again) == hash(counter)
    assert narrower != counter
    assert repr(counter) == "Stream('counter', events=Counted | Reset)"
    assert counter.events == {Counted, Reset}


def test_a_stream_of_a_family_is_the_stream_of_that_id() -> None:
    counters: Streams[int, Counting] = Streams("counters/{n}", key=int, events=Counted | Reset)
    alone: Stream[Counting] = Stream("counters/4", events=Counted | Reset)
    assert counters[4] == alone


def test_a_bad_id_is_refused_when_the_stream_is_declared() -> None:
    with pytest.raises(BadStreamId):
        Stream("counter/", events=Counted)


@pytest.mark.parametrize("described", [None, 5, "Counted"])
def test_a_stream_needs_event_types(described: Any) -> None:
    with pytest.raises(EventTypeError, match=r"names no event types: write a class, or A \| B"):
        Stream("counter", events=described)


def test_the_state_can_be_asked_for_where_a_token_has_seen_the_stream(store: MemoryStore) -> None:
    seen = store.run(counter.append(Counted(), Counted())).token
    store.run(counter.append(Counted()))
    assert store.run(counter.at(total, seen)).version == 2
    with pytest.raises(WrongStore):
        store.run(counter.at(total, Token("elsewhere", {counter.id: 1})))


def made(pattern: str, key_type: Any, key: Any) -> StreamId | None:
    """The id of a key's stream; None for one that cannot be."""
    try:
        streams: Streams[Any, Counted] = Streams(pattern, key=key_type, events=Counted)
        return streams[key].id
    except BadStreamId:
        return None


@given(key=st.uuids(), before=st.text("aä/", max_size=490).map(lambda text: f"x{text}y"))
def test_a_key_that_is_a_uuid_makes_the_id_that_its_text_makes(key: UUID, before: str) -> None:
    pattern = f"{before}/{{id}}"
    id = made(pattern, UUID, key)
    assert id == made(pattern, str, str(key))
    if id is not None:
        assert type(id) is StreamId
        streams = Streams(pattern, key=UUID, events=Counted)
        assert streams[key] == Stream(id, events=Counted)
