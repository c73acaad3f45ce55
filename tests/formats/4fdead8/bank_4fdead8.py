"""The service whose runs are recorded here: its programs, operations and events.

Recordings name all of this as "bank_4fdead8:…", and find it in `sys.modules` under that name. Its
events are of a registry of their own: replay with `codec=Codec(TYPES)`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias
from uuid import UUID, uuid5

import attrs

from eventsrc import (
    EXISTS,
    NO_STREAM,
    Append,
    AppendAll,
    Command,
    Do,
    Failure,
    Fold,
    Head,
    Interpreter,
    NewId,
    Now,
    Outcome,
    Query,
    Read,
    ReadFeed,
    Recorded,
    Snapshots,
    StoreOp,
    Stream,
    StreamAppend,
    Streams,
    Success,
    Translation,
    Try,
    View,
    World,
    event,
    for_each,
    gather,
    ok,
    on,
    program,
)

try:  # where 4fdead8 has them, with which make.py runs
    from eventsrc import Condition, EventTypes, FindAppend, Opaque, serializable
except ImportError:
    from eventsrc.events.event import EventTypes, Opaque
    from eventsrc.stores.operations import Condition, FindAppend
    from eventsrc.streams.serializable import serializable

TYPES: Final = EventTypes()
FIRST: Final = EventTypes()
"""The types of the program that came before: its events are recorded in version 1."""

KEYS: Final = UUID("4fdead80-0000-4000-8000-000000000001")


@event("bank.moved", types=TYPES)
class Moved:
    amount: int
    note: str = ""


@event("bank.opened", types=FIRST)
class OpenedBefore:
    owner: str


@event("bank.opened", version=2, upcast={1: lambda old: {"owners": [old["owner"]]}}, types=TYPES)
class Opened:
    owners: list[str]
    about: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class TooLittle:
    name: str
    has: int


class Broke(Exception):
    pass


class Colour(enum.Enum):
    RED = "red"
    GREEN = 2


@attrs.frozen
class Hidden:
    """With a private field, and one that is not given."""

    _secret: str
    made: int = attrs.field(default=1, init=False)


class Handle:
    """What cannot be written."""

    def __repr__(self) -> str:
        return "a handle"


class Balance(Query[int]):
    name: str


class Pay(Command[Outcome[UUID, TooLittle]]):
    source: str
    target: str
    amount: int


class Tell(Command[Any]):
    """Something that no store does: it is answered what it tells."""

    what: Any


Bank: TypeAlias = Balance | Pay
Below: TypeAlias = StoreOp | World

accounts: Final = Streams("accounts/{name}", key=str, events=Moved | Opened)
log: Final = Stream("log", events=Moved)


def add(total: int, happened: Moved | Opened) -> int:
    return total + (happened.amount if isinstance(happened, Moved) else 0)


def add_note(seen: tuple[str, ...], happened: Moved | Opened) -> tuple[str, ...]:
    return (*seen, happened.note) if isinstance(happened, Moved) else seen


balance: Final = Fold(0, add)
kept_balance: Final = Fold(0, add, snapshots=Snapshots("balance", int))
notes: Final = Fold((), add_note, snapshots=Snapshots("notes", tuple[str, ...], every=1))


class Banking(Translation[Bank, Below]):
    """The service's operations over a store. fee: what each payment costs."""

    def __init__(self, fee: int = 0) -> None:
        self.fee = fee

    @on(Balance).program
    def balance(self, op: Balance) -> Do[StoreOp, int]:
        return (yield from accounts[op.name].get(balance)).state

    @on(Pay).program
    def pay(self, op: Pay) -> Try[Below, TooLittle, UUID]:
        id = yield from NewId()

        def decide(has: int) -> Outcome[list[Moved], TooLittle]:
            if has < op.amount:
                return Failure(TooLittle(op.source, has))
            return Success([Moved(-op.amount - self.fee, f"to {op.target}")])

        yield from ok(accounts[op.source].decide(balance, decide))
        yield from accounts[op.target].append(Moved(op.amount, f"from {op.source}"))
        return Success(id)


def bank(below: Interpreter[Any], fee: int = 0) -> Interpreter[Any]:
    """The service over a store and a world."""
    return Banking(fee).into(below) | below


# --- programs -------------------------------------------------------------------------------------


@program
def deposit(name: str, amount: int, note: str = "") -> Do[StoreOp, None]:
    yield from accounts[name].append(Moved(amount, note), metadata={"by": name, "$sealed": [1]})


def newly_opened(owner: str) -> object:
    """The event of a new account: make.py has the program of before make one of version 1."""
    return Opened([owner])


@program
def open_account(name: str) -> Do[StoreOp, Any]:
    return (yield from Append(accounts[name].id, (newly_opened(name),)))


@program
def pay_all(source: str, targets: list[str], amount: int) -> Try[Bank, TooLittle, int]:
    for target in targets:
        yield from ok(Pay(source, target, amount))
    return Success((yield from Balance(source)))


@program
def sum_of(names: list[str]) -> Do[Balance, int]:
    return sum((yield from for_each(names, Balance)))


@program
def fail(name: str) -> Do[StoreOp, None]:
    yield from accounts[name].append(Moved(1))
    raise Broke(f"{name} is broke", [name], 3)


@program
def fail_oddly(name: str) -> Do[StoreOp, None]:
    """Raises what cannot be written but for its text."""
    yield from accounts[name].head()
    raise Broke(f"{name} is broke", Handle())


@program
def told_failure(what: str) -> Do[Tell, str]:
    """Catches what an operation raises."""
    try:
        yield from Tell(what)
    except LookupError as error:
        return f"caught {error}"
    return "nothing was raised"


@program
def given(value: Any) -> Do[Tell, Any]:
    return (yield from Tell(value))


