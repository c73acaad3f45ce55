"""How the tasks that append at once are put into groups."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from eventsrc.stores._async_group_commit import AsyncGroupCommit


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
