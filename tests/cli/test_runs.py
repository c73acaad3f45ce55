"""The command line shows durable runs, and tells them something, without the application."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from eventsrc import Do, SqliteStore, program, world
from eventsrc.cli import main
from eventsrc.durable import Runs, Signal
from eventsrc.durable.work import work_off


@program
def errand(id: str) -> Do[Any, Any]:
    answer = yield from Signal("go")
    if answer.unwrap() == "badly":
        raise ValueError("it went\x1b[31m wrong")
    return answer.unwrap()


errands = Runs("errand", errand, id=lambda id: id)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "store.db"
    with SqliteStore(path) as store:
        for id in "abc":
            store.run(errands.start(id))
    work(path)
    return path


def work(path: Path) -> None:
    with SqliteStore(path) as store:
        (store | world).run(work_off(errands))


def run(command: str, path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["runs", command, f"sqlite:{path}", *arguments])


def states(path: Path, *arguments: str) -> dict[str, str]:
    listed = run("list", path, "--json", *arguments)
    return {one["id"]: one["state"] for one in map(json.loads, listed.stdout.splitlines())}


def test_runs_are_listed_signalled_retried_and_cancelled(path: Path) -> None:
    assert states(path) == {"a": "waiting", "b": "waiting", "c": "waiting"}
    assert run("signal", path, "errand", "a", "go", '"badly"', "--yes").exit_code == 0
    assert run("signal", path, "errand", "b", "go", '{"n": 1}', "--yes").exit_code == 0
    assert run("cancel", path, "errand", "c", "--why", "no more", "--yes").exit_code == 0
    work(path)
    assert states(path, "--all") == {"a": "parked", "b": "ended", "c": "cancelled"}
    assert states(path) == states(path, "--state", "parked") == {"a": "parked"}
    listed = run("list", path)
    assert listed.exit_code == 1  # something is parked
    assert "1 parked, 1 ended, 1 cancelled" in listed.stdout
    assert "\x1b" not in listed.stdout
    assert run("retry", path, "errand", "--yes").exit_code == 0
    assert states(path) == {"a": "ready"}
    assert run("list", path).exit_code == 0


def test_nothing_is_told_without_being_confirmed(path: Path) -> None:
    assert run("cancel", path, "errand", "c").exit_code == 1
    assert states(path)["c"] == "waiting"


def test_bad_input_is_told(path: Path) -> None:
    assert "is no JSON" in run("signal", path, "errand", "a", "go", "{", "--yes").output
    missing = run("cancel", path, "errand", "z", "--yes")
    assert missing.exit_code == 1
    assert "does not exist" in missing.output
    assert run("list", path, "--name", "none").stdout == "no runs\n"
