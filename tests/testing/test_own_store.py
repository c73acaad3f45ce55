"""The store that the documentation shows keeps the contract, and what it says of its file."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from eventsrc import ANY, Append, Read, StreamId, Success
from eventsrc.stores.operations import NotAStore, StoreBusy
from eventsrc.testing import StoreContract
from eventsrc.testing._contract.samples import Noted
from tests.kits.pages import ROOT, blocks

HERE = StreamId("here")


def page() -> Any:
    module = types.ModuleType("your_own_store")
    sys.modules[module.__name__] = module
    text = "\n".join(
        block.text
        for block in blocks(ROOT / "docs" / "how-to" / "your-own-store.md")
        if block.language == "python"
    )
    exec(compile(text, "your-own-store.md", "exec"), vars(module))
    return module


PAGE = page()
TestJsonLinesStore: type[StoreContract] = PAGE.TestJsonLinesStore
TestJsonLinesStoreAgainstMemory = PAGE.TestJsonLinesStoreAgainstMemory


def test_the_store_of_the_page_is_no_longer_than_it_says() -> None:
    code = next(
        block.text
        for block in blocks(ROOT / "docs" / "how-to" / "your-own-store.md")
        if block.language == "python"
    )
    body = code[code.index("class JsonLinesStore") :]
    assert sum(bool(line.strip()) for line in body.splitlines()) <= 160


def test_a_line_that_was_never_finished_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with PAGE.JsonLinesStore(path) as store:
        store.run(Append(HERE, (Noted("kept"),)))
        store.run(Append(HERE, (Noted("torn"),)))
    whole = path.read_bytes()
    for end in range(whole.rindex(b"\n", 0, -1) + 1, len(whole)):
        path.write_bytes(whole[:end])
        with PAGE.JsonLinesStore(path) as store:
            assert [event.text for event in store.run(Read(HERE)).data] == ["kept"]
            assert isinstance(store.run(Append(HERE, (Noted("next"),), ANY)), Success)
        with PAGE.JsonLinesStore(path) as store:
            assert [event.text for event in store.run(Read(HERE)).data] == ["kept", "next"]


def test_a_file_has_one_owner(tmp_path: Path) -> None:
    with (
        PAGE.JsonLinesStore(tmp_path / "events.jsonl"),
        pytest.raises(StoreBusy, match="belongs to another process"),
    ):
        PAGE.JsonLinesStore(tmp_path / "events.jsonl")


def test_another_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary\n")
    with pytest.raises(NotAStore, match="no file of events"):
        PAGE.JsonLinesStore(path)
    assert path.read_text() == "Dear diary\n"


def test_what_a_store_does_not_claim_is_skipped_and_says_so(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from eventsrc import MemoryStore
        from eventsrc.testing import StoreContract

        class TestBare(StoreContract):
            snapshots = False
            concurrent = False

            @pytest.fixture
            def store(self):
                return MemoryStore()
        """
    )
    done = pytester.runpytest_inprocess("-rs", "--disable-plugin-autoload", "-k", "snapshot or threads")
    outcomes = done.parseoutcomes()
    assert outcomes == {"skipped": outcomes["skipped"], "deselected": outcomes["deselected"]}
    assert outcomes["skipped"] > 10
    done.stdout.fnmatch_lines(["*`snapshots` is False*"])


PLAIN = """
    from contextlib import nullcontext
    import pytest
    from eventsrc import AppendAll, MemoryStore, on
    from eventsrc.stores.operations import FindAppend
    from eventsrc.testing import StoreContract, StoreMachine

    class PlainStore(MemoryStore):
        @on(AppendAll)
        def append_all(self, op):
            raise NotImplementedError

        @on(FindAppend)
        def find_append(self, op):
            raise NotImplementedError

    class TestPlain(StoreContract):
        several = finding = CLAIMED

        @pytest.fixture
        def store(self):
            return PlainStore()

    TestMachine = StoreMachine.for_store(
        lambda _: nullcontext(PlainStore()), several=CLAIMED, finding=CLAIMED
    ).TestCase
"""


def test_a_store_may_append_to_one_stream_at_a_time_and_find_no_append(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(PLAIN.replace("CLAIMED", "False"))
    done = pytester.runpytest_inprocess(
        "-rs", "--disable-plugin-autoload", "-k", "refused or retried or several or found or Machine"
    )
    outcomes = done.parseoutcomes()
    assert outcomes.keys() == {"passed", "skipped", "deselected"}
    assert outcomes["passed"] > 40
    done.stdout.fnmatch_lines(["*`several` is False*"])
    done.stdout.fnmatch_lines(["*`finding` is False*"])


def test_control_a_store_that_claims_more_than_it_does_fails(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PLAIN.replace("CLAIMED", "True"))
    outcomes = pytester.runpytest_inprocess(
        "--disable-plugin-autoload", "-k", "several or found"
    ).parseoutcomes()
    assert outcomes["failed"] > 10
