"""HTTP: what a request says about versions, and how outcomes are answered.

Nothing here knows a web framework. Functions take the headers of a request, as any mapping of names to
texts, and answer values of this library; what is to be sent is a `Response`: status, headers, body.

    If-Match, If-None-Match     the condition of a write, or whether a reader's copy is still good
    Seen                        tokens: a view must be at least that new, or an answer from one is
                                (a header of this library)
    Prefer                      wait=, return=, respond-async
    Idempotency-Key             the id of an append, which makes a retry safe
    ETag                        the token of an answer

(RFC 9110 for conditional requests, RFC 7240 for Prefer, RFC 9457 for problems, and the draft
"Idempotency-Key" of the IETF's httpapi group. A domain's refusals are its own: see `problem`.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID, uuid5

import attrs

from eventsrc.decide import AppendFailed, NotDecided
from eventsrc.errors import EventsrcError
from eventsrc.exact import NotStorable
from eventsrc.positions import START, BadToken, Cursor, NotInToken, Token, WrongStore
from eventsrc.recorded import Recorded
from eventsrc.session import NotNewEnough
from eventsrc.signing import Plain, TokenTexts
from eventsrc.store import (
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
from eventsrc.stream_id import BadStreamId
from eventsrc.synchroniser import Late

PLAIN: Final = Plain()
"""Tokens as they are, without a signature."""

RETRY_AFTER: Final = 1
"""After how many seconds one may try again what could not be done."""

_KEYS: Final = UUID("6f1b6a0e-3e0a-5d5e-9a35-4f4f1f1f8a10")
_TAG: Final = re.compile(r'[ \t]*(?:(W/)?"([\x21\x23-\x7e\x80-\xff]*)")?[ \t]*(?:,|$)')
_PREFERENCE: Final = re.compile(
    r"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*(?:=[ \t]*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,;\"]*)))?"
    r"[^,\"]*(?:\"[^\"]*\"[^,\"]*)*(?:,|$)"
)


# --- answers --------------------------------------------------------------------------------------


@attrs.frozen
class Response:
    """What is to be sent."""

    status: int
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    body: bytes = b""


class Problem(EventsrcError):
    """A request cannot be answered as it is: `response` says so in the form of RFC 9457."""

    def __init__(self, response: Response, detail: str) -> None:
        super().__init__(detail)
        self.response = response


def etag(token: Token, texts: TokenTexts = PLAIN) -> str:
    """The strong entity tag of a token."""
    return f'"{texts.write(token)}"'


def answer(
    value: Any,
    token: Token | None = None,
    *,
    at_least: Token | None = None,
    status: int = 200,
    texts: TokenTexts = PLAIN,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A value as JSON, with the token of what it was made of.

    token: of the streams that it was made of, and of nothing else: the ETag.
    at_least: what a view had seen that it was made of, for the header Seen. It is no ETag, since the
        view may have seen more.
    Caches may keep it, and must ask before they use it again. For a status 204 there is no body.
    """
    sent = {"Cache-Control": "no-cache"}
    if token is not None:
        sent["ETag"] = etag(token, texts)
    if at_least is not None:
        sent["Seen"] = etag(at_least, texts)
    body = b""
    if status != 204:
        sent["Content-Type"] = "application/json"
        body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(status, sent | dict(headers or {}), body)


def not_modified(token: Token, texts: TokenTexts = PLAIN) -> Response:
    """What the reader has is still good."""
    return Response(304, {"ETag": etag(token, texts), "Cache-Control": "no-cache"})


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
    return Response(
        status,
        sent | dict(headers or {}),
        json.dumps(body | more, ensure_ascii=False, separators=(",", ":")).encode(),
    )


# --- what a request says --------------------------------------------------------------------------


