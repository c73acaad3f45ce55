"""Made all that is here, by the library at commit 4fdead8; `--check` reads it again and compares.

    git worktree add /tmp/base 4fdead8
    PYTHONPATH=/tmp/base python -B make.py            # makes it anew
    PYTHONPATH=/tmp/base python -B make.py --check    # reads it, and compares with expected.json

It was run with Python 3.11.7, SQLite 3.40.1, attrs 26.1.0, cattrs 26.2.1, returns 0.30.0, sqlite-utils
4.2.1, msgspec 0.23.0, psycopg 3.3.9, and server and pg_dump of Postgres 15.18. POSTGRES_BIN may name
the binaries of another server to check with.

All programs use the public API. What the library takes of chance and of the clock is taken from `still`
instead, so that another run makes the same, but for the times at which Postgres says that its tables
were made, and those of its leases.

`psql -f postgres.sql` restores the dump in an empty database, and so does
`psycopg.connect(address, autocommit=True).execute(text)`. It needs no role and no extension.

Where msgspec is installed, 4fdead8 writes the fields of some events in the order of their names, and
not as they are declared: sqlite_separate and postgres were written with it, sqlite_together without.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, Final
from unittest import mock
from uuid import UUID

import bank_4fdead8 as bank
import psycopg
import reading
import shop_4fdead8 as shop

import eventsrc
from eventsrc import (
    ANY,
    EXISTS,
    NO_STREAM,
    START,
    Append,
    AppendAll,
    Chance,
    Codec,
    Condition,
    Cursor,
    Elapsed,
    Failure,
    Interpreter,
    MemoryStore,
    NewId,
    Now,
    Opaque,
    Read,
    ReadFeed,
    Sleep,
    SqliteStore,
    SqliteViews,
    StreamAppend,
    StreamId,
    Success,
    Token,
    Unknown,
    World,
    force,
    on,
    pure,
    rebuild,
    retry,
    synchronise,
)
from eventsrc.http import append_id, etag, feed_page
from eventsrc.masks import pseudonyms
from eventsrc.postgres import PostgresListener, PostgresStore, PostgresViews
from eventsrc.recording import RunFile, recording, recording_async
from eventsrc.signing import Signed
from eventsrc.snapshots import Snapshots
from eventsrc.store import SaveSnapshot, Snapshot
from eventsrc.synchroniser import synchronise_part
from eventsrc.testing.postgres import PostgresServer
from eventsrc.testing.replay import replay
from eventsrc.view import Claim, GetProgress
from eventsrc.views.memory import MemoryViews

HERE: Final = Path(__file__).parent
POSTGRES: Final = Path("/usr/lib/postgresql/15/bin")

# --- neither chance nor clock ---------------------------------------------------------------------


class Clock:
    """Goes on a second each time that it is looked at."""

    def __init__(self) -> None:
        self.at = 1_700_000_000.123456

    def __call__(self) -> float:
        self.at += 1
        return self.at


class StillWorld(Interpreter[World]):
    """Time, ids and chance, the same each time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._random = Random("world")

    @on(Now)
    def now(self, op: Now) -> dt.datetime:
        return dt.datetime.fromtimestamp(self._clock(), dt.UTC)

    @on(Elapsed)
    def elapsed(self, op: Elapsed) -> float:
        return self._clock.at - 1.7e9

    @on(NewId)
    def new_id(self, op: NewId) -> UUID:
        return UUID(bytes=self._random.randbytes(16), version=4)

    @on(Chance)
    def chance(self, op: Chance) -> float:
        return self._random.random()

    @on(Sleep)
    def sleep(self, op: Sleep) -> None:
        self._clock.at += op.seconds


@contextlib.contextmanager
def still(name: str) -> Iterator[Clock]:
    """While the library takes ids and times from here, which are the same for a name each time."""
    clock, random = Clock(), Random(name)
    ids = SimpleNamespace(token_hex=lambda count: random.randbytes(count).hex())
    its_time = SimpleNamespace(time=clock, monotonic=time.monotonic)
    now = SimpleNamespace(now=lambda zone: dt.datetime.fromtimestamp(clock(), zone))
    with (
        mock.patch("eventsrc.stores.prepare.os", SimpleNamespace(urandom=random.randbytes)),
        mock.patch("eventsrc.stores.sqlite.secrets", ids),
        mock.patch("eventsrc.stores.postgres_conversations.secrets", ids),
        mock.patch("eventsrc.views.sqlite.time", its_time),
        mock.patch("eventsrc.recording.datetime", now),
    ):
        yield clock


