"""What the type checkers say: nothing of good.py, and of bad.py each line marked `# wrong`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kits.pages import ROOT

HERE = Path("tests/typing")
GOOD, BAD = str(HERE / "good.py"), str(HERE / "bad.py")


def lines_wrong() -> set[str]:
    lines = (ROOT / BAD).read_text().splitlines()
    return {f"{BAD}:{number}" for number, line in enumerate(lines, 1) if line.endswith("# wrong")}


def lines_reported(command: list[str]) -> set[str]:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = re.findall(r"([\w/.-]+\.py:\d+):.*\berror\b", done.stdout)
    assert found, done.stdout + done.stderr
    return {line.removeprefix(f"{ROOT}/") for line in found}


def test_mypy_strict_reports_the_mistakes_and_nothing_else() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", GOOD, BAD]
    assert lines_reported(command) == lines_wrong()


@pytest.mark.timeout(300)
def test_pyright_strict_reports_the_mistakes_and_nothing_else() -> None:
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "-p", str(HERE)]
    assert lines_reported(command) == lines_wrong()
