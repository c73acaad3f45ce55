"""The service over HTTP: what a client has seen travels as ETags, and comes back in If-Match and Seen.

    uvicorn examples.identity.rest:app                     # events and views in identity.db
    curl -i localhost:8000/users -d '{"name": "Homer"}'

Each endpoint is a program of the service, run; `eventsrc.http` reads the headers and answers what the
store refuses. Only `refused` knows what the domain's refusals mean in HTTP.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Coroutine
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
    View,
    at_least,
    follow,
    force,
)
from eventsrc.http import (
    Problem,
    Response,
    accepted,
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
from examples.identity.services import register
from examples.identity.views import VIEWS, groups, users
from examples.places import opened

R = TypeVar("R")

PAGE: Final = 100
"""The most events that one page of the feed has."""

WITHIN: Final = 1.0
"""For how many seconds a view may become new, where the client does not say."""

KEPT: Final = 1000
"""Of how many requests that nobody waited for it is kept what came of them."""


def rest(where: str = "identity.db") -> Starlette:
    """The application, with its events and views at a place: see examples.places."""

    @contextlib.asynccontextmanager
    async def life(app: Starlette) -> AsyncGenerator[None]:
        with opened(where, VIEWS) as (store, views):
            app.state.identity = service = identity(store, views)
            async with asyncio.TaskGroup() as followers:
                tasks = [followers.create_task(service.run_async(follow(view))) for view in VIEWS]
                app.state.begun = begun = Begun()
                yield
                await begun.over()
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
    name, email = body["name"], body.get("email")
    retry = append_id(request.headers, f"the user {name} with {email}")
    wished = preferences(request.headers)
    if not wished.respond_async:
        return await added(request, name, email, retry)
    id = retry or uuid4()
    place = request.app.state.begun.begin(id, lambda: added(request, name, email, id))
    return reply(accepted(place, headers=wished.applied(respond_async=True)))


async def added(request: Request, name: str, email: str | None, retry: UUID | None) -> Reply:
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
    wished = preferences(request.headers)
    retry = append_id(request.headers, f"email of user {user}")
    match await run(request, ReplaceEmail(user, body["email"], condition, retry)):
        case Success(token):
            said = wished.applied(returns=True)
            if wished.returns == "minimal":
                return reply(answer(None, token, status=204, headers=said))
            status = 201 if condition is NO_STREAM else 200
            told = {"id": user, "email": body["email"]}
            return reply(answer(told, token, status=status, headers=said))
        case Failure(Changed()):
            current = (await run(request, ReadUser(user))).token
            detail = "the user was changed since you saw it: read it anew, and decide again"
            tag = answer(None, current).headers["ETag"]
            return reply(problem(412, "The condition does not hold", detail, headers={"ETag": tag}))
        case Failure(why):
            return refused(why)


async def search_users(request: Request) -> Reply:
    found = SearchUsers(request.query_params.get("search", ""))
    return await from_view(request, users, found, lambda all: [attrs.asdict(user) for user in all])


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
    token, wished = seen(request.headers), preferences(request.headers)
    said: dict[str, str] = {}
    if token is not None:  # of this store, and no newer than it
        forced = await run(request, force(groups, token, wished.within(WITHIN)))
        said = wished.applied(wait=True)
        if isinstance(forced, Failure):
            return reply(refusal(forced.failure()))
    match await run(request, Join(user, group)):
        case Success(joined):
            return reply(answer({"user": user, "group": group}, joined, headers=said))
        case Failure(why):
            return refused(why)


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


def external(event: Recorded[Any]) -> dict[str, Any]:
    """What others are told of an event. An API key is nobody's business."""
    told = {"stream": event.stream, "version": event.version, "type": event.type}
    if isinstance(event.data, UserApiKeySet):
        return {**told, "user": event.data.user}
    return {**told, **attrs.asdict(event.data)}


# --- requests that nobody waits for


class Begun:
    """What was begun for clients that do not wait for it, and what came of it, in this process."""

    def __init__(self) -> None:
        self._tasks: dict[UUID, asyncio.Task[Reply]] = {}

    def begin(self, id: UUID, work: Callable[[], Coroutine[Any, Any, Reply]]) -> str:
        """Begins it, unless it has begun; answers where one can ask what came of it."""
        if id not in self._tasks:
            self._tasks[id] = asyncio.create_task(settled(work()))
            done = [old for old, task in self._tasks.items() if task.done()]
            for old in done[: max(len(self._tasks) - KEPT, 0)]:
                del self._tasks[old]
        return f"/requests/{id}"

    def find(self, id: UUID) -> asyncio.Task[Reply] | None:
        """What is done about a request; None if nothing is known of it."""
        return self._tasks.get(id)

    async def over(self) -> None:
        """Waits for all of them."""
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


async def settled(work: Coroutine[Any, Any, Reply]) -> Reply:
    """What came of it, refusals of the store included."""
    try:
        return await work
    except EventsrcError as error:
        return reply(refusal(error))


async def what_came(request: Request) -> Reply:
    id: UUID = request.path_params["id"]
    task = request.app.state.begun.find(id)
    if task is None:
        return reply(problem(404, "Nothing is known of this request", "send it again, with its key"))
    return await task if task.done() else reply(accepted(request.url.path))


# --- what all of them need


async def from_view(
    request: Request,
    view: View[Any],
    query: Effect[Everything, R],
    told: Callable[[R], Any],
    folded: Effect[Everything, R] | None = None,
) -> Reply:
    """Answers from a view that is made as new as what the client has seen, if it says that.

    told: what the client is told of the query's answer, as a JSON value.
    folded: what answers if the view does not become so new in time. Without it, who is lenient is told
        what the view has, and what that has seen; others are told to come again.
    """
    token, wished = seen(request.headers), preferences(request.headers)
    if token is None:
        return reply(answer(told(await run(request, query))))
    is_lenient = wished.handling == "lenient"
    said = wished.applied(wait=True, handling=is_lenient)
    stale = query if is_lenient else None
    match await run(
        request, at_least(view, token, query, within=wished.within(WITHIN), otherwise=stale)
    ):
        case Success((found, applied)):
            return reply(answer(told(found), at_least=applied, headers=said))
        case Failure() if folded is not None:  # the streams have all that the token has
            return reply(answer(told(await run(request, folded)), at_least=token, headers=said))
        case Failure(not_new):
            return reply(refusal(not_new))


async def body_of(request: Request) -> dict[str, str]:
    """The request's JSON object of texts."""
    try:
        body = await request.json()
    except (ValueError, RecursionError):
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
