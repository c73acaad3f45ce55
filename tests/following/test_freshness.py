"""The freshness of views in SQLite and in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventsrc.views.memory import MemoryViews
from tests.contracts.freshness import FreshnessContract
from tests.kits.views import Kit


class TestFreshnessInSqlite(FreshnessContract):
    """The suite."""

    @pytest.fixture
    def kit(self, tmp_path: Path) -> Kit:
        return Kit(str(tmp_path / "app.db"))


class TestFreshnessInMemory(FreshnessContract):
    """The suite."""

    @pytest.fixture
    def kit(self) -> Kit:
        return Kit("memory", MemoryViews())
