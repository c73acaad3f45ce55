"""The memory store keeps the contract."""

from __future__ import annotations

import pytest

from eventsrc import MemoryStore
from eventsrc.testing import StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()
