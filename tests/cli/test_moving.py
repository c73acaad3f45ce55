"""Data is moved from a shell: what writes says so first, and what differs ends a command by 1."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner, Result

from eventsrc import Append, Fold, SqliteStore, StreamId, event
from eventsrc.cli import main
from tests.kits.pages import ROOT

HERE = StreamId("books/1")


@event("test.cli.lent")
class Lent:
    to: str


@attrs.frozen
class Book:
    lent: int = 0
    names: frozenset[str] = frozenset()


def lent(state: Book, event: Lent) -> Book:
    return attrs.evolve(state, lent=state.lent + 1, names=state.names | {event.to})


BOOK = Fold(Book(), lent)
NUMBER = 7


@pytest.fixture
def url(tmp_path: Path) -> str:
    with SqliteStore(tmp_path / "a.db") as store:
        store.run(Append(HERE, tuple(Lent(f"{number}\x1b[31m") for number in range(3))))
    return f"sqlite:{tmp_path / 'a.db'}"


def run(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(main, [*arguments], input=answer)


def more(url: str, *names: str) -> None:
    with SqliteStore(url.partition(":")[2]) as store:
        store.run(Append(HERE, tuple(map(Lent, names)))).unwrap()


def test_a_store_goes_through_a_file_into_another(url: str, tmp_path: Path) -> None:
    file, to = str(tmp_path / "a.jsonl"), f"sqlite:{tmp_path / 'b.db'}"
    assert run("export", url, file).output == f"3 events in {file}\n"
    assert run("import", file, to, answer="n\n").exit_code == 1
    assert not (tmp_path / "b.db").exists(), "it was asked first"
    assert "copy 3 events of store" in run("import", file, to, "--dry-run").output
    assert not (tmp_path / "b.db").exists()
    assert run("import", file, to, "--yes").exit_code == 0
    assert run("import", file, to, "--yes").exit_code == 0, "again does no harm"
    for one in (url, f"export:{file}"):
        assert run("compare", one, to, "--whole").output == "no difference\n"
    assert run("verify", f"export:{file}").exit_code == 0
    assert run("verify", to).output == "3 events, all as they were stored\n"
    more(to, "x")
    more(url, "y", "z")
    found = run("compare", url, to, "--json")
    assert found.exit_code == 1
    assert json.loads(found.stdout)["position"] == 4
    again = run("copy", url, to, "--yes")
    assert again.exit_code == 2, "it takes appends of its own"
    stranger = tmp_path / "c.db"
    SqliteStore(stranger).close()
    assert run("export", f"sqlite:{stranger}", file).exit_code == 2, "it is of another store"


def test_damage_ends_a_command_by_1_and_is_named(url: str, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    assert run("backup", url, str(file)).exit_code == 0
    file.write_bytes(file.read_bytes().replace(b'"n":1', b'"n":2'))
    found = run("verify", f"export:{file}")
    assert found.exit_code == 1
    assert "line 3" in found.output
    assert run("import", str(file), f"sqlite:{tmp_path / 'b.db'}", "--yes").exit_code == 1


def test_wrong_use_ends_by_2_and_what_is_not_there_by_3(url: str, tmp_path: Path) -> None:
    assert run("verify", f"export:{tmp_path / 'none'}").exit_code == 2
    assert run("export", url, str(tmp_path / "none" / "it")).exit_code == 2
    assert run("import", str(tmp_path / "none"), url).exit_code == 2
    assert run("export", f"sqlite:{tmp_path / 'none.db'}", str(tmp_path / "it")).exit_code == 3
    with SqliteStore(tmp_path / "other.db") as other:
        other.run(Append(HERE, (Lent("x"),)))
    full = run("copy", url, f"sqlite:{tmp_path / 'other.db'}", "--yes")
    assert full.exit_code == 2
    assert "of another store" in full.output
    assert run("promote", url).exit_code == 2
    secret = run("copy", url, "postgresql://u:hunter2@127.0.0.1:1/x", "--dry-run")
    assert secret.exit_code == 3
    assert "hunter2" not in secret.output


def test_a_standby_is_followed_and_promoted(url: str, tmp_path: Path) -> None:
    to = f"sqlite:{tmp_path / 'b.db'}"
    command = [sys.executable, "-c", FOLLOWER, "copy", url, to, "--follow", "--yes", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as following:
        assert following.stdout is not None
        assert json.loads(following.stdout.readline()) == {"position": 3}
        more(url, "x")
        assert json.loads(following.stdout.readline()) == {"position": 4}
        following.send_signal(signal.SIGINT)
        assert following.wait(30) == 1
    assert "with 4 events" in run("promote", to, answer="n\n").output
    assert run("promote", to, "--yes").output.startswith("promoted, in epoch ")
    assert run("promote", to, "--yes").exit_code == 2
    more(to, "y")


FOLLOWER = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # which jobs in the background ignore
from eventsrc.cli import main
main()
"""


def test_old_tables_are_told_of_and_brought_up_to_date(tmp_path: Path) -> None:
    with zipfile.ZipFile(ROOT / "tests/formats/4fdead8/sqlite_separate.zip") as archive:
        archive.extract("store.db", tmp_path)
    url = f"sqlite:{tmp_path / 'store.db'}"
    before = (tmp_path / "store.db").read_bytes()
    assert run("migrate", url, "--check").exit_code != 0
    assert run("migrate", url, answer="n\n").exit_code == 1
    assert (tmp_path / "store.db").read_bytes() == before
    assert run("migrate", url, "--yes").output.endswith("up to date now\n")
    assert run("migrate", url, "--check").output == "up to date\n"
    assert run("verify", url).exit_code == 0


def test_states_are_shown_and_compared(url: str) -> None:
    app = "tests.cli.test_moving:BOOK"
    shown = run("fold", url, HERE, "--app", app)
    assert '"lent": 3' in shown.output
    assert "\x1b" not in shown.output
    state = json.loads(run("fold", url, HERE, "--app", app, "--at", "1", "--json").output)
    assert state["version"] == state["state"]["lent"] == 1
    differing = run("diff", url, HERE, "1", "2", "--app", app)
    assert differing.exit_code == 1
    assert '-  "lent": 1' in differing.output
    assert run("diff", url, HERE, "2", "2", "--app", app).exit_code == 0
    assert run("fold", url, HERE, "--app", app, "--at", "9").exit_code == 1
    for wrong in ("tests.cli.test_moving:NUMBER", "tests.cli.test_moving:NONE", "none"):
        assert run("fold", url, HERE, "--app", wrong).exit_code == 2


def test_causes_and_effects_are_a_tree(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with SqliteStore(path) as store:

        def lend(name: str, **metadata: Any) -> str:
            op = Append(HERE, (Lent(name),), metadata=metadata)
            return str(store.run(op).unwrap().append_id)

        first = lend("first")  # begins a correlation, and does not say so
        second = lend("second", correlation_id=first, causation_id=first)
        lend("third", correlation_id=first, causation_id=second)
        lend("other", correlation_id="another")
        lend("fourth", correlation_id=first, causation_id=first)
    found = run("trace", f"sqlite:{path}", first)
    shown = [(len(line) - len(line.lstrip()), line.split('"')[3]) for line in found.output.splitlines()]
    assert shown == [(0, "first"), (2, "second"), (4, "third"), (2, "fourth")]
    lines = run("trace", f"sqlite:{path}", first, "--json").output.splitlines()
    assert [json.loads(line)["depth"] for line in lines] == [0, 1, 2, 1]
    assert run("trace", f"sqlite:{path}", "none").exit_code == 1
