"""The figures that the experiments reach, shown at the end of a run of the longer tier."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from multiprocessing.util import get_temp_dir
from pathlib import Path

import pytest

from tests.faults import SCALE

_SHOWN = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def folder_for_temporary_files() -> Iterator[Path]:
    """A folder in which no test has its stores, and which other accounts can look into."""
    get_temp_dir()  # in the usual place, as it is removed after this one
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture(autouse=True)
def files_count_as_lasting(folder_for_temporary_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores of tests, here and in child processes, make their logs large, as those of users do."""
    monkeypatch.setattr(tempfile, "tempdir", str(folder_for_temporary_files))
    monkeypatch.setenv("TMPDIR", str(folder_for_temporary_files))


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Notes what an experiment has reached."""
    return lambda text: request.node.user_properties.append(("figure", text))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints the figures, once, also those of pytest-xdist's workers."""
    figures = [*_figures(terminalreporter)]
    if SCALE > 1 and figures and not config.stash.get(_SHOWN, False):
        config.stash[_SHOWN] = True
        terminalreporter.section(f"figures at EVENTSRC_SCALE={SCALE:g}")
        for text in figures:
            terminalreporter.write_line(text)


def _figures(terminalreporter: pytest.TerminalReporter) -> Iterator[str]:
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport) and report.when == "call":
                name = report.nodeid.rpartition("::")[2]
                yield from (
                    f"{name}: {text}" for what, text in report.user_properties if what == "figure"
                )