# --- stores ---------------------------------------------------------------------------------------

OpenStore = Callable[[Codec], Any]
"""Opens the store that is to be filled; answers what closes it again."""


def euros(amount: str) -> shop.Money:
    return shop.Money(Decimal(amount), "EUR")


def fill_by_old_programs(opened: OpenStore, fast: bool = True) -> None:
    """What the programs wrote that knew versions 1 and 2 of an event. fast: with msgspec."""
    first, second = shop.orders[1].id, shop.orders[2].id
    with opened(Codec(shop.FIRST, fast=fast)) as store:
        store.run(Append(first, (shop.PlacedInCents("a chair", 1999),), NO_STREAM)).unwrap()
        many = shop.PlacedInCents("a spoon", 5), shop.PlacedInCents("a föhn", 123_456)
        store.run(Append(second, many, metadata={"correlation": "c-1"})).unwrap()
    with opened(Codec(shop.SECOND, fast=fast)) as store:
        table = shop.PlacedAtPrice("a table", Decimal("120.00"))
        store.run(Append(first, (table,), 1, metadata={"by": "Hömer"})).unwrap()


def fill(store: Any, clock: Clock) -> None:
    """What the program of today writes."""
    app = store | StillWorld(clock)
    orders, notes, id_of = shop.orders, shop.notes, shop.id_of
    metadata = {
        "correlation": str(id_of("correlation")),
        "causation": None,
        "é": [1, -2.5, True, {"nested": "quote ' and \" and \n", "NUL": "\0"}],
        "$sealed": {"key": "k1", "box": "Zm9v"},
    }
    placed = shop.Placed("a lamp", shop.Money(Decimal("30.5"), "CHF"))
    app.run(orders[1].append(placed, metadata=metadata))
    app.run(Append(StreamId("things"), (shop.FULL, shop.LEAST))).unwrap()
    app.run(orders[3].append(shop.Odd(2**53), shop.Cancelled(), shop.Odd(-1)))

    user = id_of("user")
    name, chosen = shop.NameSet(user, "Marge"), id_of("chosen by the caller")
    answer = app.run(shop.profiles[user].append(name, append_id=chosen))
    assert app.run(shop.profiles[user].append(name, append_id=chosen)) == answer, "it is a retry"
    other = Append(shop.profiles[user].id, (shop.NameSet(user, "Selma"),), append_id=chosen)
    assert isinstance(app.run(other), Failure), "the id has been used"
    as_if_made = UUID("00000000-0003-8abc-9def-0123456789ab")  # as those that stores make
    app.run(shop.profiles[user].append(shop.NameSet(user, "Marge S."), append_id=as_if_made))
    member = shop.members[shop.Member(4, shop.Level.HIGH)]
    assert isinstance(app.run(member.append_at(8, shop.Noted("never"))), Failure)
    app.run(member.append(shop.Noted("joined"), append_id=append_id(KEYED, "user 4 /groups")))

    odd = notes["a/b% Ω"]
    app.run(odd.append(shop.Noted("one", {"$sealed": 1, "$bytes": "AAEC", "": {"$a": [None]}})))
    app.run(odd.get(shop.texts))
    app.run(odd.append(shop.Noted("two, NUL: \0, and \u2028", {"\0": "\0"})))
    app.run(odd.get(shop.texts))
    app.run(orders[1].get(shop.basket))
    before = Snapshots("basket", dict[str, Decimal], version=1)
    old = before.snapshot(orders[1].id, 2, {"a chair": Decimal("19.99"), "a table": Decimal(120)})
    app.run(SaveSnapshot(old))
    app.run(SaveSnapshot(Snapshot(StreamId("users"), "raw", 2**63 - 1, 3, b"\0snap\xff")))

    seen = app.run(orders[1].read()).token | app.run(odd.read()).token
    several = AppendAll(
        (
            StreamAppend(orders[1].id, (placed, shop.Cancelled()), seen),
            StreamAppend(StreamId("log/é"), (shop.Noted("all at once"),), NO_STREAM),
            StreamAppend(shop.profiles[user].id, (shop.NameSet(user, "M."),), EXISTS),
        ),
        (
            Condition(odd.id, seen),
            Condition(orders[2].id, 2),
            Condition(StreamId("nobody"), NO_STREAM),
        ),
        id_of("several"),
        {"$sealed": "all of them"},
    )
    app.run(several).unwrap()
    assert app.run(several) == app.run(several), "it is a retry"
    more = (StreamAppend(id, (shop.Noted(f"at {n}"),), ANY) for n, id in enumerate(shop.ODD_IDS))
    app.run(AppendAll(tuple(more))).unwrap()
    assert isinstance(app.run(AppendAll((StreamAppend(odd.id, (name,), 77),))), Failure)

    def add(texts: tuple[str, ...]) -> list[shop.Noted]:
        return [shop.Noted(f"the {len(texts) + 1}th")] * 2

    decided = id_of("decided")
    app.run(notes["decided"].change(shop.texts, add, append_id=decided, metadata={"by": "it"}))
    app.run(notes["decided"].change(shop.texts, add, append_id=decided, metadata={"by": "it"}))
    app.run(notes["decided"].change(shop.texts, add))

    unknown = (
        Opaque("gone.type", 7, "bytes", bytes(range(256))),
        Opaque("gone.type", 1, "json", b'{"$sealed":"top","x": 1 }'),
        # of a known type, with a key that its class does not have, and spaces: both are let pass
        Opaque("shop.noted", 1, "json", b'{"$sealed":{"a":1}, "text":"open","about":{}}'),
    )
    app.run(Append(StreamId("unknown"), unknown)).unwrap()
    newer = Opaque("shop.placed", 9, "json", b'{"things":[]}')
    app.run(Append(orders[7].id, (newer,))).unwrap()

    clock.at -= 3600
    app.run(notes["times"].append(shop.Noted("an hour before")))
    later, clock.at = clock.at, -2.000001
    app.run(notes["times"].append(shop.Noted("before 1970")))
    clock.at = later + 3600

    app.run(orders[4].append(shop.Placed("a rope", euros("1")), shop.Placed(shop.CURSE, euros("0"))))
    app.run(orders[5].append(shop.Placed("a fuse", euros("2.50")), shop.Placed(shop.BOMB, euros("9"))))
    app.run(orders[6].append(shop.Placed("a vase", euros("44"))))


