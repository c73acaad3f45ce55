"""The script that tries AWS for real tries an emulator here, and sees what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.verify_aws import STREAM, TABLE, judged, judged_streams
from tests.kits.pages import ROOT
from tests.servers.tables import Tables


def ran(**environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.verify_aws", "--seconds", "1", "--writers", "4"]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_it_finds_nothing_wrong_with_an_emulator(exact: Tables) -> None:
    _, arn = exact.new_shards()
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    where = {"AWS_ENDPOINT_URL": exact.url, "AWS_DEFAULT_REGION": "us-east-1"}
    done = ran(**keys, **where, **{TABLE: exact.new(), STREAM: arn.rpartition("/")[2]})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing was skipped" in done.stdout


def test_it_says_which_variables_it_needs() -> None:
    done = ran(**{TABLE: "", STREAM: ""})
    assert done.returncode == 2
    assert TABLE in done.stdout
    assert STREAM in done.stdout


def test_control_it_sees_what_was_skipped_doubled_or_out_of_order() -> None:
    good = [(1, "verify/a", 1), (2, "verify/b", 1), (3, "verify/a", 2)]
    assert [*judged(good)] == []
    assert [*judged([good[1], good[0], good[2]])]
    assert [*judged([*good, good[2]])]
    assert [*judged([good[0], (4, "verify/a", 3)])]
    assert [*judged([])]
    came = [("verify/a", 1), ("verify/b", 1), ("verify/a", 1), ("verify/a", 2)]
    assert [*judged_streams(came, 3)] == []
    assert [*judged_streams([("verify/a", 2), ("verify/a", 1)], 2)]
    assert [*judged_streams(came[:2], 3)]
