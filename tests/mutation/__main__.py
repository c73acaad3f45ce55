"""Mutation testing: small faults are planted one by one, and the tests must fail on each.

    .venv/bin/pip install cosmic-ray==8.7.0
    .venv/bin/python -m tests.mutation guard memory     # or none, for all: hours

Cosmic Ray plants the faults, in a copy of the tree, and runs the tests that are named here; the `|` of
annotations is not mutated. `results/NAME.txt` then has the figures, and each mutant that lived as a
line of code, to be read beside `equivalent.txt`, which says why no test could tell some from the
original.
"""

from __future__ import annotations

import collections
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import attrs

ROOT: Final = Path(__file__).parents[2]
RESULTS: Final = Path(__file__).parent / "results"
TIMEOUT: Final = 90.0
"""The seconds after which a test run counts as failed, as for a loop that does not end."""


@attrs.frozen
class Target:
    """A module, and the tests that hold it."""

    module: str
    tests: str


TARGETS: Final = {
    "guard": Target("eventsrc/views/guard.py", "tests/views tests/following/test_synchroniser.py"),
    "memory": Target(
        "eventsrc/stores/memory.py",
        "tests/stores/test_memory.py tests/stores tests/streams tests/testing/test_own_store.py",
    ),
    "ledger": Target(
        "eventsrc/views/_ledger.py",
        "tests/views tests/following/test_synchroniser.py tests/following/test_rebuild.py"
        " tests/following/test_parked.py tests/following/test_upkeep.py"
        " tests/faults/test_view_faults.py",
    ),
    "synchroniser": Target(
        "eventsrc/following/synchroniser.py",
        "tests/following/test_synchroniser.py tests/following/test_freshness.py"
        " tests/views tests/following tests/faults/test_view_faults.py",
    ),
    "sqlite": Target(
        "eventsrc/sqlite/store.py",
        "tests/sqlite/test_store.py tests/sqlite tests/stores tests/streams tests/faults",
    ),
    "sqlite_appending": Target(
        "eventsrc/sqlite/_appending.py",
        "tests/sqlite/test_store.py tests/sqlite tests/stores tests/streams tests/faults",
    ),
    "postgres": Target(
        "eventsrc/postgres/store.py", "tests/postgres/test_store.py tests/postgres/test_lent.py"
    ),
    "postgres_questions": Target(
        "eventsrc/postgres/_questions.py",
        "tests/postgres/test_store.py tests/postgres/test_lent.py tests/postgres/test_unknown.py"
        " tests/postgres/test_concurrency.py tests/postgres",
    ),
}


def run(name: str) -> None:
    """Tests all mutants of a target, and writes its results."""
    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".git", ".venv*", "__pycache__"))
        config, session = tree / "mutation.toml", tree / "mutation.sqlite"
        command = f"{sys.executable} -m pytest -x -q -n 0 -p no:cacheprovider {target.tests}"
        config.write_text(
            f'[cosmic-ray]\nmodule-path = ["{target.module}"]\ntimeout = {TIMEOUT}\n'
            f'excluded-modules = []\ntest-command = "{command}"\n'
            '[cosmic-ray.distributor]\nname = "local"\n[cosmic-ray.filters.operators-filter]\n'
            'exclude-operators = ["core/ReplaceBinaryOperator_BitOr_.*"]\n'
        )
        environment = os.environ | {"PYTHONPATH": str(tree)}

        def call(tool: str, *arguments: Any) -> str:
            path = Path(sys.executable).with_name(tool)
            done = subprocess.run(
                [path, *map(str, arguments)],
                cwd=tree, env=environment, check=True, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            return done.stdout

        call("cosmic-ray", "baseline", config)
        call("cosmic-ray", "init", config, session)
        call("cr-filter-operators", session, config)
        call("cosmic-ray", "exec", config, session)
        jobs = [json.loads(line) for line in call("cosmic-ray", "dump", session).splitlines()]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.txt").write_text(report(target, jobs))


def report(target: Target, jobs: list[Any]) -> str:
    """The figures of a target, and the changed lines of each mutant that lived."""
    counts: collections.Counter[str] = collections.Counter()
    lived: list[str] = []
    for item, result in jobs:
        if result is None or result["worker_outcome"] != "normal":
            continue
        counts[result["test_outcome"]] += 1
        if result["test_outcome"] == "survived":
            diff = result["diff"].splitlines()
            changed = [line for line in diff if line[:1] in "+-" and line[:3] not in ("+++", "---")]
            (mutation,) = item["mutations"]
            lived.append("\n".join([f"line {mutation['start_pos'][0]}", *changed]))
    tested = sum(counts.values())
    killed = tested - counts["survived"]
    head = f"{target.module}: {killed} of {tested} mutants killed, {killed / max(tested, 1):.1%}"
    return "\n\n".join([head, *sorted(lived)]) + "\n"


if __name__ == "__main__":
    for each in sys.argv[1:] or TARGETS:
        run(each)