def fill_a_little(store: Any) -> None:
    """As fill, with less of everything."""
    store.run(shop.orders[1].append(shop.Placed("a lamp", euros("30")), metadata={"by": "Ned"}))
    store.run(shop.orders[1].get(shop.basket))
    store.run(shop.orders[4].append(shop.Placed(shop.CURSE, euros("0")), shop.Odd(4)))
    odd = Append(shop.ODD_IDS[3], (shop.Noted("odd"), Opaque("gone.type", 7, "bytes", b"\0")))
    store.run(odd).unwrap()


KEYED: Final = {"Idempotency-Key": '"key-1"'}


def fill_later(store: Any) -> None:
    """What comes after the views have been synchronised."""
    store.run(shop.orders[4].append(shop.Placed("behind the curse", euros("3"))))
    store.run(shop.orders[5].append(shop.Placed("behind the bomb", euros("4"))))
    store.run(shop.orders[6].append(shop.Placed("another vase", euros("45"))))


# --- views ----------------------------------------------------------------------------------------

OpenBoth = Callable[[], Any]
"""Opens the store, as of the program of today, and the views: answers what closes both again."""


def keep_views(opened: OpenBoth, clock: Clock) -> None:
    """Views in all states that they can be in."""
    with opened() as (store, views):
        clock.at = 1_700_010_000.5  # SQLite and Postgres have looked at it more or less often
        app = store | views | StillWorld(clock)
        app.run(synchronise(shop.orders_view(1)))
        app.run(rebuild(shop.orders_view(2))).unwrap()
        app.run(synchronise(shop.half_view(), 2, 9))  # two pages of nine
        app.run(synchronise(shop.poison_view()))
        app.run(retry(shop.poison_view(), shop.orders[4].id))

        profile = app.run(shop.profiles[shop.id_of("user")].read(limit=2))
        app.run(force(shop.names_view(), Token(profile.token.store, {profile.events[0].stream: 2})))

        wide, one, other = shop.wide_view(), "host 1, process 4711", "hôte 2"
        leases = app.run(Claim(wide, one, 1e9))
        for lease in leases[:3]:
            app.run(synchronise_part(wide, lease.part, 1, lease, 20))
        app.run(Claim(wide, other, 10.0))
        app.run(Claim(wide, one, 1e9))
        for lease in app.run(Claim(wide, other, 10.0)):
            app.run(synchronise_part(wide, lease.part, 1, lease, 25))
    for name, ends in (("vain", 2), ("deadly", 3)):
        for _ in range(ends):
            assert in_child(partial(explode, opened, clock, name)) == 1
    assert in_child(partial(explode, opened, clock, "deadly")) == 0
    with opened() as (store, views):
        clock.at = 1_700_020_000.5
        fill_later(store)
        app = store | views | StillWorld(clock)
        app.run(synchronise(shop.orders_view(2)))
        app.run(synchronise(shop.poison_view()))
        app.run(synchronise(shop.ending_view("deadly")))
        app.run(GetProgress(shop.ending_view("vain")))  # whoever closes its file next ends its log


