"""Whether a thing costs more when there is more of everything: it should hardly.

Each work is done in a small database and in a large one. What the engine itself loses, because its
tables outgrow its cache, is seen in raw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import perf_counter

import attrs

from benchmarks.facts import Layout
from benchmarks.places import Places, opened
from benchmarks.rounds import Result, Sample, Work
from benchmarks.systems import Log, System
from benchmarks.table import markdown, number, yes_or_no
from benchmarks.work import Part, loops, scaled

BUDGET = 1.3
"""How much more an event may cost."""

FEW, MANY = Layout(100, 100, at_once=10), Layout(10_000, 100, at_once=10)
"""10 000 and 1 000 000 events, in streams of the same length."""

NARROW, WIDE = Layout(10, 10), Layout(100_000, 10)
"""10 and 100 000 streams of the same length."""


@attrs.frozen
class Sized:
    """A system with a small or a large database."""

    system: System
    layout: Layout
    is_large: bool

    @property
    def name(self) -> str:
        """Says both."""
        return f"{self.system.name}, {'large' if self.is_large else 'small'}"


Do = Callable[[Sized, Places, float], Sample]


def part(systems: Sequence[System]) -> Part:
    """These works, for raw and for eventsrc."""
    able = [next(one for one in systems if one.name == name) for name in ("raw", "eventsrc")]
    rows: Sequence[tuple[str, str, Do, Layout, Layout]] = [
        ("append", "append 1, among 10 000 or 1 000 000 events", append, FEW, MANY),
        ("read", "read streams of 100, among 10 000 or 1 000 000 events", read, FEW, MANY),
        ("feed", "feed of 10 000 or 1 000 000 events", feed, FEW, MANY),
        ("view", "view sync of 10 000 or 1 000 000 events", view, FEW, MANY),
        ("append-wide", "append 1, to 10 or 100 000 streams", append, NARROW, WIDE),
        ("read-wide", "read streams of 10, of 10 or 100 000", read, NARROW, WIDE),
    ]
    works = [
        Work(
            f"growth/{key}",
            name,
            "µs/event",
            do,
            [
                Sized(system, layout, is_large)
                for system in able
                for layout, is_large in ((small, False), (large, True))
            ],
        )
        for key, name, do, small, large in rows
    ]

    def table(results: Sequence[Result]) -> Iterator[str]:
        heads = ("µs an event", "system", "small", "large", "large / small", "budget", "met?")
        yield from markdown(heads, (line for result in results for line in _lines(result, able)))

    return Part("Cost in large databases", works, table)


def append(sized: Sized, places: Places, scale: float) -> Sample:
    """Appends of one event each, to streams that exist."""
    layout = _scaled(sized.layout, scale)
    with places.copy(sized.system, layout) as log:
        return loops.append_ones(log, layout, scaled(2_000, scale, 10))


def read(sized: Sized, places: Places, scale: float) -> Sample:
    """Folds of streams."""
    return _reading(
        sized,
        places,
        scale,
        lambda log, layout: loops.read_streams(log, layout, scaled(1_000, scale, 10)),
    )


def feed(sized: Sized, places: Places, scale: float) -> Sample:
    """All events of the feed."""
    return _reading(sized, places, scale, loops.scan)


def view(sized: Sized, places: Places, scale: float) -> Sample:
    """A new view brought up to date."""
    with places.folder() as folder:

        def synchronise(log: Log, layout: Layout) -> Sample:
            began = perf_counter()
            found = log.synchronise(folder)
            return Sample(found, perf_counter() - began)

        return _reading(sized, places, scale, synchronise)


def _reading(sized: Sized, places: Places, scale: float, do: Callable[[Log, Layout], Sample]) -> Sample:
    layout = _scaled(sized.layout, scale)
    with opened(sized.system, places.filled(sized.system, layout)) as log:
        return do(log, layout)


def _scaled(layout: Layout, scale: float) -> Layout:
    return attrs.evolve(layout, streams=scaled(layout.streams, scale, 2))


def _lines(result: Result, systems: Sequence[System]) -> Iterator[tuple[str, ...]]:
    for system in systems:
        small, large = f"{system.name}, small", f"{system.name}, large"
        ratio = result.ratio(small, large)
        is_ours = system.kind == "eventsrc"
        yield (
            result.work.name,
            system.name,
            number(result.cost(small) / 1e3),
            number(result.cost(large) / 1e3),
            f"{ratio:.2f}",
            f"< {BUDGET}" if is_ours else "",
            yes_or_no(ratio < BUDGET) if is_ours else "",
        )
