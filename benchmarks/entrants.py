"""The list of the systems: a line for each. Those whose packages are not installed stay away."""

from __future__ import annotations

from importlib.util import find_spec

import attrs

from benchmarks.systems import Log, System, ours, raw
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
    if find_spec("psycopg"):
        found = [_with_postgres(system) for system in found]
        found.append(_tasks("eventsrc async", Codec(fast=False), "raw"))
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


def _tasks(name: str, codec: Codec, rival: str) -> System:
    from benchmarks.systems.ours_postgres import OurTasksLog

    return System(
        name,
        "eventsrc",
        "eventsrc",
        None,
        rival=rival,
        open_postgres=lambda address: OurTasksLog(address, codec),
    )


def _with_postgres(system: System) -> System:
    """The system, with its way into Postgres."""

    def open_it(address: str) -> Log:
        from benchmarks.systems.ours_postgres import OurPostgresLog
        from benchmarks.systems.raw_postgres import RawPostgresLog

        is_fast = "msgspec" in system.name or system.name.endswith("fast")
        if system.kind == "raw":
            return RawPostgresLog(address, raw.by_msgspec() if is_fast else raw.by_hand())
        if system.kind == "eventsrc":
            return OurPostgresLog(address, Codec() if is_fast else Codec(fast=False))
        from benchmarks.systems import eventsourcing_9_postgres as peer

        return peer.StructPostgresLog(address) if is_fast else peer.DeclaredPostgresLog(address)

    return attrs.evolve(system, open_postgres=open_it)
