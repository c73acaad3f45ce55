"""The example of the pipeline runs on servers that are here, and says how to get those that are not."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from eventsrc.testing.servers import MINISTACK
from examples.pipeline.running import Failed, Running
from tests.kits.pages import ROOT
from tests.servers.tables import Tables


def ran(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "examples.pipeline"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


@pytest.mark.timeout(180)
def test_it_tells_who_has_what_and_ends_clean(exact: Tables, tmp_path: Path) -> None:
    done = ran(tmp_path, **{MINISTACK: exact.url})
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert re.search(r"Lisa +lisa@springfield.example +School, Simpsons", done.stdout)
    assert re.search(r"Homer +homer@springfield.example +Simpsons\n", done.stdout)
    assert done.stdout.count("and 0 after") == 5
    assert done.stdout.count("@springfield.example") == 10, "the newsletter has them all too"
    assert list(tmp_path.iterdir()) == []
    assert exact.other_client("lambda").list_functions()["Functions"] == []
    assert processes_of(tmp_path) == []


def processes_of(folder: Path) -> list[int]:
    """The processes whose environment names a folder."""
    found: list[int] = []
    for each in Path("/proc").glob("[0-9]*/environ"):
        try:
            if str(folder).encode() in each.read_bytes():
                found.append(int(each.parent.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


def test_without_the_server_it_says_how_to_get_it(tmp_path: Path) -> None:
    done = ran(tmp_path, **{MINISTACK: "no-such-command"})
    assert done.returncode == 2
    assert "pip install ministack" in done.stdout


@pytest.mark.timeout(180)
def test_control_a_publisher_that_dies_is_told_of_and_nothing_arrives_without_it(
    exact: Tables, tmp_path: Path
) -> None:
    with Running(exact.url, tmp_path, f"pipeline-{uuid4().hex[:12]}") as running:
        feed = running._processes["feed"]
        feed.send_signal(signal.SIGKILL)
        feed.wait()
        running.ask("groups", "POST", "/groups", {"name": "Simpsons"})
        assert running.lags()["groups, through Lambda"] == 1
        with pytest.raises(Failed, match="feed ended with -9"):
            running.settled()
        assert running.timer() == 2, "which the views of both read from the feed"
        assert running.lags()["groups, through Lambda"] == 0
