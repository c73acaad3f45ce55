"""Event types: their names, their versions, and what a reader makes of those that it does not know."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsrc import Append, Codec, Fold, MemoryStore, ReadFeed, Recorded, Stream, StreamId, event
from eventsrc.errors import UnknownEvent
from eventsrc.events.codec import Undecodable
from eventsrc.events.event import EVENTS, EventTypeError, EventTypes, Opaque
from eventsrc.events.stream_id import CONTROLS
from tests.kits.counting import Counted

names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: (
        len(text.encode()) <= 512 and not text.startswith("eventsrc/") and not CONTROLS.search(text)
    )
)
not_names = st.sampled_from(["", "x" * 513, "é" * 257, "a\0", "a\x1b[2J", "a\u202e", "\ud800"])
versions = st.integers(1, 5)


@pytest.fixture
def types() -> EventTypes:
    """A set of event types that nobody else adds to."""
    return EventTypes()


def feed_as_seen_by(types: EventTypes, store: MemoryStore) -> tuple[Recorded[Any], ...]:
    """A store's feed, as a program reads it that has these event types."""
    codec = Codec(types)
    return tuple(Recorded(recorded.record, codec) for recorded in store.run(ReadFeed()).events)


def store_with(types: EventTypes, *events: object) -> MemoryStore:
    """A store in which a program with these event types has appended the events."""
    store = MemoryStore(Codec(types))
    store.run(Append(StreamId("things"), events)).unwrap()
    return store


# --- declaring ------------------------------------------------------------------------------------


def test_an_event_cannot_be_changed() -> None:
    counted = Counted(3)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        counted.by = 4  # type: ignore[misc]


def test_events_with_equal_fields_are_equal() -> None:
    assert Counted(3) == Counted(3)
    assert Counted(3) != Counted(4)
    assert hash(Counted(3)) == hash(Counted(3))


def test_a_class_that_attrs_made_already_is_taken_as_it_is(types: EventTypes) -> None:
    @event("test.made", types=types)
    @attrs.frozen(kw_only=True)
    class Made:
        text: str

    assert types.of(Made).name == "test.made"
    assert Made(text="x").text == "x"


def test_a_class_that_attrs_made_changeable_cannot_be_an_event(types: EventTypes) -> None:
    with pytest.raises(EventTypeError):

        @event("test.made", types=types)
        @attrs.define
        class Made:
            text: str


@given(names)
def test_letters_digits_and_a_few_marks_can_name_an_event(name: str) -> None:
    types = EventTypes()

    @event(name, types=types)
    class Named:
        pass

    found = types.named(name)
    assert found is not None
    assert found.cls is Named


@given(not_names)
def test_nothing_else_can(name: str) -> None:
    with pytest.raises(EventTypeError, match="cannot name an event"):
        event(name, types=EventTypes())


@pytest.mark.parametrize("name", ["", "x\0", "x\n", "\ud800", "x" * 513])
def test_such_names_are_refused_before_there_is_a_class(name: str) -> None:
    with pytest.raises(EventTypeError, match="without control characters"):
        event(name)
    assert EVENTS.named(name) is None


def test_two_classes_cannot_have_one_name(types: EventTypes) -> None:
    @event("test.taken", types=types)
    class First:
        pass

    with pytest.raises(EventTypeError, match=r"Second cannot be 'test.taken': .*First has that name"):

        @event("test.taken", types=types)
        class Second:
            pass

    found = types.named("test.taken")
    assert found is not None
    assert found.cls is First


def test_two_sets_of_types_can_give_one_name_to_two_classes(types: EventTypes) -> None:
    others = EventTypes()

    @event("test.twin", types=types)
    class One:
        pass

    @event("test.twin", types=others)
    class Other:
        pass

    assert types.of(One).name == others.of(Other).name
    with pytest.raises(EventTypeError, match="is not an event type: decorate it"):
        types.of(Other)


def test_a_set_of_types_of_ones_own_stays_out_of_the_common_one(types: EventTypes) -> None:
    @event("test.own", types=types)
    class Own:
        pass

    assert EVENTS.named("test.own") is None
    with pytest.raises(EventTypeError):
        MemoryStore().run(Append(StreamId("things"), (Own(),)))


@pytest.mark.parametrize("version", [0, -1])
def test_versions_begin_at_one(version: int) -> None:
    with pytest.raises(EventTypeError, match="versions begin at 1"):
        event("test.versions", version=version)


@given(versions, st.sets(st.integers(-1, 6)))
def test_there_must_be_an_upcaster_for_each_older_version_and_no_other(
    version: int, upcast_from: set[int]
) -> None:
    upcast = dict.fromkeys(upcast_from, _unchanged)
    if upcast_from == set(range(1, version)):
        event("test.upcast", version=version, upcast=upcast, types=EventTypes())
    else:
        with pytest.raises(EventTypeError, match="needs an upcaster for each of versions"):
            event("test.upcast", version=version, upcast=upcast, types=EventTypes())


