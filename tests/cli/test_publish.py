"""The command line shows publishers, and mends them after it has asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from eventsrc import Append, ReadFeed, SqliteStore, SqliteViews, StreamId, world
from eventsrc.cli import main
from eventsrc.publishing import CloudEvent, publish_once
from tests.cli.app import OUT, Broker, Sold, broker

BROKER = "--broker", "tests.cli.app:broker"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "shop.db"
    with SqliteStore(path) as store, SqliteViews(path) as views:
        for stream, items in (("a", ["chair", "bad", "lamp"]), ("b", ["rope"])):
            store.run(Append(StreamId(stream), tuple(map(Sold, items)))).unwrap()
        (store | views | world | broker).run(publish_once(OUT))
    yield f"sqlite:{path}"
    Broker.came.clear()
    Broker.refuses = {"bad"}


def run(command: str, url: str, *more: str, text: str = "") -> Result:
    arguments = ["publish", command, url, "--app", "tests.cli.app:OUT", *more]
    return CliRunner().invoke(main, arguments, input=text)


def test_the_state_of_each_publisher_is_shown(url: str) -> None:
    done = run("status", url, "--json")
    assert done.exit_code == 1, "something is parked"
    shown = json.loads(done.stdout)
    assert shown == {
        "publisher": "sales", "lag": 0, "waiting_since": None, "parked": 1, "owners": []
    }  # fmt: skip
    assert "1 parked" in run("status", url).output


def test_what_is_parked_is_shown_with_its_error_as_harmless_text(url: str) -> None:
    done = run("parked", url, "sales")
    assert (done.exit_code, "a@2  test.cli.sold" in done.output) == (1, True)
    assert "not for sale" in done.output
    assert "\x1b" not in done.output
    assert json.loads(run("parked", url, "sales", "--json").stdout)["stream"] == "a"


def test_what_the_rules_make_of_the_feed_is_shown_and_not_sent(url: str) -> None:
    done = run("preview", url, "sales")
    shown = [CloudEvent.parse(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 0
    assert [event.data["item"] for event in shown] == ["chair", "bad", "lamp", "rope"]
    with SqliteStore(url.removeprefix("sqlite:"), read_only=True) as store:
        after = str(store.run(ReadFeed(limit=3)).next)
    assert len(run("preview", url, "sales", "--after", after).stdout.splitlines()) == 1
    assert Broker.came == ["chair", "rope"]


def test_a_rule_that_fails_is_told_with_its_event(url: str) -> None:
    with SqliteStore(url.removeprefix("sqlite:")) as store:
        store.run(Append(StreamId("c"), (Sold("\x1b[31m"),)))
    done = run("preview", url, "sales")
    assert (done.exit_code, len(done.stdout.splitlines())) == (1, 4)
    assert "c@1: ValueError: no item has a colour" in done.stderr


def test_nothing_is_published_unless_it_is_confirmed(url: str) -> None:
    Broker.refuses = set()
    for command in (["retry", "sales"], ["skip", "sales", "a", "--why", "test"]):
        name, *more = command
        done = run(name, url, *more, *BROKER, text="n\n")
        assert (done.exit_code, "Go on?" in done.output) == (1, True), done.output
    assert Broker.came == ["chair", "rope"]


@pytest.mark.parametrize("how", ["broker", "Broker", "connected"])
def test_a_parked_event_is_published_by_any_broker_that_is_named(url: str, how: str) -> None:
    named = "--broker", f"tests.cli.app:{how}", "--yes"
    again = run("retry", url, "sales", *named)
    assert (again.exit_code, "failed again" in again.output) == (1, True), again.output
    Broker.refuses = set()
    assert run("retry", url, "sales", *named).exit_code == 0
    assert Broker.came == ["chair", "rope", "bad", "lamp"]


def test_a_parked_event_is_skipped_with_a_reason_that_is_kept(url: str) -> None:
    assert run("skip", url, "sales", "a", "--why", "a test", "--yes", *BROKER).exit_code == 0
    assert Broker.came == ["chair", "rope", "lamp"]
    assert "a test" in CliRunner().invoke(main, ["show", url, "eventsrc/operators"]).output


def test_what_names_no_publisher_or_broker_is_wrong_use(url: str) -> None:
    for arguments, said in [
        (["parked", url, "--app", "tests.cli.app:OUT", "other"], "--app has sales"),
        (["status", url, "--app", "tests.cli.app:NUMBER"], "no Publisher"),
        (
            ["retry", url, "--app", "tests.cli.app:OUT", "sales", "--yes", "--broker", "nowhere:x"],
            "nothing",
        ),
        (
            [
                *("retry", url, "--app", "tests.cli.app:OUT", "sales", "--yes"),
                *("--broker", "tests.cli.app:NUMBER"),
            ],
            "no interpreter",
        ),
    ]:
        done = CliRunner().invoke(main, ["publish", *arguments])
        assert (done.exit_code, said in done.output) == (2, True), done.output
