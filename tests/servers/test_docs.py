"""The page about DynamoDB is run where its emulator is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import ROOT, run_page
from tests.servers.tables import Tables


def test_the_code_on_the_page_runs_and_prints_what_is_shown(
    quick: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert quick.url, "without the server, this is skipped"
    assert run_page(ROOT / "docs" / "how-to" / "dynamodb.md") == []
