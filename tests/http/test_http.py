"""What requests say about versions, and how outcomes are answered: without any server."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsrc import (
    ANY,
    EXISTS,
    NO_STREAM,
    START,
    Append,
    Conflict,
    EventsrcError,
    MemoryStore,
    ReadFeed,
    Rejected,
    StreamId,
    Token,
    Unknown,
)
from eventsrc.events._exact import NotStorable
from eventsrc.events.epochs import WrongEpoch
from eventsrc.events.positions import BadToken, Cursor, NotInToken, WrongStore
from eventsrc.events.stream_id import BadStreamId
from eventsrc.following.synchroniser import Stale
from eventsrc.http import (
    MOST_STREAMS,
    Preferences,
    Problem,
    Response,
    TokenTooLong,
    accepted,
    answer,
    append_id,
    cursor,
    etag,
    expected,
    feed_page,
    is_known,
    not_modified,
    preferences,
    problem,
    refusal,
    seen,
)
from eventsrc.http.signing import Plain, Signed, TokenTexts
from eventsrc.stores.operations import FeedPage, StoreBusy, StoreClosed, StoreFull
from eventsrc.stores.requests import OtherRequest
from eventsrc.streams.decide import AppendFailed
from tests.kits.library import CODEC, Noted, notes_view

TOKEN = Token("store", {StreamId("users/4"): 7, StreamId("users"): 100})
OTHER = Token("store", {StreamId("users/4"): 8, StreamId("groups"): 3})
SIGNED = Signed(b"k" * 32)

tokens = st.builds(
    lambda versions: Token("store", {StreamId(f"s/{n}"): v for n, v in versions.items()}),
    st.dictionaries(st.integers(0, 5), st.integers(1, 2**62), max_size=4),
)
texts = st.sampled_from([Plain(), SIGNED])
values = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=60)
names = st.sampled_from(["If-Match", "If-None-Match", "Seen", "Prefer", "Idempotency-Key"])


def status_of(refused: pytest.ExceptionInfo[Problem]) -> int:
    return refused.value.response.status


# --- tokens


@given(tokens, texts)
def test_a_token_comes_back_from_its_tag(token: Token, texts: TokenTexts) -> None:
    assert expected({"if-match": etag(token, texts)}, texts) == token
    assert seen({"SEEN": etag(token, texts)}, texts) == token
    assert is_known({"If-None-Match": etag(token, texts)}, token, texts)
    assert is_known({"If-None-Match": f'"x", W/{etag(token, texts)}'}, token, texts)


@given(tokens, tokens)
def test_what_was_seen_together_is_merged(one: Token, two: Token) -> None:
    assert seen({"Seen": f"{etag(one)} , ,{etag(two)}"}) == one | two


@given(tokens, st.integers(0, 200), st.characters(categories=("L", "N"), max_codepoint=127))
def test_a_signed_token_that_was_touched_is_none(token: Token, place: int, letter: str) -> None:
    text = SIGNED.write(token)
    at = place % len(text)
    touched = text[:at] + letter + text[at + 1 :]
    if touched != text:
        with pytest.raises(BadToken):
            SIGNED.read(touched)


def test_a_token_of_another_key_or_of_none_is_refused() -> None:
    for text in (str(TOKEN), Signed(b"x" * 32).write(TOKEN), "", "."):
        with pytest.raises(BadToken, match="not signed here"):
            SIGNED.read(text)


def test_keys_can_be_changed() -> None:
    newer = Signed(b"n" * 32, older=[b"k" * 32])
    assert newer.read(SIGNED.write(TOKEN)) == TOKEN
    assert newer.write(TOKEN) != SIGNED.write(TOKEN)


def test_a_key_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(ValueError, match="6 bytes can be guessed"):
        Signed(b"secret")


def test_a_text_that_cannot_be_encoded_was_not_signed_here() -> None:
    for text in ("\ud800.x", "x.\ud800", "é.x"):
        with pytest.raises(BadToken, match="not signed here"):
            SIGNED.read(text)


@pytest.mark.parametrize("texts", [Plain(), SIGNED])
def test_each_form_of_an_answer_has_a_tag_of_its_own_and_all_are_conditions(texts: TokenTexts) -> None:
    tags = {form: etag(TOKEN, texts, form) for form in ("", "json", "csv")}
    assert len(set(tags.values())) == 3
    for form, tag in tags.items():
        assert expected({"If-Match": tag}, texts) == seen({"Seen": tag}, texts) == TOKEN
        assert [f for f in tags if is_known({"If-None-Match": tag}, TOKEN, texts, f)] == [form]
    for sent in (answer({}, TOKEN, texts=texts, form="json"), not_modified(TOKEN, texts, "json")):
        assert (sent.headers["ETag"], sent.headers["Vary"]) == (tags["json"], "Accept")
    assert "Vary" not in answer({}, TOKEN).headers
    with pytest.raises(ValueError, match="no form"):
        etag(TOKEN, texts, "~")


def test_a_token_of_more_streams_than_a_header_takes_is_an_error_that_says_what_to_do() -> None:
    def of(streams: int) -> Token:
        return Token("store", {StreamId(f"users/{n}/profile"): n for n in range(streams)})

    assert expected({"If-Match": etag(of(100), SIGNED)}, SIGNED) == of(100)
    for tell in (etag, lambda token: answer({}, at_least=token), not_modified):
        with pytest.raises(
            TokenTooLong, match="300 streams .* of those streams that the answer is about"
        ):
            tell(of(300))
    assert not is_known({"If-None-Match": etag(TOKEN)}, of(300))


# --- conditions


def test_without_a_condition_a_write_has_none_unless_it_must() -> None:
    assert expected({}) is ANY
    with pytest.raises(Problem, match="send If-Match") as refused:
        expected({}, is_required=True)
    assert status_of(refused) == 428


def test_stars_are_conditions_too() -> None:
    assert expected({"If-Match": " * "}) is EXISTS
    assert expected({"If-None-Match": "*"}) is NO_STREAM


PROXIES = {
    "nginx": "W/{}",
    "Apache": "{}-gzip",
    "Apache, of old": "{}-df",
    "Jetty": "{}--gzip",
    "others": "{};br",
    "both": "W/{}-zstd",
}


@pytest.mark.parametrize("change", PROXIES.values(), ids=PROXIES)
@pytest.mark.parametrize("form", ["", "json"])
def test_a_tag_is_as_good_when_a_proxy_that_compresses_has_changed_it(change: str, form: str) -> None:
    ours = etag(TOKEN, form=form)
    theirs = change.format(ours[:-1]) + '"'
    assert expected({"If-Match": theirs}) == TOKEN
    assert is_known({"If-None-Match": theirs}, TOKEN, form=form)
    assert not is_known({"If-None-Match": theirs}, OTHER, form=form)
    assert seen({"Seen": theirs}) == TOKEN


@pytest.mark.parametrize("tag", ['"7"', '""', f'{etag(TOKEN)[:-1]}-tar"', '"' + "x" * 500 + '"'])
def test_a_tag_that_is_none_of_ours_matches_nothing(tag: str) -> None:
    with pytest.raises(Problem, match="matches nothing") as refused:
        expected({"If-Match": tag})
    assert status_of(refused) == 412


@pytest.mark.parametrize(
    "headers",
    [
        {"If-Match": "7"},
        {"If-Match": ""},
        {"If-Match": '"a" "b"'},
        {"If-Match": f"{etag(TOKEN)}, {etag(OTHER)}"},
        {"If-None-Match": etag(TOKEN)},
        {"If-Match": "*", "If-None-Match": "*"},
    ],
)
def test_what_cannot_be_a_condition_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Problem) as refused:
        expected(headers)
    assert status_of(refused) == 400


def test_a_reader_without_a_copy_knows_nothing() -> None:
    assert not is_known({}, TOKEN)
    assert not is_known({"If-None-Match": etag(OTHER)}, TOKEN)
    assert is_known({"If-None-Match": "*"}, TOKEN)


@pytest.mark.parametrize("text", ['"abc"', "abc", "", f'{etag(TOKEN)}, "x"'])
def test_what_cannot_have_been_seen_is_refused(text: str) -> None:
    with pytest.raises(Problem) as refused:
        seen({"Seen": text})
    assert status_of(refused) == 400


def test_what_was_seen_in_two_stores_is_refused() -> None:
    elsewhere = Token("elsewhere", {StreamId("users"): 1})
    with pytest.raises(Problem, match="elsewhere"):
        seen({"Seen": f"{etag(TOKEN)}, {etag(elsewhere)}"})


# --- preferences and keys


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("wait=2", Preferences(wait=2)),
        ('respond-async, wait="10"; foo="a, b", return=minimal', Preferences(10, "minimal", True)),
        ("WAIT=100, Return = representation", Preferences(30, "representation")),
        ("wait=soon, return=nothing, wait=3", Preferences()),
        ("handling=lenient; x, wait=1", Preferences(1, handling="lenient")),
        ('a="x, wait=3, wait=1', Preferences()),
        ('a="\\", wait=3", wait=0, /, b c', Preferences(0)),
        ("", Preferences()),
    ],
)
def test_preferences_are_read_as_they_are_written(text: str, wanted: Preferences) -> None:
    assert preferences({"Prefer": text}) == wanted


def test_what_was_applied_of_them_is_said() -> None:
    wished = Preferences(2, "minimal")
    assert wished.applied(wait=True, returns=True) == {"Preference-Applied": "wait=2, return=minimal"}
    assert wished.applied() == Preferences().applied(wait=True) == {}


def test_who_does_not_say_how_long_to_wait_waits_as_long_as_others() -> None:
    waits = [preferences({"Prefer": text}).within(1.0) for text in ("", "wait=0", "wait=2")]
    assert waits == [1.0, 0.0, 2.0]


def test_who_would_not_wait_is_told_where_to_ask() -> None:
    wished = preferences({"Prefer": "respond-async, handling=strict"})
    applied = wished.applied(respond_async=True, handling=True)
    told = accepted("/requests/7", headers=applied)
    assert (told.status, told.headers["Location"], told.body) == (202, "/requests/7", b"")
    assert told.headers["Preference-Applied"] == "handling=strict, respond-async"


def test_a_key_is_good_in_its_scope() -> None:
    key = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}
    assert append_id(key, "a") == append_id(key, "a") != append_id(key, "b")
    assert append_id({"idempotency-key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}, "a") == append_id(
        key, "a"
    )
    assert append_id({}, "a") is None


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": '""'}, {"Idempotency-Key": "k" * 256}])
def test_a_key_that_is_none_is_refused_where_there_must_be_one(headers: dict[str, str]) -> None:
    with pytest.raises(Problem, match="1 to 255"):
        append_id(headers, "a", is_required=True)


@pytest.mark.parametrize(("key", "scope"), [("\ud800", "a"), ("a", "the user \ud800")])
def test_a_key_of_what_is_no_text_is_refused(key: str, scope: str) -> None:
    with pytest.raises(Problem, match="no text") as refused:
        append_id({"Idempotency-Key": key}, scope)
    assert status_of(refused) == 400


# --- anything

HOSTILE = ["a", '"', "\\", " ", ",", ";", "=", "W/", 'a="\\"', '""', ' ,"a"', "a=\t", '"\\']
"""What a text can be made of, again and again, that has made readers of headers slow."""


@pytest.mark.parametrize("end", ["", '"', "x", " x y"])
@pytest.mark.parametrize("start", ["", "a=", 'a="', '"'])
def test_no_header_takes_long_to_read(start: str, end: str) -> None:
    """Doubling what is read in steps would take hours, and the square of it several seconds."""
    began = time.process_time()
    for part in HOSTILE:
        text = start + part * ((8_000 - len(start)) // len(part)) + end
        preferences({"Prefer": text})
        for read in (expected, seen, lambda h: is_known(h, TOKEN)):
            with contextlib.suppress(Problem):
                read({"If-Match": text} if read is expected else {"Seen": text, "If-None-Match": text})
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (expected, "If-Match"),
        (expected, "If-None-Match"),
        (lambda headers: is_known(headers, TOKEN), "If-None-Match"),
        (seen, "Seen"),
        (preferences, "Prefer"),
        (lambda headers: append_id(headers, "a"), "Idempotency-Key"),
    ],
)
def test_a_header_that_is_too_long_is_not_read(
    read: Callable[[dict[str, str]], object], name: str
) -> None:
    with pytest.raises(Problem, match="at most 8192 are read") as refused:
        read({name: "a" * 8_193})
    assert status_of(refused) == 431


# --- answers


def test_an_answer_carries_its_token() -> None:
    told = answer({"name": "Zoë"}, TOKEN)
    assert (told.status, told.body) == (200, '{"name":"Zoë"}'.encode())
    assert told.headers["ETag"] == etag(TOKEN)
    assert told.headers["Cache-Control"] == "no-cache"
    assert answer(None, TOKEN, status=204).body == b""
    assert not_modified(TOKEN) == Response(304, {"ETag": etag(TOKEN), "Cache-Control": "no-cache"})


def test_a_problem_is_told_in_the_form_of_its_rfc() -> None:
    told = problem(409, "Taken", "by somebody", type="https://example.com/taken", by="4")
    assert told.headers["Content-Type"] == "application/problem+json"
    assert json.loads(told.body) == {
        "type": "https://example.com/taken",
        "title": "Taken",
        "status": 409,
        "detail": "by somebody",
        "by": "4",
    }


def test_what_is_no_text_is_told_escaped() -> None:
    assert json.loads(problem(422, "No text", "a \ud800").body)["detail"] == "a \ud800"
    assert answer(["\udfff é"]).body == '["\\udfff é"]'.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_does_not_have_is_not_answered(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        answer({"mean": value})


@pytest.mark.parametrize(
    ("why", "status"),
    [
        (Conflict(StreamId("a"), 1, 2), 412),
        (Rejected("no"), 422),
        (OtherRequest("append_id of somebody"), 422),
        (Unknown(uuid4(), "lost"), 503),
        (AppendFailed(Unknown(uuid4(), "lost")), 503),
        (Stale(notes_view(), TOKEN), 503),
        (StoreBusy("busy"), 503),
        (StoreClosed("closed"), 503),
        (StoreFull("full"), 507),
        (BadToken("bad"), 400),
        (WrongStore("wrong"), 400),
        (WrongEpoch("lost"), 412),
        (Problem(problem(418, "Teapot"), "teapot"), 418),
    ],
)
def test_what_is_refused_has_a_status(why: object, status: int) -> None:
    told = refusal(why)
    assert told.status == status == json.loads(told.body)["status"]
    assert ("Retry-After" in told.headers) == (status == 503)


def test_a_lost_answer_is_no_failure_and_says_how_to_ask_again() -> None:
    id = uuid4()
    told = refusal(Unknown(id, "lost"))
    assert json.loads(told.body)["append_id"] == str(id)
    assert "same Idempotency-Key" in json.loads(told.body)["detail"]


def test_a_conflict_tells_what_came_since_and_where_it_is_now() -> None:
    store = MemoryStore(CODEC)
    here = StreamId("books/1")
    token = store.run(Append(here, (Noted(1),))).unwrap().token
    current = store.run(Append(here, (Noted(2),))).unwrap().token
    conflict = store.run(Append(here, (Noted(3),), token)).failure()
    told = refusal(conflict, current=current)
    assert told.headers["ETag"] == etag(current)
    assert json.loads(told.body)["since"] == [{"version": 2, "type": "test.view.noted"}]


@pytest.mark.parametrize(
    ("why", "status"),
    [
        (NotInToken("of something else"), 412),
        (NotStorable("a lone surrogate"), 422),
        (BadStreamId("no name"), 404),
    ],
    ids=str,
)
def test_the_reason_of_a_refusal_is_in_the_log_alone_under_its_reference(
    why: EventsrcError, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "eventsrc.http"):
        sent = refusal(why)
    assert sent.status == status
    assert str(why).encode() not in sent.body
    (line,) = caplog.messages
    assert json.loads(sent.body)["reference"] in line
    assert str(why) in line


def test_a_token_of_more_streams_than_a_request_is_about_is_refused() -> None:
    streams = {StreamId(f"s{number}"): 1 for number in range(MOST_STREAMS + 1)}
    for names, is_good in ((MOST_STREAMS, True), (MOST_STREAMS + 1, False)):
        token = Token("here", dict([*streams.items()][:names]))
        with contextlib.nullcontext() if is_good else pytest.raises(Problem, match="the most"):
            assert expected({"If-Match": etag(token)}) == token


def test_the_link_of_a_page_is_one_header_whatever_the_store_is_called() -> None:
    cursor = Cursor("x>; rel=a\r\nSet-Cookie: a=b", 1)
    link = feed_page(FeedPage((), cursor, cursor), START, 1, lambda event: None).headers["Link"]
    assert not set("\r\n") & set(link)
    assert link.count(">") == 1


def test_an_answer_from_a_view_says_what_it_has_seen_and_has_no_etag() -> None:
    token = Token("here", {StreamId("books/1"): 3})
    sent = answer([], at_least=token)
    assert sent.headers["Seen"] == etag(token)
    assert "ETag" not in sent.headers
    assert seen(sent.headers) == token


class Lines(dict[str, str]):
    """Headers of which some have several lines, as frameworks give them."""

    def __init__(self, *lines: tuple[str, str]) -> None:
        super().__init__(lines)
        self.lines = lines

    def items(self) -> Any:
        return self.lines


def test_of_several_lines_of_a_header_all_count() -> None:
    one, other = (Token("here", {StreamId(f"books/{number}"): number}) for number in (1, 2))
    headers = Lines(
        ("Seen", etag(one)), ("seen", etag(other)), ("Prefer", "return=minimal"), ("prefer", "wait=5")
    )
    assert seen(headers) == one | other
    assert preferences(headers) == Preferences(wait=5, returns="minimal")


@pytest.mark.parametrize("why", [ValueError("mine"), "NameTaken", EventsrcError("other")])
def test_what_is_not_of_a_store_is_not_answered_for_the_domain(why: object) -> None:
    with pytest.raises(TypeError, match="no refusal of a store"):
        refusal(why)


# --- the feed


def test_full_pages_of_the_feed_never_change_and_the_last_one_is_asked_again() -> None:
    store = MemoryStore(CODEC)
    store.run(Append(StreamId("books/1"), tuple(Noted(number) for number in range(5))))
    after, told, kept = START, list[int](), list[str]()
    while True:
        page = store.run(ReadFeed(after, 2))
        sent = feed_page(page, after, 2, lambda event: event.data.number)
        body = json.loads(sent.body)
        told += body["events"]
        kept.append(sent.headers["Cache-Control"])
        after = cursor(body["next"])
        assert sent.headers["Link"] == f'</events?after={after}&limit=2>; rel="next"'
        if body["is_last"]:
            break
    assert told == [0, 1, 2, 3, 4]
    assert ["immutable" in each for each in kept] == [True, True, False]


def test_the_last_page_is_asked_again_even_if_it_is_full() -> None:
    store = MemoryStore(CODEC)
    store.run(Append(StreamId("books/1"), (Noted(1), Noted(2))))
    sent = feed_page(store.run(ReadFeed(START, 2)), START, 2, lambda event: event.data.number)
    assert json.loads(sent.body)["is_last"]
    assert sent.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(("is_public", "who"), [(False, "private"), (True, "public")])
def test_shared_caches_keep_pages_only_of_a_feed_that_anybody_may_read(
    is_public: bool, who: str
) -> None:
    store = MemoryStore(CODEC)
    store.run(Append(StreamId("books/1"), (Noted(1), Noted(2))))
    page = store.run(ReadFeed(START, 1))
    sent = feed_page(page, START, 1, lambda event: event.data.number, is_public=is_public)
    assert sent.headers["Cache-Control"] == f"{who}, max-age=31536000, immutable"


def test_a_place_that_is_none_is_refused() -> None:
    assert cursor(None) == cursor("") == START
    with pytest.raises(Problem, match="is no cursor") as refused:
        cursor("seven")
    assert status_of(refused) == 400
