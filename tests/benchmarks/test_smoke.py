"""Each benchmark runs and measures something, whatever that is: nothing here is about speed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.report import is_chosen, parts, report

TINY = 0.001

Printed = tuple[list[str], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Printed]:
    """The lines of a report of everything, and what is kept of it."""
    folder = tmp_path_factory.mktemp("databases")
    kept: list[dict[str, Any]] = []
    yield list(report([], folder, 1, TINY, lambda _: None, kept.append)), kept
    assert not list(folder.iterdir())


def test_every_work_yields_positive_numbers(printed: Printed) -> None:
    _, kept = printed
    works = [work for part in parts() for work in part.works]
    assert [result["work"] for result in kept] == [work.key for work in works]
    for result, work in zip(kept, works, strict=True):
        assert result["rounds"].keys() == {entrant.name for entrant in work.entrants}
        for samples in result["rounds"].values():
            speeds = [sample["done"] / sample["seconds"] for sample in samples]
            assert len(speeds) == 1
            assert all(math.isfinite(speed) and speed > 0 for speed in speeds)


def test_single_appends_and_service_calls_have_latencies(printed: Printed) -> None:
    _, kept = printed
    rounds = {result["work"]: result["rounds"]["eventsrc"] for result in kept if _is_of_ours(result)}
    for key in ("sqlite/append-1", "sqlite/call", "memory/append-1", "concurrent/threads-8"):
        (sample,) = rounds[key]
        assert 0 < sample["p50_us"] <= sample["p99_us"]


def test_a_replay_says_how_much_memory_it_took(printed: Printed) -> None:
    _, kept = printed
    replays = [result for result in kept if result["work"].startswith("replay/")]
    assert all(sample["memory_mib"] >= 0 for r in replays for (sample,) in r["rounds"].values())


def test_the_report_shows_every_work_in_whole_tables(printed: Printed) -> None:
    lines, _ = printed
    works = [work for part in parts() for work in part.works]
    assert all(any(line.startswith(f"| {work.name}") for line in lines) for work in works)
    columns = 0
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("|"):
            columns = columns if before.startswith("|") else line.count("|")
            assert line.count("|") == columns, line


def test_the_report_begins_with_the_machine_and_the_versions(printed: Printed) -> None:
    lines, _ = printed
    head = "\n".join(lines[:3])
    assert all(word in head for word in ("Python", "cores", "SQLite", "synchronous=FULL", "attrs"))


def test_the_command_measures_what_was_chosen_and_keeps_all_rounds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "rounds.json"
    place = ["--dir", str(tmp_path / "databases"), "--json", str(kept)]
    chosen = ["--only", "sqlite/append-1", "--only", "core/op*"]
    assert main(["--here", "--rounds", "2", "--scale", str(TINY), *place, *chosen]) == 0
    results = json.loads(kept.read_text())
    assert [result["work"] for result in results] == ["sqlite/append-1", "core/operation"]
    assert all(len(rounds) == 2 for r in results for rounds in r["rounds"].values())
    assert "| append 1 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("patterns", "is_meant"),
    [
        ([], True),
        (["sqlite"], True),
        (["sqlite/append-1"], True),
        (["*/append-1"], True),
        (["growth"], False),
        (["sqlite/append"], False),
        (["growth", "sqlite/app*"], True),
    ],
)
def test_patterns_choose_works(patterns: list[str], is_meant: bool) -> None:
    assert is_chosen("sqlite/append-1", patterns) is is_meant


def _is_of_ours(result: dict[str, Any]) -> bool:
    return "eventsrc" in result["rounds"]
