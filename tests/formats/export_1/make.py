"""Makes store.jsonl, the export of a store that is the same each time.

python -m tests.formats.export_1.make
"""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from eventsrc import MemoryStore
from eventsrc.moving import ExportWriter, both, copy
from eventsrc.stores.epochs import restored
from tests.kits.moved_shop import fill

HERE = Path(__file__).parent


def made() -> MemoryStore:
    """The store."""
    store = MemoryStore(store_id="0123456789abcdef", clock=lambda: 1_800_000_000.25)
    numbers = iter(range(1, 1000))
    store._new_id = lambda: UUID(int=0x8 << 76 | 0x2 << 62 | next(numbers))
    fill(store, 12)
    store.run(restored())
    fill(store, 3, seed=2)
    return store


if __name__ == "__main__":
    with ExportWriter(HERE / "store.jsonl") as file:
        both(made(), file).run(copy())
