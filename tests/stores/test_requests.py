"""Requests and their digests: what is told apart, and what a digest tells."""

from __future__ import annotations

import datetime
import enum
import shutil
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsrc import Append, MemoryStore, SqliteStore, Stream, event
from eventsrc.errors import OtherRequest
from eventsrc.stores.operations import FindAppend
from eventsrc.stores.requests import digest_in, digest_of, request_of

KEY = UUID("7f6f5e0c-5c3e-4a43-8df5-6c2b1c1f0a11")


@event("test.requests.noted")
class Noted:
    text: str


notes: Stream[Noted] = Stream("notes", events=Noted)


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@attrs.frozen
class Asked:
    name: str
    colour: Colour = Colour.RED


@attrs.frozen
class Wished:
    name: str
    colour: Colour = Colour.RED


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.uuids() | st.dates(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are equal, with the types of all that is in them."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    return type(one) is type(other) and one == other


@given(values, values)
def test_values_are_the_same_request_just_if_they_are_equal(one: Any, other: Any) -> None:
    assert (request_of(one) == request_of(other)) == is_same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (1, "1"),
        (1, 1.0),
        (b"a", "a"),
        (["a", "b"], "ab"),
        (["a", ["b"]], ["a", "b"]),
        ({"a": 1}, [["a", 1]]),
        (Asked("a"), Wished("a")),
        (Asked("a"), Asked("a", Colour.BLUE)),
        (Decimal("1.0"), Decimal("1.00")),
        (datetime.date(2026, 1, 1), "2026-01-01"),
    ],
)
def test_what_only_looks_alike_is_another_request(one: Any, other: Any) -> None:
    assert request_of(one) != request_of(other)


def test_the_order_of_names_and_of_sets_does_not_matter() -> None:
    assert request_of({"a": 1, "b": [2]}) == request_of({"b": [2], "a": 1})
    assert request_of(frozenset("abcdef")) == request_of(set("fedcba"))
    assert request_of(["a", "b"]) == request_of(("a", "b"))
    assert request_of(["a", "b"]) != request_of(["b", "a"])


def test_a_value_of_which_no_digest_can_be_made_is_named() -> None:
    with pytest.raises(TypeError, match="<object object"):
        request_of({"a": [object()]})


@given(st.binary(), st.binary(), st.binary(min_size=1, max_size=64))
def test_a_digest_is_of_the_request_the_id_and_the_key(one: bytes, other: bytes, key: bytes) -> None:
    assert (digest_of(one, KEY, key) == digest_of(other, KEY, key)) == (one == other)
    assert digest_of(one, KEY, key) != digest_of(one, uuid4(), key)
    assert digest_of(one, KEY, key) != digest_of(one, KEY, key[:-1] + bytes([key[-1] ^ 1]))


def digest_of_rows(path: Path) -> str | None:
    with sqlite3.connect(path) as connection:
        ((rest,),) = connection.execute("SELECT rest FROM eventsrc_event").fetchall()
    connection.close()
    return digest_in(rest[24:])


def filled(path: Path) -> SqliteStore:
    store = SqliteStore(path)
    store.run(Append(notes.id, (Noted("a"),), append_id=KEY, request=request_of("yes")))
    return store


def test_who_reads_a_file_cannot_try_out_which_request_it_was(tmp_path: Path) -> None:
    """Of two stores, the same request under the same id has different digests: each has its secret."""
    for name in ("one", "other"):
        filled(tmp_path / name).close()
    digests = {digest_of_rows(tmp_path / name) for name in ("one", "other")}
    assert None not in digests
    assert len(digests) == 2


def test_a_copy_of_a_store_knows_the_requests_of_the_store(tmp_path: Path) -> None:
    filled(tmp_path / "store.db").close()
    shutil.copy(tmp_path / "store.db", tmp_path / "copy.db")
    with SqliteStore(tmp_path / "copy.db") as copy:
        assert copy.run(FindAppend(KEY, request_of("yes"))) is not None
        with pytest.raises(OtherRequest):
            copy.run(FindAppend(KEY, request_of("no")))


def test_control_with_another_key_it_would_not(tmp_path: Path) -> None:
    filled(tmp_path / "store.db").close()
    with sqlite3.connect(tmp_path / "store.db") as connection:
        connection.execute("UPDATE eventsrc_store SET key = randomblob(32)")
    connection.close()
    with SqliteStore(tmp_path / "store.db") as store, pytest.raises(OtherRequest):
        store.run(FindAppend(KEY, request_of("yes")))


def test_metadata_that_comes_from_an_event_with_a_request_can_be_appended() -> None:
    store = MemoryStore()
    store.run(
        Append(notes.id, (Noted("a"),), append_id=KEY, request=request_of("x"), metadata={"k": 1})
    )
    (noted,) = store.run(notes.history())
    store.run(notes.append(Noted("b"), metadata=noted.metadata))
    assert [event.metadata for event in store.run(notes.history())] == [{"k": 1}] * 2
