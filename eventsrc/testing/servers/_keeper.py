"""The process that a test server belongs to: it starts it, and ends it when its own parent is gone.

It is run by its path, without site-packages, to start quickly. The server runs in a process group of
its own and in a folder of its own; both are gone when the keeper is, also after a SIGKILL of the tests.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

PATIENCE = 5.0
"""The seconds that a server has to end after it is asked; then it is killed."""


def main(folder: Path, parent: int, command: list[str]) -> int:
    """Runs a command until it ends, the parent is gone or the standard input ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends when its parent does, and not before
    folder.mkdir(0o700)
    log = folder / "log"
    try:
        with log.open("wb") as output:
            server = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            # Processes forked from the parent may hold the pipe open: hence also a look at who that is.
            while server.poll() is None and os.getppid() == parent:
                if select.select([0], [], [], 0.1)[0]:
                    break
        finally:
            _end(server)
        sys.stdout.write(log.read_text(errors="replace")[-2000:])
    except OSError as error:
        sys.stdout.write(str(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _end(server: subprocess.Popen[bytes]) -> None:
    """Ends a server and its children, which share its group and may outlive it."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(PATIENCE)
    with contextlib.suppress(ProcessLookupError):
        while True:  # until nobody is left in the group
            os.killpg(server.pid, 0)
            time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
