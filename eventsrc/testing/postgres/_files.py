"""The directory of a Postgres for tests, which its keeper makes, and removes whatever happens."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Final
from uuid import uuid4

import attrs

from eventsrc.testing.postgres import _keeper
from eventsrc.testing.postgres._account import Way
from eventsrc.testing.postgres._binaries import ADDRESS
from eventsrc.testing.postgres._errors import NoPostgres, ServerFailed

PORT: Final = 5432  # part of the socket's name
_SOCKET_LENGTH: Final = 103  # what macOS can take; Linux takes 4 more

_ACCESS: Final = """\
local all,replication eventsrc peer map=tests
local all all trust
"""
"""The superuser is whoever started the server; anybody else who gets that far is whoever they say."""


@attrs.define
class Files:
    """The directory of a server, with the keeper that has made it and will remove it.

    The account that the server runs as owns `home`, with the data and the socket, and nothing else.
    """

    directory: Path
    keeper: subprocess.Popen[bytes]
    deadline: float
    owner: int = attrs.field(factory=os.getpid)
    way: Way = attrs.field(factory=Way)
    bin: Path = Path()

    @property
    def home(self) -> Path:
        return self.directory / "home"

    @property
    def data(self) -> Path:
        return self.home / "data"

    def write_access(self) -> dict[str, str]:
        """Writes who may connect, and answers the settings that say where: see `_ACCESS`."""
        written = {"hba_file": _ACCESS, "ident_file": f'tests "{self.way.client}" eventsrc\n'}
        for name, text in written.items():
            (self.directory / name).write_text(text)
            (self.directory / name).chmod(0o644)
        return {name: str(self.directory / name) for name in written}

    def popen(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts a program of Postgres, in a session of its own, where no Ctrl-C reaches it."""
        # What is in the environment for clients (PGPORT, PGDATA) would be taken for the server.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen(
                [*self.way.prefix, self.bin / program, *arguments],
                cwd=self.home,
                env={**environment, "LC_ALL": "C", "TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self.way.user,
                group=self.way.group,
                extra_groups=self.way.extra_groups,
            )

    def log_end(self, lines: int = 30) -> str:
        try:
            text = (self.directory / "log").read_text(errors="replace")
        except OSError as error:
            return f"(no log: {error})"
        return "\n".join(text.splitlines()[-lines:])

    def remove(self) -> None:
        """Has the keeper end what still runs, and remove the directory."""
        told: IO[bytes] = self.keeper.stdin  # type: ignore[assignment]
        with contextlib.suppress(BrokenPipeError), told:
            told.write(b".")
        try:
            code = self.keeper.wait(_keeper.PATIENCE + self.deadline)
        except subprocess.TimeoutExpired as error:
            self.keeper.kill()
            self.keeper.wait()
            raise ServerFailed(f"{self.directory} was not removed in time: remove it") from error
        if code != 0:
            raise ServerFailed(f"{self.directory} could not be removed (exit code {code}): remove it")


def make_files(deadline: float) -> Files:
    """A new directory, with a keeper, who makes it, so that it is never without one."""
    if os.name != "posix":
        raise NoPostgres(
            f"a private server needs Linux, macOS or the like: set {ADDRESS} to an address"
        )
    directory = Path(tempfile.gettempdir()).absolute() / f"eventsrc-pg-{uuid4().hex[:8]}"
    if len(os.fsencode(directory / "home" / f".s.PGSQL.{PORT}")) > _SOCKET_LENGTH:
        raise ServerFailed(f"{directory} is too long for a socket's name: set TMPDIR to a shorter one")
    keeper = subprocess.Popen(
        [sys.executable, "-I", "-S", _keeper.__file__, directory, str(os.getpid())],
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    files = Files(directory, keeper, deadline)
    answer: IO[bytes] = keeper.stdout  # type: ignore[assignment]
    try:
        with answer, selectors.DefaultSelector() as selector:
            selector.register(answer, selectors.EVENT_READ)
            in_time = selector.select(deadline)
            said = (
                answer.readline().decode(errors="replace").strip() if in_time else "no answer in time"
            )
        if said != "made":
            raise ServerFailed(f"{directory} could not be made: {said or 'its keeper has ended'}")
    except BaseException:
        with contextlib.suppress(ServerFailed):
            files.remove()
        raise
    return files
