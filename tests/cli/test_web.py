"""The command that serves the page."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from eventsrc import SqliteStore
from eventsrc.cli import main
from tests.kits.seen_shop import fill


def test_it_serves_this_machine_until_it_is_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with SqliteStore(path) as store:
        fill(store, count=2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from eventsrc.cli import main; main()"
    command = [sys.executable, "-c", code, "web", f"sqlite:{path}", "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline() == f"http://127.0.0.1:{port} until Ctrl-C\n"
            asked = urllib.request.Request(
                f"http://127.0.0.1:{port}/feed", headers={"Accept": "application/json"}
            )
            while True:
                try:
                    with urllib.request.urlopen(asked, timeout=20) as answer:
                        assert len(json.load(answer)["events"]) == 4
                    break
                except (ConnectionError, urllib.error.URLError):  # it does not listen yet
                    assert process.poll() is None
            process.send_signal(signal.SIGINT)
            assert process.wait(20) in (0, 1, 130, -signal.SIGINT)
        finally:
            process.kill()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::"])
def test_it_is_served_to_nobody_else(tmp_path: Path, host: str) -> None:
    path = tmp_path / "shop.db"
    SqliteStore(path).close()
    done = CliRunner().invoke(main, ["web", f"sqlite:{path}", "--host", host])
    assert done.exit_code == 2
    assert "the page has no login" in done.output
