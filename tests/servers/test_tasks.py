"""Tasks that are cancelled, stores that are closed, and processes that were forked."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import threading
from collections.abc import Callable
from typing import Any

import pytest
from returns.result import Success

from eventsrc import Append, Head, StreamId, event
from eventsrc.aws import AsyncDynamoStore, DynamoStore
from eventsrc.errors import StoreBusy, StoreClosed, Unpicklable
from tests.servers import judging
from tests.servers.distant import Distant, Network
from tests.servers.tables import Tables


@event("tests.servers.done")
class Done:
    text: str


def asked(text: str, stream: str = "a") -> Append:
    return Append(StreamId(stream), (Done(text),))


class Gate:
    """A network that lets no transaction through until it is opened."""

    def __init__(self) -> None:
        self.reached, self._opened = threading.Event(), threading.Event()
        self.network = Network(refuse=self._wait)

    def open(self) -> None:
        """Lets everything through."""
        self._opened.set()

    def _wait(self, call: str, _: Any) -> Exception | None:
        if call == "transact_write_items":
            self.reached.set()
            assert self._opened.wait(20)
        return None


def test_a_cancelled_task_withdraws_what_has_not_begun_and_breaks_off_nothing(quick: Tables) -> None:
    table, gate = quick.new(), Gate()

    async def main() -> list[Any]:
        async with AsyncDynamoStore(Distant(quick.client, gate.network), table, timeout=20) as store:
            begun = asyncio.create_task(store.run_async(asked("begun")))
            await asyncio.to_thread(gate.reached.wait, 10)
            waiting = [asyncio.create_task(store.run_async(asked(f"{n}", "b"))) for n in range(6)]
            while await asyncio.to_thread(lambda: len(store._core.line._line)) < 6:
                await asyncio.sleep(0.01)
            for task in (begun, *waiting[:3]):
                task.cancel()
            await asyncio.wait([begun, *waiting[:3]])
            gate.open()
            return await asyncio.gather(*waiting, begun, return_exceptions=True)

    answers = asyncio.run(main())
    cancelled = [isinstance(answer, asyncio.CancelledError) for answer in answers]
    assert cancelled == [True, True, True, False, False, False, True]
    found = judging.scan(quick.client, table)
    assert judging.faults(found, ["begun", "3", "4", "5"]) == []
    assert sorted(found.texts) == ["3", "4", "5", "begun"], "what was withdrawn is not stored"


def test_a_store_that_is_closed_finishes_what_has_begun_and_refuses_the_rest(quick: Tables) -> None:
    table, gate, told = quick.new(), Gate(), dict[str, Any]()
    store = DynamoStore(Distant(quick.client, gate.network), table, timeout=20)

    def append(text: str) -> None:
        try:
            told[text] = store.run(asked(text))
        except StoreClosed as error:
            told[text] = error

    threads = [threading.Thread(target=append, args=(text,)) for text in ("begun", "waits")]
    threads[0].start()
    assert gate.reached.wait(10)
    threads[1].start()
    while not store._core.line._line:
        threads[1].join(0.01)
    closing = threading.Thread(target=store.close)
    closing.start()
    threads[1].join(10)
    gate.open()
    for thread in (*threads, closing):
        thread.join(10)
    assert isinstance(told["begun"], Success)
    assert isinstance(told["waits"], StoreClosed)
    for op in (asked("late"), Head(StreamId("a"))):
        with pytest.raises(StoreClosed):
            store.run(op)
    assert [*judging.scan(quick.client, table).texts] == ["begun"]


def test_who_waits_in_line_until_the_deadline_is_told_so_and_nothing_is_stored(quick: Tables) -> None:
    table, gate = quick.new(), Gate()
    client = Distant(quick.new_client(timeout=0.2), gate.network)
    with DynamoStore(client, table, timeout=0.5) as store:
        first = threading.Thread(target=store.run, args=(asked("begun"),))
        first.start()
        assert gate.reached.wait(10)
        with pytest.raises(StoreBusy):
            store.run(asked("waits", "b"))
        gate.open()
        first.join(10)
        assert store.run(Head(StreamId("b"))) == 0


def _try(act: Callable[[], Any], told: Any) -> None:
    try:
        told.put(repr(act()))
    except Exception as error:
        told.put(type(error).__name__)


def test_a_forked_process_is_refused_and_the_store_goes_on(quick: Tables) -> None:
    context = multiprocessing.get_context("fork")
    with DynamoStore(quick.client, quick.new(), timeout=20) as store:
        store.run(asked("1"))
        told = context.SimpleQueue()
        for act in (lambda: store.run(asked("2")), lambda: store.run(Head(StreamId("a"))), store.close):
            process = context.Process(target=_try, args=(act, told))
            process.start()
            process.join(20)
            assert process.exitcode == 0
        assert [told.get() for _ in range(3)] == ["StoreClosed", "StoreClosed", "None"]
        assert store.run(asked("2")).unwrap().version == 2


def test_a_store_goes_to_no_other_process(quick: Tables) -> None:
    import pickle

    with DynamoStore(quick.client, quick.new()) as store, contextlib.suppress(Unpicklable):
        pickle.dumps(store)
        pytest.fail("it was pickled")
