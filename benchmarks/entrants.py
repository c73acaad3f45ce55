"""The list of the systems: a line for each. Those whose packages are not installed stay away."""

from __future__ import annotations

from importlib.util import find_spec

from benchmarks.systems import System, ours, raw
from eventsrc import Codec


def entrants() -> list[System]:
    """All systems that can be measured here."""
    found = [_raw("raw", raw.by_hand()), _ours("eventsrc", Codec(fast=False), "raw")]
    if find_spec("msgspec"):
        found.append(_raw("raw msgspec", raw.by_msgspec()))
        found.append(_ours("eventsrc fast", Codec(), "raw msgspec"))
    if find_spec("eventsourcing"):
        from benchmarks.systems import eventsourcing_9

        found += eventsourcing_9.systems()
    return found


def _ours(name: str, codec: Codec, rival: str) -> System:
    return System(
        name,
        "eventsrc",
        "eventsrc",
        lambda folder: ours.open_sqlite(folder, codec),
        lambda: ours.open_memory(codec),
        rival,
    )


def _raw(name: str, codec: raw.RawCodec) -> System:
    return System(name, "raw", "raw", lambda folder: raw.RawLog(folder, codec))
