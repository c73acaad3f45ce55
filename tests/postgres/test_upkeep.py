"""The upkeep of views in Postgres."""

from __future__ import annotations

import pytest

from tests.views.kit import Kit
from tests.views.upkeep import UpkeepContract


@pytest.fixture
def kit(postgres_dsn: str) -> Kit:
    return Kit(postgres_dsn)


class TestUpkeepInPostgres(UpkeepContract):
    """The suite."""
