"""Stream ids, and the families of streams that keys make."""

from __future__ import annotations

import copy
import enum
import pickle
import unicodedata
from typing import Any, NewType
from uuid import UUID

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from eventsrc import Append, Head, MemoryStore, ReadFeed, StreamId, Streams
from eventsrc.events.stream_id import CONTROLS, MAX_ID_BYTES, BadStreamId, checked_prefix, stored_id
from eventsrc.testing import stream_ids
from tests.kits.counting import Counted

UserId = NewType("UserId", str)

any_text = st.text(st.characters(exclude_categories=()))
ids = stream_ids()
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
"""Keys of any characters: `/` and `%` above all."""
keys |= st.text("/%25F", min_size=1, max_size=20)


def is_valid(text: str) -> bool:
    """What the documentation says that a stream id is."""
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        return False
    return all(text.split("/")) and not CONTROLS.search(text) and len(encoded) <= MAX_ID_BYTES


# --- ids ------------------------------------------------------------------------------------------


@given(ids)
def test_segments_with_slashes_between_them_are_an_id(text: str) -> None:
    assert StreamId(text) == text
    assert type(StreamId(text)) is StreamId


@given(
    any_text
    | st.text("/a\0")
    | st.text("aé👾", min_size=MAX_ID_BYTES // 4 - 2, max_size=MAX_ID_BYTES + 2)
)
def test_any_text_is_an_id_or_is_refused_for_what_is_written_in_the_documentation(text: str) -> None:
    if is_valid(text):
        assert StreamId(text) == text
    else:
        with pytest.raises(BadStreamId, match="is no stream id"):
            StreamId(text)


@pytest.mark.parametrize(
    "text", ["", "/", "/a", "a/", "a//b", "//", "a\0b", "a/\0", "\ud800", "a/\udfff"]
)
def test_these_are_no_ids(text: str) -> None:
    with pytest.raises(BadStreamId):
        StreamId(text)


CONTROLLING = ["a\nb", "a\x1b[2Jb", "a\x7f", "a\x9b", "a\u202eb", "a\u2066b", "a\u2028b", "\u200fa"]


@pytest.mark.parametrize("text", CONTROLLING)
def test_what_a_terminal_or_log_would_obey_is_in_no_id_and_may_be_in_a_key(text: str) -> None:
    with pytest.raises(BadStreamId, match="a terminal or a log"):
        StreamId(text)
    family = Streams("users/{id}", key=str, events=Counted)
    assert family.key(family[text].id) == text
    assert family[text].id.isprintable()


@pytest.mark.parametrize("text", CONTROLLING)
def test_a_stored_id_with_such_characters_stays_what_it_is(text: str) -> None:
    old = stored_id(text)
    assert type(old) is StreamId
    for again in (copy.copy(old), pickle.loads(pickle.dumps(old))):
        assert (type(again), again) == (StreamId, text)


@pytest.mark.parametrize("letter", ["a", "é", "€", "👾"])
def test_an_id_may_take_512_bytes(letter: str) -> None:
    room = MAX_ID_BYTES // len(letter.encode())
    longest = letter * room
    assert StreamId(longest) == longest
    with pytest.raises(BadStreamId, match="and 512 is the most"):
        StreamId(letter * (room + 1))


HOSTILE = [
    "'; DROP TABLE events; --",
    '"quoted"',
    "%s",
    "{}",
    "{0.__class__}",
    "../../etc/passwd",
    ".",
    "..",
    "trailing ",
    " leading",
    "NULL",
    "users*",
    "users_",
    "users%",
    "\u00e9",
    "e\u0301",
    "Users",
    "users",
    "USERS",
    "\ufeffusers",
    "users\u200b",
    "ſ",
    "s",
    "\U0010ffff",
]


def test_hostile_names_are_names_and_each_is_another_stream() -> None:
    store = MemoryStore()
    for number, name in enumerate(HOSTILE):
        store.run(Append(StreamId(name), (Counted(number),))).unwrap()
    assert [store.run(Head(StreamId(name))) for name in HOSTILE] == [1] * len(HOSTILE)
    feed = store.run(ReadFeed()).events
    assert [(str(event.stream), event.data.by) for event in feed] == list(
        zip(HOSTILE, range(99), strict=False)
    )


@given(ids)
def test_unicode_forms_and_upper_and_lower_case_are_not_made_one(text: str) -> None:
    for other in (
        unicodedata.normalize("NFD", text),
        unicodedata.normalize("NFC", text),
        text.swapcase(),
    ):
        if is_valid(other):
            assert (StreamId(other) == StreamId(text)) == (other == text)


@given(ids)
def test_an_id_is_its_text_in_all_respects(text: str) -> None:
    id = StreamId(text)
    assert StreamId(id) is id
    assert (hash(id), str(id), f"{id}") == (hash(text), text, text)
    assert {text: 1}[id] == 1


@given(ids)
def test_an_id_can_be_copied_and_pickled(text: str) -> None:
    id = StreamId(text)
    for again in (copy.copy(id), copy.deepcopy(id), pickle.loads(pickle.dumps(id))):
        assert again == id
        assert type(again) is StreamId


@pytest.mark.parametrize("thing", [5, None, b"users", ["users"], UUID(int=1)], ids=repr)
def test_what_is_no_text_is_refused_in_words(thing: Any) -> None:
    with pytest.raises((BadStreamId, TypeError), match="stream id"):
        StreamId(thing)


@given(ids)
def test_a_prefix_ends_with_a_slash_or_is_empty(text: str) -> None:
    assert checked_prefix(f"{text}/") == f"{text}/"
    assert checked_prefix("") == ""
    with pytest.raises(BadStreamId, match="is no prefix: write"):
        checked_prefix(text)


@pytest.mark.parametrize(
    "prefix", ["/", "a//", "/a/", "a\0/", "\ud800/", "a" * (MAX_ID_BYTES + 1) + "/"]
)
def test_these_are_no_prefixes(prefix: str) -> None:
    with pytest.raises(BadStreamId):
        checked_prefix(prefix)


# --- families of one key --------------------------------------------------------------------------

by_name: Streams[UserId, Counted] = Streams("users/{id}/profile", key=UserId, events=Counted)
by_number: Streams[int, Counted] = Streams("orders/{number}", key=int, events=Counted)
by_uuid: Streams[UUID, Counted] = Streams("carts/cart-{id}", key=UUID, events=Counted)


def test_a_key_takes_its_place_in_the_pattern() -> None:
    assert by_name[UserId("4")].id == "users/4/profile"
    assert by_number[-7].id == "orders/-7"
    assert by_uuid[UUID(int=5)].id == "carts/cart-00000000-0000-0000-0000-000000000005"


def test_a_slash_in_a_key_makes_no_segment() -> None:
    assert by_name[UserId("a/b")].id == "users/a%2Fb/profile"
    assert by_name[UserId("a%2Fb")].id == "users/a%252Fb/profile"


@given(keys)
def test_the_key_of_a_keys_stream_is_the_key(key: str) -> None:
    stream = by_name[UserId(key)]
    assert by_name.key(stream.id) == key
    assert stream.id in by_name


@given(st.integers())
def test_so_it_is_for_a_number(key: int) -> None:
    assert by_number.key(by_number[key].id) == key


@given(st.uuids())
def test_so_it_is_for_a_uuid(key: UUID) -> None:
    assert by_uuid.key(by_uuid[key].id) == key


@given(keys, keys)
def test_two_keys_have_two_streams(one: str, other: str) -> None:
    assert (by_name[UserId(one)].id == by_name[UserId(other)].id) == (one == other)
    assert (by_name[UserId(one)] == by_name[UserId(other)]) == (one == other)


@given(keys)
def test_a_key_makes_just_the_segments_of_the_pattern(key: str) -> None:
    assert by_name[UserId(key)].id.count("/") == 2


@pytest.mark.parametrize("key", ["", "\ud800", "x" * 500, "/" * 200])
def test_a_key_that_cannot_be_part_of_an_id_is_refused(key: str) -> None:
    with pytest.raises(BadStreamId):
        by_name[UserId(key)]


@given(ids)
def test_a_stream_of_another_family_has_no_key(text: str) -> None:
    assume(not (text.startswith("users/") and text.endswith("/profile")))
    assert StreamId(text) not in by_name
    with pytest.raises(BadStreamId, match=r"is no stream of users/\{id\}/profile"):
        by_name.key(StreamId(text))


@pytest.mark.parametrize(
    "text",
    ["users/4", "users/4/profile/x", "x/users/4/profile", "users/4/5/profile", "Users/4/profile"],
)
def test_these_are_of_other_families(text: str) -> None:
    assert StreamId(text) not in by_name


@pytest.mark.parametrize("text", ["orders/four", "orders/4.0", "orders/", "orders/-"])
def test_a_segment_that_is_no_key_is_of_another_family(text: str) -> None:
    with pytest.raises(BadStreamId):
        by_number.key(StreamId(text))


@pytest.mark.parametrize(
    ("family", "text"),
    [
        (by_number, "orders/04"),
        (by_number, "orders/+4"),
        (by_number, "orders/4_0"),
        (by_number, "orders/ 4"),
        (by_number, "orders/٤"),
        (by_uuid, "carts/cart-00000000000000000000000000000005"),
        (by_uuid, "carts/cart-{00000000-0000-0000-0000-000000000005}"),
        (by_uuid, "carts/cart-0000000A-0000-0000-0000-000000000005"),
        (by_name, "users/50%/profile"),
        (by_name, "users/%2f/profile"),
    ],
    ids=str,
)
def test_a_stream_that_no_key_makes_is_of_no_family(family: Streams[Any, Any], text: str) -> None:
    assert StreamId(text) not in family


class Size(enum.Enum):
    """A key of few values."""

    SMALL = "small"
    ODD = "a/b%"


class Number(enum.Enum):
    """A key of numbers with names."""

    ONE = 1


class Home(enum.Enum):
    """A key of UUIDs with names."""

    SPRINGFIELD = UUID(int=1)


@pytest.mark.parametrize("size", Size)
def test_an_enum_of_texts_can_be_a_key(size: Size) -> None:
    family: Streams[Size, Counted] = Streams("sizes/{size}", key=Size, events=Counted)
    assert family.key(family[size].id) is size


@pytest.mark.parametrize("member", [Number.ONE, Home.SPRINGFIELD])
def test_so_can_an_enum_of_numbers_or_uuids(member: enum.Enum) -> None:
    family: Streams[Any, Counted] = Streams("things/{thing}", key=type(member), events=Counted)
    assert family.key(family[member].id) is member


@pytest.mark.parametrize("kind", [float, bool, bytes, list, int | None, dict[str, int]], ids=repr)
def test_other_types_cannot_be_keys(kind: Any) -> None:
    with pytest.raises(TypeError, match="use str, int, UUID or an enum of them"):
        Streams("things/{thing}", key=kind, events=Counted)


# --- families of several keys ---------------------------------------------------------------------


@attrs.frozen
class Membership:
    """A key of two parts."""

    user: UserId
    group: int


memberships: Streams[Membership, Counted] = Streams(
    "users/{user}/groups/{group}", key=Membership, events=Counted
)
memberships_as_keys = st.builds(Membership, keys.map(UserId), st.integers())


@given(memberships_as_keys, memberships_as_keys)
def test_a_key_of_several_parts_is_read_back_and_has_a_stream_of_its_own(
    one: Membership, other: Membership
) -> None:
    assert memberships.key(memberships[one].id) == one
    assert (memberships[one].id == memberships[other].id) == (one == other)


def test_an_attrs_class_of_one_field_can_be_a_key_too() -> None:
    @attrs.frozen
    class Only:
        id: int

    family: Streams[Only, Counted] = Streams("things/{id}", key=Only, events=Counted)
    assert family.key(family[Only(4)].id) == Only(4)


@attrs.frozen
class Range:
    """A key of two texts."""

    first: str
    last: str


@pytest.mark.parametrize("pattern", ["ranges/{first}-{last}", "ranges/{first}{last}"])
def test_places_in_one_segment_are_kept_apart_or_refused(pattern: str) -> None:
    try:
        family: Streams[Range, Counted] = Streams(pattern, key=Range, events=Counted)
    except BadStreamId:
        return
    assert family[Range("1-2", "3")].id != family[Range("1", "2-3")].id
    assert family[Range("12", "3")].id != family[Range("1", "23")].id


def test_a_key_class_whose_fields_are_given_by_name_can_be_read_back() -> None:
    @attrs.frozen(kw_only=True)
    class Named:
        user: str
        group: str

    family: Streams[Named, Counted] = Streams("u/{user}/{group}", key=Named, events=Counted)
    key = Named(user="homer", group="bowling")
    assert family.key(family[key].id) == key


@pytest.mark.parametrize(
    ("pattern", "kind", "told"),
    [
        ("users", str, "needs a place for the key"),
        ("users/{id}/{id}", str, "each only once"),
        ("users/{a}/{b}", str, "its key must be an attrs class"),
        ("users/{a b}", str, "needs a place for the key"),
        ("users/{id}/}", str, "has a brace that is not part of a place"),
        ("users/{id}/{", str, "has a brace that is not part of a place"),
        ("users/{id}/", str, "is no stream id"),
        ("/users/{id}", str, "is no stream id"),
        ("users/{group}/{user}", Membership, "the same, in the same order"),
        ("users/{user}", Membership, "the same, in the same order"),
    ],
)
def test_a_pattern_that_makes_no_sense_is_refused_at_once(pattern: str, kind: Any, told: str) -> None:
    with pytest.raises(BadStreamId, match=told):
        Streams(pattern, key=kind, events=Counted)


@given(
    st.lists(
        st.sampled_from([by_name, by_number]).flatmap(
            lambda family: st.tuples(st.just(family), keys if family is by_name else st.integers())
        ),
        max_size=10,
    )
)
def test_the_prefix_of_a_family_filters_the_feed_for_it(
    appends: list[tuple[Streams[Any, Any], Any]],
) -> None:
    store = MemoryStore()
    for family, key in appends:
        store.run(family[key].append(Counted()))
    for family in (by_name, by_number):
        page = store.run(ReadFeed(prefix=family.prefix))
        assert [family.key(event.stream) for event in page.events] == [
            key for other, key in appends if other is family
        ]


def test_so_does_that_of_a_family_whose_place_is_part_of_a_segment() -> None:
    store = MemoryStore()
    store.run(by_uuid[UUID(int=5)].append(Counted()))
    assert len(store.run(ReadFeed(prefix=by_uuid.prefix)).events) == 1


def test_a_family_shows_its_pattern_and_events() -> None:
    assert repr(by_name) == "Streams('users/{id}/profile', events=Counted)"
