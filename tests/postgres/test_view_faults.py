"""Faults of views in Postgres: poisoned events and their like, see tests/contracts."""

from __future__ import annotations

import pytest

from tests.contracts.failover import FailoverContract
from tests.contracts.fence import FenceContract
from tests.contracts.lag import LagContract
from tests.contracts.poison import PoisonContract
from tests.contracts.rebuilding import RebuildContract
from tests.contracts.target import TargetContract
from tests.kits.views import Kit


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


class TestTarget(TargetContract):
    """The experiment."""
