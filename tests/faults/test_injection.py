"""Hostile text stays text. Nothing that a user names ends up as a part of a statement.

Passed if every such name is kept exactly or refused, if the tables are the same afterwards, and if each
statement in the source is a constant, but where this says why another is safe.
"""

from __future__ import annotations

import ast
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

import eventsrc
from eventsrc import (
    Append,
    Head,
    Read,
    ReadFeed,
    SqliteStore,
    SqliteViews,
    StreamId,
    View,
    synchronise,
)
from eventsrc.events.stream_id import CONTROLS, BadStreamId
from eventsrc.stores.operations import LoadSnapshot, SaveSnapshot, Snapshot
from tests.kits.events import CODEC, TYPES, Tick

HOSTILE = [
    "'; DROP TABLE eventsrc_event; --",
    '"; DROP TABLE eventsrc_event; --',
    "a' OR '1'='1",
    "%s %(name)s {s} {lock} {0}",
    ":after ?1 $1 @x",
    "`x` [x] \\x",
    "line\nbreak\ttab\r",
    "../../etc/passwd",
    "/*x*/",
    "\u202egnp.exe",
    "ＤＲＯＰ",
]
"""Texts that mean something to SQL, to drivers or to formatting."""

SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|CREATE|DROP|ALTER|PRAGMA|ATTACH)\b")

ASKED = "it passes on what was asked elsewhere, where it is looked at"
CHOSEN = "it chooses between constants"
LOADED = "constants are put into constants as the module is loaded"

SAFE = {
    ("postgres._conversation", "answered"): ASKED,
    ("postgres._schema", "ask"): "it puts the schema's name in, quoted",
    ("postgres._schema", "migrate"): "scripts of our own",
    ("postgres._schema", "make_schema"): "the name of the schema is quoted",
    ("postgres._policy", "read"): ASKED,
    ("postgres._policy", "write"): ASKED,
    ("postgres._policy", "_named"): ASKED,
    ("postgres._link", "execute"): ASKED,
    ("postgres._connection", "execute"): "the statement is the user's",
    ("postgres._connection", "executemany"): "the statement is the user's",
    ("postgres._link", "_executed"): ASKED,
    ("postgres._link", "__await__"): ASKED,
    (
        "postgres._connection",
        "limit_here",
    ): "SET takes no parameters; numbers of our own, formatted as numbers",
    ("moving.foreign", "survey"): "the name of a table was checked",
    ("moving.foreign", "count"): "the name of a table was checked",
    ("moving.foreign", "page"): "the names were checked, and numbers are formatted as numbers",
    ("sqlite._file", "_connect"): "PRAGMA takes no parameters; the word is one of two of our own",
    ("sqlite._file", "_try"): ASKED,
    ("sqlite._handling", "settings_of"): "PRAGMA takes no parameters; the names are our own",
    ("sqlite._handling", "restore"): "PRAGMA takes no parameters; names and numbers of our own",
    ("sqlite._file", "write"): "one INSERT of the store, a constant",
    (
        "sqlite._schema",
        "apply_missing",
    ): "scripts of our own; PRAGMA takes no parameters; numbers of our own, formatted as numbers",
    ("postgres._questions", "_append"): CHOSEN,
    ("postgres._questions", "_append_alone"): CHOSEN,
    ("postgres._questions", "_number_kinds"): CHOSEN,
    ("postgres._questions", "finding"): CHOSEN,
    ("postgres._sql", "<module>"): LOADED,
    ("postgres._tags", "<module>"): LOADED,
    ("postgres._questions", "_page"): "both statements are constants, as the filters are",
    ("sqlite.store", "_events"): CHOSEN,
    ("postgres.views", "_read"): "LOCK takes no parameters; the names of schemas are quoted",
    ("postgres.views", "_discard"): "LOCK takes no parameters; the name of the schema is quoted",
    ("postgres.views", "_start_over"): "LOCK takes no parameters; the name of the schema is quoted",
    (
        "sqlite.views",
        "clear",
    ): "DROP takes no parameters; names are quoted; other statements are constants",
    ("postgres.views", "settle"): "the names of constraints are quoted by Postgres",
    ("postgres.views", "ask"): "it puts in the driver's mark for a parameter",
    ("postgres.views", "_asked"): ASKED,
    ("postgres._copy", "ask"): ASKED,
    ("views.rows", "__init__"): "it copies the tables that there are; their names are quoted",
    ("sqlite._copy", "_keyed"): "it reads the tables that there are; their names are quoted",
    ("postgres._copy", "_keyed"): "it reads the tables that there are; their names are quoted",
    (
        "aws._talk",
        "_read",
    ): "it asks DynamoDB; expressions are constants, values sent apart",
    ("sqlite._objects", "known_objects"): "scripts of our own",
    ("streams.serializable", "handle"): "it asks by an operation, which is no SQL",
    ("durable._attempt", "_performed"): "it asks by an operation, which is no SQL",
    ("sqlite.views", "_asked"): ASKED,
    ("sqlite.views", "_changed"): ASKED,
    ("sqlite.views", "_write"): "one of two constants",
    ("sqlite.views", "_attached"): "ATTACH takes no parameter for the name, which is quoted",
    ("sqlite.views", "ask"): "it takes out the mark for the schema's name",
    ("sqlite._wal", "_fill"): "a number that SQLite gave",
}
"""The functions whose statements are not constants, or are put together, and why they may be."""


