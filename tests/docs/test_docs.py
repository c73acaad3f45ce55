"""Everything that README and docs show is run, and prints what they show."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from eventsrc.errors import MissingExtra
from eventsrc.testing.postgres import NoPostgres
from eventsrc.testing.servers import NoServer
from tests.kits.pages import PAGES, ROOT, blocks, run_page

EXECUTED = {"console", "python", "text", "sh"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_on_the_page_runs_and_prints_what_is_shown(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        wrong = run_page(page)
    except (NoPostgres, NoServer, MissingExtra) as error:
        pytest.skip(str(error))
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_has_no_block_that_nothing_executes(page: Path) -> None:
    assert {block.language for block in blocks(page)} <= EXECUTED


def test_the_code_on_the_pages_satisfies_a_type_checker(tmp_path: Path) -> None:
    for number, page in enumerate(PAGES):
        code = [block.text for block in blocks(page) if block.language == "python"]
        (tmp_path / f"{page.stem.lower().replace('-', '_')}_{number}.py").write_text("\n".join(code))
    # Django has no types, and boto3 need not be there
    lacking = ["--disable-error-code=import-untyped", "--disable-error-code=import-not-found"]
    command = [sys.executable, "-m", "mypy", "--strict", *lacking, "--config-file=", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_commands_of_the_readme_are_those_that_ci_runs() -> None:
    commands = [block.text.strip() for block in blocks(ROOT / "README.md") if block.language == "sh"]
    script = (ROOT / ".ci" / "run").read_text()
    assert len(commands) == 2
    assert all(command in script for command in commands)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\[[\w ]+\]\(([^)#: ]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target