def _unchanged(data: dict[str, Any]) -> dict[str, Any]:
    return data


# --- reloading ------------------------------------------------------------------------------------

RELOADED = """
from eventsrc import event

@event("test.reloaded")
class Reloaded:
    text: str
"""


def test_a_module_that_is_reloaded_declares_its_events_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "module_to_reload.py").write_text(RELOADED)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = importlib.import_module("module_to_reload")
    before = module.Reloaded
    importlib.reload(module)
    assert module.Reloaded is not before
    assert EVENTS.named("test.reloaded") == EVENTS.of(module.Reloaded)
    store = MemoryStore()
    store.run(Append(StreamId("things"), (before("old"), module.Reloaded("new"))))
    found = [recorded.data for recorded in store.run(ReadFeed()).events]
    assert found == [module.Reloaded("old"), module.Reloaded("new")]
    monkeypatch.delitem(sys.modules, "module_to_reload")


def redefined(types: EventTypes) -> type[Any]:
    """An event class, as executing one cell of a notebook again makes it."""

    @event("test.redefined", types=types)
    class Redefined:
        text: str

    return Redefined


def test_a_store_that_is_open_reads_events_as_the_newest_definition(types: EventTypes) -> None:
    old = redefined(types)
    store = store_with(types, old("text"))
    assert store.run(ReadFeed()).events[0].data == old("text")
    new = redefined(types)
    assert store.run(ReadFeed()).events[0].data == new("text")


# --- renaming, moving and changing a class --------------------------------------------------------


def test_a_class_can_be_renamed_and_moved_while_its_events_keep_their_name(types: EventTypes) -> None:
    @event("test.user.name-set", types=types)
    class SetName:
        name: str

    store = store_with(types, SetName("Homer"))
    later = EventTypes()

    @event("test.user.name-set", types=later)
    class NameWasSet:
        name: str

    NameWasSet.__module__ = "elsewhere.altogether"
    (recorded,) = feed_as_seen_by(later, store)
    assert recorded.data == NameWasSet("Homer")


def test_what_is_stored_names_neither_class_nor_module() -> None:
    (recorded,) = store_with(EVENTS, Counted(3)).run(ReadFeed()).events
    assert recorded.type == "test.counted"
    assert recorded.record.data == b'{"by":3}'


def test_stored_data_is_brought_forward_through_every_version_between() -> None:
    first, third = EventTypes(), EventTypes()

    @event("test.name-set", types=first)
    class SetNick:
        nick: str

    def name_it(old: dict[str, Any]) -> dict[str, Any]:
        return {"name": old["nick"]}

    def split_it(old: dict[str, Any]) -> dict[str, Any]:
        given, _, family = old["name"].partition(" ")
        return {"given": given, "family": family}

    @event("test.name-set", version=3, upcast={1: name_it, 2: split_it}, types=third)
    class SetName:
        given: str
        family: str

    (recorded,) = feed_as_seen_by(third, store_with(first, SetNick("Homer Simpson")))
    assert recorded.data == SetName("Homer", "Simpson")
    assert recorded.record.kind.schema == 1


@given(st.integers(1, 6), st.integers(1, 6))
def test_upcasters_run_once_each_in_order_from_the_stored_version(one: int, other: int) -> None:
    stored, newest = sorted((one, other))

    def upcaster(version: int) -> Any:
        return lambda data: {"steps": [*data["steps"], version]}

    def declare(version: int) -> EventTypes:
        types = EventTypes()

        @event(
            "test.stepped",
            version=version,
            upcast={older: upcaster(older) for older in range(1, version)},
            types=types,
        )
        class Stepped:
            steps: list[int]

        return types

    old, new = declare(stored), declare(newest)
    kind = old.named("test.stepped")
    assert kind is not None
    (recorded,) = feed_as_seen_by(new, store_with(old, kind.cls([])))
    assert recorded.data.steps == list(range(stored, newest))


@pytest.mark.parametrize(
    "upcaster",
    [
        pytest.param(lambda data: {"name": data["nickname"]}, id="raises"),
        pytest.param(lambda data: None, id="answers nothing"),
        pytest.param(lambda data: {"nick": data["nick"]}, id="leaves a field out"),
    ],
)
def test_an_upcaster_that_is_wrong_makes_its_events_undecodable_and_no_others(upcaster: Any) -> None:
    first, second = EventTypes(), EventTypes()

    @event("test.name-set", types=first)
    class SetNick:
        nick: str

    @event("test.age-set", types=first)
    class SetAge:
        age: int

    second.add(first.of(SetAge))

    @event("test.name-set", version=2, upcast={1: upcaster}, types=second)
    class SetName:
        name: str

    one, two = feed_as_seen_by(second, store_with(first, SetNick("Homer"), SetAge(39)))
    with pytest.raises(Undecodable, match="stored data of 'test.name-set' version 1 does not fit"):
        _ = one.data
    assert two.data == SetAge(39)


