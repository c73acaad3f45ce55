"""E-POISON and its like, of views in Postgres: see tests/views."""

from __future__ import annotations

import pytest

from tests.views.failover import FailoverContract
from tests.views.fence import FenceContract
from tests.views.kit import Kit
from tests.views.lag import LagContract
from tests.views.poison import PoisonContract
from tests.views.rebuilding import RebuildContract
from tests.views.sink import SinkContract


@pytest.fixture
def kit(postgres_dsn: str) -> Kit:
    return Kit(postgres_dsn)


class TestLag(LagContract):
    """The suite."""


class TestPoison(PoisonContract):
    """The experiment."""


class TestFence(FenceContract):
    """The experiment."""


class TestFailover(FailoverContract):
    """The experiments."""


class TestRebuild(RebuildContract):
    """The experiments."""


class TestSink(SinkContract):
    """The experiment."""