def explode(opened: OpenBoth, clock: Clock, name: str) -> None:
    with opened() as (store, views):
        clock.at = 1_700_015_000.5
        (store | views).run(synchronise(shop.ending_view(name, explodes=True)))


def in_child(do: Callable[[], None]) -> int:
    """The exit code of a process that does something."""
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        code = 2
        try:
            do()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def with_clock(views: Any, clock: Clock) -> Any:
    """Views that say by this clock since when something is parked."""
    views._clock = clock
    return views


# --- SQLite ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def sqlite(store: Path, views: Path, clock: Clock) -> Iterator[Any]:
    with (
        SqliteStore(store, Codec(shop.TYPES), clock=clock) as opened,
        SqliteViews(views) as its_views,
    ):
        yield opened, with_clock(its_views, clock)


def make_sqlite_separate(folder: Path) -> None:
    """The store in a file of its own, and all views beside another."""
    with still("store") as clock:
        store, views = folder / "store.db", folder / "views.db"
        opened = partial(SqliteStore, store, clock=clock)
        fill_by_old_programs(opened)
        with opened(Codec(shop.TYPES)) as today:
            fill(today, clock)
        keep_views(partial(sqlite, store, views, clock), clock)


def make_sqlite_together(folder: Path) -> None:
    """The store in the file that says which views are live, which the views made first."""
    with still("together") as clock:
        path = folder / "app.db"
        with SqliteViews(path, [shop.half_view()]):
            pass
        fill_by_old_programs(partial(SqliteStore, path, clock=clock), fast=False)
        with sqlite(path, path, clock) as (store, views):
            app = store | views | StillWorld(clock)
            fill_a_little(store)
            app.run(synchronise(shop.half_view(), 1, 3))
            app.run(synchronise(shop.orders_view(1)))
            app.run(synchronise(shop.orders_view(2)))  # beside the live one: it does not go live
            app.run(synchronise(shop.poison_view()))


def packed(folder: Path, archive: Path) -> None:
    """The files of a folder, closed, as an archive that is the same for the same files."""
    left = [path.name for path in folder.iterdir() if path.name.endswith(("-wal", "-shm"))]
    assert not left, f"{left} would be missing"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as made:
        for path in sorted(folder.iterdir()):
            if not path.name.endswith("-turn"):  # who waits to write: nobody does
                made.writestr(zipfile.ZipInfo(path.name), path.read_bytes(), zipfile.ZIP_DEFLATED)


# --- Postgres -------------------------------------------------------------------------------------

SECOND_SCHEMA: Final = 'shöp "1" of 100%'
"""Of a second store in the same database."""


@contextlib.contextmanager
def postgres(address: str, clock: Clock) -> Iterator[Any]:
    with (
        PostgresStore(address, codec=Codec(shop.TYPES), clock=clock) as store,
        PostgresViews(address) as views,
    ):
        yield store, with_clock(views, clock)


