"""A table that was restored from a backup is refused, repaired, and a store again; chunks are swept."""

from __future__ import annotations

import random
from collections.abc import Sequence
from uuid import uuid4

import pytest
from returns.result import Success

from eventsrc import (
    NO_STREAM,
    Append,
    AppendAll,
    Conflict,
    Cursor,
    Head,
    Read,
    ReadFeed,
    StreamAppend,
    StreamId,
    event,
)
from eventsrc.aws import DynamoStore, upkeep
from eventsrc.aws._feed import Feed
from eventsrc.aws.upkeep import repair, sweep
from eventsrc.errors import Corrupted, NotAStore, WrongEpoch
from eventsrc.stores.epochs import restored
from eventsrc.stores.operations import FindAppend, LoadSnapshot, SaveSnapshot, Snapshot
from tests.faults import SCALE
from tests.servers import judging
from tests.servers.tables import Tables


@event("tests.servers.kept")
class Kept:
    text: str


def fill(store: DynamoStore, dice: random.Random, count: int) -> list[str]:
    """Appends to one stream or several, some by chosen ids; answers the texts in the feed's order."""
    texts: list[str] = []
    for _ in range(count):
        parts: list[StreamAppend] = []
        for stream in dice.sample("abcde", dice.choice([1, 1, 2, 3])):
            some = [uuid4().hex for _ in range(dice.choice([1, 1, 4]))]
            parts.append(StreamAppend(StreamId(stream), tuple(map(Kept, some))))
            texts += some
        append_id = dice.choice([None, uuid4()])
        assert isinstance(store.run(AppendAll(tuple(parts), append_id=append_id)), Success)
    return texts


def restore(tables: Tables, table: str, dice: random.Random, torn: int) -> str:
    """A copy of a table, without some of the items of the last commits, as a backup may be."""
    items = judging.everything(tables.client, table)
    begin = sorted(int(item["n"]["N"]) for item in items if "w" in item)[-torn]
    copy = tables.new()
    dropped = 0
    of_commits = [item for item in items if item["p"]["S"][:2] in ("s/", "a/", "f/")]
    recent = [item for item in of_commits if int(item.get("f", item["n"])["N"]) >= begin]
    for item in items:
        if item in recent and (dice.random() < 0.4 or (not dropped and item is recent[-1])):
            dropped += 1
        else:
            tables.client.put_item(TableName=copy, Item=item)
    return copy


def texts_of(store: DynamoStore) -> list[str]:
    found: list[str] = []
    cursor = Cursor("", 0)
    while True:
        page = store.run(ReadFeed(cursor))
        found += [event.data.text for event in page.events]
        if page.next == page.end:
            return found
        cursor = page.next


@pytest.mark.parametrize("seed", range(int(4 * SCALE)))
def test_a_restored_table_is_repaired_to_a_beginning_of_its_feed(quick: Tables, seed: int) -> None:
    dice, table, stream = random.Random(seed), quick.new(), StreamId("a")
    with DynamoStore(quick.client, table) as store:
        if seed % 2:
            fill(store, dice, 5)
            store.run(restored())
        texts = fill(store, dice, 30) if not seed % 2 else [*texts_of(store), *fill(store, dice, 25)]
        last = store.run(ReadFeed(limit=1)).end
        token = store.run(Read(stream)).token
    copy = restore(quick, table, dice, torn=dice.randint(1, 4))
    done = repair(quick.client, copy)
    assert done.end < len(texts)
    assert judging.faults(judging.scan(quick.client, copy), texts[: done.end]) == []
    with DynamoStore(quick.client, copy) as store:
        assert texts_of(store) == texts[: done.end]
        assert store.run(ReadFeed(limit=1)).end.epoch == done.epoch
        with pytest.raises(WrongEpoch):
            store.run(ReadFeed(last))
        kept = store.run(Head(stream))
        new = fill(store, dice, 20)
        assert texts_of(store) == [*texts[: done.end], *new]
        with pytest.raises(WrongEpoch):
            store.run(ReadFeed(last))
        if token.of(stream) > kept:
            with pytest.raises(WrongEpoch):
                store.run(Append(stream, (Kept("x"),), token))
        assert store.run(Head(stream)) == len(store.run(Read(stream)).events)
    again = repair(quick.client, copy)
    assert (again.end, again.deleted) == (done.end + len(new), 0)


