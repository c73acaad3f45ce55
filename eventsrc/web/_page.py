"""The screens of the page, each as HTML and as JSON at one address."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import quote, urlencode
from uuid import UUID

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from eventsrc._errors import EventsrcError, harmless
from eventsrc.durable.runs import NoSuchRun, Runs
from eventsrc.events.epochs import WrongEpoch
from eventsrc.events.positions import START, BadCursor, Cursor
from eventsrc.events.stream_id import BadStreamId, StreamId, stored_id
from eventsrc.programs.interpreter import AsyncInterpreter
from eventsrc.programs.program import Effect
from eventsrc.stores.operations import ReadFeed, StoreError
from eventsrc.streams.fold import Fold
from eventsrc.streams.past import as_it_was
from eventsrc.views.view import View
from eventsrc.web import _looking as looking
from eventsrc.web._guard import Guard, User
from eventsrc.web._queries import Queries

LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
"""The names of this machine to itself."""

HERE: Final = Path(__file__).parent


class Wrong(Exception):
    """A request that cannot be answered: with its status, and a sentence."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


Screen: TypeAlias = Callable[["_Asked"], Awaitable[tuple[str, dict[str, Any]]]]


def page(
    app: AsyncInterpreter[Any],
    *,
    views: Iterable[View[Any]] = (),
    folds: Mapping[str, Fold[Any, Any]] | None = None,
    runs: Iterable[Runs[..., Any]] = (),
    hosts: Iterable[str] = LOOPBACK,
    user: User | None = None,
    deadline: float = 5.0,
    title: str = "eventsrc",
) -> ASGIApp:
    """An ASGI application that shows a store and its views.

    app: is asked by queries alone: Read, ReadFeed, FindAppend, LoadSnapshot, GetEpochs and, for views,
        GetProgress, GetParked and GetLive. An Interpreter is run in threads.
    views: those that are shown. folds: those by which states of streams are shown, by their names.
    runs: the durable runs that are shown.
    hosts: the names by which the page may be asked for; add those of a proxy in front of it.
    user: says who asks, and None for nobody, who is answered 401: your own login. Whoever reaches a
        page without one may look at everything.
    deadline: the seconds after which a request is answered 503.
    """
    shown = _Page(Queries(app), tuple(views), dict(folds or {}), tuple(runs), deadline, title)
    guard = Middleware(Guard, hosts=tuple(hosts), user=user)
    return Starlette(routes=shown.routes(), middleware=[guard])


