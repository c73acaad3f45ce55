"""How hard Hypothesis tries: a few times for every commit, or for a night.

What all tests are made of stays to the end: while they are collected no garbage is looked for, and
afterwards none in it.

How long an example takes says nothing on a busy machine: what is slow shows in the benchmarks.

`pytest --hypothesis-profile=nightly`; the store contract and its state machine follow the profile.
"""

from __future__ import annotations

import gc
from collections.abc import Generator

import pytest
from hypothesis import settings

from tests.faults import SCALE
from tests.kits.postgres import (
    databases,
    postgres_dsn,
    postgres_server,
    postgres_servers,
    shared_dsn,
)

__all__ = ["databases", "postgres_dsn", "postgres_server", "postgres_servers", "shared_dsn"]

A_NIGHT = 10 * 3600

settings.register_profile("commit", settings(), max_examples=15, deadline=None)
settings.register_profile("nightly", max_examples=2_000, deadline=None, print_blob=True)
settings.load_profile("commit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Lets the longer tier take its time."""
    if SCALE > 1:
        for item in items:
            item.add_marker(pytest.mark.timeout(A_NIGHT), append=False)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Spares every garbage collection the hundreds of thousands of objects that are not garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()
