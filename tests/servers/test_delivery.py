"""A view that a table's stream of changes feeds equals a replay, whatever Lambda does to the records.

Lambda is a double that keeps its rules: see mapping.py.
"""

from __future__ import annotations

import json
import random
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from eventsrc import (
    Append,
    AppendAll,
    Do,
    Interpreter,
    Recorded,
    SqliteViews,
    StreamAppend,
    StreamId,
    View,
    event,
    status,
    synchronise,
    world,
)
from eventsrc.aws import DynamoStore
from eventsrc.aws.delivery import lambda_handler
from eventsrc.errors import StoreBusy
from eventsrc.following.parking import PUT_ASIDE, retry, skip
from eventsrc.views.operations import Apply, GetParked
from tests.faults import scaled
from tests.servers import judging
from tests.servers.mapping import SourceMapping, number_of, swallowing
from tests.servers.tables import Tables

STREAMS = [StreamId(f"s/{n}") for n in range(6)]


@event("tests.servers.sent")
class Sent:
    text: str


def made_view() -> View[Any]:
    view: View[Any] = View("sent", version=1)

    @view.on(Sent)
    def note(db: Any, event: Recorded[Sent]) -> None:
        if event.data.text == "poison":
            raise ValueError("it cannot be applied")
        row = {"stream": event.stream, "version": event.version, "text": event.data.text[:20]}
        db["sent"].insert(row)

    return view


def rows(views: SqliteViews, view: View[Any]) -> list[tuple[Any, ...]]:
    with views.reading(view) as db:
        if not db["sent"].exists():
            return []
        return sorted(tuple(row.values()) for row in db["sent"].rows)


def changes(tables: Tables, table: str, shape: str) -> list[dict[str, Any]]:
    """The records that the table's stream has, as Lambda gets them."""
    records: list[dict[str, Any]] = []
    for number, item in enumerate(judging.everything(tables.client, table), 1):
        image = {name: _told(value) for name, value in item.items()}
        change: dict[str, Any] = {
            "Keys": {"p": image["p"], "n": image["n"]},
            "NewImage": image,
            "SequenceNumber": f"{number:020}",
        }
        record = {"eventName": "INSERT", "eventSource": "aws:dynamodb", "dynamodb": change}
        if shape == "kinesis":
            data = b64encode(json.dumps(record).encode()).decode()
            record = {"kinesis": {"data": data, "sequenceNumber": f"{number:020}"}}
        records.append(json.loads(json.dumps(record)))
    return records


def _told(value: dict[str, Any]) -> dict[str, Any]:
    ((kind, its),) = value.items()
    return {kind: b64encode(its).decode() if kind == "B" else its}


def fill(store: DynamoStore, dice: random.Random) -> None:
    for n in range(scaled(40, 300)):
        streams = dice.sample(STREAMS, dice.choice([1, 1, 2]))
        parts = [
            StreamAppend(stream, tuple(Sent(f"{n}.{k}") for k in range(dice.choice([1, 3]))))
            for stream in streams
        ]
        assert store.run(AppendAll(tuple(parts))).unwrap()
    store.run(Append(STREAMS[0], (Sent(dice.randbytes(40_000).hex()),))).unwrap()


