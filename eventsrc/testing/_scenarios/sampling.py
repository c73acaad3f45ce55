"""Schedules by chance, for programs too large for every schedule, and the way back to a short one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from random import Random
from typing import Any, Final

from eventsrc.programs.world import Chance
from eventsrc.testing._scenarios.faults import Fault
from eventsrc.testing._scenarios.running import Choice, Plan, Process, Running, Variant, follow

_FAULT_RATES: Final = (0.0, 0.02, 0.1, 0.4)

MOST_TRIES: Final = 5_000
"""The most runs for shortening a schedule."""


def by_chance(plan: Plan, random: Random) -> Running:
    """One run. How often the programs take turns, and how often what goes wrong, is by chance too."""
    running = Running(plan)
    loyalty = random.random()
    faults = [fault for fault in plan.faults if random.random() < 0.7]
    rate = _FAULT_RATES[int(random.random() * len(_FAULT_RATES))] if faults else 0.0
    processes = running.processes
    last = ""
    while processes:
        if last not in processes or (len(processes) > 1 and random.random() >= loyalty):
            names = [*processes]
            last = names[int(random.random() * len(names))]
        running.step(last, _variant(running, processes[last], random, rate, faults))
    return running


def _variant(
    running: Running, process: Process, random: Random, rate: float, faults: list[Fault]
) -> Variant:
    if rate > 0 and running.may_fail and random.random() < rate:
        wrong = [variant for variant in running.variants(process) if variant in faults]
        if wrong:
            return wrong[int(random.random() * len(wrong))]
    if type(process.op) is not Chance:
        return None
    chances = running.plan.chances
    return chances[int(random.random() * len(chances))]


def drawn(plan: Plan, draw: Callable[[Sequence[Any]], Any]) -> Running:
    """One run, with each choice drawn; the first of those offered is always the simplest."""
    running = Running(plan)
    processes = running.processes
    last = ""
    while processes:
        names = (
            [last, *(name for name in processes if name != last)] if last in processes else [*processes]
        )
        last = draw(names) if len(names) > 1 else names[0]
        variants = running.variants(processes[last])
        running.step(last, draw(variants) if len(variants) > 1 else variants[0])
    return running


def shortened(
    plan: Plan, choices: Sequence[Choice], is_broken: Callable[[Running], bool]
) -> list[Choice]:
    """A simpler schedule that is broken too: with less going wrong, fewer turns and fewer steps.

    It leaves off the end, in which the programs go on by themselves.
    """
    best = list(choices)
    cost = _cost(best)
    tries = 0

    def improve(candidate: Sequence[Choice]) -> bool:
        nonlocal best, cost, tries
        tries += 1
        running = Running(plan)
        follow(running, candidate, strictly=False)
        if _cost(running.choices) < cost and is_broken(running):
            best, cost = running.choices, _cost(running.choices)
            return True
        return False

    while tries < MOST_TRIES and any(map(improve, _simpler(best))):
        pass
    return _without_end(plan, best, is_broken)


def _cost(choices: Sequence[Choice]) -> tuple[int, int, int, int]:
    """A measure of a run: its faults, its turns and steps, and the time that its programs take."""
    wrong = sum(isinstance(variant, Fault) for _, variant in choices)
    turns = sum(one != other for (one, _), (other, _) in pairwise(choices))
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, (name, _) in enumerate(choices):
        first.setdefault(name, number)
        last[name] = number
    return wrong, turns, len(choices), sum(last.values()) - sum(first.values())


def _simpler(choices: Sequence[Choice]) -> Iterator[Sequence[Choice]]:
    """Schedules with a part left out, a fault less, or a step moved up to its program's last one."""
    size = len(choices)
    while size:
        for start in range(0, len(choices), size):
            yield [*choices[:start], *choices[start + size :]]
        size //= 2
    for number, (name, variant) in enumerate(choices):
        if isinstance(variant, Fault):
            yield [*choices[:number], (name, None), *choices[number + 1 :]]
    for number, choice in enumerate(choices):
        for place in range(number - 1, -1, -1):
            if choices[place][0] == choice[0]:
                moved = [
                    *choices[: place + 1],
                    choice,
                    *choices[place + 1 : number],
                    *choices[number + 1 :],
                ]
                yield moved
                break


def _without_end(
    plan: Plan, choices: list[Choice], is_broken: Callable[[Running], bool]
) -> list[Choice]:
    """As much of a schedule as must be given for all of it to follow, or what is as simple."""
    for length in range(len(choices)):
        running = Running(plan)
        follow(running, choices[:length], strictly=False)
        if running.choices == choices or (
            _cost(running.choices) <= _cost(choices) and is_broken(running)
        ):
            return choices[:length]
    return choices
