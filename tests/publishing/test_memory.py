"""The broker in memory keeps what every broker promises."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import attrs
import pytest

from eventsrc.publishing import CloudEvent, MemoryBroker
from tests.contracts.brokers import Bench, BrokerContract, made


class MemoryBench(Bench):
    def __init__(self) -> None:
        self.broker: MemoryBroker = MemoryBroker(lambda event: event.data.get("bad"))

    def came(self) -> Sequence[CloudEvent]:
        return self.broker.came

    @contextmanager
    def away(self) -> Iterator[None]:
        self.broker.is_away = True
        yield
        self.broker.is_away = False

    def unacceptable(self, subject: str) -> CloudEvent:
        event = made(subject, 0)
        return attrs.evolve(event, data={"bad": "nobody wants this"})


class TestMemoryBroker(BrokerContract):
    @pytest.fixture
    def bench(self) -> Bench:
        return MemoryBench()