def tables(path: Path) -> list[tuple[str, str]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    finally:
        connection.close()


def test_hostile_names_are_kept_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with SqliteStore(path, CODEC) as store:
        before = tables(path)
        names = [f"x{CONTROLS.sub('', text.strip('/'))}".replace("//", "/") for text in HOSTILE]
        streams = [*map(StreamId, names)]
        for number, stream in enumerate(streams):
            store.run(Append(stream, (Tick(number, 0, 1),), metadata={"to": str(stream)}))
            store.run(SaveSnapshot(Snapshot(stream, str(stream), 1, 1, stream.encode())))
        for number, stream in enumerate(streams):
            (recorded,) = store.run(Read(stream)).events
            assert (recorded.data, recorded.metadata) == (Tick(number, 0, 1), {"to": stream})
            kept = store.run(LoadSnapshot(stream, str(stream), 1))
            assert kept is not None
            assert kept.data == stream.encode()
            assert store.run(ReadFeed(types=frozenset([stream]))).events == ()
            assert store.run(ReadFeed(prefix=f"{stream}/")).events == ()
            assert store.run(Head(StreamId(f"{stream}/none"))) == 0
        assert [event.stream for event in store.run(ReadFeed()).events] == streams
        assert tables(path) == before


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_of_views_are_kept_as_they_are(tmp_path: Path, text: str) -> None:
    view: View = View(text, prefix="x/", types=TYPES)
    with SqliteStore(tmp_path / "store.db", CODEC) as store:
        store.run(Append(StreamId("x/y"), (Tick(1, 0, 1),)))
        with SqliteViews(tmp_path / "views.db") as views:
            before = tables(tmp_path / "views.db")
            assert (store | views).run(synchronise(view)).applied == 1
            assert (store | views).run(synchronise(view)).applied == 0
            assert tables(tmp_path / "views.db") == before


def test_a_name_of_1_mib_is_refused_with_the_limit(tmp_path: Path) -> None:
    name = "x" * 2**20
    with SqliteStore(tmp_path / "store.db", CODEC) as store:
        for use in (
            lambda: store.run(Append(StreamId(name), (Tick(1, 0, 1),))),
            lambda: store.run(ReadFeed(prefix=f"{name}/")),
        ):
            with pytest.raises(BadStreamId, match="1048\\d+ bytes, and 512 is the most") as caught:
                use()
            assert len(str(caught.value)) < 200, "and the name is not repeated"
        assert store.run(ReadFeed(types=frozenset([name]))).events == ()
        assert store.run(ReadFeed()).events == ()


# --- the source


def put_together(source: str) -> Iterator[tuple[str, int]]:
    """Where SQL is put together from pieces: the function and the line."""

    def walk(node: ast.AST, function: str) -> Iterator[tuple[str, int]]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            function = node.name
        is_formatted = isinstance(node, ast.JoinedStr) and any(
            isinstance(part, ast.FormattedValue) for part in node.values
        )
        is_computed = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod)
        is_called = (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in {"format", "format_map", "join"}
        )
        if is_formatted or is_computed or is_called:
            texts = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
            if any(isinstance(text, str) and SQL.search(text) for text in texts):
                yield function, getattr(node, "lineno", 0)
                return
        for child in ast.iter_child_nodes(node):
            yield from walk(child, function)

    yield from walk(ast.parse(source), "<module>")