class _Page:
    def __init__(
        self,
        queries: Queries,
        views: tuple[View[Any], ...],
        folds: dict[str, Fold[Any, Any]],
        runs: tuple[Runs[..., Any], ...],
        deadline: float,
        title: str,
    ) -> None:
        self.queries = queries
        self.views = views
        self.folds = folds
        self.runs = {its.name: its for its in runs}
        self.deadline = deadline
        self.title = title
        self.templates = Environment(
            loader=PackageLoader("eventsrc.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.templates.filters |= {
            "harmless": lambda value: harmless(str(value)),
            "pretty": pretty,
            "when": when,
            "segment": lambda text: quote(str(text), safe="/"),
        }

    def routes(self) -> list[Route | Mount]:
        screens: dict[str, Screen] = {
            "/": overview,
            "/streams": streams,
            "/streams/{name:path}": stream,
            "/feed": feed,
            "/events/{place}": event,
            "/correlations/{id:path}": correlation,
            "/views": views,
            "/views/{name}/{version:int}": view,
            "/runs": runs,
            "/runs/{name}/{id:path}": run,
            "/health": health,
        }
        found: list[Route | Mount] = [
            Route(path, self.showing(screen), methods=["GET"]) for path, screen in screens.items()
        ]
        static = StaticFiles(directory=HERE / "static")
        return [*found, Route("/find", self.find), Mount("/static", static, name="static")]

    def showing(self, screen: Screen) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint that answers a screen, as the client likes it."""

        async def endpoint(request: Request) -> Response:
            asked = _Asked(self, request)
            status = 200
            try:
                name, found = await screen(asked)
                status = 200 if found.get("is_well", True) else 503
            except TimeoutError:
                status = 503
                name, found = "wrong.html", {"detail": f"no answer within {self.deadline:g} seconds"}
            except Wrong as wrong:
                status, name, found = wrong.status, "wrong.html", {"detail": wrong.detail}
            except (BadStreamId, BadCursor, WrongEpoch) as error:
                status, name, found = 400, "wrong.html", {"detail": str(error)}
            except EventsrcError as error:
                kind = "the store does not answer" if isinstance(error, StoreError) else "it failed"
                status, name, found = 503, "wrong.html", {"detail": f"{kind}: {type(error).__name__}"}
            return self.answer(asked, name, found, status)

        return endpoint

    def answer(self, asked: _Asked, name: str, found: dict[str, Any], status: int) -> Response:
        headers = {"Vary": "Accept"}
        if asked.wants_json:
            return JSONResponse({**found, "as_of": asked.as_of}, status, headers)
        template = self.templates.get_template(name)
        context = {"asked": asked, "title": self.title, "status": status, "has_views": bool(self.views)}
        html = template.render(**context, **found)
        return Response(html, status, headers, media_type="text/html")

    async def find(self, request: Request) -> Response:
        """Leads to a stream, an event or a correlation, whichever a text names."""
        text = request.query_params.get("q", "").strip()
        base = request.scope.get("root_path", "")
        place = _place(text)
        if not text:
            target = "/"
        elif place is not None:
            target = f"/events/{place}"
            if isinstance(place, UUID):
                found = await self.queries.answered(looking.event(place), self.deadline)
                target = target if found else f"/correlations/{place}"
        elif "/" in text or await self._is_stream(text):
            target = f"/streams/{quote(text)}"
        else:
            target = f"/correlations/{quote(text, safe='')}"
        return RedirectResponse(base + target, 303)

    async def _is_stream(self, text: str) -> bool:
        try:
            its = looking.stream(StreamId(text), None, None, "", {})
        except BadStreamId:
            return False
        return bool((await self.queries.answered(its, self.deadline))["version"])


class _Asked:
    """A request: what it asks for, and the addresses of what it leads to."""

    def __init__(self, page: _Page, request: Request) -> None:
        self.page = page
        self.request = request
        self.parameters = request.query_params
        self.base: str = request.scope.get("root_path", "")
        self.path = request.url.path.removeprefix(self.base) or "/"
        self.as_of = self.parameters.get("as_of") or None
        accepts = request.headers.get("accept", "")
        self.wants_json = "application/json" in accepts and "text/html" not in accepts

    async def answered(self, program: Effect[Any, Any]) -> Any:
        """The result of a program, as of the time that the request names."""
        if self.as_of is not None:
            program = as_it_was(program, await self._past(self.as_of))
        return await self.page.queries.answered(program, self.page.deadline)

    async def _past(self, text: str) -> Cursor | datetime:
        if text.isascii() and text.isdigit() and len(text) < 19:
            end = (
                await self.page.queries.answered(
                    ReadFeed(START, 1, all_streams=True), self.page.deadline
                )
            ).end
            if int(text) > end.position:
                raise Wrong(400, f"the feed ends at {end.position}: {text} is yet to come")
            return Cursor(end.store_id, int(text), end.epoch) if int(text) else START
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            raise Wrong(
                400, f"as_of is a position or a time such as 2026-12-01T12:00Z: {text[:60]!r}"
            ) from None
        if time.tzinfo is None:
            raise Wrong(400, f"{text[:60]!r} has no time zone: write {text[:60]}Z for UTC")
        return time

    def number(self, name: str) -> int | None:
        """A parameter that is a number. Raises Wrong for another text."""
        text = self.parameters.get(name)
        if not text:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise Wrong(400, f"{name} is a number, and not {text[:20]!r}")
        return int(text)

    def url(self, path: str, **changes: Any) -> str:
        """An address of the page, as of the same time; a parameter that is None is left out."""
        wanted = ({"as_of": self.as_of} if self.as_of else {}) | changes
        query = urlencode({key: value for key, value in wanted.items() if value not in (None, "")})
        return f"{self.base}{path}" + (f"?{query}" if query else "")

    def same(self, **changes: Any) -> str:
        """This address with other parameters."""
        return self.url(quote(self.path), **{**dict(self.parameters), **changes})

    def to_stream(self, name: str, **more: Any) -> str:
        """The address of a stream."""
        return self.url(f"/streams/{quote(name)}", **more)

    def kept(self, *without: str) -> list[tuple[str, str]]:
        """The parameters that a form keeps."""
        return [(key, value) for key, value in self.parameters.items() if key not in without]


# --- screens


async def overview(asked: _Asked) -> tuple[str, dict[str, Any]]:
    found = await asked.answered(looking.overview())
    latest = await asked.answered(looking.streams(None, "", looks=1))
    return "overview.html", {**found, "streams": latest["streams"][:12]}


async def streams(asked: _Asked) -> tuple[str, dict[str, Any]]:
    prefix = asked.parameters.get("prefix", "")
    found = await asked.answered(looking.streams(asked.number("before"), prefix))
    return "streams.html", {**found, "prefix": prefix}


async def stream(asked: _Asked) -> tuple[str, dict[str, Any]]:
    folds = asked.page.folds
    fold = asked.parameters.get("fold", "")
    if fold and fold not in folds:
        raise Wrong(404, f"there is no fold {fold[:60]!r}: the page knows {', '.join(folds) or 'none'}")
    name = stored_id(asked.request.path_params["name"])
    program = looking.stream(name, asked.number("before"), asked.number("at"), fold, folds)
    found = await asked.answered(program)
    if not found["version"]:
        raise Wrong(404, "there is no such stream" + (" as of then" if asked.as_of else ""))
    return "stream.html", found


async def feed(asked: _Asked) -> tuple[str, dict[str, Any]]:
    prefix, kind = asked.parameters.get("prefix", ""), asked.parameters.get("type", "")
    found = await asked.answered(looking.feed(asked.number("before"), prefix, kind))
    return "feed.html", {**found, "prefix": prefix, "type": kind}


async def event(asked: _Asked) -> tuple[str, dict[str, Any]]:
    place = _place(asked.request.path_params["place"])
    if place is None:
        raise Wrong(400, "an event is named by its position, or the id of its append")
    found = await asked.answered(looking.event(place))
    if found is None:
        raise Wrong(404, "there is no such event")
    return "event.html", found


async def correlation(asked: _Asked) -> tuple[str, dict[str, Any]]:
    id = asked.request.path_params["id"]
    return "correlation.html", await asked.answered(looking.correlation(id, asked.number("before")))


async def views(asked: _Asked) -> tuple[str, dict[str, Any]]:
    return "views.html", await asked.page.queries.answered(
        looking.views(asked.page.views), asked.page.deadline
    )


async def view(asked: _Asked) -> tuple[str, dict[str, Any]]:
    name, version = asked.request.path_params["name"], asked.request.path_params["version"]
    known = next((v for v in asked.page.views if (v.name, v.version) == (name, version)), None)
    if known is None:
        raise Wrong(404, "there is no such view on this page")
    found = await asked.page.queries.answered(looking.view_of(known), asked.page.deadline)
    return "view.html", found


async def runs(asked: _Asked) -> tuple[str, dict[str, Any]]:
    return "runs.html", await asked.answered(looking.runs(asked.page.runs.values()))


async def run(asked: _Asked) -> tuple[str, dict[str, Any]]:
    known = asked.page.runs.get(asked.request.path_params["name"])
    if known is None:
        raise Wrong(404, "there are no such runs on this page")
    try:
        found = await asked.answered(looking.run_of(known, asked.request.path_params["id"]))
    except NoSuchRun:
        raise Wrong(404, "there is no such run" + (" as of then" if asked.as_of else "")) from None
    return "run.html", found


async def health(asked: _Asked) -> tuple[str, dict[str, Any]]:
    return "health.html", await asked.page.queries.answered(
        looking.health(asked.page.views), asked.page.deadline
    )


# --- texts


def _place(text: str) -> int | UUID | None:
    """The position or id that a text is, if it is one."""
    if text.isascii() and text.isdigit() and len(text) < 19 and int(text):
        return int(text)
    try:
        return UUID(text)
    except ValueError:
        return None


def pretty(value: Any) -> str:
    """A value as JSON in lines, at most so many characters of it."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    if len(text) > _MOST_SHOWN:
        text = text[:_MOST_SHOWN] + f"\n… and {len(text) - _MOST_SHOWN:,} characters more, as JSON"
    return harmless_lines(text)


def harmless_lines(text: str) -> str:
    """A text of several lines, each of them harmless."""
    return "\n".join(map(harmless, text.split("\n")))


def when(text: str | None) -> str:
    """A time in ISO format, to the millisecond, with its zone."""
    return "" if text is None else f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S.%f}"[:-3] + " UTC"


_MOST_SHOWN: Final = 100_000