def expected(
    headers: Mapping[str, str], texts: TokenTexts = PLAIN, *, is_required: bool = False
) -> Expected:
    """The condition of a write: of If-Match a token or EXISTS, of If-None-Match NO_STREAM, else ANY.

    is_required: whether a request without a condition is a Problem (428).
    Raises Problem: 412 for a tag that no token of ours has, which matches nothing, and 400 for what
    cannot be the condition of a write, such as several tags.
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
    ((is_weak, tag),) = tags
    try:
        if not is_weak:
            return texts.read(tag)
    except BadToken:
        pass
    detail = "the tag in If-Match is none of ours, and so matches nothing: read anew and use that ETag"
    raise Problem(problem(412, "The condition does not hold", detail), detail)


def is_known(headers: Mapping[str, str], token: Token, texts: TokenTexts = PLAIN) -> bool:
    """Whether a reader says, in If-None-Match, that it has this already: then send `not_modified`.

    Raises Problem (400) for a header that is not well formed.
    """
    text = _get(headers, "if-none-match")
    if text is None:
        return False
    if text.strip() == "*":
        return True
    return texts.write(token) in [tag for _, tag in _tags("If-None-Match", text)]


def seen(headers: Mapping[str, str], texts: TokenTexts = PLAIN) -> Token | None:
    """What the sender has seen, of all tags in the header Seen; None if there is no such header.

    Raises Problem (400) for a header that is not well formed, or tags of several stores.
    """
    text = _get(headers, "seen")
    if text is None:
        return None
    try:
        tokens = [texts.read(tag) for _, tag in _tags("Seen", text)]
        merged = tokens[0]
        for token in tokens[1:]:
            merged |= token
    except (BadToken, WrongStore) as error:
        raise _bad(f"Seen: {error}") from error
    return merged


@attrs.frozen
class Preferences:
    """What a sender would like (Prefer)."""

    wait: float | None = None
    """For how many seconds it would wait."""
    returns: str | None = None
    """"minimal" or "representation": what a write should answer."""
    respond_async: bool = False
    """Whether it would rather be told at once that the work has begun."""

    def applied(self, *, wait: bool = False, returns: bool = False) -> dict[str, str]:
        """The header that says which of them were applied."""
        parts = [f"wait={self.wait:g}"] if wait and self.wait is not None else []
        parts += [f"return={self.returns}"] if returns and self.returns is not None else []
        return {"Preference-Applied": ", ".join(parts)} if parts else {}


def preferences(headers: Mapping[str, str], *, longest_wait: float = 30.0) -> Preferences:
    """What the sender would like. What is not understood is left out, as RFC 7240 wants it.

    longest_wait: a longer wait is cut to so many seconds.
    """
    text = _get(headers, "prefer") or ""
    found: dict[str, str] = {}
    for part in _PREFERENCE.finditer(text):
        name, quoted, plain = part.groups()
        found.setdefault(name.lower(), quoted if quoted is not None else plain or "")
    wait = found.get("wait", "")
    returns = found.get("return", "").lower()
    return Preferences(
        min(float(wait), longest_wait) if wait.isascii() and wait.isdigit() else None,
        returns if returns in ("minimal", "representation") else None,
        "respond-async" in found,
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
    return uuid5(_KEYS, f"{len(scope)} {scope} {key}")


def cursor(text: str | None) -> Cursor:
    """The place that a reader of the feed goes on from (`?after=`): the beginning if there is none.

    Raises Problem (400) for another text.
    """
    if not text:
        return START
    try:
        return Cursor.parse(text)
    except BadToken as error:
        raise _bad(str(error)) from error


# --- how outcomes are answered --------------------------------------------------------------------


def refusal(why: object, texts: TokenTexts = PLAIN, *, current: Token | None = None) -> Response:
    """The response to what a store or view did not do: a failure's value, or an error of this library.

    current: what a sender whose condition did not hold should have seen.
    Raises TypeError for anything else: what a domain refuses, the domain says (`problem`).
    """
    match why:
        case Problem(response=response):
            return response
        case AppendFailed(why=inner) | NotDecided(why=inner) if not isinstance(inner, Conflict):
            return refusal(inner, texts)
        case NotNewEnough(late=late):
            return refusal(late, texts)
        case Conflict(actual=actual, events=events):
            return problem(
                412,
                "The condition does not hold",
                "it was changed since you saw it: read it anew, and decide again",
                headers={} if current is None else {"ETag": etag(current, texts)},
                version=actual,
                since=[{"version": each.version, "type": each.type} for each in events],
            )
        case Rejected(reason=reason):
            return problem(422, "It cannot be stored", reason)
        case NotStorable():
            return problem(422, "It cannot be stored", str(why))
        case BadStreamId():
            return problem(404, "There is nothing of that name", str(why))
        case Unknown(append_id=id):
            return problem(
                503,
                "It is not known whether it was stored",
                "ask again with the same Idempotency-Key: it will not be stored twice",
                headers={"Retry-After": str(RETRY_AFTER)},
                append_id=str(id),
            )
        case Late():
            return _later("What you saw has not arrived here yet")
        case NotDecided() | StoreBusy():
            return _later("Others are changing the same")
        case StoreFull():
            return problem(507, "There is no room for more")
        case NotInToken():
            return problem(412, "The condition does not hold", str(why))
        case BadToken() | WrongStore():
            return problem(400, "This is no token of ours", str(why))
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

    after, limit: what was asked for. told: what the reader is told of an event, as a JSON value.
    path: where the next page is, in the header Link. A full page that others follow never changes, and
    may be kept for ever by its reader, or by all if it `is_public`: then caches that readers share may
    keep it too, whoever may ask them. Of the last page, the reader asks `after` its `next` again.
    """
    is_last = page.next >= page.end
    is_settled = len(page.events) >= limit and not is_last
    kept = f"{'public' if is_public else 'private'}, max-age=31536000, immutable"
    sent = {
        "Content-Type": "application/json",
        "Link": f'<{path}?after={page.next}&limit={limit}>; rel="next"',
        "Cache-Control": kept if is_settled else "no-cache",
    }
    body = {
        "events": [told(event) for event in page.events],
        "next": str(page.next),
        "is_last": is_last,
    }
    return Response(200, sent, json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode())


# --- pieces ---------------------------------------------------------------------------------------


def _get(headers: Mapping[str, str], name: str) -> str | None:
    """A header's value, whatever the case of its name: of several lines, one list (RFC 9110, 5.3)."""
    values = [value for key, value in headers.items() if key.lower() == name]
    return ", ".join(values) if values else None


def _tags(header: str, text: str) -> Sequence[tuple[bool, str]]:
    """The entity tags of a list, and whether each is weak."""
    found: list[tuple[bool, str]] = []
    at = 0
    while at < len(text):
        part = _TAG.match(text, at)
        if part is None:
            break
        if part[2] is not None:
            found.append((part[1] is not None, part[2]))
        at = part.end()
    if at < len(text) or not found:
        raise _bad(f'{header} is a list of tags, such as "abc", and not {text[:100]!r}')
    return found


def _bad(detail: str) -> Problem:
    return Problem(problem(400, "The request is not well formed", detail), detail)


def _later(title: str) -> Response:
    return problem(503, title, "try again in a moment", headers={"Retry-After": str(RETRY_AFTER)})
