"""The figures that the experiments reach, shown at the end of a run of the longer tier."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.faults import SCALE

_SHOWN = pytest.StashKey[bool]()


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