def test_a_torn_table_is_not_opened(quick: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    table = quick.new()
    with DynamoStore(quick.client, table) as store:
        for name in "abc":
            store.run(AppendAll((_one(name), _one(f"{name}/more"))))
    quick.client.delete_item(TableName=table, Key={"p": {"S": "s/b"}, "n": {"N": "1"}})
    with pytest.raises(Corrupted, match="s/b.*run `python -m eventsrc.aws.upkeep repair TABLE` first"):
        DynamoStore(quick.client, table)
    # control: a store that does not look opens it, and takes version 1 for a new one
    monkeypatch.setattr(Feed, "_check_whole", lambda *_: None)
    with DynamoStore(quick.client, table) as store:
        answer = store.run(Append(StreamId("b"), (Kept("another"),), NO_STREAM))
        assert isinstance(answer, Success)


def _one(name: str) -> StreamAppend:
    return StreamAppend(StreamId(name), (Kept(name),))


def test_a_stream_that_goes_on_beyond_the_feed_is_appended_to_after_a_repair_alone(
    quick: Tables,
) -> None:
    table, stream = quick.new(), StreamId("a")
    with DynamoStore(quick.client, table) as store:
        store.run(Append(stream, (Kept("1"),)))
        lost = store.run(Append(stream, (Kept("2"),), append_id=uuid4())).unwrap()
        store.run(SaveSnapshot(Snapshot(stream, "sum", 1, 2, b"2")))
        store.run(SaveSnapshot(Snapshot(StreamId("b"), "sum", 1, 0, b"0")))
    quick.client.delete_item(TableName=table, Key={"p": {"S": "f/1/0"}, "n": {"N": "2"}})
    with DynamoStore(quick.client, table) as store:
        answer = store.run(Append(stream, (Kept("3"),), 1))
        assert isinstance(answer.failure(), Conflict)
    assert repair(quick.client, table).end == 1
    with DynamoStore(quick.client, table) as store:
        assert store.run(Append(stream, (Kept("3"),), 1)).unwrap().cursor.position == 2
        assert store.run(FindAppend(lost.append_id)) is None
        assert store.run(LoadSnapshot(stream, "sum", 1)) is None
        assert store.run(LoadSnapshot(StreamId("b"), "sum", 1)) is not None


def test_chunks_that_no_event_names_are_swept(quick: Tables) -> None:
    table, stream = quick.new(), StreamId("large")
    dice = random.Random(1)

    def large() -> Kept:
        return Kept(dice.randbytes(450_000).hex())

    with DynamoStore(quick.client, table) as store:
        kept = large()
        store.run(Append(stream, (kept,)))
        assert isinstance(store.run(Append(stream, (large(),), 7)).failure(), Conflict)
        store.run(SaveSnapshot(Snapshot(stream, "sum", 1, 1, dice.randbytes(500_000))))
        assert sweep(quick.client, table) == 0, "they may be of an append that is under way"
        assert sweep(quick.client, table, older=-60) == 2
        assert sweep(quick.client, table, older=-60) == 0
        assert store.run(Read(stream)).data == [kept]
        assert store.run(LoadSnapshot(stream, "sum", 1)) is not None


@pytest.mark.parametrize("arguments", [["repair", "TABLE"], ["sweep", "TABLE"]])
def test_the_command_line_does_it(
    quick: Tables, arguments: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    table = quick.new()
    with DynamoStore(quick.client, table) as store:
        store.run(Append(StreamId("a"), (Kept("1"),)))
    assert upkeep.main([each.replace("TABLE", table) for each in arguments], quick.client) == 0
    told = capsys.readouterr().out
    assert ("ends at position 1; 0 items" if "repair" in arguments else "0 chunks deleted") in told


def test_a_table_with_no_store_is_not_repaired(quick: Tables) -> None:
    with pytest.raises(NotAStore, match="has no store in it that could be repaired"):
        repair(quick.client, quick.new())
