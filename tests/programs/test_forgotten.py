"""A forgotten `yield from` is made loud."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import eventsrc
import examples
from eventsrc.forgotten import find_forgotten
from tests.programs import careless
from tests.programs.careless import Get, helper


def marked() -> set[int]:
    lines = Path(careless.__file__).read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# forgotten")}


def test_each_forgotten_yield_from_is_found_and_nothing_else() -> None:
    assert {found.line for found in find_forgotten(careless)} == marked()


def test_what_is_found_says_what_to_write() -> None:
    said = str(find_forgotten(careless)[0])
    assert said.endswith(
        "in careless: Put('a') is made and never performed: write `yield from Put('a')`"
    )
    assert "careless.py:" in said


def test_one_that_is_used_as_its_answer_is_told_so_and_one_in_a_comprehension_what_to_write() -> None:
    said = [str(found) for found in find_forgotten(careless)]
    assert any(
        text.endswith("is used as if it were its answer: write `yield from Get('a')`") for text in said
    )
    assert any("Put(key) is made for each item and never performed" in text for text in said)
    assert any("plain has no `yield from`, and returns no program" in text for text in said)


def test_the_library_and_its_examples_forget_nothing() -> None:
    assert find_forgotten(eventsrc, examples) == []


def test_the_command_line_lists_what_it_finds_and_fails() -> None:
    command = [sys.executable, "-m", "eventsrc.forgotten", "tests.programs.careless"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{len(find_forgotten(careless))} forgotten" in done.stdout


def test_help_says_what_it_takes() -> None:
    command = [sys.executable, "-m", "eventsrc.forgotten", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "a package or module that can be imported from here" in done.stdout


def test_using_an_operation_or_a_program_as_its_own_answer_raises() -> None:
    with pytest.raises(TypeError, match="it has not been performed. Write `yield from` before it"):
        assert Get("a") or 3
    with pytest.raises(TypeError, match=r"helper\(\) has no truth value"):
        assert not helper()
