"""Each benchmark runs and measures something, whatever that is: nothing here is about speed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.report import is_chosen, parts, report
from benchmarks.rounds import Work
from eventsrc.testing.postgres import available

TINY = 0.001

WITHOUT_SERVER = (
    "sqlite",
    "concurrent",
    "memory",
    "replay/memory",
    "growth",
    "moving",
    "hostile/sqlite",
    "tags/sqlite",
    "core",
    "schedules",
)
"""All of them, but for a replay that differs from another just by where the events are."""

OF_EACH_SORT = (
    "postgres/append-1",
    "postgres/tasks-8",
    "postgres/hot-8",
    "hostile/postgres",
    "tags/postgres",
)
"""What is measured of the works with a server: many differ in nothing but numbers."""

Printed = tuple[list[str], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Printed]:
    """The lines of a report of everything that needs no server, and what is kept of it."""
    folder = tmp_path_factory.mktemp("databases")
    kept: list[dict[str, Any]] = []
    yield list(report(WITHOUT_SERVER, folder, 1, TINY, lambda _: None, kept.append)), kept
    assert not list(folder.iterdir())


def test_every_work_yields_positive_numbers(printed: Printed) -> None:
    _, kept = printed
    works = _works(WITHOUT_SERVER)
    assert [result["work"] for result in kept] == [work.key for work in works]
    for result, work in zip(kept, works, strict=True):
        assert result["rounds"].keys() == {entrant.name for entrant in work.entrants}
        for samples in result["rounds"].values():
            speeds = [sample["done"] / sample["seconds"] for sample in samples]
            assert len(speeds) == 1
            assert all(math.isfinite(speed) and speed > 0 for speed in speeds)


@pytest.mark.skipif(not find_spec("psycopg") or not available(), reason="there is no Postgres")
def test_works_with_postgres_yield_positive_numbers_and_leave_nothing() -> None:
    kept: list[dict[str, Any]] = []
    with TemporaryDirectory(prefix="b-") as name:  # a socket's path must be short
        folder = Path(name)
        lines = list(report(OF_EACH_SORT, folder, 1, TINY, lambda _: None, kept.append))
        assert not list(folder.iterdir())
    works = _works(OF_EACH_SORT)
    assert [result["work"] for result in kept] == [work.key for work in works]
    for result, work in zip(kept, works, strict=True):
        assert result["rounds"].keys() == {entrant.name for entrant in work.entrants}
        assert all(one["done"] / one["seconds"] > 0 for (one,) in result["rounds"].values())
    assert any("fsync on" in line and "synchronous_commit on" in line for line in lines)


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
    works = _works(WITHOUT_SERVER)
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


def _works(patterns: Sequence[str]) -> list[Work]:
    return [work for part in parts() for work in part.works if is_chosen(work.key, patterns)]


def _is_of_ours(result: dict[str, Any]) -> bool:
    return "eventsrc" in result["rounds"]