def careless(records: list[dict[str, Any]], dice: random.Random) -> list[list[dict[str, Any]]]:
    """The records shuffled and doubled, in batches."""
    came = [*records, *dice.sample(records, len(records) // 10)]
    dice.shuffle(came)
    batches: list[list[dict[str, Any]]] = []
    while came:
        size = dice.randint(1, 20)
        batches, came = [*batches, came[:size]], came[size:]
    return batches


@pytest.mark.parametrize("shape", ["dynamodb", "kinesis"])
@pytest.mark.parametrize("swallows", [False, True], ids=["", "control: failures are swallowed"])
def test_a_view_equals_a_replay_although_records_are_shuffled_doubled_and_fail(
    quick: Tables, tmp_path: Path, shape: str, swallows: bool
) -> None:
    dice, table, view = random.Random(7), quick.new(), made_view()
    with (
        DynamoStore(quick.client, table, timeout=20) as store,
        SqliteViews(tmp_path / "fed.db", [view]) as fed,
        SqliteViews(tmp_path / "replayed.db", [view]) as replayed,
    ):
        fill(store, dice)
        (store | replayed).run(synchronise(view))
        handler = lambda_handler(view, busy(store | fed, dice))
        mapping = SourceMapping(swallowing(handler) if swallows else handler, retries=20)
        for batch in careless(changes(quick, table, shape), dice):
            mapping.send(batch)
        assert not mapping.given_up
        assert (rows(fed, view) == rows(replayed, view)) is not swallows
        (store | fed).run(synchronise(view))
        assert rows(fed, view) == rows(replayed, view), "what was lost, a timer finds"


def busy(app: Interpreter[Any], dice: random.Random) -> Interpreter[Any]:
    """An application whose database of views is busy now and then."""

    def apply(op: Apply) -> Do[Apply, Any]:
        if dice.random() < 0.3:
            raise StoreBusy("another has it")
        return (yield from op)

    return app.around(apply, only=Apply)


def test_an_event_that_cannot_be_applied_parks_its_stream_and_fails_no_batch(
    quick: Tables, tmp_path: Path
) -> None:
    table, view = quick.new(), made_view()
    with (
        DynamoStore(quick.client, table, timeout=20) as store,
        SqliteViews(tmp_path / "fed.db", [view]) as fed,
    ):
        for stream, text in ((STREAMS[0], "poison"), (STREAMS[0], "held"), (STREAMS[1], "well")):
            store.run(Append(stream, (Sent(text),)))
        handler = lambda_handler(view, store | fed)
        answer = handler({"Records": changes(quick, table, "dynamodb")}, None)
        assert answer == {"batchItemFailures": []}
        assert [row[0] for row in rows(fed, view)] == [STREAMS[1]]
        (parked,) = fed.run(GetParked(view))
        assert parked.stream == STREAMS[0]


def test_records_that_cannot_be_decoded_are_put_aside_and_hold_nothing_up(
    quick: Tables, tmp_path: Path
) -> None:
    table, view = quick.new(), made_view()
    with (
        DynamoStore(quick.client, table, timeout=20) as store,
        SqliteViews(tmp_path / "fed.db", [view]) as fed,
    ):
        store.run(Append(STREAMS[0], (Sent("well"),)))
        good = changes(quick, table, "dynamodb")
        removed = {**good[0], "eventName": "REMOVE"}
        bad: list[Any] = [
            {"kinesis": {"data": "bm8gSlNPTg==", "sequenceNumber": "1"}},
            {"eventName": "INSERT", "dynamodb": {"SequenceNumber": "2", "Keys": {}}},
        ]
        for record in good:
            if record["dynamodb"]["Keys"]["p"]["S"][:2] == "s/":
                damaged = json.loads(json.dumps(record))
                damaged["dynamodb"]["NewImage"]["d"]["B"] = b64encode(b"\1no zlib").decode()
                bad.append(damaged)
        app = store | fed | world
        handler = lambda_handler(view, app)
        for _ in range(2):  # what comes again is kept once
            answer = handler({"Records": [*bad, removed, *good]}, None)
            assert answer == {"batchItemFailures": []}
        assert [row[2] for row in rows(fed, view)] == ["well"]
        kept = app.run(status(view)).parked
        assert len(kept) == 3
        assert all(each.stream.startswith(PUT_ASIDE) for each in kept)
        assert "bm8gSlNPTg==" in kept[0].error
        assert app.run(retry(view)) == kept, "no event of the store's: an operator is to look"
        for each in kept:
            assert app.run(skip(view, each.stream, "it was a test")) == ()
        assert app.run(status(view)).parked == ()


def test_a_store_that_does_not_answer_has_the_batch_come_again_from_its_first_record(
    quick: Tables, tmp_path: Path
) -> None:
    table, view = quick.new(), made_view()
    with (
        DynamoStore(quick.client, table, timeout=20) as store,
        SqliteViews(tmp_path / "fed.db", [view]) as fed,
    ):
        store.run(Append(STREAMS[0], (Sent("well"),)))
        records = changes(quick, table, "dynamodb")

        def refuse(op: Apply) -> Do[Apply, Any]:
            raise StoreBusy("another has it")
            yield from op

        answer = lambda_handler(view, (store | fed).around(refuse, only=Apply))(
            {"Records": records}, None
        )
        assert answer == {"batchItemFailures": [{"itemIdentifier": number_of(records[0])}]}
