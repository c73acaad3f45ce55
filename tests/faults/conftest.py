"""The figures that the experiments reach, shown at the end of a run of the longer tier."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults import SCALE

_FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Notes what an experiment has reached."""
    noted = request.config.stash.setdefault(_FIGURES, [])
    return lambda text: noted.append(f"{request.node.name}: {text}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints the figures, once."""
    figures = config.stash.get(_FIGURES, [])
    if SCALE > 1 and figures:
        terminalreporter.section(f"figures at EVENTSRC_SCALE={SCALE:g}")
        while figures:
            terminalreporter.write_line(figures.pop(0))
