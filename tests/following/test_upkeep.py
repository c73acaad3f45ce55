"""The upkeep of views in SQLite and in memory."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlite_utils import Database

from eventsrc import Recorded, SqliteViews, View, synchronise
from eventsrc.views.memory import MemoryViews, Tables
from eventsrc.views.operations import GetParked, GetProgress
from eventsrc.views.view import ViewError
from tests.contracts.upkeep import UpkeepContract
from tests.kits.library import TYPES, Noted, filled
from tests.kits.views import Kit


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return Kit(str(tmp_path / "app.db"))


class TestUpkeepInSqlite(UpkeepContract):
    """The suite."""


class TestUpkeepInMemory(UpkeepContract):
    """The suite."""

    @pytest.fixture
    def kit(self) -> Kit:
        return Kit("memory", MemoryViews())


def test_what_a_handler_did_before_it_failed_is_undone() -> None:
    tables = Tables()
    with tables.transaction():
        tables["a"][1] = "one"
        tables["a"][2] = "two"

    def half() -> None:
        with tables.transaction():
            tables["a"][1] = "other"
            tables["a"][1] = "another"
            del tables["a"][2]
            tables["b"][3] = "three"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert (dict(tables["a"]), dict(tables["b"])) == ({1: "one", 2: "two"}, {})


@given(
    st.lists(st.tuples(st.integers(0, 3), st.none() | st.integers(0, 9), st.booleans()), max_size=20)
)
def test_a_table_is_what_a_dict_would_be_of_what_was_not_undone(
    steps: list[tuple[int, int | None, bool]],
) -> None:
    tables, model = Tables(), dict[int, int]()
    for key, value, fails in steps:
        expected = dict(model)
        with contextlib.suppress(ZeroDivisionError), tables.transaction():
            if value is None:
                tables["t"].pop(key, None)
                expected.pop(key, None)
            else:
                tables["t"][key] = expected[key] = value
            if fails:
                raise ZeroDivisionError
        if not fails:
            model = expected
        assert dict(tables["t"]) == model


def test_a_handler_that_uses_its_own_views_is_refused_in_time() -> None:
    views = MemoryViews(timeout=0.05)
    kit = Kit("memory", views)

    def itself(*_: object) -> None:
        views.run(GetProgress(view))

    view = kit.notes(itself)
    (filled(1, 1) | views).run(synchronise(view))
    assert "in use in this very thread" in views.run(GetParked(view))[0].error
    assert kit.rows(views, view) == {}


def test_views_that_cannot_be_read_together_are_refused() -> None:
    one, main, temp = View[Database]("one"), View[Database]("main"), View[Database]("temp")
    with SqliteViews.temporary([one, main, temp]) as views:
        for others in ([main], [temp], [one], [View[Database]("ONE")]):
            with pytest.raises(ViewError, match="name"), views.reading(one, *others):
                pass
        with views.reading(main, one) as db:
            assert [name for _, name, _ in db.execute("PRAGMA database_list")] == ["main", "one"]


def test_a_slow_view_in_memory_holds_back_no_reader_of_another() -> None:
    slow, other = View[Tables]("slow", types=TYPES), View[Tables]("other", types=TYPES)
    views = MemoryViews(timeout=0.0)

    @slow.on(Noted)
    def read_the_other(tables: Tables, event: Recorded[Noted]) -> None:
        with views.reading(other) as beside:
            tables["seen"][event.stream] = beside["rows"][1]
        with pytest.raises(ViewError, match="this very thread"), views.reading(slow):
            pass

    @other.on(Noted)
    def note(tables: Tables, event: Recorded[Noted]) -> None:
        tables["rows"][1] = "here"

    app = filled(1, 1) | views
    app.run(synchronise(other))
    assert app.run(synchronise(slow)).parked == ()
    with views.reading(slow) as tables:
        assert {name: dict(rows) for name, rows in tables.items()} == {"seen": {"books/0": "here"}}


def test_what_is_read_of_a_view_in_memory_cannot_be_changed() -> None:
    view = View[Tables]("notes", types=TYPES)
    views = MemoryViews([view])
    with views.writing(view) as ledger:
        ledger.database["rows"][1] = "one"
    with views.reading(view) as tables:
        read: Any = tables
        assert (dict(read["rows"]), dict(read["none"]), list(read)) == ({1: "one"}, {}, ["rows"])
        with pytest.raises(TypeError):
            read["rows"][1] = "two"
        with pytest.raises(TypeError):
            read["more"] = {}
