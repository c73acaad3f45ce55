"""The identity service over real HTTP: a server on a port of this machine, and its clients."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import uvicorn

from eventsrc import Sleep, Stream, Token, event
from eventsrc.http.signing import Signed
from eventsrc.publishing import CloudEvent
from eventsrc.stores.operations import MAX_PAGE
from examples import identity
from examples.identity import requests
from examples.identity import rest as application
from examples.identity.events import UserId
from examples.identity.public import UserNamed, public
from examples.identity.rest import rest
from examples.identity.views import VIEWS
from examples.places import opened

KEY = bytes(range(32))
TEXTS = Signed(KEY)


@attrs.frozen
class Told:
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: Any

    @property
    def tag(self) -> str:
        return self.headers["etag"]

    @property
    def token(self) -> Token:
        return TEXTS.read(self.tag.strip('"'))

    @property
    def seen(self) -> Token:
        return TEXTS.read(self.headers["seen"].strip('"'))


Ask = Callable[..., Told]


@contextmanager
def serving(place: Path) -> Iterator[tuple[str, int]]:
    """The service at work on a file, and its address."""
    running = uvicorn.Server(uvicorn.Config(rest(str(place), KEY), port=0, log_level="warning"))
    thread = threading.Thread(target=running.run)
    thread.start()
    end = threading.Event()
    while not running.started:
        assert thread.is_alive()
        end.wait(0.01)
    try:
        yield running.servers[0].sockets[0].getsockname()
    finally:
        running.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    with serving(tmp_path_factory.mktemp("rest") / "identity.db") as address:
        yield address


@pytest.fixture
def ask(server: tuple[str, int]) -> Iterator[Ask]:
    """Asks the server, on one connection."""
    with asking(server) as ask:
        yield ask


@pytest.fixture
def ask_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    """Asks a server whose views are as new as they are made, since nobody follows the feed."""
    monkeypatch.setattr(application, "follow", lambda _view: Sleep(3600))
    with serving(tmp_path / "identity.db") as address, asking(address) as ask:
        yield ask


@contextmanager
def asking(server: tuple[str, int], caller: str = "127.0.0.1") -> Iterator[Ask]:
    connection = http.client.HTTPConnection(*server, timeout=10, source_address=(caller, 0))

    def ask(method: str, path: str, body: Any = None, **headers: str) -> Told:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        written = body if body is None or isinstance(body, str) else json.dumps(body)
        connection.request(method, path, written, named)
        reply = connection.getresponse()
        text = reply.read()
        sent = {name.lower(): value for name, value in reply.getheaders()}
        return Told(reply.status, sent, json.loads(text) if text else None)

    try:
        yield ask
    finally:
        connection.close()


def new_user(ask: Ask, name: str) -> tuple[str, Told]:
    added = ask("POST", "/users", {"name": name, "email": f"{name.lower()}@springfield.example"})
    assert added.status == 201
    return added.body["id"], added


def test_a_user_and_a_group_are_added_and_then_the_user_to_the_group_with_both_tokens(ask: Ask) -> None:
    user, added = new_user(ask, "Homer")
    group = ask("POST", "/groups", {"name": "Simpsons"})
    assert (group.status, group.headers["location"]) == (201, f"/groups/{group.body['id']}")
    both = f"{added.tag}, {group.tag}"
    joined = ask("PUT", f"/groups/{group.body['id']}/members/{user}", Seen=both, Prefer="wait=5")
    assert (joined.status, joined.headers["preference-applied"]) == (200, "wait=5")
    there = ask("GET", f"/users/{user}/groups", Seen=f"{joined.tag}, {both}", Prefer="wait=5")
    assert (there.status, there.body) == (200, ["Simpsons"])
    assert there.headers["preference-applied"] == "wait=5"
    assert there.seen.covers(added.token)


def test_what_a_client_has_is_not_sent_again(ask: Ask) -> None:
    user, _ = new_user(ask, "Marge")
    first = ask("GET", f"/users/{user}")
    assert first.body == {"id": user, "name": "Marge", "email": "marge@springfield.example"}
    again = ask("GET", f"/users/{user}", If_None_Match=first.tag)
    assert (again.status, again.body, again.tag) == (304, None, first.tag)


def test_a_write_names_what_was_seen_and_is_refused_if_that_has_changed(ask: Ask) -> None:
    user, _ = new_user(ask, "Bart")
    seen = ask("GET", f"/users/{user}")
    path = f"/users/{user}/email"
    assert ask("PUT", path, {"email": "el@barto.example"}).status == 428
    assert ask("PUT", path, {"email": "el@barto.example"}, If_Match='"7"').status == 412
    done = ask("PUT", path, {"email": "el@barto.example"}, If_Match=seen.tag)
    assert (done.status, done.body["email"]) == (200, "el@barto.example")
    late = ask("PUT", path, {"email": "bart@school.example"}, If_Match=seen.tag)
    assert (late.status, late.headers["content-type"]) == (412, "application/problem+json")
    assert ask("PUT", path, {"email": "bart@school.example"}, If_Match=late.tag).status == 200


def test_a_write_whose_answer_was_lost_can_be_sent_again(ask: Ask) -> None:
    user, _ = new_user(ask, "Lisa")
    seen = ask("GET", f"/users/{user}")
    same = {"If_Match": seen.tag, "Idempotency_Key": "a-key-of-hers"}
    path, body = f"/users/{user}/email", {"email": "lisa@yale.example"}
    first = ask("PUT", path, body, **same)
    again = ask("PUT", path, body, **same)
    assert first.status == again.status == 200
    assert first.tag == again.tag
    without = ask("PUT", path, body, If_Match=seen.tag)
    assert without.status == 412, "without the key it is another write"
    other = ask("PUT", path, {"email": "other@yale.example"}, **same)
    assert other.status in (412, 422), "with the key of another write it is refused"


@pytest.mark.parametrize("email", [{}, {"email": "patty@dmv.example"}])
def test_a_user_is_added_once_however_often_the_request_comes(ask: Ask, email: dict[str, str]) -> None:
    body, key = {"name": f"Patty {len(email)}", **email}, f"a-key-{len(email)}"
    first = ask("POST", "/users", body, Idempotency_Key=key)
    renamed = ask("POST", "/users", {"name": f"Selma {len(email)}"}, Idempotency_Key=key)
    again = ask("POST", "/users", body, Idempotency_Key=key)
    assert (first.status, renamed.status, again.status) == (201, 422, 201)
    assert renamed.body["title"] == "The Idempotency-Key was used for another request"
    assert (again.body, again.tag) == (first.body, first.tag)
    assert ask("POST", "/users", body).status == 409, "without the key it is another request"


def test_a_key_is_good_for_its_caller_alone(ask: Ask, server: tuple[str, int]) -> None:
    same = {"Idempotency_Key": "everybody's first key"}
    with asking(server, "127.0.0.2") as other:
        mine = ask("POST", "/users", {"name": "Kang"}, **same)
        theirs = other("POST", "/users", {"name": "Kodos"}, **same)
        assert (mine.status, theirs.status) == (201, 201)
        assert mine.body != theirs.body
        begun = ask("POST", "/users", {"name": "Kang II"}, Prefer="respond-async", Idempotency_Key="b")
        assert came_of(ask, begun.headers["location"]).status == 201
        assert other("GET", begun.headers["location"]).status == 404


def test_so_many_requests_are_at_work_at_a_time_and_others_come_again(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "MOST_BEGUN", 0)
    monkeypatch.setattr(requests, "MOST_WAITING", 0)
    begun = ask("POST", "/users", {"name": "Snowball"}, Prefer="respond-async")
    assert (begun.status, begun.headers["retry-after"]) == (503, "1")
    token = ask("GET", "/users/1").tag
    assert ask("GET", "/users?search=x", Seen=token).status == 503
    assert ask("GET", "/users?search=x").status == 200, "it waits for nothing"
    monkeypatch.undo()
    assert ask("GET", "/users?search=x", Seen=token).status == 200


def test_what_came_of_requests_is_kept_for_so_many(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "KEPT", 2)
    places = []
    for number in range(4):
        begun = ask("POST", "/users", {"name": f"Snowball {number}"}, Prefer="respond-async")
        places.append(begun.headers["location"])
        assert came_of(ask, places[-1]).status == 201
    assert [ask("GET", place).status for place in places] == [404, 404, 201, 201]


def test_a_token_that_a_client_has_made_up_is_refused(ask: Ask) -> None:
    _, added = new_user(ask, "Troy")
    assert ask("GET", "/users?search=x", Seen=f'"{added.token}"').status == 400
    told = ask("PUT", "/users/1/email", {"email": "a@b.example"}, If_Match=f'"{added.token}"')
    assert told.status == 412


@event("vault.opened")
class Opened:
    code: str


def test_an_event_that_is_not_named_for_others_is_told_to_nobody(tmp_path: Path) -> None:
    with opened(str(tmp_path / "identity.db"), VIEWS) as (store, _):
        store.run(Stream("vault", events=Opened).append(Opened("12345")))
    with serving(tmp_path / "identity.db") as address, asking(address) as ask:
        new_user(ask, "Snake")
        events = ask("GET", "/events").body["events"]
    assert [event["type"] for event in events] == [
        "example.identity.user-named.v1",
        "example.identity.user-addressed.v1",
    ]


def test_what_others_are_told_is_what_they_were_promised(ask: Ask) -> None:
    public.check(Path(identity.__file__).parent / "published.json")
    user, _ = new_user(ask, "Jasper")
    page = ask("GET", "/events?limit=100").body["events"]
    came = [CloudEvent.parse(json.dumps(event)) for event in page]
    named, _ = [event for event in came if event.data.get("user") == user]
    assert named.data_as(UserNamed) == UserNamed(UserId(user), "Jasper")


def test_a_client_that_wants_no_answer_gets_none(ask: Ask) -> None:
    user, _ = new_user(ask, "Maggie")
    seen = ask("GET", f"/users/{user}")
    done = ask(
        "PUT",
        f"/users/{user}/email",
        {"email": "m@m.example"},
        If_Match=seen.tag,
        Prefer="return=minimal",
    )
    assert (done.status, done.body) == (204, None)
    assert done.headers["preference-applied"] == "return=minimal"
    assert done.tag


def test_something_is_created_if_it_is_not_there_yet_and_replaced_if_it_is(ask: Ask) -> None:
    user = ask("POST", "/users", {"name": "Ralph"}).body["id"]
    path, new, there = f"/users/{user}/email", {"If_None_Match": "*"}, {"If_Match": "*"}
    assert ask("PUT", path, {"email": "r@w.example"}, **there).status == 412
    made = ask("PUT", path, {"email": "r@w.example"}, **new)
    assert (made.status, made.body["email"]) == (201, "r@w.example")
    assert ask("PUT", path, {"email": "ralph@w.example"}, **new).status == 412
    done = ask("PUT", path, {"email": "ralph@w.example"}, **there, Prefer="return=representation")
    assert (done.status, done.headers["preference-applied"]) == (200, "return=representation")
    assert ask("GET", f"/users/{user}").body["email"] == "ralph@w.example"


def test_a_client_that_would_not_wait_asks_later_what_came_of_it(ask: Ask) -> None:
    same = {"Prefer": "respond-async", "Idempotency_Key": "a-key-of-his"}
    body = {"name": "Willie", "email": "willie@school.example"}
    begun, again = ask("POST", "/users", body, **same), ask("POST", "/users", body, **same)
    assert begun.status == again.status == 202
    assert begun.headers["preference-applied"] == "respond-async"
    place = begun.headers["location"]
    assert again.headers["location"] == place
    done = came_of(ask, place)
    assert done.status == 201
    assert ask("GET", done.headers["location"]).body["name"] == "Willie"
    without = ask("POST", "/users", body, Idempotency_Key="a-key-of-his")
    assert without.body == done.body, "it is one request, whoever waits for it"
    for refused in ({"name": "Willie"}, {"name": "Moe \ud800"}):
        place = ask("POST", "/users", refused, Prefer="respond-async").headers["location"]
        assert came_of(ask, place).status in (409, 422)
    nothing = ask("GET", "/requests/8e03978e-40d5-43dd-bc93-6894a57f9324")
    assert nothing.status == 404


def came_of(ask: Ask, place: str) -> Told:
    """What came of a request that was begun, within ten seconds."""
    pause = threading.Event()
    for _ in range(1000):
        told = ask("GET", place)
        if told.status != 202:
            return told
        pause.wait(0.01)
    pytest.fail("it is not over after ten seconds")


def test_a_search_sees_what_its_client_has_written(ask: Ask) -> None:
    _, added = new_user(ask, "Ned")
    found = ask("GET", "/users?search=ned", Seen=added.tag)
    assert [user["name"] for user in found.body] == ["Ned"]
    assert found.seen.covers(added.token)
    assert "etag" not in found.headers


def test_an_answer_from_a_view_says_what_the_view_has_and_not_what_its_client_knew(ask: Ask) -> None:
    _, before = new_user(ask, "Todd")
    new_user(ask, "Rod")
    assert ask("GET", "/users?search=rod", Seen=ask("GET", "/users/1").tag).status == 200
    found = ask("GET", "/users?search=rod", Seen=before.tag, Prefer="wait=3")
    assert found.headers["preference-applied"] == "wait=3"
    assert found.seen["users"] > before.token["users"]


def test_a_view_that_is_late_is_refused_unless_the_client_is_lenient(ask_behind: Ask) -> None:
    ask = ask_behind
    _, homer = new_user(ask, "Homer")
    assert ask("GET", "/users?search=springfield").body == [], "nobody has asked for more"
    assert len(ask("GET", "/users?search=springfield", Seen=homer.tag).body) == 1
    _, marge = new_user(ask, "Marge")
    late = ask("GET", "/users?search=springfield", Seen=marge.tag, Prefer="wait=0")
    assert (late.status, "retry-after" in late.headers) == (503, True)
    stale = ask("GET", "/users?search=springfield", Seen=marge.tag, Prefer="wait=0, handling=lenient")
    assert (stale.status, len(stale.body)) == (200, 1)
    assert stale.headers["preference-applied"] == "wait=0, handling=lenient"
    assert not stale.seen.covers(marge.token)
    assert stale.seen["users"] == homer.token["users"]
    assert len(ask("GET", "/users?search=springfield", Seen=marge.tag).body) == 2


def test_where_a_view_is_late_the_events_themselves_answer(ask_behind: Ask) -> None:
    ask = ask_behind
    user, added = new_user(ask, "Homer")
    group = ask("POST", "/groups", {"name": "Simpsons"})
    path = f"/groups/{group.body['id']}/members/{user}"
    late = ask("PUT", path, Seen=group.tag, Prefer="wait=0")
    assert late.status == 503
    joined = ask("PUT", path)
    both = f"{added.tag}, {joined.tag}"
    folded = ask("GET", f"/users/{user}/groups", Seen=both, Prefer="wait=0")
    assert (folded.status, folded.body) == (200, ["Simpsons"])
    assert folded.seen.covers(joined.token)
    assert ask("GET", f"/users/{user}/groups").body == [], "the view has not heard of it"


def test_the_tag_of_another_user_is_no_condition(ask: Ask) -> None:
    one, _ = new_user(ask, "Patty")
    _, other = new_user(ask, "Selma")
    told = ask("PUT", f"/users/{one}/email", {"email": "s@bouvier.example"}, If_Match=other.tag)
    assert told.status == 412


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("GET", "/users/999", None, {}, 404),
        ("POST", "/users", {"name": "Moe", "email": "none"}, {}, 422),
        ("POST", "/users", {"surname": "Moe"}, {}, 400),
        ("POST", "/users", ["Moe"], {}, 400),
        ("GET", "/users?search=x", None, {"Seen": '"made up"'}, 400),
        ("GET", "/events?after=made+up", None, {}, 400),
        ("GET", "/events?limit=0", None, {}, 400),
        ("GET", "/events?limit=%C2%B2", None, {}, 400),
        ("GET", "/events?limit=" + "9" * 5000, None, {}, 400),
        ("GET", f"/events?limit={MAX_PAGE}", None, {}, 400),
        ("POST", "/users", "[" * 10_000, {}, 400),
        ("POST", "/users", "[" * 100_000, {}, 413),
        ("GET", "/users?search=" + "x" * 201, None, {}, 400),
        ("POST", "/users", {"name": "Moe", "email": "\ud800"}, {}, 422),
        ("POST", "/users", {"name": "Moe \ud800"}, {"Idempotency-Key": "a"}, 422),
        ("GET", "/users?search=x", None, {"Prefer": "a" * 9000}, 431),
        ("GET", "/users?search=x", None, {"Seen": '"a"' + " " * 8000 + "x"}, 400),
        ("PUT", "/groups/9/members/9", None, {}, 404),
        ("GET", "/users/%00", None, {}, 404),
        ("POST", "/users", {"name": "Moe \ud800"}, {}, 422),
    ],
)
def test_what_is_refused_says_why(
    ask: Ask, method: str, path: str, body: Any, headers: dict[str, str], status: int
) -> None:
    told = ask(method, path, body, **headers)
    assert told.status == status
    assert told.headers["content-type"] == "application/problem+json"
    assert told.body["status"] == status
    assert told.body["title"]


def test_a_name_that_is_taken_is_a_conflict_of_the_domain(ask: Ask) -> None:
    new_user(ask, "Apu")
    taken = ask("POST", "/users", {"name": "Apu"})
    assert (taken.status, taken.body["title"]) == (409, "The name is taken")


def test_tokens_of_another_store_are_refused(ask: Ask) -> None:
    foreign = Token("elsewhere", {"users": 1})  # type: ignore[dict-item]
    told = ask("GET", "/users?search=x", Seen=f'"{TEXTS.write(foreign)}"')
    assert (told.status, told.body["title"]) == (400, "This is no token of ours")


def test_a_client_keeps_in_step_with_the_events(ask: Ask) -> None:
    """What a client knows after each round is what it was told so far, none twice and none missing."""
    known: list[tuple[str, str]] = []
    after = ""

    def catch_up(after: str) -> str:
        while True:
            page = ask("GET", f"/events?limit=3&after={after}")
            known.extend((event["subject"], event["sequence"]) for event in page.body["events"])
            is_settled = not page.body["is_last"]
            assert ("immutable" in page.headers["cache-control"]) == is_settled
            after = page.body["next"]
            if page.body["is_last"]:
                return after

    after = catch_up(after)
    before = len(known)
    new_user(ask, "Otto")
    after = catch_up(after)
    assert len(known) == before + 2
    assert len(set(known)) == len(known)
    everything = ask("GET", "/events?limit=100").body["events"]
    assert known == [(event["subject"], event["sequence"]) for event in everything]


def test_the_place_that_the_module_names_is_a_file_where_it_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    from starlette.routing import Route

    routes = {route.path for route in rest().routes if isinstance(route, Route)}
    assert {"/users", "/groups", "/events"} <= routes
    assert not list(tmp_path.iterdir()), "it is opened when it starts"
