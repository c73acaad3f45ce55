"""Recorded events: decoded when asked for, and checked against what was stored."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from eventsrc import (
    Append,
    Codec,
    Do,
    EventsrcError,
    Fold,
    MemoryStore,
    Read,
    ReadFeed,
    Recorded,
    Stream,
    StreamId,
    event,
    program,
)
from eventsrc.events.codec import Encoded, Kind, Undecodable, UnknownEvent
from eventsrc.events.event import Opaque
from eventsrc.events.record import Corrupted, Record, make_record
from eventsrc.stores.operations import Page
from tests.kits.counting import Counted, Reset, counter, total
from tests.kits.values import own_codec

stream_names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30
).filter(lambda text: "/" not in (text[0], text[-1]) and "//" not in text)
type_names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,30}", fullmatch=True)
records = st.builds(
    make_record,
    position=st.integers(1, 2**63 - 1),
    stream=stream_names,
    version=st.integers(1, 2**31),
    append_id=st.uuids().map(lambda id: id.bytes),
    offset=st.integers(0, 2**31),
    encoded=st.builds(
        Encoded, st.builds(Kind, type_names, st.integers(1, 2**31), type_names), st.binary()
    ),
    metadata=st.just(b"") | st.just(b'{"actor":"homer"}'),
    recorded_at=st.integers(0, 2**52),
)
"""Records as a store might keep them."""


CODEC = Codec()


def of(record: Record) -> Recorded[Any]:
    return Recorded(record, CODEC)


def with_bit_flipped(value: bytes, bit: int) -> bytes:
    flipped = bytearray(value)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


# --- checksums ------------------------------------------------------------------------------------


@given(records)
def test_what_was_not_changed_is_read(record: Record) -> None:
    recorded = of(record)
    assert recorded.opaque() == Opaque(*record.kind, record.data)
    assert recorded.metadata == ({"actor": "homer"} if record.metadata else {})


@given(records, st.data())
def test_a_flipped_bit_in_the_data_is_noticed(record: Record, data: st.DataObject) -> None:
    assume(record.data)
    bit = data.draw(st.integers(0, len(record.data) * 8 - 1))
    recorded = of(record._replace(data=with_bit_flipped(record.data, bit)))
    with pytest.raises(Corrupted, match="the data of event"):
        _ = recorded.data
    with pytest.raises(Corrupted, match="the data of event"):
        recorded.opaque()


def changed(record: Record, field: str, change: Callable[[Any], Any]) -> Record:
    """The record with one thing changed, wherever that is kept, and the checksums of before."""
    if field in Kind._fields:
        kind = record.kind._replace(**{field: change(getattr(record.kind, field))})
        return record._replace(kind=kind)
    if field in PARTS:
        place = PARTS[field]
        return record._replace(
            rest=record.rest[: place.start] + change(record.rest[place]) + record.rest[place.stop :]
        )
    return record._replace(**{field: change(getattr(record, field))})


PARTS = {"append_id": slice(0, 16), "offset": slice(16, 20), "rest_crc": slice(20, 24)}
"""Where in the rest of a record its parts are."""


@given(records, st.sampled_from(["stream", "type", "codec"]), st.data())
def test_a_flipped_bit_in_the_stream_or_type_is_noticed(
    record: Record, field: str, data: st.DataObject
) -> None:
    text = getattr(record if field == "stream" else record.kind, field).encode()
    bit = data.draw(st.integers(0, len(text) * 8 - 1))
    flipped = with_bit_flipped(text, bit)
    assume(_is_utf8(flipped))  # a database would not give out other text
    with pytest.raises(Corrupted):
        of(changed(record, field, lambda _: flipped.decode())).opaque()


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(records, st.sampled_from(["version", "schema"]), st.integers(0, 31))
def test_a_flipped_bit_in_a_version_is_noticed(record: Record, field: str, bit: int) -> None:
    with pytest.raises(Corrupted):
        of(changed(record, field, lambda number: number ^ 1 << bit)).opaque()


@given(records, st.integers(0, 31))
def test_a_flipped_bit_in_the_checksum_of_the_data_is_noticed(record: Record, bit: int) -> None:
    with pytest.raises(Corrupted):
        of(changed(record, "data_crc", lambda crc: crc ^ 1 << bit)).opaque()


@given(records, st.data())
def test_a_flipped_bit_in_the_metadata_is_noticed(record: Record, data: st.DataObject) -> None:
    assume(record.metadata)
    bit = data.draw(st.integers(24 * 8, len(record.rest) * 8 - 1))
    recorded = of(record._replace(rest=with_bit_flipped(record.rest, bit)))
    with pytest.raises(Corrupted, match="the metadata of event"):
        _ = recorded.metadata
    assert recorded.opaque().data == record.data


@given(records, st.integers(0, 62))
def test_so_is_one_in_the_time(record: Record, bit: int) -> None:
    with pytest.raises(Corrupted):
        _ = of(changed(record, "recorded_at", lambda time: time ^ 1 << bit)).metadata


@given(records, st.integers(0, 24 * 8 - 1))
def test_and_one_in_the_append_id_or_the_place_in_the_append(record: Record, bit: int) -> None:
    with pytest.raises(Corrupted):
        _ = of(record._replace(rest=with_bit_flipped(record.rest, bit))).metadata


@given(records, records)
def test_the_data_of_another_event_is_noticed(one: Record, other: Record) -> None:
    assume((one.stream, one.version, one.kind) != (other.stream, other.version, other.kind))
    with pytest.raises(Corrupted):
        of(one._replace(data=other.data, data_crc=other.data_crc)).opaque()


ONE = make_record(
    7,
    "users/4",
    3,
    UUID(int=1).bytes,
    0,
    Encoded(Kind("test.counted", 1, "json"), b'{"by":5}'),
    b"",
    10**15,
)
OTHER_ID = changed(ONE, "append_id", lambda _: UUID(int=2).bytes)


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(ONE._replace(version=3 - 2**63), id="a version below 0"),
        pytest.param(ONE._replace(version=3.5), id="a version between two"),  # type: ignore[arg-type]
        pytest.param(ONE._replace(rest=None), id="nothing"),  # type: ignore[arg-type]
        pytest.param(ONE._replace(rest="{}"), id="a text for bytes"),  # type: ignore[arg-type]
        pytest.param(ONE._replace(rest=ONE.rest[:23]), id="a byte too few"),
    ],
)
def test_what_nobody_could_have_stored_is_corrupted_too(record: Record) -> None:
    with pytest.raises(Corrupted):
        _ = of(record).opaque(), of(record).metadata


@pytest.mark.parametrize(
    ("record", "attribute"),
    [
        pytest.param(ONE._replace(recorded_at=10**15 + 1), "recorded_at", id="recorded_at"),
        pytest.param(
            ONE._replace(recorded_at=10**15 + 2**62), "recorded_at", id="a year of six digits"
        ),
        pytest.param(OTHER_ID, "append_id", id="append_id"),
        pytest.param(OTHER_ID, "id", id="id"),
        pytest.param(ONE._replace(version=3 + 2**32), "data", id="data at version + 2**32"),
    ],
)
def test_no_attribute_tells_what_was_changed_since_it_was_stored(
    record: Record, attribute: str
) -> None:
    with pytest.raises(Corrupted):
        getattr(of(record), attribute)


# --- lazily ---------------------------------------------------------------------------------------


def test_an_event_is_decoded_when_it_is_first_asked_for_and_only_then() -> None:
    decoded: list[int] = []

    def noted(number: int) -> int:
        decoded.append(number)
        return number

    codec = own_codec()

    @event("test.noted", types=codec.types)
    class Noted:
        number: int = attrs.field(converter=noted)

    store = MemoryStore(codec)
    store.run(Append(StreamId("notes"), (Noted(1), Noted(2))))
    decoded.clear()
    one, two = store.run(ReadFeed()).events
    assert (one.version, one.type, two.is_known) == (1, "test.noted", True)
    assert decoded == []
    assert two.data is two.data
    assert decoded == [2]


@program
def rotten(op: Read) -> Do[Read, Page[Any]]:
    """A page as a disk gives it that has flipped a bit in each stream's second event."""
    page = yield from op
    events = [
        of(event.record._replace(data=with_bit_flipped(event.record.data, 1)))
        if event.version == 2
        else event
        for event in page.events
    ]
    return Page(tuple(events), page.head, page.token, page.is_last)


