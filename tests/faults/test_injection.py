"""E-INJ: hostile text stays text. Nothing that a user names ends up as a part of a statement.

Passed if every such name is kept exactly or refused, if the tables are the same afterwards, and if no
statement in the source is put together from pieces, but where this says why that is safe.
"""

from __future__ import annotations

import ast
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

import eventsrc
from eventsrc import Append, Head, Read, ReadFeed, SqliteStore, SqliteViews, StreamId, View, synchronise
from eventsrc.store import LoadSnapshot, SaveSnapshot, Snapshot
from tests.faults.events import CODEC, TYPES, Tick

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

SAFE = {
    ("sqlite_file", "_connect"): "PRAGMA takes no parameters; the word is one of two of our own",
    (
        "sqlite_schema",
        "apply_missing",
    ): "PRAGMA takes no parameters; numbers of our own, formatted as numbers",
    ("views.sqlite", "_attached"): "ATTACH takes no parameter for the name, which is quoted",
}
"""The functions that put statements together, and why they may."""


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
        streams = [StreamId(f"x{text.strip('/')}".replace("//", "/")) for text in HOSTILE]
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


def test_no_statement_in_the_source_is_put_together_from_pieces() -> None:
    folder = Path(eventsrc.__file__).parent
    found = {
        (".".join(path.relative_to(folder).with_suffix("").parts), function)
        for path in folder.rglob("*.py")
        for function, _ in put_together(path.read_text("utf-8"))
        if "testing" not in path.parts
    }
    assert found == SAFE.keys()


@pytest.mark.parametrize(
    "planted",
    [
        'def f(n): db.execute(f"SELECT * FROM {n}")',
        'def f(n): db.execute("DELETE FROM " + n)',
        'def f(n): db.execute("INSERT INTO %s" % n)',
        'def f(n): db.execute("UPDATE {}".format(n))',
    ],
)
def test_control_a_planted_statement_is_found(planted: str) -> None:
    assert list(put_together(planted)) == [("f", 1)]
