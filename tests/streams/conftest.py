"""How many examples Hypothesis tries here: as many as fit into a few seconds, unless it is told."""

from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

# A machine that is busy with other things makes an example slow, and that is no finding.
settings.register_profile(
    "streams",
    parent=settings.get_profile(settings.get_current_profile_name()),
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Tests take their settings when they are imported, and pytest asks us about those here only.

    A profile that somebody chose, as in `pytest --hypothesis-profile=long`, is left in force.
    """
    chosen = settings.get_current_profile_name()
    if chosen in ("default", "ci"):
        settings.load_profile("streams")
    try:
        return (yield)
    finally:
        settings.load_profile(chosen)
