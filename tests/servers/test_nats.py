"""External events in JetStream, on a server of NATS."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import attrs
import nats
import pytest
from nats.aio.client import Client
from nats.js.api import DiscardPolicy, StreamConfig
from psycopg.conninfo import conninfo_to_dict

from eventsrc import AsyncInterpreter, MemoryStore, on, world
from eventsrc.errors import Unreachable
from eventsrc.publishing import CloudEvent, Publish, Published, Publisher, by_subject, publish_once
from eventsrc.publishing.nats import NatsBroker
from eventsrc.testing.servers import nats as nats_server
from eventsrc.views.memory import MemoryViews
from tests.contracts.brokers import CODEC, Bench, BrokerContract, Noted, made, notes, public
from tests.faults import scaled
from tests.kits.proxy import Cut, Frozen, Proxy

WITHIN = 2.0
names = (f"shop{number}" for number in count())


class Loop:
    """An event loop in a thread, in which clients live."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class NatsBench(Bench):
    """A stream of JetStream, behind a network that can be bad."""

    needs_loop = True

    def __init__(self, loop: Loop, client: Client, direct: Client, proxy: Proxy, name: str) -> None:
        self.broker = NatsBroker(client, name, within=WITHIN)
        self.proxy = proxy
        self.name = name
        self.client = client
        self._direct = direct
        self._loop = loop

    def run(self, program: Any, beside: AsyncInterpreter[Any] | None = None) -> Any:
        app: Any = self.broker if beside is None else beside | self.broker
        return self._loop.do(app.run_async(program))

    def came(self) -> Sequence[CloudEvent]:
        async def read() -> list[CloudEvent]:
            stream = self._direct.jetstream()
            last = (await stream.stream_info(self.name)).state.last_seq
            got = [await stream.get_msg(self.name, number + 1) for number in range(last)]
            return [CloudEvent.parse(each.data or b"") for each in got]

        found: list[CloudEvent] = self._loop.do(read())
        return found

    @contextmanager
    def away(self) -> Iterator[None]:
        self.proxy.fault = Frozen()
        yield
        self.proxy.fault = None

    def unacceptable(self, subject: str) -> CloudEvent:
        return attrs.evolve(made(subject, 0), data={"text": "x" * 1_100_000})

    def limit(self, most: int) -> None:
        """Has the stream take no more than so many messages; -1 for any number."""
        config = StreamConfig(
            name=self.name, subjects=[f"{self.name}.>"], max_msgs=most, discard=DiscardPolicy.NEW
        )
        self._loop.do(self._direct.jetstream().update_stream(config))


@pytest.fixture
def bench(nats_url: str) -> Iterator[NatsBench]:
    name, loop = next(names), Loop()
    with Proxy(f"host=127.0.0.1 port={urlsplit(nats_url).port}") as proxy:
        port = conninfo_to_dict(proxy.dsn)["port"]

        async def connect(url: str) -> Client:
            return await nats.connect(
                url, max_reconnect_attempts=-1, reconnect_time_wait=0.01, error_cb=_quiet
            )

        direct = loop.do(connect(nats_url))
        client = loop.do(connect(f"nats://127.0.0.1:{port}"))
        loop.do(direct.jetstream().add_stream(name=name, subjects=[f"{name}.>"]))
        try:
            yield NatsBench(loop, client, direct, proxy, name)
        finally:
            proxy.fault = None
            loop.do(client.close())
            loop.do(direct.close())
            loop.close()


async def _quiet(_error: Exception) -> None:
    """Faults are meant here."""


class TestNats(BrokerContract):
    @pytest.fixture
    def bench(self, bench: NatsBench) -> Bench:
        return bench


def test_what_comes_again_is_dropped_by_its_id(bench: NatsBench) -> None:
    event = made("notes/a", 1)
    for _ in range(3):
        assert bench.run(Publish((event,))) == Published()
    assert bench.came() == [event]


