"""The events, streams, folds and views of the stores here: what make.py writes, and what readers need.

Three programs, one after the other, wrote the stores. `FIRST` and `SECOND` are the event types of the
two older ones, `TYPES` those of the newest, which is the one that reads. Registries of their own keep
all of them out of the way of other tests. Import this module under its own name: annotations are looked
up in `sys.modules`.
"""

from __future__ import annotations

import datetime as dt
import enum
import os
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, NewType
from uuid import UUID, uuid5

import attrs

from eventsrc import Fold, Recorded, Snapshots, StreamId, Streams, View, event

try:  # where 4fdead8 has them, with which make.py runs
    from eventsrc import EventTypes, Opaque
except ImportError:
    from eventsrc.events.event import EventTypes, Opaque

FIRST: Final = EventTypes()
SECOND: Final = EventTypes()
TYPES: Final = EventTypes()

NAMES: Final = UUID("4fdead80-0000-4000-8000-000000000000")
"""The namespace of the ids here: `id_of("x")` is the same each time."""


def id_of(text: str) -> UUID:
    return uuid5(NAMES, text)


# --- events ---------------------------------------------------------------------------------------


@attrs.frozen
class Money:
    amount: Decimal
    currency: Literal["EUR", "CHF"]


@event("shop.placed", types=FIRST)
class PlacedInCents:
    """Version 1."""

    item: str
    cents: int


@event(
    "shop.placed",
    version=2,
    upcast={1: lambda old: {"item": old["item"], "price": f"{old['cents'] / 100:.2f}"}},
    types=SECOND,
)
class PlacedAtPrice:
    """Version 2."""

    item: str
    price: Decimal


@event(
    "shop.placed",
    version=3,
    upcast={
        1: lambda old: {"item": old["item"], "price": f"{old['cents'] / 100:.2f}"},
        2: lambda old: {"item": old["item"], "price": {"amount": old["price"], "currency": "EUR"}},
    },
    types=TYPES,
)
class Placed:
    """Version 3: of today."""

    item: str
    price: Money


@event("shop.noted", types=TYPES)
class Noted:
    text: str
    about: dict[str, Any] = attrs.field(factory=dict)


@event("shop.cancelled", types=TYPES)
class Cancelled:
    """An event without fields."""


@event("Shop:odd/name_1.2-x", types=TYPES)
class Odd:
    """An event whose type has all characters that a name may have."""

    number: int


@event("user.name-set", types=TYPES)
class NameSet:
    id: UUID
    name: str


class Colour(enum.Enum):
    """With values of several types."""

    RED = "red"
    GREEN = 2
    BLUE = 2.5
    NO = False


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Right(enum.Flag):
    """Whose members can be joined."""

    READ = 1
    WRITE = 2


@attrs.frozen
class Circle:
    radius: float


@attrs.frozen
class Square:
    side: float
    name: str | None = None


@attrs.frozen
class Tree:
    """Contains itself."""

    leaf: int
    left: Tree | None = None
    others: tuple[Tree, ...] = ()


UserId = NewType("UserId", str)


@event("shop.everything", types=TYPES)
class Everything:
    """A field of each kind that the codec knows."""

    text: str
    whole: int
    real: float
    yes: bool
    price: Decimal
    at: dt.datetime
    there: dt.datetime
    local: dt.datetime
    day: dt.date
    hour: dt.time
    wait: dt.timedelta
    id: UUID
    raw: bytes
    colour: Colour
    level: Level
    right: Right
    currency: Literal["EUR", "CHF"]
    one_of: Literal["a", 1, None]
    shade: Literal[Colour.RED, Colour.GREEN]
    user: UserId
    count: Annotated[int, "how many"]
    maybe: str | None
    maybe_id: UUID | None
    maybe_colour: Colour | None
    choice: bool | int | None
    word_or_number: str | int
    money: Money
    shape: Circle | Square
    maybe_shape: Circle | Square | None
    tree: Tree
    many: list[int]
    days: list[dt.date]
    some: tuple[Decimal, ...]
    pair: tuple[str, UUID]
    numbers: set[int]
    words: frozenset[str]
    prices: dict[str, Money]
    deep: dict[str, list[tuple[int, Circle | None]]]
    anything: Any
    _private: str = ""
    more: int = 7