def test_a_corrupted_event_stops_only_those_who_want_it() -> None:
    store = MemoryStore()
    store.run(counter.append(Counted(1), Counted(2), Counted(3)))
    disk = store.around(rotten, only=Read)
    one, two, three = disk.run(counter.history())
    assert (one.data, three.data) == (Counted(1), Counted(3))
    assert two.is_known
    for _ in range(2):
        with pytest.raises(Corrupted, match=r"the data of event 2 of counter \(position 2\)"):
            _ = two.data
    assert disk.run(counter.at(total, 1)).state == 1
    with pytest.raises(Corrupted):
        disk.run(counter.get(total))


def test_no_fold_skips_a_corrupted_event() -> None:
    store = MemoryStore()
    store.run(counter.append(Counted(1), Counted(2)))
    skipping = Fold(0, total.evolve, unknown="skip")
    with pytest.raises(Corrupted):
        store.around(rotten, only=Read).run(counter.get(skipping))


# --- ids and times --------------------------------------------------------------------------------


@given(st.uuids(), st.integers(1, 20))
def test_the_events_of_an_append_have_ids_of_their_own_made_from_its_id(id: UUID, count: int) -> None:
    store = MemoryStore()
    store.run(counter.append(*[Counted(n) for n in range(count)], append_id=id))
    history = store.run(counter.history())
    assert [recorded.append_id for recorded in history] == [id] * count
    assert [recorded.id for recorded in history] == [id, *[uuid5(id, str(n)) for n in range(1, count)]]
    assert len({recorded.id for recorded in history}) == count


