"""The process that cleans up after a private server, whatever becomes of the process that started it.

A keeper makes the server's directory, says so, and waits. When it is told to (a byte on its standard
input), or when its parent is gone (the end of that input, or another parent), it ends whatever still
runs for that directory, removes it, and is gone itself. This is the only way in which a directory is
removed, so that the cleaning up after a SIGKILL is what every test run does.

Why a process of its own: PR_SET_PDEATHSIG would come when the *thread* ends that started the server,
is of Linux alone, and removes no directory. It is run by its path, without site-packages, to start
quickly.
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
from collections.abc import Iterator
from pathlib import Path

PATIENCE = 20.0
"""For how many seconds a keeper tries to clean up; for the first 3 it asks, then it kills."""

_PROGRAMS = frozenset({"initdb", "postgres"})


def running(name: str) -> list[int]:
    """The processes of Postgres that have this name in their command line, zombies not among them.

    name: that of the server's directory, which is in the arguments of initdb and of the server, and as
        `cluster_name` in the titles of its children. (/proc/*/cwd would tell as well, but a root
        without CAP_SYS_PTRACE, as in most containers, may not read it.)
    """
    return [
        pid
        for pid, words in commands()
        if words[0].partition(": ")[0].rpartition("/")[2] in _PROGRAMS and name in " ".join(words)
    ]


def commands() -> Iterator[tuple[int, list[str]]]:
    """Every process with its command line, in words."""
    if sys.platform == "linux":
        for process in Path("/proc").iterdir():
            if process.name.isdigit():
                with contextlib.suppress(OSError):  # it has ended, or is somebody else's
                    command = os.fsdecode((process / "cmdline").read_bytes())
                    yield int(process.name), command.split("\0")
    else:
        listing = ["ps", "-A", "-ww", "-o", "pid=", "-o", "command="]
        for line in subprocess.run(
            listing, capture_output=True, text=True, check=True
        ).stdout.splitlines():
            pid, _, command = line.strip().partition(" ")
            yield int(pid), command.split(" ")


def signal_all(pids: list[int], *signals: signal.Signals) -> None:
    """Sends signals to processes, some of which may have ended."""
    for number in signals:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _free_memory(directory: Path) -> None:
    """Removes the shared memory segment that a server has left which was killed for good.

    The seventh line of postmaster.pid has its key and its id, which must agree.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        key, found = map(
            int, (directory / "home" / "data" / "postmaster.pid").read_text().split("\n")[6].split()
        )
        import ctypes

        libc = ctypes.CDLL(None)
        if libc.shmget(ctypes.c_int(key), ctypes.c_size_t(0), 0) == found:
            libc.shmctl(found, 0, None)  # IPC_RMID


def clean(directory: Path) -> bool:
    """Ends what runs for a directory and removes it; answers whether nothing is left."""
    begin = time.monotonic()
    while (passed := time.monotonic() - begin) < PATIENCE:
        left = running(directory.name)
        if passed < 3:
            signal_all(left, signal.SIGQUIT, signal.SIGCONT)
        else:
            signal_all(left, signal.SIGKILL)
        if not left:
            _free_memory(directory)
            shutil.rmtree(directory, ignore_errors=True)
            # An initdb that had only just been started might make it again: look twice.
            if not running(directory.name) and not directory.exists():
                return True
        time.sleep(0.01)
    return False


def main(directory: Path, parent: int) -> int:
    """Makes the directory, waits for the parent's word or end, cleans up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends when its parent does, and not before
    try:
        directory.mkdir(0o700)
    except OSError as error:
        _say(str(error))
        return 1
    try:
        _say("made")
        # Processes forked from the parent may hold the pipe open: hence also a look at who that is.
        while os.getppid() == parent and not select.select([0], [], [], 0.5)[0]:
            pass
    finally:
        cleaned = clean(directory)
    return 0 if cleaned else 1


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