def make_postgres(address: str) -> str:
    """The same store and views in a database; answers its dump."""
    with still("store") as clock:
        fill_by_old_programs(lambda codec: PostgresStore(address, codec=codec, clock=clock))
        with PostgresStore(address, codec=Codec(shop.TYPES), clock=clock) as today:
            fill(today, clock)
        keep_views(partial(postgres, address, clock), clock)
        PostgresListener(address).close()  # which leaves a trigger
        with PostgresStore(
            address, schema=SECOND_SCHEMA, codec=Codec(shop.TYPES), clock=clock
        ) as store:
            store.run(shop.orders[1].append(shop.Placed("a book", euros("12"))))
    options = ["--inserts", "--no-owner", "--no-privileges", "--no-comments", "--encoding=UTF8"]
    done = subprocess.run(
        [POSTGRES / "pg_dump", *options, f"--dbname={address}"], capture_output=True, check=True
    )
    # what only psql understands, with a key that is another each time, and comments of pg_dump's
    text = re.sub(r"^\\(un)?restrict .*\n|^--.*\n", "", done.stdout.decode(), flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", text)


# --- recordings -----------------------------------------------------------------------------------


def make_recordings(folder: Path) -> None:
    with still("recordings") as clock:
        world = StillWorld(clock)
        store = MemoryStore(Codec(bank.TYPES), clock=clock, store_id="bank")
        below = store | world
        store.run(bank.deposit("homer", 100))
        store.run(bank.deposit("marge", 11, "of her own"))
        for name in ("abe", "lisa", "bart"):
            store.run(bank.deposit(name, 9))

        def runs(name: str, **how: Any) -> RunFile:
            return RunFile(folder / f"{name}.jsonl", codec=Codec(bank.TYPES), **how)

        with runs("answers") as file:
            app = recording(bank.bank(below), file)
            assert app.run(bank.pay_all("homer", ["marge", "ned"], 30)) == Success(40)
            app.run(bank.pay_all("homer", ["marge", "ned"], 30))  # which fails half way
            app.run(bank.sum_of(["homer", "marge"]))
            app.run(bank.Balance("homer"))
            app.run(pure(3))
            tell = recording(on(bank.Tell).run(refuse), file)
            tell.run(bank.told_failure("what"))
        with runs("raises") as file:
            app = recording(bank.bank(below), file)
            for program in (bank.fail("homer"), bank.fail_oddly("homer")):
                with contextlib.suppress(bank.Broke):
                    app.run(program)
        hide = pseudonyms(bank.SECRET)
        with runs("masked", masks=bank.masks(hide)) as file:
            app = recording(bank.bank(below), file)
            app.run(bank.deposit("marge", 3, "private"))
            app.run(bank.pay_all("marge", ["homer"], 2))
            app.run(bank.states("selma"))
            with contextlib.suppress(bank.Broke):
                app.run(bank.fail("marge"))
        with runs("streams") as file:
            app = recording(bank.bank(below), file)
            for source in (
                bank.reads("lisa"),
                bank.writes("ned"),
                bank.states("lisa"),
                bank.side_by_side(["lisa", "bart"]),
                bank.level_out("lisa", "bart"),
            ):
                app.run(source)
            hindered = on(Append).run(Hindering(store))
            app = recording(bank.bank(below.but(hindered)), file)
            app.run(bank.decides("abe", 3))
            run_async(recording_async(bank.bank(below), file), bank.side_by_side(["bart", "lisa"]))
        with runs("values", opaque=bank.OPAQUE) as file:
            app = recording(on(bank.Tell).run(lambda op: op.what), file)
            for value in values():
                app.run(bank.given(value))
        with runs("views") as file:
            small = MemoryStore(Codec(bank.TYPES), clock=clock, store_id="small")
            for amount in range(3):
                small.run(bank.deposit("homer", amount))
            app = recording(small | MemoryViews(clock=clock) | world, file)
            app.run(synchronise(bank.totals, None, 2))
            app.run(rebuild(bank.totals))
        with (
            RunFile(folder / "before.jsonl", codec=Codec(bank.FIRST)) as file,
            mock.patch.object(bank, "newly_opened", bank.OpenedBefore),
        ):
            before = MemoryStore(Codec(bank.FIRST), clock=clock, store_id="before")
            app = recording(bank.bank(before | world), file)
            app.run(bank.open_account("selma"))
            app.run(Read(bank.accounts["selma"].id))
        whole = (folder / "raises.jsonl").read_bytes().splitlines(keepends=True)[0]
        (folder / "torn.jsonl").write_bytes(whole + whole[:90])
        for path in folder.iterdir():
            path.chmod(0o644)


def refuse(op: bank.Tell) -> Any:
    raise KeyError(op.what)


class Hindering:
    """Appends to a store: the first meets a rival, and the answer of the second is lost."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._count = 0

    def __call__(self, op: Append) -> Any:
        self._count += 1
        if self._count == 1:
            self._store.run(bank.deposit("abe", 1, "faster"))
        answer = self._store.run(op)
        if self._count == 2:
            return Failure(Unknown(answer.unwrap().append_id, "the answer was lost"))
        return answer


def run_async(app: Any, source: Any) -> Any:
    import asyncio

    return asyncio.run(app.run_async(source))


def values() -> list[Any]:
    """Values of each kind that recordings know."""
    id = shop.id_of("value")
    return [
        [None, True, False, 0, 2**80, -1.5, 1e300, float("inf"), -float("inf"), float("nan")],
        ["", "é \0 \u2028", "\ud800", b"", b"\0\xff"],
        [[1, (2, {3, 1})], frozenset({"b", "a"}), (), {"a": {"b": ()}}],
        [{"$a": 1}, {"$sealed": "x"}, {1: "a", (2, "3"): None}, {}],
        [id, Decimal("1.50"), dt.datetime(2026, 1, 2, 3, 4, 5, 6, dt.UTC), dt.datetime(1, 1, 1)],  # noqa: DTZ001
        [dt.date(2026, 1, 2), dt.time(1, 2), dt.timedelta(days=-1, microseconds=3)],
        [bank.Colour.GREEN, ANY, NO_STREAM, EXISTS],
        [START, Cursor("bank", 4), StreamId("a/Ω"), Token("bank", {StreamId("a"): 2})],
        [
            bank.Moved(3, "note"),
            bank.Opened(["x"], {"$bytes": [1]}),
            bank.Hidden("s"),
            bank.TooLittle("é", 3),
        ],
        [Opaque("unknown", 3, "other", b"\0\xff"), Opaque("bank.moved", 9, "json", b'{"a":[1]}')],
        [Opaque("unknown", 1, "json", b"no JSON"), Success([Failure("why")]), Failure(None)],
        [bank.Broke("said", 3), KeyError("key"), bank.Pay("a", "b", 1)],
        [Append(StreamId("a"), (bank.Moved(1),), 3, id, {"by": ["x"]}), ReadFeed(types=frozenset("a"))],
        [bank.pay_all("a", ["b"], amount=3), bank.add, bank.Moved, partial(bank.add, 1, happened=2)],
        [bank.balance, bank.kept_balance, eventsrc.LATEST_SNAPSHOT],
        [bank.Handle(), [bank.Handle()]],
    ]


# --- reading it all -------------------------------------------------------------------------------


def read_all(folder: Path, server: PostgresServer) -> dict[str, Any]:
    """What is in expected.json."""
    found: dict[str, Any] = {}
    for name, store, views in (
        ("sqlite_separate", "store.db", "views.db"),
        ("sqlite_together", "app.db", "app.db"),
    ):
        with tempfile.TemporaryDirectory() as place, still("reading") as clock:
            files = Path(place)
            with zipfile.ZipFile(folder / f"{name}.zip") as archive:
                archive.extractall(files)
            marks = {path.name: reading.file_as_json(path) for path in sorted(files.iterdir())}
            with sqlite(files / store, files / views, clock) as both:
                found[name] = {"files": marks, **read_both(*both, clock)}
    address = server.create_database()
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute((folder / "postgres.sql").read_bytes())
    with still("reading") as clock:
        marks = schemas_as_json(address)
        with postgres(address, clock) as both:
            found["postgres"] = {"schemas": marks, **read_both(*both, clock)}
        with PostgresStore(address, schema=SECOND_SCHEMA, codec=Codec(shop.TYPES)) as second:
            its = reading.event_of(second, second.run(shop.orders[1].read()).events[0])
            about = {"schema": SECOND_SCHEMA, "store_id": second.store_id, "event": its}
            found["postgres"]["second store"] = about
    if found["postgres"]["store"] == found["sqlite_separate"]["store"]:  # to the last letter
        found["postgres"]["store"] = "that of sqlite_separate"
    found["recordings"] = recordings_as_json(folder / "recordings")
    return found


def read_both(store: Any, views: Any, clock: Clock) -> dict[str, Any]:
    told = {
        "store": reading.store_as_json(store),
        "views": reading.views_as_json(store, views),
        "orders that queries read": reading.live_rows(views),
    }
    return {**told, "views when brought to their end": reading.go_on(store, views, StillWorld(clock))}


def schemas_as_json(address: str) -> dict[str, Any]:
    """The schemas of a database, with how many scripts each has seen, by SQL alone."""
    with psycopg.connect(address) as connection:
        names = connection.execute(
            "SELECT schemaname, quote_ident(schemaname) FROM pg_tables"
            " WHERE tablename = 'eventsrc_applied' ORDER BY 1"
        ).fetchall()
        told: dict[str, Any] = {}
        for name, quoted in names:
            count = connection.execute(f"SELECT max(scripts) FROM {quoted}.eventsrc_applied").fetchone()
            tables = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY 1", (name,)
            ).fetchall()
            told[name] = {"scripts": count and count[0], "tables": [table for (table,) in tables]}
        return told


def recordings_as_json(folder: Path) -> dict[str, Any]:
    """What a replay tells of each file, by the programs of today and by changed ones."""
    told: dict[str, Any] = {}
    for path in sorted(folder.glob("*.jsonl")):
        how: dict[str, Any] = {"codec": Codec(bank.TYPES), "views": [bank.totals]}
        if path.stem == "masked":
            how["masks"] = bank.masks(pseudonyms(bank.SECRET))
        if path.stem == "values":
            how["opaque"] = bank.OPAQUE
        apps = [bank_of(fee) for fee in (0, 1)] if path.stem != "views" else [None, None]
        if path.stem == "values":
            apps = [None, None]
        same, changed = [replay(path, app, **how) for app in apps]
        told[path.name] = {
            "names of the library": sorted(
                set(re.findall(r'"(eventsrc[.a-z_]*:[A-Za-z_.]+)"', path.read_text("utf-8")))
            ),
            "lines": len(path.read_bytes().splitlines()),
            "replayed": str(same),
            "programs": [run.program for run in same.runs],
            "with a fee of 1": str(changed),
        }
    return told


def bank_of(fee: int) -> Interpreter[Any]:
    """The service to replay with: nobody asks what is below it."""
    tell: Interpreter[Any] = on(bank.Tell).run(refuse)
    return bank.bank(MemoryStore(Codec(bank.TYPES)) | StillWorld(Clock()) | tell, fee)


# --- texts ----------------------------------------------------------------------------------------

SIGNING_KEY: Final = b"a key of 4fdead8's, for tests"


def texts_as_json(expected: dict[str, Any]) -> dict[str, Any]:
    """Texts that others keep: cursors, tokens, tags, and ids that are made of texts."""
    stores = {name: expected[name]["store"] for name in ("sqlite_separate", "sqlite_together")}
    signed, tokens = Signed(SIGNING_KEY), []
    for name, store in stores.items():
        each = [
            Token.parse(its["token"]) for stream, its in store["streams"].items() if len(stream) < 99
        ]
        merged = each[0] | each[1] | each[-1]
        for token in (each[0], merged, Token(store["store_id"], {StreamId("none/é"): 0})):
            told = {"of": name, "store": token.store, "versions": dict(token.versions)}
            tokens.append({**told, "text": str(token)})
        tags = {"etag": etag(merged), "etag of a form": etag(merged, form="json")}
        secret = {"signed": signed.write(merged), "etag, signed": etag(merged, signed, "html")}
        tokens[-2] |= {**tags, **secret}
    hide = pseudonyms(bank.SECRET)
    keys = [*KEYED.values(), "plain", "é"]
    return {
        "cursors": {
            "start": str(START),
            **{
                name: {
                    "text": store["end"],
                    "store": store["store_id"],
                    "position": len(store["events"]),
                }
                for name, store in stores.items()
            },
        },
        "tokens": tokens,
        "token of no stream": {"store": "x", "text": str(Token("x", {}))},
        "signing key": SIGNING_KEY.decode(),
        "append ids of idempotency keys": [
            {"key": key, "scope": scope, "append_id": str(append_id({"Idempotency-Key": key}, scope))}
            for key in keys
            for scope in ("user 4 /groups", "")
        ],
        "pages of the feed": feed_pages(stores["sqlite_separate"]["store_id"]),
        "streams of keys": {
            "orders/{number}": {"4": shop.orders[4].id},
            "notes/{title}": {title: shop.notes[title].id for title in ("a/b% Ω", "%2F", "x")},
            "users/{user}/groups/{group}": {
                "4, HIGH": shop.members[shop.Member(4, shop.Level.HIGH)].id
            },
        },
        "partitions of four": {
            stream: shop.wide_view().part_of(stream) for stream in stores["sqlite_separate"]["streams"]
        },
        "files of views": {f"{view.name} {view.version}": name_of_file(view) for view in shop.views()},
        "pseudonyms": {
            "secret": bank.SECRET.decode(),
            "texts": {text: hide(text) for text in ("marge", "", "é")},
            "numbers": {str(number): hide(number) for number in (0, -1, 2**63)},
            "uuids": {str(UUID(int=1)): str(hide(UUID(int=1)))},
        },
        "schedules of eventsrc.testing": ["ann bob", "ann*2 bob!lost ann:0.9"],
    }


def feed_pages(store_id: str) -> list[Any]:
    """What a reader of the feed is sent, who keeps the link to the next page."""
    with still("pages") as clock:
        store = MemoryStore(Codec(bank.TYPES), clock=clock, store_id=store_id)
        for name in ("homer", "marge"):
            store.run(bank.deposit(name, 1))
        pages = []
        for limit in (1, 5):
            page = store.run(ReadFeed(limit=limit))
            sent = feed_page(page, START, limit, lambda event: event.type)
            pages.append({"headers": dict(sent.headers), "body": sent.body.decode()})
        return pages


def name_of_file(view: Any) -> str:
    with tempfile.TemporaryDirectory() as place, SqliteViews(Path(place) / "views.db") as views:
        return views.path(view).name


# --- commands -------------------------------------------------------------------------------------


def make(folder: Path, server: PostgresServer) -> None:
    for name, make_it in (
        ("sqlite_separate", make_sqlite_separate),
        ("sqlite_together", make_sqlite_together),
    ):
        with tempfile.TemporaryDirectory() as place:
            make_it(Path(place))
            packed(Path(place), folder / f"{name}.zip")
    (folder / "postgres.sql").write_text(make_postgres(server.create_database()), "utf-8")
    recordings = folder / "recordings"
    recordings.mkdir(exist_ok=True)
    for path in recordings.iterdir():
        path.unlink()
    make_recordings(recordings)
    expected = read_all(folder, server)
    write_json(folder / "expected.json", expected)
    write_json(folder / "texts.json", texts_as_json(expected))


def write_json(path: Path, value: Any) -> None:
    path.write_text(as_json(value), "utf-8")


def as_json(value: Any) -> str:
    """JSON with a line for each thing that is short."""
    return _lines(value, "") + "\n"


def _lines(value: Any, indent: str) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if len(text) < 100 or len(indent) > 3 or not isinstance(value, dict | list):
        return text
    inner = indent + " "
    if isinstance(value, list):
        return "[" + ",".join(f"\n{inner}{_lines(each, inner)}" for each in value) + f"\n{indent}]"
    named = [
        f"\n{inner}{json.dumps(k, ensure_ascii=False)}: {_lines(v, inner)}" for k, v in value.items()
    ]
    return "{" + ",".join(named) + f"\n{indent}" + "}"


def check(folder: Path, server: PostgresServer) -> None:
    """Raises AssertionError unless what is here is read as it was when it was made."""
    expected = read_all(folder, server)
    for name, found in (("expected.json", expected), ("texts.json", texts_as_json(expected))):
        assert (folder / name).read_text("utf-8") == as_json(found), f"{name} is another"


def main() -> None:
    if os.environ.get("PYTHONHASHSEED") != "0":  # the kinds of an append are numbered as a set has them
        os.execve(
            sys.executable, [sys.executable, "-B", *sys.argv], {**os.environ, "PYTHONHASHSEED": "0"}
        )
    library = Path(eventsrc.__file__).parents[1]
    commit = ["git", "-C", str(library), "rev-parse", "--short", "HEAD"]
    made_by = subprocess.run(commit, capture_output=True, text=True, check=True).stdout.strip()
    print(f"{library} at {made_by}")
    is_check = "--check" in sys.argv
    if not is_check and made_by != "4fdead8":
        raise SystemExit("what is here is of 4fdead8: run it with PYTHONPATH=<a checkout of that>")
    bin = Path(os.environ["POSTGRES_BIN"]) if "POSTGRES_BIN" in os.environ else POSTGRES
    with PostgresServer(bin=bin, settings={"fsync": "off"}) as server:
        (check if is_check else make)(HERE, server)
    print("read as expected" if is_check else "made")


if __name__ == "__main__":
    main()