def test_an_event_knows_its_place() -> None:
    store = MemoryStore()
    users = Stream("users", events=Counted)
    store.run(counter.append(Counted(1)))
    store.run(users.append(Counted(2), Counted(3)))
    *_, last = store.run(ReadFeed()).events
    assert (last.stream, last.version, last.position) == ("users", 2, 3)
    assert type(last.stream) is StreamId


@given(st.integers(0, 253_402_300_799))
def test_recorded_at_is_the_stores_clock_in_utc(second: int) -> None:
    store = MemoryStore(clock=lambda: second)
    store.run(counter.append(Counted()))
    (recorded,) = store.run(counter.history())
    assert recorded.recorded_at == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    assert recorded.recorded_at.tzinfo is UTC


@given(st.datetimes(datetime(2010, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_recorded_at_has_the_microseconds_of_the_clock(time: datetime) -> None:
    store = MemoryStore(clock=time.timestamp)
    store.run(counter.append(Counted()))
    assert store.run(counter.history())[0].recorded_at == time


# --- equality and repr ----------------------------------------------------------------------------


@given(records, records)
def test_recorded_events_are_equal_just_if_what_is_stored_is(one: Record, other: Record) -> None:
    assert of(one) == of(one)
    assert hash(of(one)) == hash(of(one))
    assert (of(one) == of(other)) == (one == other)
    assert of(one) != one


def test_the_repr_shows_the_event_and_its_place() -> None:
    store = MemoryStore()
    store.run(counter.append(Counted(1), Reset()))
    assert repr(store.run(counter.history())) == "(<counter@1: Counted(by=1)>, <counter@2: Reset()>)"


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        pytest.param(ONE, "<users/4@3: Counted(by=5)>", id="as stored"),
        pytest.param(
            ONE._replace(data=b'{"by":6}'),
            "<users/4@3: test.counted version 1, undecoded>",
            id="corrupted",
        ),
        pytest.param(
            make_record(
                7, "users/4", 3, UUID(int=1).bytes, 0, Encoded(Kind("test.no", 9, "x"), b""), b"", 0
            ),
            "<users/4@3: test.no version 9, undecoded>",
            id="unknown",
        ),
        pytest.param(
            make_record(
                7,
                "users/4",
                3,
                UUID(int=1).bytes,
                0,
                Encoded(Kind("test.counted", 1, "json"), b"{"),
                b"",
                0,
            ),
            "<users/4@3: test.counted version 1, undecoded>",
            id="undecodable",
        ),
    ],
)
def test_an_event_that_cannot_be_decoded_can_be_shown(record: Record, shown: str) -> None:
    assert repr(of(record)) == shown


@given(records)
def test_nothing_that_is_stored_keeps_an_event_from_being_shown(record: Record) -> None:
    assert repr(of(record)).startswith(f"<{record.stream}@{record.version}: ")


@attrs.frozen
class One:
    """A class with a field that another class has too."""

    x: int


@attrs.frozen
class Two:
    """The other class."""

    x: int


def test_an_event_of_a_class_that_cannot_be_decoded_raises_one_of_our_errors() -> None:
    codec = own_codec()

    @event("test.either", types=codec.types)
    class Either:
        it: One | Two

    encoded = Encoded(Kind("test.either", 1, "json"), b'{"it":{"x":1}}')
    record = make_record(1, "either", 1, UUID(int=1).bytes, 0, encoded, b"", 0)
    with pytest.raises(EventsrcError):
        _ = Recorded[Either](record, codec).data


def test_a_record_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(ONE)) == ONE


