"""The route of one append: which functions it passes through, and how many files they stand in."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType

import eventsrc
from eventsrc import Append, Codec, SqliteStore, StreamId
from tests.kits.events import TYPES, Tick

MOST_CALLS = 40
MOST_FILES = 8

OURS = Path(eventsrc.__file__).parent
A = StreamId("a")


def route(run: Callable[[], object]) -> list[CodeType]:
    """The Python functions that are called meanwhile, in their order."""
    called: list[CodeType] = []

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            called.append(frame.f_code)

    before = sys.getprofile()
    gc.disable()  # what it finalizes is called as well
    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(before)
        gc.enable()
    return called[1:]  # but `run` itself


def files(codes: list[CodeType]) -> set[Path]:
    return {path for code in codes if (path := Path(code.co_filename)).is_relative_to(OURS)}


def told(codes: list[CodeType]) -> str:
    lines = [
        f"{Path(code.co_filename).name}:{code.co_firstlineno} {code.co_qualname}" for code in codes
    ]
    return "\n".join([f"{len(codes)} calls, {len(files(codes))} files", *lines])


def test_one_append_passes_through_few_functions_in_few_files(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "store.db", Codec(TYPES, fast=False)) as store:
        for number in range(20):
            store.run(Append(A, (Tick(number, 0, 1),)))
        codes = route(lambda: store.run(Append(A, (Tick(20, 0, 1),), 20)))
        assert len(codes) <= MOST_CALLS, told(codes)
        assert len(files(codes)) <= MOST_FILES, told(codes)


def test_control_an_append_that_waits_in_line_takes_more(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "store.db", Codec(TYPES, fast=False)) as store:
        for _ in range(20):
            store.run(Append(A, (Tick(0, 0, 1),)))
        op = Append(A, (Tick(20, 0, 1), Tick(21, 0, 1)))
        codes = route(lambda: store.run(op))
        assert len(codes) > MOST_CALLS
        assert len(files(codes)) > MOST_FILES
