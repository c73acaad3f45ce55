"""An export of the first form is read, and a store is exported in that form to the byte."""

from __future__ import annotations

from pathlib import Path

from eventsrc import MemoryStore, ReadFeed, SqliteStore
from eventsrc.moving import ExportReader, ExportWriter, both, compare, copy
from tests.formats.export_1.make import HERE, made

FILE = HERE / "store.jsonl"


def test_an_export_of_the_first_form_is_read(tmp_path: Path) -> None:
    with ExportReader(FILE) as file, SqliteStore(tmp_path / "it.db") as store:
        both(file, store).run(copy())
        assert both(made(), store).run(compare(whole=True)) is None
        assert store.run(ReadFeed()).events == made().run(ReadFeed()).events


def test_a_store_is_exported_in_the_first_form(tmp_path: Path) -> None:
    back = MemoryStore()
    with ExportReader(FILE) as file, ExportWriter(tmp_path / "it") as again:
        both(file, back).run(copy())
        both(back, again).run(copy())
    assert (tmp_path / "it").read_bytes() == FILE.read_bytes()
