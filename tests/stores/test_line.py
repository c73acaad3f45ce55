"""The line of those who append at once: how they are put into groups, and how many may wait."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from eventsrc.stores._async_group_commit import AsyncGroupCommit
from eventsrc.stores._group_commit import GroupCommit
from eventsrc.stores.operations import StoreBusy


async def sizes(perform_takes: float, they_take: float) -> list[int]:
    """How many appends each group has, of eight tasks that do something between theirs."""
    found: list[int] = []

    async def perform(group: Sequence[int]) -> Sequence[int]:
        found.append(len(group))
        await asyncio.sleep(perform_takes)
        return group

    line: AsyncGroupCommit[int, int] = AsyncGroupCommit(
        perform, interrupted=lambda job: -job, too_late=TimeoutError, most=512
    )

    async def ask(number: int) -> None:
        for turn in range(10):
            assert await line.perform(number + turn, 10) == number + turn
            time.sleep(they_take)

    await asyncio.gather(*map(ask, range(8)))
    await line.close()
    return found


def test_half_of_a_crowd_is_under_way_while_the_other_half_computes() -> None:
    found = asyncio.run(sizes(perform_takes=0.001, they_take=0.002))
    assert found.count(4) > len(found) / 2


def test_control_a_crowd_that_waits_for_the_store_stays_together() -> None:
    assert asyncio.run(sizes(perform_takes=0.05, they_take=0)) == [8] * 10


def test_when_its_leader_is_cancelled_a_group_is_told_and_the_others_are_led_by_another() -> None:
    async def main() -> None:
        async def perform(group: Sequence[int]) -> Sequence[int]:
            if not began.is_set():
                began.set()
                await asyncio.sleep(60)
            return group

        began = asyncio.Event()
        line: AsyncGroupCommit[int, int] = AsyncGroupCommit(
            perform, interrupted=lambda job: -job, too_late=TimeoutError, most=3
        )
        tasks = [asyncio.create_task(line.perform(number, 20)) for number in range(1, 6)]
        await began.wait()
        for task in asyncio.all_tasks() - {*tasks, asyncio.current_task()}:
            task.cancel()
        async with asyncio.timeout(10):
            assert await asyncio.gather(*tasks) == [-1, -2, -3, 4, 5]
            await line.close()

    asyncio.run(main())


def test_whoever_comes_to_a_full_line_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventsrc.stores._line.LONGEST", 3)

    async def main() -> None:
        async def perform(group: Sequence[int]) -> Sequence[int]:
            await gate.wait()
            return group

        gate = asyncio.Event()
        line: AsyncGroupCommit[int, int] = AsyncGroupCommit(
            perform, interrupted=lambda job: -job, too_late=TimeoutError, most=1
        )
        tasks = [asyncio.create_task(line.perform(1, 20))]
        await asyncio.sleep(0)
        tasks += [asyncio.create_task(line.perform(number, 20)) for number in (2, 3, 4)]
        await asyncio.sleep(0)
        with pytest.raises(StoreBusy, match="3 appends wait"):
            await line.perform(5, 20)
        tasks.pop(2).cancel()
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(line.perform(6, 20)))  # there is room again
        gate.set()
        assert await asyncio.gather(*tasks) == [1, 2, 4, 6]
        await line.close()

    asyncio.run(main())


def test_threads_that_come_to_a_full_line_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventsrc.stores._line.LONGEST", 2)
    began, gate = threading.Event(), threading.Event()

    def perform(group: Sequence[int]) -> Sequence[int]:
        began.set()
        assert gate.wait(20)
        return group

    line: GroupCommit[int, int] = GroupCommit(
        perform, interrupted=lambda job: -job, too_late=TimeoutError, most=1
    )
    with ThreadPoolExecutor() as threads:
        answers = [threads.submit(line.perform, 1, 20)]
        assert began.wait(20)
        answers += [threads.submit(line.perform, number, 20) for number in (2, 3)]
        while len(line._line) < 2:
            pass
        try:
            with pytest.raises(StoreBusy, match="2 appends wait"):
                line.perform(4, 20)
        finally:
            gate.set()
        assert [answer.result(20) for answer in answers] == [1, 2, 3]
    line.close()
