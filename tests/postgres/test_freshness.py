"""The freshness of views in Postgres."""

from __future__ import annotations

import pytest

from tests.contracts.freshness import FreshnessContract
from tests.kits.views import Kit


@pytest.fixture
def kit(postgres_dsn: str) -> Kit:
    return Kit(postgres_dsn)


class TestFreshnessInPostgres(FreshnessContract):
    """The suite."""
