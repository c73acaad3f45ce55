"""The table: what came of all rounds, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from benchmarks.rounds import Budget, Result
from benchmarks.systems import System

_HEADS = (
    "work",
    "best peer",
    "raw",
    "eventsrc",
    "of raw",
    "of peer",
    "budget",
    "met?",
    "p50, p99 µs",
    "raw's p50, p99",
)


def table(results: Iterable[Result]) -> Iterator[str]:
    """The lines of the table: one for each set-up of eventsrc and each work."""
    yield from markdown(_HEADS, [line for result in results for line in _lines(result)])


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


def _lines(result: Result) -> Iterator[list[str]]:
    peer = result.best_peer()
    for ours in result.of("eventsrc"):
        raw = result.rival(ours)
        of_raw = None if raw is None else result.ratio(ours, raw)
        of_peer = None if peer is None else result.ratio(ours, peer)
        budget = result.work.budget.get(ours.name)
        extra = ours.name.removeprefix("eventsrc").strip()
        yield [
            f"{result.work.name} ({extra})" if extra else result.work.name,
            "" if peer is None else f"{number(result.speed(peer))} ({peer.name})",
            "" if raw is None else number(result.speed(raw)),
            f"{number(result.speed(ours))} {result.work.unit}",
            "" if of_raw is None else f"{of_raw:.2f}",
            "" if of_peer is None else f"{of_peer:.2f}",
            _wanted(budget),
            _met(budget, of_raw, of_peer),
            _latencies(result, ours),
            "" if raw is None else _latencies(result, raw),
        ]


def _latencies(result: Result, system: System) -> str:
    found = [number(result.latency(system, percent)) for percent in (50, 99)]
    return ", ".join(text for text in found if text)


def _wanted(budget: Budget | None) -> str:
    if budget is None:
        return ""
    raw = [f"{budget.of_raw:.2f} of raw"] if budget.of_raw is not None else []
    peer = [f"{budget.of_peer:g} × peer"] if budget.of_peer is not None else []
    return ", ".join(raw + peer)


def _met(budget: Budget | None, of_raw: float | None, of_peer: float | None) -> str:
    """Whether a budget is met; a question mark if what it compares with was not measured."""
    if budget is None:
        return ""
    demands = [(budget.of_raw, of_raw), (budget.of_peer, of_peer)]
    wanted = [(least, got) for least, got in demands if least is not None]
    if any(got is not None and got < least for least, got in wanted):
        return "**no**"
    return "?" if any(got is None for _, got in wanted) else "yes"
