"""Cursors and tokens: how they are ordered and merged, and what becomes of them as texts."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import string
from itertools import pairwise
from typing import Any
from zlib import crc32

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from eventsrc import START, Cursor, MemoryStore, ReadFeed, StreamId, Token
from eventsrc.events.positions import BadCursor, BadToken, NotInToken, WrongStore
from tests.events.test_stream_ids import ids
from tests.kits.counting import Counted, counter

stores = st.text(string.ascii_letters + string.digits, min_size=1)
positions = st.integers(1, 2**63 - 1)
cursors = st.builds(Cursor, st.just("here"), positions)
versions = st.dictionaries(
    (st.sampled_from(["users", "users/4/profile", "orders/9"]) | ids).map(StreamId),
    st.integers(1, 100),
    max_size=6,
)
tokens = st.builds(Token, st.just("here"), versions)
"""Tokens of one store."""


def token(**seen: int) -> Token:
    return Token("here", {StreamId(stream): version for stream, version in seen.items()})


# --- cursors --------------------------------------------------------------------------------------


@given(stores, st.integers(0, 2**63 - 1))
def test_a_cursor_is_kept_as_a_text(store: str, position: int) -> None:
    cursor = Cursor(store, position)
    assert Cursor.parse(str(cursor)) == cursor
    assert Cursor.parse(str(START)) == START


@given(st.text(min_size=1), st.integers(0, 2**63 - 1))
def test_whatever_the_store_is_called(store: str, position: int) -> None:
    assert Cursor.parse(str(Cursor(store, position))) == Cursor(store, position)


@given(cursors, cursors, cursors)
def test_the_cursors_of_a_store_are_in_one_order(a: Cursor, b: Cursor, c: Cursor) -> None:
    assert (a < b) + (a == b) + (a > b) == 1
    assert (a <= b) == (a < b or a == b)
    assert (a >= b) == (b <= a)
    if a <= b <= c:
        assert a <= c
    assert sorted([a, b, c]) == sorted([c, b, a])


@given(cursors)
def test_the_start_is_before_every_cursor(cursor: Cursor) -> None:
    assert min(START, cursor) == START
    assert cursor > START
    assert not cursor <= START


def test_the_beginning_of_a_store_is_as_early_as_the_start() -> None:
    beginning = MemoryStore(store_id="here").run(ReadFeed()).next
    assert START <= beginning <= START
    assert not beginning > START
    assert not beginning < START


@given(stores, positions, stores, positions)
def test_cursors_of_two_stores_have_no_order(one: str, at: int, other: str, where: int) -> None:
    assume(one != other)
    with pytest.raises(WrongStore):
        _ = Cursor(one, at) < Cursor(other, where)
    assert Cursor(one, at) != Cursor(other, at)


def test_a_cursor_is_no_number() -> None:
    with pytest.raises(TypeError):
        _ = Cursor("here", 4) < 5


@given(stores, positions, stores)
def test_a_cursor_of_another_store_is_an_error(one: str, at: int, other: str) -> None:
    assume(one != other)
    assert Cursor(one, at).check(one) == at
    with pytest.raises(WrongStore, match=r"start from .*START"):
        Cursor(one, at).check(other)
    with pytest.raises(WrongStore):
        MemoryStore(store_id=other).run(ReadFeed(Cursor(one, at)))


@given(stores)
def test_the_start_is_that_of_every_store(store: str) -> None:
    assert START.check(store) == 0


def test_the_error_about_a_cursor_names_things_that_exist() -> None:
    with pytest.raises(WrongStore, match="start from START"):
        Cursor("one", 4).check("other")


@pytest.mark.parametrize(
    "text", ["", "here", "here.", "here.x", "here.-1", "here.1.", "5", "here.²", "a.1\n", "a. 1"]
)
def test_another_text_is_no_cursor(text: str) -> None:
    with pytest.raises(BadCursor, match="is no cursor: keep what"):
        Cursor.parse(text)


@given(st.text())
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    try:
        cursor = Cursor.parse(text)
    except BadCursor:
        return
    assert text.startswith(f"{cursor.store_id}.")


@pytest.mark.parametrize(
    "text", ["here." + "9" * 5000, "here.007", ".5"], ids=["5000 digits", "007", ".5"]
)
def test_a_text_that_no_cursor_makes_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        Cursor.parse(text)


# --- tokens: merging and order --------------------------------------------------------------------


@given(tokens, tokens, tokens)
def test_merging_tokens_does_not_depend_on_their_order(a: Token, b: Token, c: Token) -> None:
    assert a | b == b | a
    assert (a | b) | c == a | (b | c)
    assert a | a == a
    assert a | token() == a


@given(tokens, tokens, tokens)
def test_a_merge_is_the_least_token_that_covers_both(a: Token, b: Token, c: Token) -> None:
    assert (a | b).covers(a)
    assert (a | b).covers(b)
    assert c.covers(a | b) == (c.covers(a) and c.covers(b))
    assert a.covers(b) == (a | b == a)


@given(tokens, tokens, tokens)
def test_covering_is_a_partial_order(a: Token, b: Token, c: Token) -> None:
    assert a.covers(a)
    if a.covers(b) and b.covers(a):
        assert a == b
    if a.covers(b) and b.covers(c):
        assert a.covers(c)


@given(tokens, tokens)
def test_each_stream_is_at_its_later_version_in_a_merge(a: Token, b: Token) -> None:
    for stream in {**a.versions, **b.versions}:
        assert (a | b)[stream] == max(a[stream], b[stream])


def test_a_token_that_saw_a_stream_empty_is_not_one_that_did_not_see_it() -> None:
    one, other = token(users=0), token()
    assert one.covers(other)
    assert other.covers(one)
    assert one != other
    assert Token.parse(str(one)) == one
    assert one.of("users") == 0
    with pytest.raises(NotInToken, match="names no stream, and not users: merge it"):
        other.of("users")


def test_a_stream_that_a_token_does_not_name_is_at_nought() -> None:
    assert token(users=3)["orders"] == 0


@pytest.mark.parametrize(
    "data",
    [
        '["a",{"n":-1}]',
        '["a",{"n":9223372036854775808}]',
        '["a",{"n":1.0}]',
        '["a",{"n":true}]',
        '["a",{"n":"1"}]',
        '["a",{"n":null}]',
        '["a",[]]',
        '[1,{"n":1}]',
        "[null,{}]",
        '[["a"],{}]',
    ],
)
def test_a_made_up_token_with_a_right_sum_is_no_token(data: str) -> None:
    made = crc32(data.encode()).to_bytes(4, "big") + data.encode()
    with pytest.raises(BadToken, match="pass it on as it was received"):
        Token.parse(base64.urlsafe_b64encode(made).decode().rstrip("="))


def test_some_tokens_do_not_cover_each_other() -> None:
    assert not token(users=1).covers(token(orders=1))
    assert not token(orders=1).covers(token(users=1))


@given(tokens)
def test_equal_tokens_have_equal_hashes_and_texts(one: Token) -> None:
    again = Token(one.store_id, dict(reversed(list(one.versions.items()))))
    assert again == one
    assert hash(again) == hash(one)
    assert str(again) == str(one)


@given(versions, stores, stores)
def test_tokens_of_two_stores_are_kept_apart(seen: dict[StreamId, int], one: str, other: str) -> None:
    assume(one != other)
    a, b = Token(one, seen), Token(other, seen)
    assert a != b
    for mix in (lambda: a | b, lambda: a.covers(b), lambda: a.check(other)):
        with pytest.raises(WrongStore, match="read anew and use that token"):
            mix()


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_every_write_answers_with_a_token_that_covers_those_before(counts: list[int]) -> None:
    store = MemoryStore()
    written = [store.run(counter.append(*[Counted()] * count)).token for count in counts]
    for before, after in pairwise(written):
        assert after.covers(before)
        assert not before.covers(after)
    assert written[-1] == store.run(counter.read()).token


# --- tokens: texts --------------------------------------------------------------------------------


@given(st.text(), versions)
def test_a_token_is_sent_as_a_text(store: str, seen: dict[StreamId, int]) -> None:
    sent = Token(store, seen)
    assert Token.parse(str(sent)) == sent


@given(st.text(), versions)
def test_the_text_is_safe_in_a_header_a_cookie_and_a_url(store: str, seen: dict[StreamId, int]) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]+", str(Token(store, seen)))


@given(tokens, st.data())
def test_a_text_that_was_cut_is_no_token(sent: Token, data: st.DataObject) -> None:
    text = str(sent)
    with pytest.raises(BadToken, match="is no token: pass it on as it was received"):
        Token.parse(text[: data.draw(st.integers(0, len(text) - 1))])


@given(st.text() | st.text(string.ascii_letters + string.digits + "-_"))
def test_any_other_text_is_no_token(text: str) -> None:
    with pytest.raises(BadToken):
        Token.parse(text)


@given(tokens, st.data())
def test_a_text_with_a_foreign_character_is_no_token(sent: Token, data: st.DataObject) -> None:
    text = str(sent)
    place = data.draw(st.integers(0, len(text)))
    foreign = data.draw(st.characters(exclude_characters=string.ascii_letters + string.digits + "-_="))
    with pytest.raises(BadToken):
        Token.parse(text[:place] + foreign + text[place:])


def test_a_text_with_one_letter_changed_is_no_token() -> None:
    text = str(token(users=100))
    changed = [
        text[:place] + letter + text[place + 1 :] for place in range(len(text)) for letter in "AMg019"
    ]
    for other in changed:
        if other != text:
            with pytest.raises(BadToken):
                Token.parse(other)


def _as_token(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        ["here"],
        ["here", {}, {}],
        ["here", []],
        ["here", None],
        [None, {}],
        [5, {"users": 1}],
        {"here": {}, "there": {}},
        "ab",
        ["here", {"users": -1}],
        ["here", {"users": "1"}],
        ["here", {"users": 1.0}],
        ["here", {"users": True}],
        ["here", {"users": None}],
        ["here", {"users/": 1}],
        ["here", {"": 1}],
        ["here", {"\0": 1}],
        ["here", {"\ud800": 1}],
        ["here", {"x" * 513: 1}],
    ],
    ids=repr,
)
def test_json_of_another_shape_is_no_token(value: Any) -> None:
    with pytest.raises(BadToken):
        Token.parse(_as_token(value))


def test_json_that_nests_deeply_is_no_token() -> None:
    text = base64.urlsafe_b64encode(b"[" * 3000).decode()
    with pytest.raises(BadToken):
        Token.parse(text)


@given(st.one_of(tokens.map(str), cursors.map(str)), st.text(max_size=3))
def test_whatever_a_client_sends_is_answered_with_one_of_our_errors(text: str, more: str) -> None:
    for parse in (Token.parse, Cursor.parse):
        with contextlib.suppress(BadCursor, BadToken):
            parse(text + more)