FULL: Final = Everything(
    text='plain, é (one letter), e\u0301 (two), 日本, 👩‍👩‍👧, \u2028, "quotes" and \\, NUL: \0',
    whole=2**63 - 1,
    real=0.1,
    yes=True,
    price=Decimal("1.500"),
    at=dt.datetime(2026, 2, 3, 4, 5, 6, 7, dt.UTC),
    there=dt.datetime(2026, 2, 3, 4, 5, 6, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=45))),
    local=dt.datetime(1582, 10, 4, 23, 59, 59, 999_999),  # noqa: DTZ001
    day=dt.date(2024, 2, 29),
    hour=dt.time(1, 2, 3, 4),
    wait=dt.timedelta(days=3, microseconds=1),
    id=UUID("00010203-0405-4607-8809-0a0b0c0d0e0f"),
    raw=bytes(range(256)),
    colour=Colour.BLUE,
    level=Level.HIGH,
    right=Right.READ | Right.WRITE,
    currency="CHF",
    one_of=1,
    shade=Colour.GREEN,
    user=UserId("u-1"),
    count=3,
    maybe="there",
    maybe_id=UUID(int=2**128 - 1),
    maybe_colour=Colour.NO,
    choice=True,
    word_or_number=5,
    money=Money(Decimal("-0.05"), "EUR"),
    shape=Square(2.0, "my square"),
    maybe_shape=Circle(1e300),
    tree=Tree(1, Tree(2, None, (Tree(3),)), (Tree(4, Tree(5)), Tree(6))),
    many=[3, 1, 2],
    days=[dt.date(1, 1, 1), dt.date(9999, 12, 31)],
    some=(Decimal("1E+3"), Decimal("0.00")),
    pair=("left", UUID(int=1)),
    numbers={10, 9, 1},
    words=frozenset({"é", "b", "a"}),
    prices={"Ω": Money(Decimal(1), "EUR"), "": Money(Decimal(2), "CHF")},
    deep={"x": [(1, None), (2, Circle(0.5))], "y": []},
    anything={"$sealed": [1, 2.5, None, {"$bytes": "no base64"}], "list": [[], {}], "n": -(2**63)},
    private="secret",
)

LEAST: Final = Everything(
    text="",
    whole=-(2**63),
    real=-0.0,
    yes=False,
    price=Decimal(0),
    at=dt.datetime(1, 1, 1, tzinfo=dt.UTC),
    there=dt.datetime(9999, 12, 31, 23, 59, tzinfo=dt.timezone(-dt.timedelta(hours=11, minutes=30))),
    local=dt.datetime(1, 1, 1),  # noqa: DTZ001
    day=dt.date(1, 1, 1),
    hour=dt.time(0),
    wait=-dt.timedelta(days=1, microseconds=1),
    id=UUID(int=0),
    raw=b"",
    colour=Colour.NO,
    level=Level.LOW,
    right=Right(0),
    currency="EUR",
    one_of=None,
    shade=Colour.RED,
    user=UserId(""),
    count=0,
    maybe=None,
    maybe_id=None,
    maybe_colour=None,
    choice=None,
    word_or_number="",
    money=Money(Decimal("1E-20"), "CHF"),
    shape=Circle(0.0),
    maybe_shape=None,
    tree=Tree(0),
    many=[],
    days=[],
    some=(),
    pair=("", UUID(int=0)),
    numbers=set(),
    words=frozenset(),
    prices={},
    deep={},
    anything=None,
    more=0,
)

# --- streams --------------------------------------------------------------------------------------

Ordered = Placed | Noted | Cancelled | Odd


@attrs.frozen
class Member:
    user: int
    group: Level


orders: Final = Streams("orders/{number}", key=int, events=Ordered)
profiles: Final = Streams("users/{id}/profile", key=UUID, events=NameSet)
notes: Final = Streams("notes/{title}", key=str, events=Noted)
members: Final = Streams("users/{user}/groups/{group}", key=Member, events=Noted)

ODD_IDS: Final = (
    StreamId("é"),  # one letter
    StreamId("e\u0301"),  # the same to the eye
    StreamId("Orders/1"),  # not orders/1
    StreamId("日本/Ω/👩‍👩‍👧"),
    str.__new__(StreamId, 'o\'dd;-- "x"\n\t%2F'),  # which StreamId refuses now
    StreamId("long/" + "x" * 507),  # 512 bytes, the most there are
)

# --- folds ----------------------------------------------------------------------------------------


def add_item(items: dict[str, Money], happened: Any) -> dict[str, Money]:
    return {**items, happened.item: happened.price} if isinstance(happened, Placed) else items


def add_text(texts: tuple[str, ...], noted: Noted) -> tuple[str, ...]:
    return (*texts, noted.text)


nothing: dict[str, Money] = {}
basket: Final = Fold(
    nothing, add_item, snapshots=Snapshots("basket", dict[str, Money], version=2, every=2)
)
texts: Final = Fold(
    (), add_text, unknown="skip", snapshots=Snapshots("tëxts", tuple[str, ...], every=1)
)

# --- views ----------------------------------------------------------------------------------------

CURSE: Final = "a curse"
"""An order of this is what the view `poison` cannot take."""
BOMB: Final = "a bomb"
"""An order of this ends the process in which a view applies it that `ending` made so."""


