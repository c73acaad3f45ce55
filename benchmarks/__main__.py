"""The command line: makes the environment, measures in it, prints the table."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.environment import cache, environment, run_inside


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmarks; answers the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    wanted = _parser().parse_args(given)
    if not wanted.here:
        return run_inside(environment(wanted.cache), given)
    from benchmarks.report import report

    kept: list[dict[str, Any]] = []
    for line in report(wanted.only, wanted.dir, wanted.rounds, wanted.scale, _say, kept.append):
        print(line, flush=True)
    if wanted.json:
        wanted.json.write_text(json.dumps(kept, indent=1))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--only", action="append", default=[], metavar="PATTERN", help="such as sqlite, */append-1")
    add("--rounds", type=_at_least_one, default=3, help="how often each is measured (3)")
    add("--scale", type=float, default=1.0, help="how much work there is, as a factor (1)")
    add("--dir", type=Path, default=cache() / "databases", help="where the databases are made")
    add("--json", type=Path, metavar="FILE", help="keeps all rounds in a file")
    add("--cache", type=Path, default=cache(), help="where the environment is kept")
    add("--here", action="store_true", help="measures in this environment, with what is installed")
    return parser


def _at_least_one(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError("at least one round")
    return int(text)


def _say(what: str) -> None:
    """Tells what is being done, on one line that is written over, if somebody watches."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{what}")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
