"""The upkeep of views in Postgres."""

from __future__ import annotations

import pytest

from tests.contracts.upkeep import UpkeepContract
from tests.kits.views import Kit


@pytest.fixture
def kit(postgres_dsn: str) -> Kit:
    return Kit(postgres_dsn)


class TestUpkeepInPostgres(UpkeepContract):
    """The suite."""
