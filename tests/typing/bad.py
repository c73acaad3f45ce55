"""Mistakes that both mypy --strict and pyright strict report: each on a line marked `# wrong`."""

from __future__ import annotations

from typing import NewType, assert_never

from sqlite_utils import Database

from eventsrc import (
    Command,
    Do,
    Failure,
    Fold,
    Interpreter,
    MemoryStore,
    Outcome,
    Query,
    Recorded,
    Stream,
    Streams,
    Success,
    Translation,
    Try,
    View,
    event,
    ok,
    on,
    program,
)
from eventsrc.events.positions import START
from eventsrc.following.session import Session
from eventsrc.metering import logged, metered
from eventsrc.streams.past import as_of
from tests.kits.service import (
    App,
    BadEmail,
    CountUsers,
    Full,
    InMemory,
    NameTaken,
    Save,
    User,
    UserByName,
    add_user,
)


# An operation that the program is not declared to perform.
@program
def undeclared() -> Do[CountUsers, int]:
    user = yield from UserByName("ann")  # wrong
    return 0 if user is None else 1


# A program that has a name of its own.
@program(name="renamed")
def renamed(name: str) -> Do[CountUsers, int]:
    count = yield from CountUsers()
    return len(name) + count


renamed(3)  # wrong
program(name=3)  # wrong


# `yield` where `yield from` is meant.
@program
def yielded() -> Do[CountUsers, int]:
    count: int = yield CountUsers()  # wrong
    return count


# A failure that the program is not declared to end with.
@program
def unexpected() -> Try[App, int, NameTaken]:
    number = yield from ok(Save(User("ann", "a@b")))  # wrong
    return Success(number)


# A failure in a program declared not to fail.
@program
def infallible() -> Do[App, int]:
    number = yield from ok(Save(User("ann", "a@b")))  # wrong
    return number


# The answer's type.
@program
def mistaken() -> Do[App, str]:
    count = yield from CountUsers()
    return count  # wrong


# An operation's fields, and their being frozen.
Save("ann")  # wrong
UserByName("ann").name = "bob"  # wrong

# A handler giving the wrong answer, or taking the wrong operation.
on(CountUsers).run(lambda op: "three")  # wrong
on(CountUsers).always("three")  # wrong


def find(op: UserByName) -> User | None:
    return None


on(CountUsers).run(find)  # wrong


class Wrong(Interpreter[CountUsers | UserByName]):
    @on(CountUsers)  # wrong
    def count(self, op: CountUsers) -> str:
        return "three"

    @on(UserByName)  # wrong
    def find(self, op: CountUsers) -> User | None:
        return None


# A missing handler.
partial = on(CountUsers).always(3) | on(UserByName).run(find)
partial.run(add_user("ann", "a@b"))  # wrong
whole: Interpreter[App] = partial  # wrong


# An asynchronous handler run synchronously.
async def find_remotely(op: UserByName) -> User | None:
    return None


on(UserByName).run_async(find_remotely).run(UserByName("ann"))  # wrong


# A layer over an interpreter that does not handle what it needs, or run on other operations.
class Get(Query[int]):
    key: str


class Put(Command[None]):
    key: str
    value: int


class Counting(Translation[CountUsers, Get | Put]):
    @on(CountUsers).program
    def count(self, op: CountUsers) -> Do[Get | Put, int]:
        yield from Put("asked", 1)
        return (yield from Get("users"))


Counting().into(on(Get).always(1))  # wrong


# What wraps an asynchronous interpreter, or lies over one, run synchronously; a store that is none.
async def put_remotely(op: Put) -> None: ...


remote = on(Get).always(1) | on(Put).run_async(put_remotely)
Counting().into(remote).run(CountUsers())  # wrong
metered(remote, logged()).run(Get("users"))  # wrong
on(Get).always(1).around(lambda op: op, using=remote).run(Get("users"))  # wrong
Session().noting(remote)  # wrong
as_of(remote, START)  # wrong
metered(3, logged())  # wrong
narrow: Translation[CountUsers, Get] = Counting()  # wrong


# A failure forgotten.
def refused(error: NameTaken | BadEmail | Full) -> int:
    match error:
        case NameTaken():
            return 409
        case BadEmail():
            return 400
        case _:
            assert_never(error)  # wrong


# An operation forgotten.
def describe(op: App) -> str:
    match op:
        case Save(user):
            return f"save {user.name}"
        case UserByName(name):
            return f"find {name}"
        case _:
            assert_never(op)  # wrong


# A result used as if it were its value.
def room(outcome: Outcome[int, Full]) -> int:
    return outcome + 1  # wrong


InMemory().run(3)  # wrong


# --- streams and views

UserId = NewType("UserId", str)


@event("typing.bad.name-set")
class SetName:
    id: UserId
    name: str


@event("typing.bad.email-set")
class SetEmail:
    email: str


names = Stream("names", events=SetName)
profiles = Streams("users/{id}", key=UserId, events=SetName)


def add(number: int, event: SetEmail) -> int:
    return number + len(event.email)


emails = Fold(0, add)

# An event that is not of the stream, a key that is not of the family, a field that is not of the event.
names.append(SetEmail("x"))  # wrong
names.part(SetEmail("x"))  # wrong
profiles[4]  # wrong
SetName(UserId("x"))  # wrong
SetName(UserId("x"), "y").name = "z"  # wrong

# A fold of other events, and a decision for other events.
names.get(emails)  # wrong


def wrong_events(number: int) -> Outcome[list[SetEmail], Full]:
    return Failure(Full())


def counted(number: int, event: SetName) -> int:
    return number + 1


names.decide(Fold(0, counted), wrong_events)  # wrong

# A program of store operations without the world that its retries need.
MemoryStore().run(names.change(Fold(0, counted), lambda number: [SetName(UserId("x"), "y")]))  # wrong

users: View[Database] = View("users")


@users.on(SetName)  # wrong
def set_email(db: Database, event: Recorded[SetEmail]) -> None: ...
