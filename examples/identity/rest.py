"""The service over HTTP: what a client has seen travels as ETags, and comes back in If-Match and Seen.

    uvicorn examples.identity.rest:app                     # events and views in identity.db
    curl -i localhost:8000/users -d '{"name": "Homer"}'

Each endpoint is a program of the service, run; `eventsrc.http` reads the headers and answers what the
store refuses. Only `refused` knows what the domain's refusals mean in HTTP.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final, TypeVar
from uuid import UUID, uuid4

import attrs
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response as Reply
from starlette.routing import Route

from eventsrc import (
    NO_STREAM,
    Effect,
    EventsrcError,
    Failure,
    Interpreter,
    ReadFeed,
    Recorded,
    Success,
    Token,
    View,
    at_least,
    follow,
    force,
)
from eventsrc.http import (
    Problem,
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
from eventsrc.http.signing import Signed
from examples.identity.app import Everything, identity
from examples.identity.events import GroupId, UserId
from examples.identity.operations import (
    AddGroup,
    AddUser,
    BadEmail,
    Changed,
    GroupsNow,
    GroupsOf,
    Join,
    NameTaken,
    NoSuchGroup,
    NoSuchUser,
    ReadUser,
    ReplaceEmail,
    SearchUsers,
)
from examples.identity.public import public
from examples.identity.requests import (
    LONGEST_SEARCH,
    LONGEST_WAIT,
    Rooms,
    body_of,
    caller,
    key_of_tokens,
    reply,
)
from examples.identity.services import register
from examples.identity.views import VIEWS, groups, users
from examples.places import opened

R = TypeVar("R")

PAGE: Final = 100
"""The most events that one page of the feed has."""

WITHIN: Final = 1.0
"""For how many seconds a view may become new, where the client does not say."""


def rest(where: str = "identity.db", key: bytes | None = None) -> Starlette:
    """The application, with its events and views at a place: see examples.places.

    key: with which tokens are signed; of the environment, if not given: see requests.KEY.
    """

    @contextlib.asynccontextmanager
    async def life(app: Starlette) -> AsyncGenerator[None]:
        with opened(where, VIEWS) as (store, views):
            app.state.identity = service = identity(store, views)
            app.state.texts = Signed(key or key_of_tokens())
            async with asyncio.TaskGroup() as followers:
                tasks = [followers.create_task(service.run_async(follow(view))) for view in VIEWS]
                app.state.rooms = rooms = Rooms()
                yield
                await rooms.over()
                for task in tasks:
                    task.cancel()

    routes = [
        Route("/users", add_user, methods=["POST"]),
        Route("/users", search_users),
        Route("/users/{user}", read_user),
        Route("/users/{user}/email", replace_email, methods=["PUT"]),
        Route("/users/{user}/groups", groups_of),
        Route("/groups", add_group, methods=["POST"]),
        Route("/groups/{group}/members/{user}", join, methods=["PUT"]),
        Route("/events", events),
        Route("/requests/{id:uuid}", what_came),
    ]
    return Starlette(routes=routes, lifespan=life, exception_handlers={EventsrcError: refuse})


# --- users


async def add_user(request: Request) -> Reply:
    body = await body_of(request)
    said = fields_of(body)
    name, email = said["name"], said.get("email")
    retry = append_id(request.headers, f"{caller(request)} adds a user")
    wished = preferences(request.headers, longest_wait=LONGEST_WAIT)
    if not wished.respond_async:
        return await added(request, name, email, retry, body)
    id = retry or uuid4()
    work = lambda: added(request, name, email, id, body)  # noqa: E731
    request.app.state.rooms.begin(caller(request), id, work)
    return reply(accepted(f"/requests/{id}", headers=wished.applied(respond_async=True)))


async def added(
    request: Request, name: str, email: str | None, retry: UUID | None, body: bytes
) -> Reply:
    asked = None if retry is None else body
    made = AddUser(name, retry, asked) if email is None else register(name, email, retry, asked)
    match await run(request, made):
        case Success(added):
            place = {"Location": f"/users/{added.user}"}
            return told(request, {"id": added.user}, added.token, status=201, headers=place)
        case Failure(why):
            return refused(request, why)


async def read_user(request: Request) -> Reply:
    user = UserId(request.path_params["user"])
    state = await run(request, ReadUser(user))
    if state.name is None:
        return refused(request, NoSuchUser(user))
    if is_known(request.headers, state.token, texts_of(request)):
        return reply(not_modified(state.token, texts_of(request)))
    return told(request, {"id": user, "name": state.name, "email": state.email}, state.token)


async def replace_email(request: Request) -> Reply:
    user = UserId(request.path_params["user"])
    email = fields_of(await body_of(request))["email"]
    condition = expected(request.headers, texts_of(request), is_required=True)
    wished = preferences(request.headers)
    retry = append_id(request.headers, f"{caller(request)} replaces the email of {user}")
    match await run(request, ReplaceEmail(user, email, condition, retry)):
        case Success(token):
            said = wished.applied(returns=True)
            if wished.returns == "minimal":
                return told(request, None, token, status=204, headers=said)
            status = 201 if condition is NO_STREAM else 200
            return told(request, {"id": user, "email": email}, token, status=status, headers=said)
        case Failure(Changed()):
            current = (await run(request, ReadUser(user))).token
            detail = "the user was changed since you saw it: read it anew, and decide again"
            tag = {"ETag": etag(current, texts_of(request))}
            return reply(problem(412, "The condition does not hold", detail, headers=tag))
        case Failure(why):
            return refused(request, why)


async def search_users(request: Request) -> Reply:
    text = request.query_params.get("search", "")
    if len(text) > LONGEST_SEARCH:
        return reply(problem(400, f"A search has at most {LONGEST_SEARCH} characters"))
    return await from_view(
        request, users, SearchUsers(text), lambda all: [attrs.asdict(user) for user in all]
    )


# --- groups


async def add_group(request: Request) -> Reply:
    name = fields_of(await body_of(request))["name"]
    match await run(request, AddGroup(name)):
        case Success(added):
            place = {"Location": f"/groups/{added.group}"}
            return told(request, {"id": added.group}, added.token, status=201, headers=place)
        case Failure(why):
            return refused(request, why)


async def join(request: Request) -> Reply:
    user, group = UserId(request.path_params["user"]), GroupId(request.path_params["group"])
    token = seen(request.headers, texts_of(request))
    wished = preferences(request.headers, longest_wait=LONGEST_WAIT)
    said: dict[str, str] = {}
    if token is not None:  # of this store, and no newer than it
        with request.app.state.rooms.waiting():
            forced = await run(request, force(groups, token, wished.within(WITHIN)))
        said = wished.applied(wait=True)
        if isinstance(forced, Failure):
            return refused(request, forced.failure())
    match await run(request, Join(user, group)):
        case Success(joined):
            return told(request, {"user": user, "group": group}, joined, headers=said)
        case Failure(why):
            return refused(request, why)


async def groups_of(request: Request) -> Reply:
    user = UserId(request.path_params["user"])
    return await from_view(request, groups, GroupsOf(user), list, folded=GroupsNow(user))


# --- incremental synchronisation


async def events(request: Request) -> Reply:
    after = cursor(request.query_params.get("after"))
    limit = request.query_params.get("limit", str(PAGE))
    if not (limit.isascii() and limit.isdigit() and len(limit) < 9 and 1 <= int(limit) <= PAGE):
        return reply(problem(400, "limit is a number", f"it is 1 to {PAGE}, and not {limit[:20]!r}"))
    page = await run(request, ReadFeed(after, int(limit)))
    return reply(feed_page(page, after, int(limit), external))


def external(event: Recorded[Any]) -> dict[str, Any] | None:
    """What others are told of an event; None for one that is not for them."""
    made = public.transform(event)
    return None if made is None else made.to_dict()


# --- requests that nobody waits for


async def what_came(request: Request) -> Reply:
    id: UUID = request.path_params["id"]
    task = request.app.state.rooms.find(caller(request), id)
    if task is None:
        return reply(problem(404, "Nothing is known of this request", "send it again, with its key"))
    return await task if task.done() else reply(accepted(request.url.path))


# --- what all of them need


async def from_view(
    request: Request,
    view: View[Any],
    query: Effect[Everything, R],
    shown: Callable[[R], Any],
    folded: Effect[Everything, R] | None = None,
) -> Reply:
    """Answers from a view that is made as new as what the client has seen, if it says that.

    shown: makes a JSON value of the query's answer.
    folded: what answers if the view does not become so new in time. Without it, who is lenient is told
        what the view has, and what that has seen; others are told to come again.
    """
    token = seen(request.headers, texts_of(request))
    wished = preferences(request.headers, longest_wait=LONGEST_WAIT)
    if token is None:
        return told(request, shown(await run(request, query)))
    is_lenient = wished.handling == "lenient"
    said = wished.applied(wait=True, handling=is_lenient)
    stale = query if is_lenient else None
    asked = at_least(view, token, query, within=wished.within(WITHIN), otherwise=stale)
    with request.app.state.rooms.waiting():
        outcome = await run(request, asked)
    match outcome:
        case Success((found, applied)):
            return told(request, shown(found), at_least=applied, headers=said)
        case Failure() if folded is not None:  # the streams have all that the token has
            return told(request, shown(await run(request, folded)), at_least=token, headers=said)
        case Failure(not_new):
            return refused(request, not_new)


def fields_of(body: bytes) -> dict[str, str]:
    """A request's JSON object of texts."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or not all(isinstance(text, str) for text in fields.values()):
        raise Problem(problem(400, "The body is a JSON object of texts"), "no object of texts")
    return Fields(fields)


