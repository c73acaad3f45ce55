"""The tables show medians, medians of the rounds' ratios, and whether these are enough."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import environment
from benchmarks.facts import Layout
from benchmarks.places import Places
from benchmarks.rounds import Result, Sample, Work, measured
from benchmarks.systems import System
from benchmarks.table import Budget, beside_others, number

OURS = System("eventsrc", "eventsrc", "eventsrc", None, rival="raw")
FAST = System("eventsrc fast", "eventsrc", "eventsrc", None, rival="raw")
RAW = System("raw", "raw", "raw", None)
SLOW, QUICK = (System(name, "peer", name, None) for name in ("slow", "quick"))
SYSTEMS = [OURS, FAST, RAW, SLOW, QUICK]


def result(**seconds: list[float]) -> Result:
    work = Work("sqlite/append-1", "append 1", "events/s", lambda *_: Sample(1, 1), SYSTEMS)
    names = {name.replace("_", " "): rounds for name, rounds in seconds.items()}
    return Result(work, {name: [Sample(1000, one) for one in rounds] for name, rounds in names.items()})


SPEEDS = result(
    eventsrc=[1.0, 2.0, 4.0],
    eventsrc_fast=[0.5, 1.0, 2.0],
    raw=[0.5, 1.0, 4.0],
    slow=[9.0, 9.0, 9.0],
    quick=[4.0, 4.0, 4.0],
)


def test_a_line_holds_medians_and_the_medians_of_ratios() -> None:
    lines = list(beside_others(SYSTEMS, {"sqlite/append-1": Budget(of_raw=0.6)}, [SPEEDS]))
    assert lines[2:] == [
        "| append 1 | 250 (quick) | 1 000 | 500 events/s | 0.50 | 2.00 | 0.60 of raw | **no** |",
        "| append 1 (fast) | 250 (quick) | 1 000 | 1 000 events/s | 1.00 | 4.00 | 0.60 of raw | yes |",
    ]


def test_the_extra_fast_may_have_a_budget_of_its_own() -> None:
    budget = Budget(of_peer=1.5, fast_of_peer=5)
    lines = list(beside_others(SYSTEMS, {"sqlite/append-1": budget}, [SPEEDS]))
    assert [line.split(" | ")[-2:] for line in lines[2:]] == [
        ["1.5 × peer", "yes |"],
        ["5 × peer", "**no** |"],
    ]


def test_without_peers_a_budget_against_them_is_an_open_question() -> None:
    budget = Budget(of_raw=0.1, of_peer=2)
    (line,) = list(beside_others([OURS, RAW], {"sqlite/append-1": budget}, [SPEEDS]))[2:]
    assert line.endswith("| ? |")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (0.1234, "0.123"),
        (9.876, "9.88"),
        (123.4, "123"),
        (5630, "5 630"),
        (1_433_554, "1 430 000"),
        (99.96, "100"),
        (-2020.0, "-2 020"),
    ],
)
def test_numbers_have_three_digits_that_matter(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_each_round_begins_with_another_entrant(tmp_path: Path) -> None:
    order: list[str] = []

    def measure(system: System, _places: Places, _scale: float) -> Sample:
        order.append(system.name)
        return Sample(1, 1)

    work = Work("a/b", "b", "events/s", measure, [RAW, OURS, SLOW])
    with Places(tmp_path) as places:
        measured(work, places, 3, 1, lambda _: None)
    assert [order[:3], order[3:6], order[6:]] == [
        ["raw", "eventsrc", "slow"],
        ["eventsrc", "slow", "raw"],
        ["slow", "raw", "eventsrc"],
    ]


def test_a_layout_gives_each_stream_its_versions_in_order() -> None:
    turns = Layout(streams=2, each=5, at_once=2).turns()
    assert [(list(versions), stream) for versions, stream in turns] == [
        ([1, 2], 0),
        ([1, 2], 1),
        ([3, 4], 0),
        ([3, 4], 1),
        ([5], 0),
        ([5], 1),
    ]


def test_an_environment_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []
    installed: list[list[str]] = []
    monkeypatch.setattr("venv.create", lambda folder, **_: _make(folder, made))
    monkeypatch.setattr(environment.subprocess, "run", lambda command, **_: installed.append(command))
    first = environment.environment(tmp_path)
    assert environment.environment(tmp_path) == first
    assert len(made) == len(installed) == 1
    assert set(environment.PEERS) < set(installed[0])


def _make(folder: Path, made: list[Path]) -> None:
    folder.mkdir()
    made.append(folder)
