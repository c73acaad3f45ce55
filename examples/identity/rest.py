"""The service over HTTP: what a client has seen travels as ETags, and comes back in If-Match and Seen.

    uvicorn examples.identity.rest:app                     # events and views in identity.db
    curl -i localhost:8000/users -d '{"name": "Homer"}'

Each endpoint is a program of the service, run; `eventsrc.http` reads the headers and answers what the
store refuses. Only `refused` knows what the domain's refusals mean in HTTP.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any, Final, TypeVar

import attrs
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response as Reply
from starlette.routing import Route

from eventsrc import (
    Effect,
    EventsrcError,
    Failure,
    Interpreter,
    ReadFeed,
    Recorded,
    Success,
    Token,
    at_least,
    follow,
    force,
)
from eventsrc.http import (
    Problem,
    Response,
    answer,
    append_id,
    cursor,
    expected,
    feed_page,
    is_known,
    not_modified,
    preferences,
    problem,
    refusal,
    seen,
)
from examples.identity.app import Everything, identity
from examples.identity.events import GroupId, UserApiKeySet, UserId
from examples.identity.operations import (
    AddGroup,
    AddUser,
    BadEmail,
    Changed,
    GroupsOf,
    Join,
    NameTaken,
    NoSuchGroup,
    NoSuchUser,
    ReadUser,
    ReplaceEmail,
    SearchUsers,
)
from examples.identity.services import register
from examples.identity.views import VIEWS, groups, users
from examples.places import opened

R = TypeVar("R")

PAGE: Final = 100
"""The most events that one page of the feed has."""


def rest(where: str = "identity.db") -> Starlette:
    """The application, with its events and views at a place: see examples.places."""

    @contextlib.asynccontextmanager
    async def life(app: Starlette) -> AsyncGenerator[None]:
        with opened(where, VIEWS) as (store, views):
            app.state.identity = service = identity(store, views)
            async with asyncio.TaskGroup() as followers:
                tasks = [followers.create_task(service.run_async(follow(view))) for view in VIEWS]
                yield
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
    ]
    return Starlette(routes=routes, lifespan=life, exception_handlers={EventsrcError: refuse})


# --- users


async def add_user(request: Request) -> Reply:
    body = await body_of(request)
    name, email = body["name"], body.get("email")
    retry = append_id(request.headers, f"the user {name} with {email}")
    made = AddUser(name, retry) if email is None else register(name, email, retry)
    match await run(request, made):
        case Success(added):
            place = {"Location": f"/users/{added.user}"}
            return reply(answer({"id": added.user}, added.token, status=201, headers=place))
        case Failure(why):
            return refused(why)


async def read_user(request: Request) -> Reply:
    user = UserId(request.path_params["user"])
    state = await run(request, ReadUser(user))
    if state.name is None:
        return refused(NoSuchUser(user))
    if is_known(request.headers, state.token):
        return reply(not_modified(state.token))
    return reply(answer({"id": user, "name": state.name, "email": state.email}, state.token))


async def replace_email(request: Request) -> Reply:
    user = UserId(request.path_params["user"])
    body = await body_of(request)
    condition = expected(request.headers, is_required=True)
    if not isinstance(condition, Token):
        return reply(problem(400, "Name what you saw", "send If-Match with the ETag of the user"))
    retry = append_id(request.headers, f"email of user {user}")
    match await run(request, ReplaceEmail(user, body["email"], condition, retry)):
        case Success(token):
            if preferences(request.headers).returns == "minimal":
                return reply(answer(None, token, status=204))
            return reply(answer({"id": user, "email": body["email"]}, token))
        case Failure(Changed()):
            current = (await run(request, ReadUser(user))).token
            detail = "the user was changed since you saw it: read it anew, and decide again"
            tag = answer(None, current).headers["ETag"]
            return reply(problem(412, "The condition does not hold", detail, headers={"ETag": tag}))
        case Failure(why):
            return refused(why)


async def search_users(request: Request) -> Reply:
    found = SearchUsers(request.query_params.get("search", ""))
    token, wait = seen(request.headers), preferences(request.headers).wait
    if token is None:
        return reply(answer([attrs.asdict(user) for user in await run(request, found)]))
    match await run(request, at_least(users, token, found, within=wait or 1.0)):
        case Success(there):
            return reply(answer([attrs.asdict(user) for user in there], at_least=token))
        case Failure(late):
            return reply(refusal(late))


# --- groups


async def add_group(request: Request) -> Reply:
    match await run(request, AddGroup((await body_of(request))["name"])):
        case Success(added):
            place = {"Location": f"/groups/{added.group}"}
            return reply(answer({"id": added.group}, added.token, status=201, headers=place))
        case Failure(why):
            return refused(why)


async def join(request: Request) -> Reply:
    user, group = UserId(request.path_params["user"]), GroupId(request.path_params["group"])
    token = seen(request.headers)
    if token is not None:  # of this store, and no newer than it
        forced = await run(request, force(groups, token))
        if isinstance(forced, Failure):
            return reply(refusal(forced.failure()))
    match await run(request, Join(user, group)):
        case Success(joined):
            return reply(answer({"user": user, "group": group}, joined))
        case Failure(why):
            return refused(why)


async def groups_of(request: Request) -> Reply:
    asked = GroupsOf(UserId(request.path_params["user"]))
    token, wished = seen(request.headers), preferences(request.headers)
    if token is None:
        return reply(answer(await run(request, asked)))
    match await run(request, at_least(groups, token, asked, within=wished.wait or 1.0)):
        case Success(names):
            return reply(answer(names, at_least=token, headers=wished.applied(wait=True)))
        case Failure(late):
            return reply(refusal(late))


# --- incremental synchronisation


async def events(request: Request) -> Reply:
    after = cursor(request.query_params.get("after"))
    limit = request.query_params.get("limit", str(PAGE))
    if not limit.isdigit() or not 1 <= int(limit) <= PAGE:
        return reply(problem(400, "limit is a number", f"it is 1 to {PAGE}, and not {limit[:20]!r}"))
    page = await run(request, ReadFeed(after, int(limit)))
    return reply(feed_page(page, after, int(limit), external))


def external(event: Recorded[Any]) -> dict[str, Any]:
    """What others are told of an event. An API key is nobody's business."""
    told = {"stream": event.stream, "version": event.version, "type": event.type}
    if isinstance(event.data, UserApiKeySet):
        return {**told, "user": event.data.user}
    return {**told, **attrs.asdict(event.data)}


