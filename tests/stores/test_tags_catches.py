"""The contract of tags has teeth: stores that are broken on purpose are caught, each by its test.

They run in a pytest of their own, as a user's store would, with no examples kept and none shrunk.
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

from tests.kits.pages import ROOT

STORES: Final = '''
import time
import attrs, hypothesis, pytest
from hypothesis import Phase
from eventsrc import MemoryStore, on
from eventsrc.events.tags import Boundary
from eventsrc.stores.tags import ReadTagged

phases = [Phase.explicit, Phase.generate]
hypothesis.settings.register_profile("teeth", database=None, phases=phases, max_examples=120)
hypothesis.settings.load_profile("teeth")

from eventsrc.testing import StoreContract


class LooksBeforeItHasTheLock(MemoryStore):
    def _append(self, asked):
        if not any(self._changed(bound) for bound in asked.bounds):
            time.sleep(0.002)
            asked.bounds = ()
        return super()._append(asked)

    def _changed(self, bound):
        return self._tags.find(bound.items, self._feed, bound.cursor.position, 1)


class DoesNotSeeWhatCameJustBefore(MemoryStore):
    """As one that looks at all members of a group before it stores the first."""

    def _append(self, asked):
        late = [bound for bound in asked.bounds
                if self._tags.find(bound.items, self._feed[:-1], bound.cursor.position, 1)
                or bound.cursor.position > len(self._feed)]
        asked.bounds = tuple(late)
        return super()._append(asked)


class Reads(MemoryStore):
    @on(ReadTagged)
    def read_tagged(self, op):
        items = tuple(item for each in op.boundary.items for item in self.read_as(each))
        return super().read_tagged(attrs.evolve(op, boundary=Boundary(items)))


class TakesAnyOfTheTags(Reads):
    def read_as(self, item):
        return [attrs.evolve(item, tags=frozenset([tag])) for tag in item.tags] or [item]


class LeavesTypesOut(Reads):
    def read_as(self, item):
        return [attrs.evolve(item, types=None)]


class LeavesThePrefixOut(Reads):
    def read_as(self, item):
        return [attrs.evolve(item, prefix="")]


class DoesNotSayThatTagsAreMissing(MemoryStore):
    def __init__(self):
        super().__init__()
        self._tags.check_indexed = lambda items: None


class LetsOthersMakeHoles(MemoryStore):
    def _append(self, asked):
        for part in asked.parts:
            for one in part.events:
                if one.kind in self._tags._kinds:
                    self._tags._kinds[one.kind].is_whole = False
        return super()._append(asked)


class TagsContract(StoreContract):
    tags = True

    @pytest.fixture
    def store(self):
        return self.made()
'''

READING: Final = "test_an_item_is_all_its_tags_and_one_of_its_types_below_its_prefix"
LATE: Final = "test_a_boundary_is_refused_until_older_events_are_indexed"
CAUGHT: Final = {
    "LooksBeforeItHasTheLock": "test_of_many_that_read_one_boundary_one_appends",
    "DoesNotSeeWhatCameJustBefore": (
        "test_an_append_is_stored_if_and_only_if_its_boundaries_are_unchanged"
    ),
    "TakesAnyOfTheTags": READING,
    "LeavesTypesOut": READING,
    "LeavesThePrefixOut": READING,
    "DoesNotSayThatTagsAreMissing": LATE,
    "LetsOthersMakeHoles": LATE,
}


@cache
def failed() -> set[tuple[str, str]]:
    """The tests that fail, with the stores that they fail on."""
    made = "\n".join(
        f"class Test{name}(TagsContract):\n    made = {name}\n" for name in ("MemoryStore", *CAUGHT)
    )
    with TemporaryDirectory() as folder:
        file = Path(folder) / "test_broken.py"
        file.write_text(f"{STORES}\n{made}\ndel TagsContract, StoreContract\n")
        asked = " or ".join(sorted(set(CAUGHT.values())))
        options = ["-q", "-rA", "--tb=no", "-p", "no:cacheprovider", "-k", asked]
        command = [sys.executable, "-m", "pytest", *options, "-c", str(ROOT / "pyproject.toml")]
        ran = subprocess.run(
            [*command, str(file)], cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
        )
    told = re.findall(r"(?m)^(PASSED|FAILED|ERROR) \S*::Test(\w+)::(\w+)", ran.stdout)
    assert {outcome for outcome, _, _ in told} == {"PASSED", "FAILED"}, ran.stdout + ran.stderr
    return {(store, test) for outcome, store, test in told if outcome == "FAILED"}


@pytest.mark.parametrize(("store", "test"), CAUGHT.items())
def test_a_broken_store_is_caught(store: str, test: str) -> None:
    assert (store, test) in failed()


def test_the_sound_store_passes() -> None:
    assert "MemoryStore" not in {store for store, _ in failed()}
