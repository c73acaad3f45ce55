"""Publishers on views in Postgres."""

from __future__ import annotations

import pytest

from tests.contracts.publishing import KillingContract, PublishingContract
from tests.kits.views import Kit


class TestPublishersInPostgres(PublishingContract, KillingContract):
    @pytest.fixture
    def kit(self, postgres_dsn: str) -> Kit:
        return Kit(postgres_dsn)
