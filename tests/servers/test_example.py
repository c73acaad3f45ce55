"""The identity example tells in DynamoDB what it tells in memory, and again what is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from tests.kits.pages import ROOT
from tests.servers.tables import Tables


def told(where: str) -> list[str]:
    """The lines that the example prints, less what names a place, a time or an id, and its traces."""
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    command = [sys.executable, "-m", "examples.identity", "--store", where]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **keys}, capture_output=True, text=True, check=True
    )
    lines = [line for line in done.stdout.splitlines() if not set("─│") & set(line)]
    return [re.sub(r"[0-9:.]{15}|[0-9a-f-]{8,}|[A-Za-z0-9_-]{30,}", "…", line) for line in lines[1:]]


def test_the_example_tells_the_same_story(quick: Tables) -> None:
    where = f"dynamodb:{quick.new()}?region=us-east-1&endpoint={quick.url}"
    assert told(where) == told("memory")
    assert told(where) != told("memory"), "the second time it tells what is there"
