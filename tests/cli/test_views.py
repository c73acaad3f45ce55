"""The command line shows views, and mends them after it has asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from eventsrc import Append, SqliteStore, SqliteViews, StreamId, synchronise, world
from eventsrc.cli import main
from tests.cli.app import FIRST, Sold


@pytest.fixture
def url(tmp_path: Path) -> str:
    path = tmp_path / "shop.db"
    with SqliteStore(path) as store, SqliteViews(path, [FIRST]) as views:
        for stream, items in (("a", ["chair", "bad", "lamp"]), ("b", ["rope"])):
            store.run(Append(StreamId(stream), tuple(map(Sold, items)))).unwrap()
        (store | views | world).run(synchronise(FIRST))
    return f"sqlite:{path}"


def run(command: str, url: str, *more: str, text: str = "") -> Result:
    arguments = ["views", command, url, "--app", "tests.cli.app:BOTH", *more]
    return CliRunner().invoke(main, arguments, input=text)


def line(done: Result) -> Any:
    return json.loads(done.stdout.splitlines()[0])


def test_the_state_of_each_view_is_shown(url: str) -> None:
    done = run("status", url, "--json")
    assert done.exit_code == 1, "something is parked"
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["view"], first["version"], first["live"], first["parked"]) == ("sales", 1, True, 1)
    assert (second["version"], second["live"], second["lag"]) == (2, False, 4)
    assert "1 parked" in run("status", url).output


def test_what_is_parked_is_shown_with_its_error_as_harmless_text(
    url: str,
) -> None:
    done = run("parked", url, "sales", "--version", "1")
    assert done.exit_code == 1
    assert "a@2  test.cli.sold" in done.output
    assert "this cannot be sold" in done.output
    assert "\x1b" not in done.output
    assert line(run("parked", url, "sales", "--version", "1", "--json"))["stream"] == "a"


def test_nothing_is_done_unless_it_is_confirmed(url: str) -> None:
    for command in (["retry"], ["skip", "a", "--why", "test"], ["rebuild"], ["live"], ["discard"]):
        name, *more = command
        done = run(name, url, "sales", *more, "--version", "1", text="n\n")
        assert done.exit_code == 1, done.output
        assert "Go on?" in done.output
    assert line(run("status", url, "--json"))["parked"] == 1


def test_a_parked_event_is_tried_again_or_skipped_with_a_reason_that_is_kept(url: str) -> None:
    again = run("retry", url, "sales", "--version", "1", "--yes")
    assert (again.exit_code, "failed again" in again.output) == (1, True)
    assert run("skip", url, "sales", "a", "--why", "a test", "--version", "1", "--yes").exit_code == 0
    assert run("parked", url, "sales", "--version", "1").exit_code == 0
    shown = CliRunner().invoke(main, ["show", url, "eventsrc/operators"]).output
    assert "a test" in shown


def test_a_new_version_is_built_and_the_old_one_removed(url: str) -> None:
    assert "4 events applied" in run("rebuild", url, "sales", "--yes").output
    assert run("discard", url, "sales", "--version", "1", "--yes").exit_code == 0
    second = json.loads(run("status", url, "--json").stdout.splitlines()[1])
    assert (second["live"], second["lag"], second["parked"]) == (True, 0, 0)


@pytest.mark.parametrize(
    ("app", "said"),
    [
        ("tests.cli.app:NONE", "names nothing"),
        ("nowhere:X", "names nothing"),
        ("tests.cli.app:NUMBER", "no View"),
    ],
)
def test_an_app_that_names_no_views_is_wrong_use(url: str, app: str, said: str) -> None:
    done = CliRunner().invoke(main, ["views", "status", url, "--app", app])
    assert (done.exit_code, said in done.output) == (2, True), done.output
    wrong = run("parked", url, "nothing")
    assert (wrong.exit_code, "--app has sales 1, sales 2" in wrong.output) == (2, True)