# --- what all of them need


async def body_of(request: Request) -> dict[str, str]:
    """The request's JSON object of texts."""
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict) or not all(isinstance(text, str) for text in body.values()):
        raise Problem(problem(400, "The body is a JSON object of texts"), "no object of texts")
    return Fields(body)


class Fields(dict[str, str]):
    """Fields of a request's body; one that is missing is a Problem."""

    def __missing__(self, name: str) -> str:
        raise Problem(problem(400, f"The body lacks {name!r}"), name)


async def run(request: Request, effect: Effect[Everything, R]) -> R:
    """Runs a program of the service."""
    service: Interpreter[Everything] = request.app.state.identity
    return await service.run_async(effect)


def refused(why: object) -> Reply:
    """What the domain's refusals mean in HTTP."""
    match why:
        case NameTaken(name=name):
            return reply(problem(409, "The name is taken", f"somebody else is called {name}"))
        case NoSuchUser() | NoSuchGroup():
            return reply(problem(404, "There is no such user or group"))
        case BadEmail(email=email):
            return reply(problem(422, "That is no email address", email))
        case _:
            return reply(refusal(why))


async def refuse(request: Request, error: Exception) -> Reply:
    """What the store refuses."""
    return reply(refusal(error))


def reply(response: Response) -> Reply:
    """The response, as Starlette sends it."""
    return Reply(response.body, response.status, dict(response.headers))


app = rest()
