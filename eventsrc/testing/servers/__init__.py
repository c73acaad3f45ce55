"""Private servers for tests of what talks to a cloud: started in a moment, gone without a trace.

    with ministack() as server:
        client = boto3.client("dynamodb", endpoint_url=server.url, ...)
        create_table(client, "events")

`ministack` emulates DynamoDB with transactions and their tokens; `roto` is faster, and looser. `nats`
is NATS itself, with JetStream. Each listens on 127.0.0.1 and a free port, needs no privilege, has a
process group of its own, and ends with the process that started it. The extra `test-servers` has roto,
and Debian has `nats-server`. Ministack has an environment of its own, since it pins packages: `python3
-m venv .venv-ministack`, `.venv-ministack/bin/pip install ministack==1.5.33`, and its command, or the
URL of one that runs, in EVENTSRC_TEST_MINISTACK.

A server that is not there is a skipped test, visibly; EVENTSRC_REQUIRE=aws,nats makes it a failure.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Self
from uuid import uuid4

import attrs

from eventsrc._clock import monotonic
from eventsrc._errors import EventsrcError
from eventsrc.testing.servers import _keeper

__all__ = [
    "MINISTACK",
    "NoServer",
    "Server",
    "ServerFailed",
    "create_table",
    "ministack",
    "nats",
    "roto",
    "skip",
]

MINISTACK: Final = "EVENTSRC_TEST_MINISTACK"
"""The environment variable with the command of ministack, or with the URL of one that runs."""

REQUIRE: Final = "EVENTSRC_REQUIRE"
"""The environment variable with the servers without which tests fail, such as `aws,nats`."""

DEADLINE: Final = 30.0
"""The seconds in which a server must have started, or ended."""


class NoServer(EventsrcError):
    """A server is not installed; the message has the command that installs it."""


class ServerFailed(EventsrcError):
    """A server did not start in time; with the end of its log."""


@attrs.frozen
class _Sort:
    """A sort of server: its command for a port, its environment, and where it says that it is ready.

    scheme: of its URL. One that is not of HTTP is ready when it says something to who connects.
    """

    name: str
    command: Callable[[int], list[str]]
    ready: str
    environment: Callable[[int], Mapping[str, str]]
    scheme: str = "http"


class Server:
    """A server that runs until it is closed. url: where it is."""

    def __init__(self, sort: _Sort | None, url: str = "") -> None:
        self._keeper: subprocess.Popen[str] | None = None
        self.url = url
        for attempt in range(3):  # another process may have taken the port
            if sort is None or self._start(sort, is_last=attempt == 2):
                return

    def close(self) -> None:
        """Ends the server, and removes what it has stored."""
        if self._keeper is not None:
            self._keeper.communicate(timeout=DEADLINE)
            self._keeper = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self, sort: _Sort, *, is_last: bool) -> bool:
        port = _free_port()
        self.url = f"{sort.scheme}://127.0.0.1:{port}"
        folder = Path(tempfile.gettempdir()) / f"eventsrc-{sort.name}-{uuid4().hex}"
        self._keeper = subprocess.Popen(
            [
                sys.executable,
                "-IS",
                _keeper.__file__,
                str(folder),
                str(os.getpid()),
                *sort.command(port),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **sort.environment(port)},
            start_new_session=True,
        )
        try:
            if self._becomes_ready(
                _answers if sort.scheme == "http" else _speaks, self.url + sort.ready
            ):
                return True
            is_last = is_last or self._keeper.poll() is None
            log, _ = self._keeper.communicate(timeout=DEADLINE)
        except BaseException:
            self.close()
            raise
        if is_last:
            raise ServerFailed(f"{sort.name} did not start within {DEADLINE:.0f} seconds: {log}")
        return False

    def _becomes_ready(self, is_ready: Callable[[str], bool], url: str) -> bool:
        assert self._keeper is not None
        deadline = monotonic() + DEADLINE
        while monotonic() < deadline and self._keeper.poll() is None:
            if is_ready(url):
                return True
            time.sleep(0.01)
        return False


def _answers(url: str) -> bool:
    """Whether a server of HTTP answers a request."""
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500  # it answers, if only that this is no request for it
    except OSError:
        return False


def _speaks(url: str) -> bool:
    """Whether a server says something to who connects."""
    host, _, port = url.rpartition("/")[2].partition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1) as connection:
            return bool(connection.recv(1))
    except OSError:
        return False


def ministack() -> Server:
    """Starts ministack, or finds the one that runs. Raises NoServer and ServerFailed."""
    found = os.environ.get(MINISTACK) or shutil.which("ministack")
    if found and found.startswith("http"):
        return Server(None, found)
    if not found or not shutil.which(found):
        named = f"{MINISTACK} is {found!r}, which is no command; " if found else ""
        raise NoServer(
            f"{named}ministack is not installed: python3 -m venv .venv-ministack && "
            ".venv-ministack/bin/pip install ministack==1.5.33 && "
            f"export {MINISTACK}=$PWD/.venv-ministack/bin/ministack"
        )
    command = str(Path(found).absolute())
    return Server(_Sort("ministack", lambda _: [command], "/_ministack/ready", _of_ministack))


def roto() -> Server:
    """Starts roto. Raises NoServer and ServerFailed."""
    beside = Path(sys.executable).parent / "roto-server"
    found = str(beside) if beside.exists() else shutil.which("roto-server")
    if not found:
        raise NoServer("roto is not installed: pip install 'eventsrc[test-servers]'")
    command = found

    def for_port(port: int) -> list[str]:
        return [command, "--port", str(port), "--ephemeral", "--data-dir", "data"]

    return Server(_Sort("roto", for_port, "/", lambda _: {}))


def nats() -> Server:
    """Starts a server of NATS, with JetStream. Raises NoServer and ServerFailed."""
    found = shutil.which("nats-server") or shutil.which("/usr/sbin/nats-server")
    if found is None:
        raise NoServer("nats-server is not installed: sudo apt-get install nats-server")

    def for_port(port: int) -> list[str]:
        where = ["-a", "127.0.0.1", "-p", str(port)]
        return [found, *where, "-js", "-sd", "data"]

    return Server(_Sort("nats", for_port, "", lambda _: {}, "nats"))


def skip(missing: NoServer, what: str = "aws") -> NoReturn:
    """Skips a test for want of a server, with the command to type; fails it if it is required."""
    import pytest

    if what in os.environ.get(REQUIRE, "").split(","):
        pytest.fail(str(missing))
    pytest.skip(str(missing))


def create_table(client: Any, table: str) -> None:
    """Makes a table that a DynamoDB store can be opened on, without what a table for real needs."""
    client.create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "p", "AttributeType": "S"},
            {"AttributeName": "n", "AttributeType": "N"},
        ],
        KeySchema=[
            {"AttributeName": "p", "KeyType": "HASH"},
            {"AttributeName": "n", "KeyType": "RANGE"},
        ],
    )


def _of_ministack(port: int) -> dict[str, str]:
    return {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "LOG_LEVEL": "WARNING",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
