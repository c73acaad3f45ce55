"""What handlers of views in memory and in SQLite do is the failure of their events, or of none."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest

from eventsrc.errors import EventsrcError
from eventsrc.sqlite._handling import Rule
from eventsrc.views.memory import MemoryViews, Tables
from tests.contracts.handlers import (
    SETTINGS_OF_SQLITE,
    SQLITE,
    HandlerContract,
    check_parked,
    check_unseen,
    seen_in_sqlite,
)
from tests.kits.views import Kit


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return Kit(str(tmp_path / "app.db"))


class TestInSqlite(HandlerContract):
    """The suite."""


class TestInMemory(HandlerContract):
    """The suite."""

    @pytest.fixture
    def kit(self) -> Kit:
        return Kit("memory", MemoryViews())


@pytest.mark.parametrize("how", SQLITE)
def test_what_a_handler_does_to_its_connection_is_the_failure_of_its_event(kit: Kit, how: str) -> None:
    check_parked(kit, SQLITE[how])


@pytest.mark.parametrize("how", SETTINGS_OF_SQLITE)
def test_a_setting_of_a_handler_is_seen_by_no_event_after_it(kit: Kit, how: str) -> None:
    check_unseen(kit, SETTINGS_OF_SQLITE[how], seen_in_sqlite)


@pytest.mark.parametrize("how", SETTINGS_OF_SQLITE)
def test_control_a_setting_that_stays_is_caught(
    kit: Kit, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Rule, "restore", lambda _: None)
    with pytest.raises((AssertionError, ValueError, sqlite3.Error, EventsrcError)):
        check_unseen(kit, SETTINGS_OF_SQLITE[how], seen_in_sqlite)


def test_a_transaction_in_that_of_a_view_in_memory_undoes_itself_alone() -> None:
    kit = Kit("memory", MemoryViews())

    def nested(tables: Tables) -> None:
        with tables.transaction():
            tables["row"][33] = ""
        with suppress(ZeroDivisionError), tables.transaction():
            tables["row"][34] = ""
            raise ZeroDivisionError
        raise ValueError("after all that")

    check_parked(kit, nested)
