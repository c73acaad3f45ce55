"""Docstrings name the thing that they stand at, then say what it does."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.kits.pages import ROOT

PACKAGE = ROOT / "eventsrc"
_RIDDLES = frozenset({"What", "Who", "Those", "How", "Whoever", "Whatever"})


def riddles(source: str) -> Iterator[str]:
    """The texts that document a name of a module and begin by not naming the thing."""
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else []:
            match statement:
                case ast.Expr(ast.Constant(str(text))):
                    if text.split(maxsplit=1)[0].rstrip(",:") in _RIDDLES:
                        yield text


def test_no_docstring_begins_with_a_question() -> None:
    found = {str(path): [*riddles(path.read_text("utf-8"))] for path in PACKAGE.rglob("*.py")}
    assert {name: texts for name, texts in found.items() if texts} == {}


def test_control_a_docstring_that_begins_with_a_question_is_found() -> None:
    source = '"""What it is."""\nx = 1\n"""How many."""\ndef f():\n    """Adds."""\n'
    assert list(riddles(source)) == ["What it is.", "How many."]
