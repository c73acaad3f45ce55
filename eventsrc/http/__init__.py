"""HTTP: what a request says about versions, and how outcomes are answered.

Nothing here knows a web framework. Functions take the headers of a request, as any mapping of names to
texts, and answer values of this library; what is to be sent is a `Response`: status, headers, body.

    If-Match, If-None-Match     the condition of a write, or whether a reader's copy is still good
    Seen                        tokens: a view must be at least that new, or an answer from one is
                                (a header of this library)
    Prefer                      wait=, return=, handling=, respond-async
    Idempotency-Key             the id of an append, which makes a retry safe
    ETag                        the token of an answer

(RFC 9110 for conditional requests, RFC 7240 for Prefer, RFC 6585 for what is too long, RFC 9457 for
problems, and the draft "Idempotency-Key" of the IETF's httpapi group. A domain's refusals are its own:
see `problem`.)
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID, uuid4, uuid5

import attrs

from eventsrc._errors import EventsrcError, harmless
from eventsrc.events.codec import NotStorable
from eventsrc.events.epochs import WrongEpoch
from eventsrc.events.positions import START, BadCursor, BadToken, Cursor, NotInToken, Token, WrongStore
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import BadStreamId
from eventsrc.following.session import NotNewEnough
from eventsrc.following.synchroniser import Stale
from eventsrc.http.signing import Plain, TokenTexts
from eventsrc.stores.operations import (
    ANY,
    EXISTS,
    NO_STREAM,
    Conflict,
    Expected,
    FeedPage,
    Rejected,
    StoreBusy,
    StoreError,
    StoreFull,
    Unknown,
)
from eventsrc.stores.requests import OtherRequest
from eventsrc.streams.decide import AppendFailed, NotDecided

_log: Final = logging.getLogger("eventsrc.http")

PLAIN: Final = Plain()
"""Tokens as they are, without a signature."""

RETRY_AFTER: Final = 1
"""After how many seconds one may try again what could not be done."""

LONGEST_HEADER: Final = 8_192
"""The most characters of a header that is read here."""

LONGEST_TAG: Final = 4_000
"""The most characters of an entity tag: two fit in a header."""

_KEYS: Final = UUID("6f1b6a0e-3e0a-5d5e-9a35-4f4f1f1f8a10")
MOST_STREAMS: Final = 100
"""The most streams of a token that a sender may show: making views as new as it takes work for each."""

_FORM_MARK: Final = "~"
"""The mark between a token and the form: no text of a token has it."""

# Strangers write what these read. In each a part gives nothing back (`*+`), or cannot take what may
# follow it, so that a text takes no longer than in proportion to its length.
_TAG: Final = re.compile(r'[ \t]*+(?:(?:W/)?"([\x21\x23-\x7e\x80-\xff]*+)")?[ \t]*+(?:,|$)')
_COMPRESSED: Final = re.compile(r"(?:--|[-;:.+])(?:br|deflate|df|gzip|zstd)\Z")
"""The marks of proxies: Apache's is -gzip, others' ;gzip or -br. nginx makes tags weak instead."""
_MEMBER: Final = re.compile(r'(?:[^,"]++|"(?:[^"\\]|\\.)*(?:"|\\?\Z))+', re.DOTALL)
_PREFERENCE: Final = re.compile(
    r"[ \t]*+([!#$%&'*+.^_`|~0-9A-Za-z-]++)[ \t]*+"
    r"(?:=[ \t]*+(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,;\"]*+)))?[ \t]*+(?:;|$)"
)


# --- answers --------------------------------------------------------------------------------------


@attrs.frozen
class Response:
    """A response that is to be sent."""

    status: int
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    body: bytes = b""


class Problem(EventsrcError):
    """A request cannot be answered as it is: `response` says so in the form of RFC 9457."""

    def __init__(self, response: Response, detail: str) -> None:
        super().__init__(detail)
        self.response = response


class TokenTooLong(EventsrcError):
    """A token names too many streams for a header."""

    def __init__(self, token: Token, length: int) -> None:
        super().__init__(
            f"the token of {len(token.versions)} streams would be a tag of {length} characters, and "
            f"headers take {LONGEST_TAG}: answer with the token of those streams that the answer is "
            "about, or keep the token on the server, as of a Session, and give the client a key to it"
        )
        self.token = token


def etag(token: Token, texts: TokenTexts = PLAIN, form: str = "") -> str:
    """The strong entity tag of a token.

    form: which representation of several that one URL has, such as "json": letters and digits. Each
        has a tag of its own, and all are good as the condition of a write.
    Raises TokenTooLong for a token of more streams than fit in a header, about a hundred.
    """
    tag = _tag(token, texts, form)
    if len(tag) > LONGEST_TAG:
        raise TokenTooLong(token, len(tag))
    return f'"{tag}"'


def answer(
    value: Any,
    token: Token | None = None,
    *,
    at_least: Token | None = None,
    status: int = 200,
    texts: TokenTexts = PLAIN,
    headers: Mapping[str, str] | None = None,
    form: str = "",
) -> Response:
    """A value as JSON, with the token of what it was made of.

    token: of the streams that it was made of, and of nothing else: the ETag.
    at_least: what a view had seen that it was made of, for the header Seen. It is no ETag, since the
        view may have seen more.
    form: see `etag`; caches are told that it depends on the header Accept.
    Caches may keep it, and must ask before they use it again. For a status 204 there is no body.
    Raises TokenTooLong as `etag` does, and ValueError for NaN and infinities, which JSON does not have.
    """
    sent = {"Cache-Control": "no-cache", **_varying(form)}
    if token is not None:
        sent["ETag"] = etag(token, texts, form)
    if at_least is not None:
        sent["Seen"] = etag(at_least, texts)
    body = b""
    if status != 204:
        sent["Content-Type"] = "application/json"
        body = _json(value)
    return Response(status, sent | dict(headers or {}), body)


def accepted(place: str, *, headers: Mapping[str, str] | None = None) -> Response:
    """The work has begun for a sender who would rather not wait (`Preferences.respond_async`): 202.

    place: where one can ask what came of it.
    """
    sent = {"Location": place, "Retry-After": str(RETRY_AFTER), "Cache-Control": "no-store"}
    return Response(202, sent | dict(headers or {}))


def not_modified(token: Token, texts: TokenTexts = PLAIN, form: str = "") -> Response:
    """The answer to a reader whose copy is still good."""
    tag = {"ETag": etag(token, texts, form)}
    return Response(304, {**tag, "Cache-Control": "no-cache", **_varying(form)})


def problem(
    status: int,
    title: str,
    detail: str = "",
    *,
    type: str = "about:blank",
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response:
    """A problem, for people and programs: RFC 9457.

    type: a URI for this kind of problem. more: what else a program should know, as JSON values.
    """
    body = {"type": type, "title": title, "status": status}
    if detail:
        body["detail"] = detail
    sent = {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
    return Response(status, sent | dict(headers or {}), _json(body | more))


# --- what a request says --------------------------------------------------------------------------


def expected(
    headers: Mapping[str, str], texts: TokenTexts = PLAIN, *, is_required: bool = False
) -> Expected:
    """The condition of a write: of If-Match a token or EXISTS, of If-None-Match NO_STREAM, else ANY.

    is_required: whether a request without a condition is a Problem (428).
    A tag names versions of streams and not bytes, so it is as good when a proxy that compresses answers
    has made it weak, or marked it.
    Raises Problem: 412 for a tag that no token of ours has, which matches nothing, 400 for what
    cannot be the condition of a write, such as several tags, and as all that is read here, 431 for a
    header of more than 8 192 characters.
    """
    match, none_match = _get(headers, "if-match"), _get(headers, "if-none-match")
    if match is not None and none_match is not None:
        raise _bad("a write has one condition: send If-Match or If-None-Match, not both")
    if none_match is not None:
        if none_match.strip() != "*":
            raise _bad("If-None-Match of a write can only be *, which says that there must be none")
        return NO_STREAM
    if match is None:
        if is_required:
            detail = (
                "send If-Match with the ETag of what you saw, or If-None-Match: * for something new"
            )
            raise Problem(problem(428, "A condition is required", detail), detail)
        return ANY
    if match.strip() == "*":
        return EXISTS
    tags = _tags("If-Match", match)
    if len(tags) > 1:
        raise _bad("If-Match of a write names one tag: that of what you saw last")
    with contextlib.suppress(BadToken):
        return _token(tags[0], texts)
    detail = "the tag in If-Match is none of ours, and so matches nothing: read anew and use that ETag"
    raise Problem(problem(412, "The condition does not hold", detail), detail)


def is_known(
    headers: Mapping[str, str], token: Token, texts: TokenTexts = PLAIN, form: str = ""
) -> bool:
    """Whether a reader says, in If-None-Match, that it has this already: then send `not_modified`.

    form: of which representation, see `etag`.
    Raises Problem (400) for a header that is not well formed.
    """
    text = _get(headers, "if-none-match")
    if text is None:
        return False
    if text.strip() == "*":
        return True
    ours = _tag(token, texts, form)
    return any(ours in _as_sent(tag) for tag in _tags("If-None-Match", text))


def seen(headers: Mapping[str, str], texts: TokenTexts = PLAIN) -> Token | None:
    """The token of all tags in the header Seen; None if there is no such header.

    Raises Problem (400) for a header that is not well formed, or tags of several stores.
    """
    text = _get(headers, "seen")
    if text is None:
        return None
    try:
        tokens = [_token(tag, texts) for tag in _tags("Seen", text)]
        merged = tokens[0]
        for token in tokens[1:]:
            merged |= token
    except (BadToken, WrongStore) as error:
        raise _bad(f"Seen: {error}") from error
    return merged


@attrs.frozen
class Preferences:
    """The wishes of a sender (Prefer)."""

    wait: float | None = None
    """For how many seconds it would wait."""
    returns: str | None = None
    """"minimal" or "representation": what a write should answer."""
    respond_async: bool = False
    """Whether it would rather be told at once that the work has begun: see `accepted`."""
    handling: str | None = None
    """"strict" or "lenient": lenient if an older answer is better than none."""

    def within(self, otherwise: float) -> float:
        """For how many seconds to wait for it: as it wishes, or so many if it does not say."""
        return otherwise if self.wait is None else self.wait

    def applied(
        self,
        *,
        wait: bool = False,
        returns: bool = False,
        handling: bool = False,
        respond_async: bool = False,
    ) -> dict[str, str]:
        """The header that says which of them were applied."""
        parts = [f"wait={self.wait:g}"] if wait and self.wait is not None else []
        parts += [f"return={self.returns}"] if returns and self.returns is not None else []
        parts += [f"handling={self.handling}"] if handling and self.handling is not None else []
        parts += ["respond-async"] if respond_async and self.respond_async else []
        return {"Preference-Applied": ", ".join(parts)} if parts else {}


def preferences(headers: Mapping[str, str], *, longest_wait: float = 30.0) -> Preferences:
    """The wishes of the sender. Those not understood are left out, as RFC 7240 wants it.

    longest_wait: a longer wait is cut to so many seconds.
    Raises Problem (431) for a header that is too long.
    """
    text = _get(headers, "prefer") or ""
    found: dict[str, str] = {}
    for member in _MEMBER.finditer(text):
        part = _PREFERENCE.match(member[0])
        if part is not None:
            name, quoted, plain = part.groups()
            found.setdefault(name.lower(), quoted if quoted is not None else plain or "")
    wait = found.get("wait", "")
    returns, handling = found.get("return", "").lower(), found.get("handling", "").lower()
    return Preferences(
        min(float(wait), longest_wait) if wait.isascii() and wait.isdigit() else None,
        returns if returns in ("minimal", "representation") else None,
        "respond-async" in found,
        handling if handling in ("strict", "lenient") else None,
    )


def append_id(headers: Mapping[str, str], scope: str, *, is_required: bool = False) -> UUID | None:
    """The id for the append of a request with an Idempotency-Key; None without one.

    scope: for whom and what the key is good, such as the user and the path: elsewhere it is another.
    is_required: whether a request without a key is a Problem (400).
    """
    text = _get(headers, "idempotency-key")
    key = "" if text is None else text.strip().removeprefix('"').removesuffix('"')
    if text is None and not is_required:
        return None
    if not key or len(key) > 255:
        raise _bad("send an Idempotency-Key of 1 to 255 characters: the same one when you try again")
    try:
        return uuid5(_KEYS, f"{len(scope)} {scope} {key}")
    except UnicodeEncodeError as error:  # a half of a pair of UTF-16, as JSON can write it
        raise _bad(f"what the Idempotency-Key is for is no text: {error}") from error


def cursor(text: str | None) -> Cursor:
    """The place that a reader of the feed goes on from (`?after=`): the beginning if there is none.

    Raises Problem (400) for another text.
    """
    if not text:
        return START
    try:
        return Cursor.parse(text)
    except BadCursor as error:
        raise _bad(str(error)) from error


# --- how outcomes are answered --------------------------------------------------------------------


def refusal(why: object, texts: TokenTexts = PLAIN, *, current: Token | None = None) -> Response:
    """The response to what a store or view did not do: a failure's value, or an error of this library.

    current: what a sender whose condition did not hold should have seen.
    The texts are fixed: what else is known of a reason is logged at INFO by "eventsrc.http", under the
    `reference` that the response has.
    Raises TypeError for anything else: what a domain refuses, the domain says (`problem`).
    """
    match why:
        case Problem(response=response):
            return response
        case AppendFailed(why=inner) | NotDecided(why=inner) if not isinstance(inner, Conflict):
            return refusal(inner, texts)
        case NotNewEnough(stale=stale):
            return refusal(stale, texts)
        case Conflict(actual=actual, events=events):
            return problem(
                412,
                "The condition does not hold",
                "it was changed since you saw it: read it anew, and decide again",
                headers={} if current is None else {"ETag": etag(current, texts)},
                version=actual,
                since=[{"version": each.version, "type": each.type} for each in events],
            )
        case OtherRequest():
            return problem(
                422,
                "The Idempotency-Key was used for another request",
                "choose a new key for a new request, and send a retry just as it was sent first",
            )
        case Rejected() | NotStorable():
            return _referred(422, "It cannot be stored", why)
        case BadStreamId():
            return _referred(404, "There is nothing of that name", why)
        case Unknown(append_id=id):
            return problem(
                503,
                "It is not known whether it was stored",
                "ask again with the same Idempotency-Key: it will not be stored twice",
                headers={"Retry-After": str(RETRY_AFTER)},
                append_id=str(id),
            )
        case Stale():
            return _later("What you saw has not arrived here yet")
        case NotDecided() | StoreBusy():
            return _later("Others are changing the same")
        case StoreFull():
            return problem(507, "There is no room for more")
        case NotInToken() | WrongEpoch():
            return _referred(412, "The condition does not hold", why, "read it anew, and decide again")
        case BadCursor() | BadToken() | WrongStore():
            return _referred(
                400, "This is no token of ours", why, "pass on what was received, as it is"
            )
        case StoreError():
            return _later("The store cannot be used now")
        case _:
            raise TypeError(f"{why!r:.200} is no refusal of a store or view: answer it with `problem`")


def feed_page(
    page: FeedPage[Any],
    after: Cursor,
    limit: int,
    told: Callable[[Recorded[Any]], Any],
    path: str = "/events",
    *,
    is_public: bool = False,
) -> Response:
    """A page of the feed, for readers who keep in step with it.

    after, limit: what was asked for.
    told: what the reader is told of an event, as a JSON value; None for an event that is left out.
    path: where the next page is, in the header Link. A full page that others follow never changes, and
    may be kept for ever by its reader, or by all if it `is_public`: then caches that readers share may
    keep it too, whoever may ask them. Of the last page, the reader asks `after` its `next` again.
    """
    is_last = page.next >= page.end
    is_settled = len(page.events) >= limit and not is_last
    kept = f"{'public' if is_public else 'private'}, max-age=31536000, immutable"
    sent = {
        "Content-Type": "application/json",
        "Link": f'<{path}?after={quote(str(page.next))}&limit={limit}>; rel="next"',
        "Cache-Control": kept if is_settled else "no-cache",
    }
    body = {
        "events": [shown for event in page.events if (shown := told(event)) is not None],
        "next": str(page.next),
        "is_last": is_last,
    }
    return Response(200, sent, _json(body))


# --- pieces ---------------------------------------------------------------------------------------


def _get(headers: Mapping[str, str], name: str) -> str | None:
    """A header's value, whatever the case of its name: of several lines, one list (RFC 9110, 5.3).

    Raises Problem (431) for one that is too long.
    """
    values = [value for key, value in headers.items() if key.lower() == name]
    text = ", ".join(values)
    if len(text) > LONGEST_HEADER:
        detail = (
            f"{name} has {len(text)} characters, and at most {LONGEST_HEADER} are read: "
            "of tags, send only those of what this request is about"
        )
        raise Problem(problem(431, "A header is too long", detail), detail)
    return text if values else None


def _tags(header: str, text: str) -> Sequence[str]:
    """The entity tags of a list, be they weak or strong."""
    found: list[str] = []
    at = 0
    while at < len(text):
        part = _TAG.match(text, at)
        if part is None:
            break
        if part[1] is not None:
            found.append(part[1])
        at = part.end()
    if at < len(text) or not found:
        raise _bad(f'{header} is a list of tags, such as "abc", and not {text[:100]!r}')
    return found


def _as_sent(tag: str) -> tuple[str, ...]:
    """A tag, and what it was before a proxy marked it as that of a compressed answer."""
    plain = _COMPRESSED.sub("", tag)
    return (tag,) if plain == tag else (tag, plain)


def _tag(token: Token, texts: TokenTexts, form: str) -> str:
    """The tag of a token in a form, without its quotes."""
    if not form:
        return texts.write(token)
    if not (form.isascii() and form.isalnum()):
        raise ValueError(f"{form!r} is no form: name it with letters and digits, such as json")
    return f"{texts.write(token)}{_FORM_MARK}{form}"


def _token(tag: str, texts: TokenTexts) -> Token:
    """The token of a tag, whatever its form and its way. Raises BadToken for another text."""
    token: Token | None = None
    for text in _as_sent(tag.partition(_FORM_MARK)[0]):
        with contextlib.suppress(BadToken):
            token = texts.read(text)
            break
    if token is None:
        token = texts.read(tag)
    if len(token.versions) > MOST_STREAMS:
        raise _bad(f"a token names {len(token.versions)} streams, and {MOST_STREAMS} is the most")
    return token


def _varying(form: str) -> dict[str, str]:
    return {"Vary": "Accept"} if form else {}


def _json(value: Any) -> bytes:
    """A value as JSON. A lone half of a pair of UTF-16, which UTF-8 does not have, is escaped."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")


def _referred(status: int, title: str, why: object, detail: str = "") -> Response:
    """A problem whose reason, which may name what its reader may not see, is in the log alone.

    A reference is in both.
    """
    reference = uuid4().hex[:12]
    _log.info("%s %s: %s", reference, title, harmless(str(why)))
    return problem(status, title, detail, reference=reference)


def _bad(detail: str) -> Problem:
    return Problem(problem(400, "The request is not well formed", detail), detail)


def _later(title: str) -> Response:
    return problem(503, title, "try again in a moment", headers={"Retry-After": str(RETRY_AFTER)})