def ask(db: Any, statement: str, *values: Any) -> Any:
    """Executes SQL in either database."""
    is_sqlite = type(db).__module__.startswith("sqlite_utils")
    return db.execute(statement if is_sqlite else statement.replace("?", "%s"), values)


def orders_view(version: int) -> View[Any]:
    """Orders as they are; version 2 has the currency too."""
    view: View[Any] = View("orders", version=version, prefix="orders/", types=TYPES, unknown="skip")

    @view.schema
    def create(db: Any) -> None:
        more = ", currency TEXT NOT NULL" if version > 1 else ""
        ask(db, f"CREATE TABLE orders (stream TEXT, nth INTEGER, item TEXT, amount TEXT{more})")
        ask(db, "CREATE INDEX orders_by_stream ON orders (stream)")

    @view.on(Placed)
    def placed(db: Any, recorded: Recorded[Placed]) -> None:
        price = recorded.data.price
        row = str(recorded.stream), recorded.version, recorded.data.item, str(price.amount)
        if version > 1:
            ask(db, "INSERT INTO orders VALUES (?, ?, ?, ?, ?)", *row, price.currency)
        else:
            ask(db, "INSERT INTO orders VALUES (?, ?, ?, ?)", *row)

    @view.on(Cancelled)
    def cancelled(db: Any, recorded: Recorded[Cancelled]) -> None:
        ask(db, "DELETE FROM orders WHERE stream = ?", str(recorded.stream))

    return view


def noting(view: View[Any]) -> View[Any]:
    """The view, with a table of what came: the stream, the version and a text for each event."""

    @view.schema
    def create(db: Any) -> None:
        ask(db, "CREATE TABLE came (stream TEXT, version INTEGER, text TEXT)")

    return view


def note(db: Any, recorded: Recorded[Any], text: str) -> None:
    row = str(recorded.stream), recorded.version, text
    ask(db, "INSERT INTO came VALUES (?, ?, ?)", *row)


def half_view() -> View[Any]:
    """Sees all events, also those of unknown types; it is applied half way."""
    view = noting(View("half", types=TYPES))
    for kind in (Placed, Noted, Cancelled, Odd, NameSet, Everything, Opaque):
        view.on(kind)(lambda db, recorded: note(db, recorded, recorded.type))
    return view


def wide_view() -> View[Any]:
    """Has four partitions, which two owners share."""
    view = noting(View("wide", version=3, types=TYPES, unknown="skip", partitions=4))

    @view.on_many(Placed)
    def placed(db: Any, recorded: Any) -> None:
        for each in recorded:
            note(db, each, each.data.item)

    @view.on(Noted)
    def noted(db: Any, recorded: Recorded[Noted]) -> None:
        note(db, recorded, str(len(recorded.data.text)))

    return view


def poison_view(is_cured: bool = False) -> View[Any]:
    """Cannot take an order of a curse, unless it is cured, nor one of a newer version."""
    view = noting(View("poison", types=TYPES))

    @view.on(Placed)
    def placed(db: Any, recorded: Recorded[Placed]) -> None:
        note(db, recorded, recorded.data.item)
        if recorded.data.item == CURSE and not is_cured:
            raise ValueError("nobody takes a curse: é")

    @view.on(Noted)
    def noted(db: Any, recorded: Recorded[Noted]) -> None:
        text = recorded.data.text.replace("\0", "NUL") if is_cured else recorded.data.text
        note(db, recorded, text)  # which Postgres cannot take with U+0000 in it

    return view


def names_view() -> View[Any]:
    """Of users alone, with a name that no file or schema has plainly; it is only forced."""
    view: View[Any] = View("Nämen & co/x", prefix="users/", types=TYPES)

    @view.schema
    def create(db: Any) -> None:
        ask(db, "CREATE TABLE names (id TEXT PRIMARY KEY, name TEXT)")

    @view.on(NameSet)
    def name_set(db: Any, recorded: Recorded[NameSet]) -> None:
        ask(db, "DELETE FROM names WHERE id = ?", str(recorded.data.id))
        ask(db, "INSERT INTO names VALUES (?, ?)", str(recorded.data.id), recorded.data.name)

    return view


def ending_view(name: str, explodes: bool = False) -> View[Any]:
    """Ends the process at an order of a bomb, if it explodes."""
    view = noting(View(name, types=TYPES, unknown="skip"))

    @view.on(Placed)
    def placed(db: Any, recorded: Recorded[Placed]) -> None:
        if explodes and recorded.data.item == BOMB:
            os._exit(1)
        note(db, recorded, recorded.data.item)

    return view


def views() -> list[View[Any]]:
    """All of them."""
    ending = [ending_view("deadly"), ending_view("vain")]
    both = [orders_view(1), orders_view(2)]
    return [*both, half_view(), wide_view(), poison_view(), names_view(), *ending]


TABLES: Final = {"orders": "orders", "Nämen & co/x": "names"}
"""The table of a view; `came` of the others."""