@program
def reads(name: str) -> Do[StoreOp, list[Any]]:
    """All ways to read, from both ends, with all that is to be had of an event."""
    stream = accounts[name].id
    pages = [
        (yield from Read(stream)),
        (yield from Read(stream, 1, 1)),
        (yield from Read(stream, limit=2, backwards=True)),
        (yield from Read(stream, whole=False)),
    ]
    head = yield from Head(stream)
    feed = yield from ReadFeed(limit=2)
    rest = yield from ReadFeed(feed.next, prefix="accounts/", types=frozenset({"bank.moved"}))
    missing = yield from Read(accounts["nobody"].id)
    events: list[Recorded[Any]] = [*pages[0].events, *feed.events, *rest.events]
    shown = [f"{each.stream}@{each.version} {each.type} {each.id}" for each in events]
    return [shown, pages[0], head, feed.end, missing.token]


@program
def writes(name: str) -> Do[Below, list[Any]]:
    """All ways to append, with what is answered if it cannot be."""
    stream, other = accounts[name], accounts[f"{name}'s other"]
    id = uuid5(KEYS, name)
    opened = yield from stream.append_at(NO_STREAM, Opened([name], {"$sealed": 1}))
    again = yield from stream.append_at(NO_STREAM, Opened([name]))
    once = yield from stream.append(Moved(1, "once"), append_id=id, metadata={"é": [None, 1.5]})
    twice = yield from stream.append(Moved(1, "once"), append_id=id)
    rejected = yield from Append(stream.id, (Moved(2, "another"),), append_id=id)
    at_token = yield from stream.append_at(once.token, Moved(2, "U+0000: \0"))
    all_of_them = yield from AppendAll(
        (
            StreamAppend(stream.id, (Moved(3), Moved(4)), EXISTS),
            StreamAppend(other.id, (Opened([name, "Ω"]),), NO_STREAM),
            StreamAppend(log.id, (Moved(7, "all"), Opaque("of.another", 3, "binary", b"\0\xff"))),
        ),
        (Condition(accounts["nobody"].id, 0), Condition(stream.id, EXISTS)),
        metadata={"correlation": str(id)},
    )
    conflict = yield from AppendAll((StreamAppend(other.id, (Moved(1),), 5),))
    found = yield from FindAppend(id)
    lost = yield from FindAppend(UUID(int=0))
    now = yield from Now()
    appends = [opened, again, once, twice, rejected, at_token, all_of_them, conflict, found, lost]
    return [*appends, now]


@program
def decides(name: str, amount: int) -> Do[Below, list[Any]]:
    """Decisions: one that others are faster than (see make.py), one made once, one that fails."""
    stream, id = accounts[name], uuid5(KEYS, f"decided {name}")

    def take(has: int) -> Outcome[Sequence[Moved], TooLittle]:
        return Success([Moved(-amount, "taken")]) if has >= amount else Failure(TooLittle(name, has))

    first = yield from stream.decide(balance, take, append_id=id)
    again = yield from stream.decide(balance, take, append_id=id)
    nothing = yield from stream.change(balance, lambda _: [])
    too_much = yield from stream.decide(balance, lambda has: Failure(TooLittle(name, has)))
    return [first, again, nothing, too_much]


@program
def states(name: str) -> Do[StoreOp, list[Any]]:
    """States of a fold that keeps snapshots."""
    stream = accounts[name]
    yield from stream.append(Moved(1, "noted"))
    latest = yield from stream.get(notes)
    kept = yield from stream.get(notes)
    before = yield from stream.at(notes, 1)
    history = yield from stream.history()
    return [latest, kept, before, len(history)]


@program
def side_by_side(names: list[str]) -> Do[Below, Any]:
    """Independent branches."""
    one, other = names
    both = yield from gather(accounts[one].get(balance), accounts[other].append(Moved(5, "gathered")))
    heads = yield from for_each(names, lambda name: accounts[name].head())
    return [both, heads]


@program
def level_out(one: str, other: str) -> Do[Below, list[Any]]:
    """Moves half of the difference, if nothing that was read has changed meanwhile."""
    return (yield from serializable(_leveled(one, other)))


@program
def _leveled(one: str, other: str) -> Do[Below, list[Any]]:
    has = (yield from accounts[one].get(balance)).state
    it_has = (yield from accounts[other].get(balance)).state
    half = (has - it_has) // 2
    appends = (
        StreamAppend(accounts[one].id, (Moved(-half, "leveled"),)),
        StreamAppend(accounts[other].id, (Moved(half, "leveled"),)),
    )
    return [has, it_has, (yield from AppendAll(appends))]


# --- how the runs were recorded -------------------------------------------------------------------

SECRET: Final = b"4fdead8's secret"
OPAQUE: Final = (Handle,)
"""The classes of values.jsonl whose values were left out."""


def masks(hide: Callable[[Any], Any]) -> Mapping[tuple[Any, str], Any]:
    """Those of masked.jsonl. hide: `pseudonyms(SECRET)`."""
    return {
        (Pay, "source"): hide,
        (Pay, "target"): hide,
        (pay_all, "source"): hide,
        (pay_all, "targets"): hide,
        (deposit, "name"): hide,
        (states, "name"): hide,
        (fail, "name"): hide,
        (deposit, "note"): "***",
        (Moved, "note"): "***",
    }


# --- a view that recorded programs are given ------------------------------------------------------

totals: Final[View[Any]] = View("totals", version=2, prefix="accounts/", types=TYPES)


@totals.on(Moved)
def moved(tables: Any, recorded: Recorded[Moved]) -> None:
    rows = tables["totals"]
    rows[recorded.stream] = rows.get(recorded.stream, 0) + recorded.data.amount
