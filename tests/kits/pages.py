"""The documentation's code blocks, and running them."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import attrs
from click.testing import CliRunner
from markdown_it import MarkdownIt

from eventsrc import SqliteStore, SqliteViews
from eventsrc.cli import main
from eventsrc.postgres import PostgresStore, PostgresViews
from eventsrc.testing.postgres import PostgresServer

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])

OPENED = (SqliteStore, SqliteViews, PostgresStore, PostgresViews, PostgresServer)
"""What a page may leave open."""


@attrs.frozen
class Block:
    """A fenced block: its language, its text, and the line it begins on."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    for token in MarkdownIt().parse(page.read_text()):
        if token.type == "fence" and token.map is not None:
            yield Block(token.info.strip(), token.content, token.map[0] + 2)


def run_page(page: Path) -> list[str]:
    """Runs a page's Python blocks in one module, and its commands of `eventsrc`, in order.

    Answers where shown output differs.
    """
    module = types.ModuleType(f"page_{page.stem.replace('-', '_').lower()}")
    sys.modules[module.__name__] = module  # so that annotations can be resolved
    wrong: list[str] = []
    printed = ""
    try:
        for block in blocks(page):
            if block.language == "python":
                code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
                with contextlib.redirect_stdout(io.StringIO()) as out:
                    exec(code, vars(module))
                printed = out.getvalue()
            elif block.language == "text" and not _fits(printed, block.text):
                wrong.append(f"{page}:{block.line}: it prints\n{printed}")
            elif block.language == "console":
                for command, shown in _commands(block.text):
                    done = CliRunner().invoke(main, shlex.split(command)[1:])
                    if not _fits(done.output, shown):
                        wrong.append(f"{page}:{block.line}: {command} prints\n{done.output}")
    finally:
        for value in reversed(list(vars(module).values())):
            if isinstance(value, OPENED):
                value.close()
        del sys.modules[module.__name__]
    return wrong


def _commands(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a block, behind `$`, and what is shown below each."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown


def _fits(printed: str, shown: str) -> bool:
    """Whether the output is as shown, where `...` stands for anything in a line."""
    pattern = re.escape(shown.strip()).replace(re.escape("..."), ".*")
    return re.fullmatch(pattern, printed.strip()) is not None
