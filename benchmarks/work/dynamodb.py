"""Appending to a table of DynamoDB, on an emulator behind a network, beside the raw client.

A transaction takes 12 ms, give or take a half, and other requests a third of that. Raw does the same
conditional transactions by hand, one at a time. Write units are those that another emulator counts.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from time import perf_counter, process_time
from typing import Any, Literal
from uuid import uuid4

import attrs

from benchmarks.facts import renamed
from benchmarks.places import Places
from benchmarks.rounds import Result, Sample, Work
from benchmarks.table import markdown, number, yes_or_no
from benchmarks.work import Part, scaled
from benchmarks.work.concurrent import at_once
from eventsrc import Append, Codec, StreamId
from eventsrc.testing.servers import NoServer, Server, create_table, ministack, roto

LATENCY = 0.012
"""The seconds of a transaction."""

PRICE = 0.625
"""USD for a million write units, of on-demand tables in us-east-1, as far as it is known."""

BUDGETS = {"dynamodb/cpu": 1 / 1.4, "dynamodb/threads-32": 8.0, "dynamodb/threads-96": 15.0}
"""How much of raw's rate, at least."""


@attrs.frozen
class Writer:
    """Who appends: raw, or eventsrc."""

    name: Literal["raw", "eventsrc"]
    open: Callable[[Any, str], Callable[[int, int], None]]
    """Gives a function that appends the next event of a writer's stream, for a client and a table."""


class Far:
    """A client whose server is far away. units: the write units that it has consumed."""

    def __init__(self, client: Any, latency: float) -> None:
        self.meta = client.meta
        self.units = 0.0
        self._client, self._latency = client, latency
        self._dice = random.Random(1)

    def __getattr__(self, call: str) -> Any:
        def ask(**asked: Any) -> Any:
            share = 1.0 if call == "transact_write_items" else 1 / 3
            time.sleep(self._latency * share * (0.5 + self._dice.random()))
            if call != "transact_write_items":
                return getattr(self._client, call)(**asked)
            answer = self._client.transact_write_items(**asked, ReturnConsumedCapacity="TOTAL")
            self.units += sum(told["CapacityUnits"] for told in answer.get("ConsumedCapacity", ()))
            return answer

        return ask


def part() -> Part:
    """These works; none without the emulators."""
    works = [] if not _is_there(roto) else [_alone(), _many(32), _many(96)]
    if _is_there(ministack):
        works += [_counted(1), _counted(20)]

    def table(results: Sequence[Result]) -> Iterator[str]:
        heads = ("work", "raw", "eventsrc", "of raw", "budget", "met?")
        timed = [result for result in results if result.work.key in BUDGETS]
        if timed:
            yield from markdown(heads, map(_line, timed))
        counted = [result for result in results if result.work.key not in BUDGETS]
        if counted:
            yield ""
            units = ("work", "write units", "USD for a million")
            yield from markdown(units, map(_price, counted))

    return Part("DynamoDB", works, table)


def _is_there(start: Callable[[], Server]) -> bool:
    if find_spec("boto3") is None:
        return False
    try:
        start().close()
    except NoServer:
        return False
    return True


_WRITERS = [
    Writer("raw", lambda client, table: _Raw(client, table).append),
    Writer("eventsrc", lambda client, table: _Ours(client, table).append),
]


def _alone() -> Work:
    def measure(writer: Writer, places: Places, scale: float) -> Sample:
        with roto() as server:
            append = writer.open(_client(server, 0.0), _table(server))
            append(0, 0)
            began = process_time()
            for turn in range(times := scaled(300, scale)):
                append(0, turn + 1)
            return Sample(times, process_time() - began)

    return Work("dynamodb/cpu", "append 1, by CPU time", "events/s", measure, _WRITERS)


def _many(threads: int) -> Work:
    def measure(writer: Writer, places: Places, scale: float) -> Sample:
        with roto() as server:
            append = writer.open(_client(server, LATENCY), _table(server))
            times = scaled(30 if writer.name == "eventsrc" else 3, scale)
            latencies: list[float] = []

            def write(who: int) -> None:
                for turn in range(times):
                    began = perf_counter()
                    append(who, turn)
                    latencies.append(perf_counter() - began)

            seconds = at_once([partial(write, who) for who in range(threads)])
            return Sample(threads * times, seconds, latencies)

    name = f"append 1, {threads} threads"
    return Work(f"dynamodb/threads-{threads}", name, "events/s", measure, _WRITERS)


def _counted(threads: int) -> Work:
    """What is counted are write units; a "second" is an append."""

    def measure(writer: Writer, places: Places, scale: float) -> Sample:
        with ministack() as server:
            far = _client(server, LATENCY)
            append = writer.open(far, _table(server))
            times = scaled(20, scale)

            def write(who: int) -> None:
                for turn in range(times):
                    append(who, turn)

            at_once([partial(write, who) for who in range(threads)])
            return Sample(far.units, threads * times)

    name = f"append 1, {threads} waiting"
    return Work(f"dynamodb/units-{threads}", name, "write units", measure, _WRITERS[1:])


def _client(server: Server, latency: float) -> Far:
    import boto3  # type: ignore[import-not-found,import-untyped,unused-ignore]

    from eventsrc.aws import config

    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    about = {"region_name": "us-east-1", "endpoint_url": server.url, **keys}
    return Far(boto3.client("dynamodb", **about, config=config(timeout=5.0, connections=128)), latency)


def _table(server: Server) -> str:
    table = f"t{uuid4().hex}"
    create_table(_client(server, 0.0), table)
    return table


class _Ours:
    def __init__(self, client: Any, table: str) -> None:
        from eventsrc.aws import DynamoStore

        self._store = DynamoStore(client, table, timeout=30.0)

    def append(self, who: int, turn: int) -> None:
        event = renamed(who, turn + 1)
        self._store.run(Append(StreamId(f"writer/{who}"), (event,), turn)).unwrap()


class _Raw:
    """One transaction at a time, with a position and a version that must be free."""

    def __init__(self, client: Any, table: str) -> None:
        self._client, self._table = client, table
        self._codec = Codec()
        self._lock = threading.Lock()
        self._end = 0

    def append(self, who: int, turn: int) -> None:
        data = self._codec.encode(renamed(who, turn + 1)).data
        with self._lock:
            self._end += 1
            commit = {"w": {"B": json.dumps([f"writer/{who}", turn + 1]).encode()}}
            items = [
                {"p": {"S": "f/0"}, "n": {"N": str(self._end)}, **commit},
                {"p": {"S": f"s/writer/{who}"}, "n": {"N": str(turn + 1)}, "d": {"B": data}},
            ]
            self._client.transact_write_items(
                TransactItems=[
                    {
                        "Put": {
                            "TableName": self._table,
                            "Item": item,
                            "ConditionExpression": "attribute_not_exists(p)",
                        }
                    }
                    for item in items
                ]
            )


def _line(result: Result) -> tuple[str, ...]:
    ratio, budget = result.ratio("eventsrc", "raw"), BUDGETS[result.work.key]
    speeds = [f"{number(result.speed(name))} {result.work.unit}" for name in ("raw", "eventsrc")]
    return (result.work.name, *speeds, f"{ratio:.2f}", f"≥ {budget:.2f}", yes_or_no(ratio >= budget))


def _price(result: Result) -> tuple[str, ...]:
    units = result.speed("eventsrc")
    return result.work.name, f"{units:.1f}", f"{units * PRICE:.2f}"
