"""The pages about DynamoDB, Lambda and Kinesis are run where their emulator is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kits.pages import ROOT, run_page
from tests.servers.tables import Tables


@pytest.mark.parametrize("page", ["dynamodb", "lambda"])
def test_the_code_on_the_page_runs_and_prints_what_is_shown(
    page: str, quick: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert quick.url, "without the server, this is skipped"
    assert run_page(ROOT / "docs" / "how-to" / f"{page}.md") == []
