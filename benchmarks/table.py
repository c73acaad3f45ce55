"""Tables, in Markdown; and the one in which eventsrc stands beside peers and the raw engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from benchmarks.rounds import Result
from benchmarks.systems import System


@attrs.frozen
class Budget:
    """What eventsrc must reach: so many times the speed of raw, of the best peer.

    fast_of_peer: the latter, for eventsrc with its extra `fast`, if that is another.
    """

    of_raw: float | None = None
    of_peer: float | None = None
    fast_of_peer: float | None = None

    def for_system(self, system: System) -> Budget:
        """What a set-up of eventsrc must reach."""
        is_fast = self.fast_of_peer is not None and system.name.endswith("fast")
        return Budget(self.of_raw, self.fast_of_peer if is_fast else self.of_peer)

    def is_met(self, of_raw: float | None, of_peer: float | None) -> bool | None:
        """Whether these ratios meet it; None if what it compares with was not measured."""
        demands = [(self.of_raw, of_raw), (self.of_peer, of_peer)]
        wanted = [(least, got) for least, got in demands if least is not None]
        if any(got is not None and got < least for least, got in wanted):
            return False
        return None if any(got is None for _, got in wanted) else True

    def __str__(self) -> str:
        raw = [f"{self.of_raw:.2f} of raw"] if self.of_raw is not None else []
        peer = [f"{self.of_peer:g} × peer"] if self.of_peer is not None else []
        return ", ".join(raw + peer)


def beside_others(
    systems: Sequence[System], budgets: Mapping[str, Budget], results: Sequence[Result]
) -> Iterator[str]:
    """A line for each work and each set-up of eventsrc, then how long single calls took.

    budgets: by the key of the work.
    """
    heads = ("work", "best peer", "raw", "eventsrc", "of raw", "of peer", "budget", "met?")
    ours = [system for system in systems if system.kind == "eventsrc"]
    rows = [
        _compared(result, system, systems, budgets.get(result.work.key))
        for result in results
        for system in ours
        if system.name in result.samples
    ]
    yield from markdown(heads, rows)
    latencies = [
        (result.work.name, system.name, *(number(value) for value in found))
        for result in results
        for system in systems
        if system.name in result.samples
        and all(found := [_latency(result, system, percent) for percent in (50, 99)])
    ]
    if latencies:
        yield ""
        yield from markdown(("one call, µs", "system", "p50", "p99"), latencies)


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of any table."""
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def number(value: float | None, digits: int = 3) -> str:
    """A number with a few significant digits, thousands apart; nothing for None."""
    if value is None:
        return ""
    if abs(value) >= 10 ** (digits - 1):
        power = 10 ** max(len(str(int(abs(value)))) - digits, 0)
        return f"{round(value / power) * power:,}".replace(",", " ")
    return f"{value:.{digits}g}"


def yes_or_no(is_met: bool | None) -> str:
    """Whether a budget is met, so that a miss is seen; a question mark for what is not known."""
    return "?" if is_met is None else "yes" if is_met else "**no**"


def _compared(
    result: Result, ours: System, systems: Sequence[System], budget: Budget | None
) -> tuple[str, ...]:
    peers = [one for one in systems if one.kind == "peer" and one.name in result.samples]
    peer = max(peers, key=lambda system: result.speed(system.name), default=None)
    raw = next((system for system in systems if system.name == ours.rival), None)
    of_peer = None if peer is None else result.ratio(ours.name, peer.name)
    of_raw = None if raw is None else result.ratio(ours.name, raw.name)
    mine = None if budget is None else budget.for_system(ours)
    extra = ours.name.removeprefix("eventsrc").strip()
    return (
        f"{result.work.name} ({extra})" if extra else result.work.name,
        "" if peer is None else f"{number(result.speed(peer.name))} ({peer.name})",
        "" if raw is None else number(result.speed(raw.name)),
        f"{number(result.speed(ours.name))} {result.work.unit}",
        "" if of_raw is None else f"{of_raw:.2f}",
        "" if of_peer is None else f"{of_peer:.2f}",
        "" if mine is None else str(mine),
        "" if mine is None else yes_or_no(mine.is_met(of_raw, of_peer)),
    )


def _latency(result: Result, system: System, percent: int) -> float | None:
    return result.median(system.name, lambda sample: sample.latency(percent))
