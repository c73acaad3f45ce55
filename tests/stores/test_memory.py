"""The memory store keeps the contract, of which it is the specification."""

from __future__ import annotations

import pytest
from hypothesis import settings

from eventsrc import MemoryStore
from eventsrc.testing import StoreContract, store_machine


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()


TestMachine = store_machine(MemoryStore).TestCase
TestMachine.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
