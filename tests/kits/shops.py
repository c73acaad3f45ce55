"""Services written the natural way, each with a mistake that only some schedules or faults show, and
then mended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NewType

import attrs

from eventsrc import (
    NO_STREAM,
    Append,
    AppendAll,
    Command,
    Conflict,
    Cursor,
    Do,
    Failure,
    Fold,
    Interpreter,
    Outcome,
    Program,
    Query,
    ReadFeed,
    Recorded,
    StreamAppend,
    Streams,
    Success,
    Try,
    Unknown,
    View,
    event,
    on,
    program,
)
from eventsrc.events.positions import START
from eventsrc.following.synchroniser import SyncOp, deliver
from eventsrc.programs.world import NewId
from eventsrc.stores.operations import StoreOp
from eventsrc.streams.decide import AppendFailed, DecideOp
from eventsrc.streams.serializable import SerializableOp, serializable
from eventsrc.testing._scenarios.simulation import SimulatedViews
from eventsrc.views.memory import Tables

AccountId = NewType("AccountId", str)
UserId = NewType("UserId", str)


@event("shops.deposited")
class Deposited:
    amount: int


@event("shops.withdrawn")
class Withdrawn:
    amount: int


accounts = Streams("accounts/{account}", key=AccountId, events=Deposited | Withdrawn)


def _evolve(total: int, event: Deposited | Withdrawn) -> int:
    return total + event.amount if isinstance(event, Deposited) else total - event.amount


balance = Fold(0, _evolve)


@attrs.frozen
class TooLittle:
    balance: int


@program
def balance_of(account: AccountId) -> Do[StoreOp, int]:
    return (yield from accounts[account].get(balance)).state


# --- a lost update: read, then write


@program
def withdraw_naively(account: AccountId, amount: int) -> Try[StoreOp, None, TooLittle]:
    has = yield from balance_of(account)
    if has < amount:
        return Failure(TooLittle(has))
    yield from accounts[account].append(Withdrawn(amount))
    return Success(None)


@program
def withdraw(account: AccountId, amount: int) -> Try[DecideOp, None, TooLittle]:
    def enough(has: int) -> Outcome[list[Withdrawn], TooLittle]:
        return Failure(TooLittle(has)) if has < amount else Success([Withdrawn(amount)])

    done = yield from accounts[account].decide(balance, enough)
    return done if isinstance(done, Failure) else Success(None)


# --- a double spend: what two accounts have together may be spent once


@program
def spend_naively(account: AccountId, other: AccountId, amount: int) -> Try[StoreOp, None, TooLittle]:
    own = yield from accounts[account].get(balance)
    has = own.state + (yield from balance_of(other))
    if has < amount:
        return Failure(TooLittle(has))
    done = yield from accounts[account].append_at(own.version, Withdrawn(amount))
    return Failure(TooLittle(has)) if isinstance(done, Failure) else Success(None)


def spend(
    account: AccountId, other: AccountId, amount: int
) -> Program[StoreOp | SerializableOp, Outcome[None, TooLittle]]:
    return serializable(spend_naively(account, other, amount))


# --- a user's name that is there twice: it is looked up in a view


@event("shops.user.named")
class UserNamed:
    user: UserId
    name: str


users = Streams("users/{user}", key=UserId, events=UserNamed)
reserved = Streams("names/{name}", key=str, events=UserNamed)
names: View[Tables] = View("names", prefix="users/")


@names.on(UserNamed)
def _(tables: Tables, event: Recorded[UserNamed]) -> None:
    tables["names"].setdefault(event.data.name, event.data.user)


@attrs.frozen
class NameTaken:
    name: str


class UserCalled(Query[UserId | None]):
    name: str


class Directory(Interpreter[UserCalled]):
    def __init__(self, views: SimulatedViews) -> None:
        self.views = views

    @on(UserCalled)
    def user_called(self, op: UserCalled) -> UserId | None:
        with self.views.reading(names) as tables:
            found: UserId | None = tables["names"].get(op.name)
            return found


@program
def register_naively(user: UserId, name: str) -> Try[StoreOp | UserCalled, None, NameTaken]:
    if (yield from UserCalled(name)) is not None:
        return Failure(NameTaken(name))
    yield from users[user].append(UserNamed(user, name))
    return Success(None)


@program
def register(user: UserId, name: str) -> Try[StoreOp | UserCalled, None, NameTaken]:
    named = (UserNamed(user, name),)
    parts = StreamAppend(reserved[name].id, named, NO_STREAM), StreamAppend(users[user].id, named)
    match (yield from AppendAll(parts)):
        case Success():
            return Success(None)
        case Failure(Conflict()):
            return Failure(NameTaken(name))
        case Failure(why):
            raise AppendFailed(why)


# --- an idempotency key that was forgotten: an append is tried again when its answer was lost


@program
def deposit_naively(account: AccountId, amount: int) -> Do[StoreOp, None]:
    for _ in range(3):
        match (yield from Append(accounts[account].id, (Deposited(amount),))):
            case Failure(Unknown()):
                continue
            case _:
                return


@program
def deposit(account: AccountId, amount: int) -> Do[StoreOp | NewId, None]:
    append_id = yield from NewId()
    for _ in range(3):
        match (yield from Append(accounts[account].id, (Deposited(amount),), append_id=append_id)):
            case Failure(Unknown()):
                continue
            case _:
                return


# --- views that somebody keeps by hand


totals: View[Tables] = View("totals", prefix="accounts/")


@totals.on(Deposited)
def _(tables: Tables, event: Recorded[Deposited]) -> None:
    tables["totals"][event.stream] = tables["totals"].get(event.stream, 0) + event.data.amount


class Checkpoint(Query[Cursor]):
    """How far the view has come."""


class SaveCheckpoint(Command[None]):
    cursor: Cursor


class AddToTotals(Command[None]):
    events: Sequence[Recorded[Any]]


class Totals(Query[dict[str, int]]):
    """What the view holds."""


class HandMade(Interpreter[Checkpoint | SaveCheckpoint | AddToTotals | Totals]):
    """A view whose checkpoint is kept in another place than its rows."""

    def __init__(self) -> None:
        self.cursor = START
        self.totals: dict[str, int] = {}
        self.seen: dict[str, int] = {}

    @on(Checkpoint)
    def checkpoint(self, op: Checkpoint) -> Cursor:
        return self.cursor

    @on(SaveCheckpoint)
    def save_checkpoint(self, op: SaveCheckpoint) -> None:
        self.cursor = op.cursor

    @on(AddToTotals)
    def add_to_totals(self, op: AddToTotals) -> None:
        """Ignores what it has seen, by the version of the last event of the stream."""
        for its in op.events:
            if its.version > self.seen.get(its.stream, 0):
                self.seen[its.stream] = its.version
                self.totals[its.stream] = self.totals.get(its.stream, 0) + its.data.amount

    @on(Totals)
    def what_it_holds(self, op: Totals) -> dict[str, int]:
        return dict(self.totals)


@program
def deliver_naively(version: int) -> Do[StoreOp | AddToTotals, None]:
    """A message with an event of Homer's account arrives."""
    page = yield from accounts[HOMER].read(version - 1, 1)
    yield from AddToTotals(page.events)


@program
def deliver_it(version: int) -> Do[StoreOp | SyncOp, None]:
    page = yield from accounts[HOMER].read(version - 1, 1)
    yield from deliver(totals, page.events)


@program
def follow_naively() -> Do[ReadFeed | Checkpoint | SaveCheckpoint | AddToTotals, None]:
    page = yield from ReadFeed((yield from Checkpoint()))
    yield from SaveCheckpoint(page.next)
    yield from AddToTotals(page.events)


HOMER = AccountId("homer")
MARGE = AccountId("marge")