# --- an event that cannot be had is named ---------------------------------------------------------


def _raises(_: dict[str, Any]) -> dict[str, Any]:
    raise KeyError("nick")


@pytest.mark.parametrize(
    ("upcast", "said"),
    [
        (_raises, "KeyError: 'nick'; raised by the upcaster of 'test.named' from version 1"),
        (lambda _: None, "None is not an object; brought forward from version 1"),
        (lambda old: {**old, "name": [old]}, "name: .* is not a str; brought forward from version 1"),
    ],
    ids=["raises", "answers None", "answers another type"],
)
@pytest.mark.parametrize(
    "read",
    [
        lambda store, stream: store.run(stream.get(Fold(0, lambda count, _: count + 1))),
        lambda store, stream: [each.data for each in store.run(stream.history())],
        lambda store, _: store.run(ReadFeed()).data,
    ],
    ids=["fold", "history", "feed"],
)
def test_an_event_that_cannot_be_decoded_is_named_with_its_upcaster(
    upcast: Any, said: str, read: Callable[[Any, Any], object]
) -> None:
    before, after = own_codec(), own_codec()
    old: type = event("test.named", types=before.types)(
        attrs.make_class("Named", {"name": attrs.field(type=str)}, frozen=True)
    )
    new: type = event(
        "test.named",
        types=after.types,
        version=2,
        upcast={1: lambda stored: upcast(stored) if stored["name"] == "bad" else stored},
    )(attrs.make_class("Named", {"name": attrs.field(type=str)}, frozen=True))
    store = MemoryStore(before)
    store.run(Append(StreamId("others"), (old("x"),)))
    store.run(Append(StreamId("users/7"), tuple(old("bad" if n == 40 else "ok") for n in range(99))))
    store.codec = after
    with pytest.raises(Undecodable, match=rf"^users/7@41( \(position 42\))?: .*{said}"):
        read(store, Stream("users/7", events=new))


def test_an_event_of_an_unknown_type_is_named() -> None:
    store = MemoryStore()
    store.run(Append(StreamId("users/7"), (Opaque("test.unheard-of", 1, "json", b"{}"),)))
    (recorded,) = store.run(Read(StreamId("users/7"))).events
    with pytest.raises(UnknownEvent, match=r"^users/7@1 \(position 1\): no event type is named"):
        recorded.data  # noqa: B018