ASKING = {"execute", "executemany", "executescript", "ask", "_ask", "_asked", "_try", "Statement"}
"""What takes a statement first."""

CONSTANT = re.compile(r"_*[A-Z][A-Z0-9_]*")


def name_of(function: ast.expr) -> str | None:
    """What a function or method is called by."""
    match function:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return None


def is_fixed(statement: ast.expr | None) -> bool:
    """Whether a statement is written where it is used, is a constant of a module, or was looked at."""
    match statement:
        case ast.Call(func=function):
            return name_of(function) in ASKING
        case ast.IfExp(body=one, orelse=other):
            return is_fixed(one) and is_fixed(other)
        case ast.Constant(value=str() | bytes()):
            return True
        case ast.Name(id=name) | ast.Attribute(value=ast.Name(), attr=name):
            return CONSTANT.fullmatch(name) is not None
        case _:
            return False


def not_fixed(source: str) -> Iterator[tuple[str, int]]:
    """Where something is executed that may be other than what is written in the source."""

    def walk(node: ast.AST, function: str) -> Iterator[tuple[str, int]]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            function = node.name
        if isinstance(node, ast.Call):
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            if name_of(node.func) in ASKING and not is_fixed(given[0] if given else None):
                yield function, node.lineno
        for child in ast.iter_child_nodes(node):
            yield from walk(child, function)

    yield from walk(ast.parse(source), "<module>")


def test_statements_in_the_source_are_constants() -> None:
    folder = Path(eventsrc.__file__).parent
    found = {
        (".".join(path.relative_to(folder).with_suffix("").parts), function)
        for path in folder.rglob("*.py")
        for look in (put_together, not_fixed)
        for function, _ in look(path.read_text("utf-8"))
        if "testing" not in path.parts
    }
    assert found == SAFE.keys()


PLANTED = [
    'def f(n): db.execute(f"SELECT * FROM {n}")',
    'def f(n): db.execute("DELETE FROM " + n)',
    'def f(n): db.execute("INSERT INTO %s" % n)',
    'def f(n): db.execute("UPDATE {}".format(n))',
]

PLANTED_WITHOUT_A_WORD = [
    'def f(n): db.execute("select * from " + n)',
    'def f(n): db.execute(f"{n} IS NOT NULL")',
    'def f(n): db.execute(f"with x as (select {n}) values (1)")',
    'def f(n): db.execute("SELECT * FROM {t}".replace("{t}", n))',
    'def f(n): db.execute(Template("SELECT $t").substitute(t=n))',
    "def f(n): db.execute(Q.format(t=n))",
    "def f(n): db.executemany(Q % n, rows)",
    "def f(n): q = Q; q += n; db.executescript(q)",
    "def f(n): q = Q; db.execute(q + n)",
    "def f(n): self._ask(sql.Q + n)",
    "def f(n): yield tables.ask(n)",
    "def f(n): yield Statement(n.encode())",
    "def f(n): db.execute(Q if n else n)",
    "def f(n): db.execute(*n)",
    "def f(n): db.execute(sql=n)",
]
"""Those in which the words of SQL cannot be seen, or not beside what is put in."""


@pytest.mark.parametrize("planted", PLANTED)
def test_control_a_planted_statement_is_found(planted: str) -> None:
    assert list(put_together(planted)) == [("f", 1)]


@pytest.mark.parametrize("planted", PLANTED + PLANTED_WITHOUT_A_WORD)
def test_control_a_planted_statement_that_is_not_fixed_is_found(planted: str) -> None:
    assert list(not_fixed(planted)) == [("f", 1)]


@pytest.mark.parametrize(
    "right", ['db.execute("SELECT 1")', "self._ask(sql.Q, (n,))", "Statement(_Q, n)"]
)
def test_a_fixed_statement_is_not_found(right: str) -> None:
    assert list(not_fixed(right)) == []
