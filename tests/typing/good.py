"""What type checkers infer: mypy --strict and pyright strict accept every line of this file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NewType, TypeAlias, TypeVar, assert_type

import attrs
from returns.result import Result
from sqlite_utils import Database

from eventsrc import (
    Append,
    Appended,
    AsyncInterpreter,
    Conflict,
    Do,
    Effect,
    Failure,
    Fold,
    Interpreter,
    MemoryStore,
    Outcome,
    Program,
    Query,
    Recorded,
    SqliteStore,
    SqliteViews,
    StoreOp,
    Stream,
    Streams,
    Success,
    Translation,
    Try,
    View,
    World,
    attempt,
    event,
    for_each,
    gather,
    gather_all,
    ok,
    on,
    program,
    pure,
    synchronise,
    trace,
    world,
)
from eventsrc.events.positions import Cursor
from eventsrc.following.session import Session
from eventsrc.following.synchroniser import Synchronised, SyncOp
from eventsrc.metering import logged, metered
from eventsrc.postgres import AsyncPostgresStore
from eventsrc.preview import Previewed, preview, preview_async
from eventsrc.programs.trace import Trace, trace_async
from eventsrc.programs.world import Elapsed
from eventsrc.publishing import (
    CloudEvent,
    MemoryBroker,
    Publisher,
    PublishOp,
    SendOp,
    Transformer,
    publish,
    publish_once,
    retry,
)
from eventsrc.recording import RunFile, recording
from eventsrc.stores.copying import CopyOp
from eventsrc.stores.newest import newest
from eventsrc.stores.operations import EpochOp, FeedPage, NotAppended
from eventsrc.stores.tags import TagOp
from eventsrc.streams.decide import Decided
from eventsrc.streams.fold import Folded
from eventsrc.streams.past import as_of
from eventsrc.streams.remembering import remembering
from eventsrc.views.memory import MemoryViews
from eventsrc.views.operations import Parked
from tests.kits.service import (
    AddUserError,
    App,
    CountUsers,
    Full,
    InMemory,
    NameTaken,
    Save,
    User,
    UserByName,
    add_user,
    known,
)

S = TypeVar("S")
R = TypeVar("R")


# --- programs


# A call of a program function is a program; its failures are part of its result.
assert_type(add_user("a", "b"), Program[App, Success[int] | Failure[AddUserError]])


# The type of `yield from` is the operation's declared answer.
@program
def answers(flag: bool) -> Do[App, str]:
    user = yield from UserByName("ann")
    assert_type(user, User | None)
    count = yield from CountUsers()
    assert_type(count, int)
    saved = yield from Save(User("ann", "a@b"))
    assert_type(saved, Success[int] | Failure[Full])
    users = yield from known(["ann"])
    assert_type(users, list[User | None])
    a, b = yield from gather(UserByName("ann"), CountUsers())
    assert_type(a, User | None)
    assert_type(b, int)
    many = yield from gather_all([UserByName("ann"), UserByName("bob")])
    assert_type(many, list[User | None])
    each = yield from for_each(["ann"], UserByName)
    assert_type(each, list[User | None])
    text = yield from CountUsers().map(str)
    assert_type(text, str)
    if flag:
        yield from pure(None)
    while (yield from CountUsers()) < 3:
        yield from Save(User("x", "x@y"))
    return text


# A name for recordings changes no type.
class Renamed(Query[int], name="count"):
    kind: str


@program(name="counting")
def renamed(kind: str, *, twice: bool = False) -> Do[Renamed, list[Any]]:
    count = yield from Renamed(kind)
    assert_type(count, int)
    return [count]


assert_type(renamed("users", twice=True), Program[Renamed, list[Any]])


# Operations may be generic in a field.
class Load(Query[S | None], Generic[S]):
    kind: type[S]
    key: str


@program
def loads() -> Do[Load[Any], int]:
    number = yield from Load(int, "n")
    assert_type(number, int | None)
    return number or 0


# `ok` takes results, operations and programs giving results; `returns`' Result as well as its union.
@program
def steps(name: str) -> Try[App, int, NameTaken | Full]:
    given: Result[str, NameTaken] = Success(name)
    checked = yield from ok(given)
    assert_type(checked, str)
    number = yield from ok(Save(User(checked, "a@b")))
    assert_type(number, int)
    match (yield from add_user(name, "a@b")):
        case Success(value):
            assert_type(value, int)
        case Failure(error):
            assert_type(error, AddUserError)
    return Success(number)


# Combinators join the operations.
joined = CountUsers().and_then(lambda n: UserByName(str(n))).map(lambda user: user is None)
assert_type(joined, Program[CountUsers | UserByName, bool])
assert_type(CountUsers().then(pure("x")), Program[CountUsers, str])
assert_type(attempt(CountUsers(), OSError), Program[CountUsers, Success[int] | Failure[OSError]])


# Program functions may be generic, and methods.
@program
def twice(effect: Effect[App, R]) -> Do[App, tuple[R, R]]:
    first = yield from effect
    second = yield from effect
    return first, second


class Service:
    @program
    def method(self, n: int) -> Do[App, int]:
        count = yield from CountUsers()
        return count + n


assert_type(twice(CountUsers()), Program[App, tuple[int, int]])
assert_type(Service().method(1), Program[App, int])


# --- interpreters: by operation, joined, run

count = on(CountUsers).run(lambda op: 3)
find = on(UserByName).run(lambda op: User(op.name, "a@b"))
save = on(Save).always(Failure(Full()))
assert_type(count, Interpreter[CountUsers])
assert_type(count | find | save, Interpreter[CountUsers | UserByName | Save])
app: Interpreter[App] = save | (find | count)
assert_type(app.run(answers(True)), str)
assert_type(app.run(CountUsers()), int)
assert_type(app.run(add_user("a", "b")), Success[int] | Failure[AddUserError])
assert_type(InMemory().run(joined), bool)
narrower: Interpreter[CountUsers] = app  # an interpreter of more operations will do
assert_type(app.around(lambda op: op), Interpreter[Save | UserByName | CountUsers])
assert_type(trace(app, CountUsers()).outcome, Success[int] | Failure[Exception])


async def find_remotely(op: UserByName) -> User | None:
    return None


remote = on(UserByName).run_async(find_remotely)
either = on(UserByName).either(lambda op: None, find_remotely)
assert_type(remote | count, AsyncInterpreter[UserByName | CountUsers])
assert_type(count | remote, AsyncInterpreter[CountUsers | UserByName])
assert_type(either | count, Interpreter[UserByName | CountUsers])


assert_type(remote.around(lambda op: op, using=count), AsyncInterpreter[UserByName])
assert_type(find.around(lambda op: op, using=count), Interpreter[UserByName])
assert_type(find.around(lambda op: op, using=remote), AsyncInterpreter[UserByName])


async def asynchronous() -> int:
    return await (count | remote | save).run_async(Service().method(1))


# --- translations


# Operations with an Any among their types, which would make a call of overloads Any.
class Loads(Interpreter[Load[Any] | UserByName]):
    @on(Load)
    def load(self, op: Load[Any]) -> Any: ...

    @on(UserByName)
    def by_name(self, op: UserByName) -> User | None: ...


generic: Interpreter[Load[Any] | UserByName] = Loads()


def count_by_search(op: CountUsers) -> Do[UserByName, int]:
    user = yield from UserByName("ann")
    return 0 if user is None else 1


translation = on(CountUsers).expand(count_by_search)
assert_type(translation, Translation[CountUsers, UserByName])
assert_type(translation.into(find), Interpreter[CountUsers])
assert_type(translation.into(remote), AsyncInterpreter[CountUsers])
assert_type(translation.into(generic), Interpreter[CountUsers])
assert_type(translation.lower(CountUsers().map(str)), Program[UserByName, str])


# --- events, streams, folds

UserId = NewType("UserId", str)


@event("typing.name-set")
class SetName:
    id: UserId
    name: str


@event("typing.email-set")
class SetEmail:
    id: UserId
    email: str


all_users = Stream("users", events=SetName)
profiles = Streams("users/{id}/profile", key=UserId, events=SetEmail | SetName)
assert_type(all_users, Stream[SetName])
assert_type(profiles, Streams[UserId, SetEmail | SetName])
assert_type(profiles[UserId("4")], Stream[SetEmail | SetName])
assert_type(profiles.key(profiles[UserId("4")].id), UserId)


def counted(number: int, event: SetEmail | SetName) -> int:
    return number + 1


number_of = Fold(0, counted)
Lower: TypeAlias = StoreOp | World


def next_name(number: int) -> Outcome[list[SetName], NameTaken]:
    return Failure(NameTaken("x")) if number else Success([SetName(UserId("1"), "x")])


@program
def handled(id: UserId) -> Try[Lower, int, NameTaken]:
    appended = yield from profiles[id].append(SetName(id, "x"), SetEmail(id, "y"))
    assert_type(appended, Appended)
    conditional = yield from profiles[id].append_at(3, SetEmail(id, "y"))
    assert_type(conditional, Success[Appended] | Failure[Conflict])
    folded = yield from profiles[id].get(number_of)
    assert_type(folded, Folded[int])
    history = yield from all_users.history()
    assert_type(history, tuple[Recorded[SetName], ...])
    assert_type(history[0].data, SetName)
    decided = yield from ok(profiles[id].decide(number_of, next_name))
    assert_type(decided, Decided[int, SetEmail | SetName])
    changed = yield from profiles[id].change(number_of, lambda number: [SetName(id, str(number))])
    assert_type(changed, Decided[int, SetEmail | SetName])
    return Success(folded.state)


store = MemoryStore() | world
assert_type(store.run(handled(UserId("4"))), Success[int] | Failure[NameTaken])
in_file: Interpreter[Append] = SqliteStore("typing.db")


# --- views

users: View[Database] = View("users")
plain: View = View("plain")
assert_type(plain, View[Database])


@users.on(SetName)
def set_name(db: Database, event: Recorded[SetName]) -> None:
    assert_type(event.data, SetName)
    db.table("users").upsert({"id": event.data.id, "name": event.data.name}, pk="id")


views = SqliteViews("typing.db", [users])
assert_type((store | views).run(synchronise(users)), Synchronised)


# --- previews and recordings

previewed = preview(MemoryStore(), handled(UserId("4")), views={users: views})
assert_type(previewed, Previewed[Success[int] | Failure[NameTaken]])
assert_type(previewed.result, Success[int] | Failure[NameTaken])
assert_type(store.run(previewed.apply()), Success[Appended] | Failure[NotAppended] | None)


def application(lower: Interpreter[StoreOp]) -> Interpreter[StoreOp | World]:
    return lower | world


assert_type(
    preview(MemoryStore(), profiles[UserId("4")].get(number_of), app=application).result.state, int
)
recorded_runs = recording(
    MemoryStore() | world, RunFile("runs.jsonl", masks={(SetEmail, "email"): "x"})
)
assert_type(recorded_runs, Interpreter[StoreOp | EpochOp | CopyOp | TagOp | World])


# --- what wraps an interpreter gives one of the same kind

remote_app = count | remote | save
assert_type(metered(app, logged()), Interpreter[App])
assert_type(metered(remote_app, logged()), AsyncInterpreter[CountUsers | UserByName | Save])
assert_type(metered(generic, logged()), Interpreter[Load[Any] | UserByName])
assert_type(
    recording(remote_app, RunFile("runs.jsonl")), AsyncInterpreter[CountUsers | UserByName | Save]
)

assert_type(store.run(newest(prefix="users/")), FeedPage[Any])


async def with_postgres(remote_store: AsyncPostgresStore, place: Cursor) -> None:
    session = Session()
    measured = metered(session.noting(remote_store), logged())
    assert_type(measured, AsyncInterpreter[StoreOp | TagOp])
    assert_type(session.noting(MemoryStore()), Interpreter[StoreOp | TagOp])
    below = measured | world
    assert_type(below, AsyncInterpreter[StoreOp | TagOp | World])
    assert_type(session.forcing(find, users, using=store | views), Interpreter[UserByName])
    assert_type(session.forcing(remote, users, using=store | views), AsyncInterpreter[UserByName])
    assert_type(session.forcing(find, users, using=below | views), AsyncInterpreter[UserByName])
    assert_type(as_of(remote_store, place), AsyncInterpreter[StoreOp | TagOp])
    assert_type(as_of(MemoryStore(), place), Interpreter[StoreOp | TagOp])
    assert_type(remembering(remote_store), AsyncInterpreter[StoreOp | EpochOp | CopyOp | TagOp])
    assert_type(remembering(store), Interpreter[StoreOp | EpochOp | CopyOp | TagOp | World])
    traced = await trace_async(below, handled(UserId("4")))
    assert_type(traced, Trace[Success[int] | Failure[NameTaken]])
    previewed = await preview_async(remote_store, handled(UserId("4")))
    assert_type(previewed, Previewed[Success[int] | Failure[NameTaken]])


# --- publishing


@attrs.frozen
class Named:
    name: str


public = Transformer("https://typing.example")


@public.of(SetName, name="typing.named")
def named(event: Recorded[SetName]) -> Named | None:
    return Named(event.data.name)


assert_type(named, Callable[[Recorded[SetName]], Named | None])
out = Publisher("typing", public)
publishing = MemoryStore() | MemoryViews() | world | MemoryBroker()
assert_type(publish_once(out), Program[SyncOp | SendOp | Elapsed, Synchronised])
assert_type(publish(out), Program[PublishOp, None])
assert_type(publishing.run(publish_once(out)), Synchronised)
assert_type(publishing.run(retry(out)), tuple[Parked, ...])
assert_type(CloudEvent.parse(b"").data_as(Named), Named)

# --- attrs' own functions


@event("typing.framed")
@attrs.frozen
class Framed:
    number: int


assert_type(attrs.evolve(Framed(1), number=2), Framed)
assert_type(attrs.asdict(Framed(1)), dict[str, Any])
attrs.fields(Framed)
attrs.asdict(UserByName("x"))
attrs.fields(UserByName)
