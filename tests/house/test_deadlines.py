"""Waits go by one clock, which nobody's test freezes: `_clock`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.kits.pages import ROOT

PACKAGE = ROOT / "eventsrc"

CLOCKS = {"monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "clock_gettime", "time_ns"}
OF_LOOPS = {"call_later", "call_at"}
OF_ASYNCIO = {"timeout", "timeout_at", "wait_for"}

ALLOWED = {
    "_clock.py": "it is the clock",
    "testing/postgres/_keeper.py": "a process of its own, in which nothing is frozen",
    "programs/trace.py": "measures how long operations took, and waits for nothing",
    "testing/_contract/_shared.py": "tells in which order operations were performed",
    "testing/_scenarios/reality.py": "tells in which order operations were performed",
}
TIMES_OF_DAY = {"sqlite/views.py": "leases, which other processes go by as well"}
"""Where `time.time()` is called; elsewhere it is what a user may replace, as `clock`."""


def found_in(source: str) -> Iterator[str]:
    """The clocks and timers that a module uses."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(module="time" | "asyncio" as module, names=names):
                wrong = CLOCKS | OF_ASYNCIO | {"sleep", "time"}
                yield from (f"{module}.{each.name}" for each in names if each.name in wrong)
            case ast.Attribute(value=ast.Name(id="time"), attr=name) if name in CLOCKS:
                yield f"time.{name}"
            case ast.Attribute(value=ast.Name(id="asyncio"), attr=name) if name in OF_ASYNCIO:
                yield f"asyncio.{name}"
            case ast.Attribute(value=ast.Name(id=owner), attr=name) if name in OF_LOOPS:
                yield f"{owner}.{name}"
            case ast.Call(func=ast.Attribute(value=ast.Name(id="asyncio"), attr="sleep"), args=[how]):
                if not (isinstance(how, ast.Constant) and how.value == 0):
                    yield "asyncio.sleep"
            case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr="time")):
                yield f"{owner}.time()"
            case ast.Call(func=ast.Attribute(value=ast.Name(id="asyncio"), attr="wait"), keywords=[_]):
                yield "asyncio.wait(timeout=)"


def test_no_other_clock_is_waited_by() -> None:
    found = {
        str(path.relative_to(PACKAGE)): {*found_in(path.read_text("utf-8"))}
        for path in PACKAGE.rglob("*.py")
    }
    assert {name for name, clocks in found.items() if clocks} == {*ALLOWED, *TIMES_OF_DAY}
    assert all(found[name] == {"time.time()"} for name in TIMES_OF_DAY)


@pytest.mark.parametrize(
    "source",
    [
        "import time; end = time.monotonic() + 5",
        "from time import perf_counter",
        "import time; end = time.time() + 5",
        "async def f():\n    await asyncio.sleep(delay)",
        "async def f():\n    await asyncio.wait_for(g(), 5)",
        "async def f():\n    await asyncio.wait({g()}, timeout=5)",
        "async def f():\n    async with asyncio.timeout(5): ...",
        "end = loop.time() + 5",
        "loop.call_later(5, f)",
    ],
)
def test_control_another_clock_is_seen(source: str) -> None:
    assert [*found_in(source)]


@pytest.mark.parametrize(
    "source",
    [
        "from eventsrc._clock import monotonic; end = monotonic() + 5",
        "import time; time.sleep(5)",
        "import time; Store(clock=time.time)",
        "async def f():\n    await asyncio.sleep(0)",
        "call_later(5, f)",
    ],
)
def test_control_the_right_ones_are_not(source: str) -> None:
    assert not [*found_in(source)]
