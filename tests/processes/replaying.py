"""What a process does that replays an event log with the permits example, to be killed."""

from __future__ import annotations

from examples.permits.__main__ import main


def replay_it(log: str, store: str) -> None:
    """The command, with small batches."""
    main([log, "--store", store, "--batch", "5"])
