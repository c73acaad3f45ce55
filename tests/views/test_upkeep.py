"""The upkeep of views in SQLite."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.views.kit import Kit
from tests.views.upkeep import UpkeepContract


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return Kit(str(tmp_path / "app.db"))


class TestUpkeepInSqlite(UpkeepContract):
    """The suite."""
