"""Events that commit 4fdead8 stored with the key that is reserved now are read as they were there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eventsrc import Append, Codec, MemoryStore, Read, StreamId, event
from eventsrc.events.event import EventTypes, Opaque

EXPECTED = Path(__file__).parent / "4fdead8" / "expected.json"
TYPES = EventTypes()


@event("shop.noted", types=TYPES)
class Noted:
    text: str
    about: dict[str, Any]


def test_what_was_stored_with_the_reserved_key_is_read_as_it_was() -> None:
    stored = json.loads(EXPECTED.read_text())["sqlite_separate"]["store"]["events"]
    noted = [each for each in stored if each["type"] == "shop.noted" and "$sealed" in each["stored"]]
    assert [each["position"] for each in noted] == [14, 32]
    store, stream = MemoryStore(Codec(TYPES)), StreamId("notes")
    for each in noted:
        data = each["stored"].encode()
        store.run(Append(stream, (Opaque("shop.noted", each["schema"], "json", data),))).unwrap()
    for recorded, each in zip(store.run(Read(stream)).events, noted, strict=True):
        assert recorded.opaque().data == each["stored"].encode()
        assert (
            store.codec.encode(recorded.data).data
            == each.get("today", {"data": each["stored"]})["data"].encode()
        )
