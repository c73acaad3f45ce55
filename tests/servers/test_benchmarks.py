"""The benchmarks of DynamoDB run and measure something: nothing here is about speed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.report import report


@pytest.mark.usefixtures("ministack_url", "roto_url")
def test_works_with_dynamodb_yield_positive_numbers(tmp_path: Path) -> None:
    kept: list[dict[str, Any]] = []
    lines = list(report(["dynamodb"], tmp_path, 1, 0.01, lambda _: None, kept.append))
    assert [result["work"].rpartition("/")[2] for result in kept] == [
        "cpu",
        "threads-32",
        "threads-96",
        "units-1",
        "units-20",
    ]
    for result in kept:
        assert all(one["done"] > 0 and one["seconds"] > 0 for (one,) in result["rounds"].values())
    assert any("USD for a million" in line for line in lines)