def test_a_stream_that_is_full_is_away_until_there_is_room(bench: NatsBench) -> None:
    events = tuple(made("notes/a", number) for number in range(5))
    bench.limit(2)
    assert bench.run(Publish(events)) == Published(left=3)
    with pytest.raises(Unreachable, match="maximum"):
        bench.run(Publish(events[2:]))
    bench.limit(-1)
    assert bench.run(Publish(events[2:])) == Published()
    assert bench.came() == [*events]


def test_a_subject_that_no_stream_takes_is_away(bench: NatsBench) -> None:
    lost = NatsBroker(bench.client, "nobody", within=WITHIN)
    with pytest.raises(Unreachable, match="NoStreamResponse"):
        bench._loop.do(lost.run_async(Publish((made("notes/a", 1),))))


def test_a_type_that_is_no_subject_is_refused(bench: NatsBench) -> None:
    event = attrs.evolve(made("notes/a", 1), type="a.>")
    assert [each.id for each in bench.run(Publish((event,))).refused] == [event.id]


def test_a_server_that_is_gone_is_away_at_once(bench: NatsBench) -> None:
    with nats_server() as server:

        async def connect() -> Client:
            return await nats.connect(server.url, max_reconnect_attempts=-1, error_cb=_quiet)

        client = bench._loop.do(connect())
    deadline = time.monotonic() + 20
    while client.is_connected and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(Unreachable, match="not connected"):
        bench._loop.do(NatsBroker(client, "shop").run_async(Publish((made("notes/a", 1),))))
    bench._loop.do(client.close())


@pytest.mark.parametrize("subject", ["", "a b", "a..b", "a.>", "*", None])
def test_a_subject_is_one_of_nats(bench: NatsBench, subject: Any) -> None:
    with pytest.raises(ValueError, match="subject"):
        NatsBroker(bench.client, subject)


def published_on_a_bad_network(bench: NatsBench, broker: AsyncInterpreter[Publish]) -> str:
    """Publishes while connections break, wherever in a message; answers what is wrong in the end."""
    chosen, store = random.Random(7), MemoryStore(CODEC)
    out = Publisher("nats", public, begin="start", batch=20)
    app = store | MemoryViews() | world | broker
    for number in range(20 * scaled(12)):
        store.run(notes[str(chosen.randrange(4))].append(Noted(number)))
        if number % 20 == 19:
            bench.proxy.fault = Cut(chosen.randrange(1, 4_000), chosen.choice(["server", "client"]))
            _keep_trying(lambda: bench._loop.do(app.run_async(publish_once(out))))
    bench.proxy.fault = None
    bench._loop.do(bench.client.flush())
    came = {
        key: [event.data["number"] for event in its] for key, its in by_subject(bench.came()).items()
    }
    wanted = {
        f"notes/{name}": [event.data.number for event in store.run(notes[str(name)].history())]
        for name in range(4)
    }
    return "" if came == wanted else f"{came} came, of {wanted}"


def test_whatever_a_bad_network_does_each_stream_comes_whole_and_in_order(bench: NatsBench) -> None:
    broker = NatsBroker(bench.client, bench.name, within=0.5)  # some of it is spent in vain
    assert published_on_a_bad_network(bench, broker) == ""


class Hasty(AsyncInterpreter[Publish]):
    """The broken variant: it does not wait until JetStream has the events."""

    def __init__(self, client: Client, subject: str) -> None:
        self._client = client
        self._subject = subject

    @on(Publish).coroutine
    async def publish(self, op: Publish) -> Published:
        for event in op.events:
            headers = {"Nats-Msg-Id": event.id}
            await self._client.publish(
                f"{self._subject}.{event.type}", event.to_json(), headers=headers
            )
        return Published()


def test_control_a_broker_that_does_not_wait_for_answers_loses_some(bench: NatsBench) -> None:
    assert published_on_a_bad_network(bench, Hasty(bench.client, bench.name))


def _keep_trying(work: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            work()
            return
        except Unreachable:
            assert time.monotonic() < deadline
            time.sleep(0.01)