# --- events that a program does not know ----------------------------------------------------------


@attrs.frozen
class Stranger:
    """An event that the reader cannot decode, with what it will be told."""

    event: Opaque
    told: str


STRANGERS = [
    pytest.param(
        Stranger(Opaque("test.nobody", 1, "json", b"{}"), "no event type is named 'test.nobody'"),
        id="unknown type",
    ),
    pytest.param(
        Stranger(Opaque("test.counted", 2, "json", b"{}"), "the newest known here is 1"),
        id="newer version",
    ),
    pytest.param(
        Stranger(Opaque("test.counted", 1, "cbor", b"\xa0"), "stored by the codec 'cbor'"),
        id="other codec",
    ),
]


@pytest.mark.parametrize("stranger", STRANGERS)
def test_an_event_that_is_not_known_says_what_is_missing(stranger: Stranger) -> None:
    (recorded,) = store_with(EVENTS, stranger.event).run(ReadFeed()).events
    assert not recorded.is_known
    with pytest.raises(UnknownEvent, match=stranger.told):
        _ = recorded.data


@pytest.mark.parametrize("stranger", STRANGERS)
def test_reading_the_feed_goes_on_past_events_that_are_not_known(stranger: Stranger) -> None:
    page = store_with(EVENTS, Counted(1), stranger.event, Counted(2)).run(ReadFeed())
    assert [recorded.is_known for recorded in page.events] == [True, False, True]
    assert [recorded.data for recorded in page.events if recorded.is_known] == [Counted(1), Counted(2)]
    assert "undecoded" in repr(page.events[1])


@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_fold_fails_at_an_event_that_it_does_not_know_or_skips_it_if_told_to(
    stranger: Stranger,
) -> None:
    store = store_with(EVENTS, Counted(1), stranger.event, Counted(2))
    things = Stream("things", events=Counted)
    with pytest.raises(UnknownEvent):
        store.run(things.get(Fold(0, _add)))
    skipping = store.run(things.get(Fold(0, _add, unknown="skip")))
    assert (skipping.state, skipping.version) == (3, 3)


def _add(total: int, event: Counted) -> int:
    return total + event.by


def test_an_event_can_become_known_while_the_store_is_open(types: EventTypes) -> None:
    store = store_with(types, Opaque("test.late", 1, "json", b'{"text":"x"}'))
    (recorded,) = store.run(ReadFeed()).events
    with pytest.raises(UnknownEvent):
        _ = recorded.data

    @event("test.late", types=types)
    class Late:
        text: str

    assert recorded.data == Late("x")


@given(names, st.integers(1, 2**31), names, st.binary())
def test_an_opaque_event_is_stored_as_it_is(name: str, version: int, codec: str, data: bytes) -> None:
    opaque = Opaque(name, version, codec, data)
    (recorded,) = store_with(EventTypes(), opaque).run(ReadFeed()).events
    assert recorded.opaque() == opaque


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_program_that_does_not_know_an_event_passes_it_on_to_the_byte(by: int) -> None:
    source = store_with(EVENTS, Counted(by))
    (stranger,) = feed_as_seen_by(EventTypes(), source)
    copy = store_with(EventTypes(), stranger.opaque())
    (before,), (after,) = source.run(ReadFeed()).events, copy.run(ReadFeed()).events
    assert after.opaque() == before.opaque()
    assert feed_as_seen_by(EVENTS, copy)[0].data == Counted(by)


@pytest.mark.parametrize(
    "opaque",
    [
        Opaque("", 1, "json", b"{}"),
        Opaque("a\0b", 1, "json", b"{}"),
        Opaque("test.x", 0, "json", b"{}"),
        Opaque("test.x", 2**70, "json", b"{}"),
        Opaque("test.x", 1, "", b"{}"),
        Opaque("test.x", 1, "json", "{}"),  # type: ignore[arg-type]
        Opaque("test.\ud800", 1, "json", b"{}"),
    ],
    ids=repr,
)
def test_an_opaque_event_that_no_store_could_have_held_is_refused(opaque: Opaque) -> None:
    codec = Codec()
    with pytest.raises(ValueError, match="cannot be stored"):
        codec.encode(opaque)


def test_a_class_has_one_stored_name() -> None:
    types = EventTypes()
    made = attrs.make_class("Named", {"n": attrs.field(type=int)}, frozen=True)
    once: type = event("test.once", types=types)(made)
    with pytest.raises(EventTypeError, match=r"is 'test\.once' already.*'test\.twice'"):
        event("test.twice", types=types)(once)
    assert types.named("test.twice") is None
    event("test.twice", types=EventTypes())(once)
