"""The command line shows what is in a store, needs none of its classes, and writes nothing."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from eventsrc import Append, Codec, SqliteStore, StreamId, event
from eventsrc._errors import harmless
from eventsrc.cli import main
from eventsrc.events.event import EventTypes
from tests.kits.pages import ROOT

TYPES = EventTypes()


@event("test.cli.noted", types=TYPES)
class Noted:
    text: str


CODEC = Codec(TYPES)


INTERRUPTIBLE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # which jobs in the background ignore
from eventsrc.cli import main
main()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "store.db"
    with SqliteStore(path, CODEC) as store:
        for number in range(6):
            events = Noted(f"{number}"), Noted("\x1b[31mred\u202e")
            store.run(Append(StreamId(f"notes/{number % 3}"), events)).unwrap()
    return path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments])


def lines(*arguments: str) -> list[Any]:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_event_is_shown_once_without_its_class(path: Path) -> None:
    url = f"sqlite:{path}"
    ((total),) = (one["events"] for one in lines("info", url))
    shown = [entry for n in range(3) for entry in lines("show", url, f"notes/{n}")]
    assert len(shown) == total == 12
    assert lines("tail", url, "--last", "100") == sorted(shown, key=lambda entry: entry["position"])
    assert [entry["data"]["text"] for entry in lines("show", url, "notes/0")][::2] == ["0", "3"]
    for entry in shown:
        assert lines("event", url, str(entry["position"])) == [entry]
    assert lines("event", url, shown[0]["id"]) == [shown[0]]
    assert sum(one["version"] for one in lines("streams", url)) == 12
    assert [one["events"] for one in lines("stats", url)] == [12]


def test_a_page_of_a_stream_goes_on_from_a_version_in_either_direction(path: Path) -> None:
    url = f"sqlite:{path}"
    onwards = lines("show", url, "notes/1", "--after", "1", "--limit", "2")
    assert [entry["version"] for entry in onwards] == [2, 3]
    newest = lines("show", url, "notes/1", "--newest", "--limit", "3")
    assert [entry["version"] for entry in newest] == [4, 3, 2]


def test_the_past_is_shown_as_it_was(path: Path) -> None:
    url = f"sqlite:{path}"
    (store,) = lines("info", url)
    cursor = f"{store['store']}.4"
    assert lines("info", url, "--as-of", cursor)[0]["events"] == 4
    assert len(lines("streams", url, "--as-of", cursor)) == 2
    assert lines("info", url, "--as-of", store["last"])[0]["events"] == 12
    assert "no time zone" in run("info", url, "--as-of", "2026-12-01T12:00").output
    assert run("info", url, "--as-of", "yesterday").exit_code == 2


def test_hostile_data_reaches_the_terminal_as_escapes(path: Path) -> None:
    for command in (["show", f"sqlite:{path}", "notes/0"], ["event", f"sqlite:{path}", "2"]):
        shown = run(*command).output
        assert "red" in shown
        assert not {"\x1b", "\u202e"} & set(shown)


@given(st.text())
def test_any_text_is_shown_in_printable_characters(text: str) -> None:
    assert not set("\x00\x07\x1b\x7f\x9b\u202e\u2066\u200f\n\r") & set(harmless(text))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["info", "store.db"], 2, "begins with no scheme"),
        (["info", "sqlite:nowhere/store.db"], 3, "cannot be opened"),
        (["show", "{url}", "nobody"], 1, "no events"),
        (["show", "{url}", "a//b"], 2, "no stream id"),
        (["event", "{url}", "99"], 1, "no event 99"),
        (["event", "{url}", "0"], 2, "no position"),
        (["event", "{url}", "x"], 2, "no position and no id"),
        (["tail", "{url}", "--since", "other.5"], 2, "another store|not of"),
    ],
)
def test_wrong_use_ends_with_a_sentence_and_a_code(
    arguments: list[str], code: int, said: str, path: Path
) -> None:
    done = run(*(argument.replace("{url}", f"sqlite:{path}") for argument in arguments))
    assert done.exit_code == code, done.output
    assert any(part in done.output for part in said.split("|")), done.output


def test_looking_writes_nothing(path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    for command in ("info", "streams", "stats", "tail"):
        assert run(command, f"sqlite:{path}").exit_code == 0
    assert path.read_bytes() == before
    assert run("info", f"sqlite:{tmp_path / 'new.db'}").exit_code == 3
    assert not (tmp_path / "new.db").exists()


def test_who_follows_sees_what_comes_and_ends_at_once(path: Path) -> None:
    looking = ["tail", f"sqlite:{path}", "--last", "1", "--follow", "--json"]
    command = [sys.executable, "-c", INTERRUPTIBLE, *looking]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["position"] == 12
        with SqliteStore(path, CODEC) as store:
            store.run(Append(StreamId("notes/new"), (Noted("new"),))).unwrap()
        assert json.loads(process.stdout.readline())["stream"] == "notes/new"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=5)
    assert b"Traceback" not in said


def test_a_pipe_that_closes_early_is_no_error(path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "eventsrc", "tail", f"sqlite:{path}"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(write)
    assert done.stderr == b""


def test_a_terminal_sees_how_far_the_reading_has_come(path: Path) -> None:
    ours, its = pty.openpty()
    command = [sys.executable, "-m", "eventsrc", "stats", f"sqlite:{path}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=its, check=True, timeout=60)
    os.close(its)
    assert b"reading" in os.read(ours, 100_000)
    os.close(ours)
    assert done.stdout.startswith(b"test.cli.noted")


def test_without_click_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise ModuleNotFoundError('click')\n")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "eventsrc", "info", "sqlite:x"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == "the command line needs click: install eventsrc[cli]\n"
    assert done.returncode == 2
