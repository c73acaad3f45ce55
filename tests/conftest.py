"""How hard Hypothesis tries: a quarter as often as by itself for every commit, or for a night.

What all tests are made of, once they are collected, stays to the end: no garbage is looked for in it.

How long an example takes says nothing on a busy machine: what is slow shows in the benchmarks.

`pytest --hypothesis-profile=nightly`; the store contract and its state machine follow the profile.
"""

from __future__ import annotations

import gc

import pytest
from hypothesis import settings

from tests.faults import SCALE

A_NIGHT = 10 * 3600

settings.register_profile("commit", settings(), max_examples=25, deadline=None)
settings.register_profile("nightly", max_examples=2_000, deadline=None, print_blob=True)
settings.load_profile("commit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Lets the longer tier take its time."""
    if SCALE > 1:
        for item in items:
            item.add_marker(pytest.mark.timeout(A_NIGHT), append=False)


def pytest_collection_finish() -> None:
    """Spares every garbage collection the hundreds of thousands of objects that are not garbage."""
    gc.collect()
    gc.freeze()