class Fields(dict[str, str]):
    """Fields of a request's body; one that is missing is a Problem."""

    def __missing__(self, name: str) -> str:
        raise Problem(problem(400, f"The body lacks {name!r}"), name)


async def run(request: Request, effect: Effect[Everything, R]) -> R:
    """Runs a program of the service."""
    service: Interpreter[Everything] = request.app.state.identity
    return await service.run_async(effect)


def told(
    request: Request,
    value: Any,
    token: Token | None = None,
    *,
    at_least: Token | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """A value, with tokens that are signed: see `eventsrc.http.answer`."""
    texts = texts_of(request)
    return reply(answer(value, token, at_least=at_least, status=status, texts=texts, headers=headers))


def refused(request: Request, why: object) -> Reply:
    """What the domain's refusals mean in HTTP."""
    match why:
        case NameTaken(name=name):
            return reply(problem(409, "The name is taken", f"somebody else is called {name}"))
        case NoSuchUser() | NoSuchGroup():
            return reply(problem(404, "There is no such user or group"))
        case BadEmail(email=email):
            return reply(problem(422, "That is no email address", email))
        case _:
            return reply(refusal(why, texts_of(request)))


async def refuse(request: Request, error: Exception) -> Reply:
    """What the store refuses."""
    return reply(refusal(error, texts_of(request)))


def texts_of(request: Request) -> Signed:
    """The texts of tokens, of which a client can make up none."""
    texts: Signed = request.app.state.texts
    return texts


app = rest()
