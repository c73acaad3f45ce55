"""The whole way: program, DynamoDB, its stream or Kinesis, Lambda in its own process, view, query."""

from __future__ import annotations

import io
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

from eventsrc import (
    Append,
    Do,
    SqliteViews,
    StoreOp,
    StreamId,
    at_least,
    on,
    program,
    world,
)
from eventsrc.aws import DynamoStore
from eventsrc.aws.kinesis import KinesisBroker
from eventsrc.events.positions import Token
from eventsrc.programs.operation import Query
from eventsrc.publishing import Publisher, Verbatim, publish_once
from eventsrc.views.memory import MemoryViews
from tests.kits.pages import ROOT
from tests.servers.tables import Tables
from tests.servers.test_delivery import Sent, made_view, rows

HERE, THERE = StreamId("s/here"), StreamId("s/there")


class Texts(Query[list[str]]):
    """The texts that the view has of a stream."""

    stream: StreamId


@program
def send(stream: StreamId, *texts: str) -> Do[StoreOp, Token]:
    done = yield from Append(stream, tuple(map(Sent, texts)))
    return done.unwrap().token


def deployed(tables: Tables, table: str, arn: str, views: Path) -> Any:
    """Deploys the function, and maps a stream to it."""
    client = tables.other_client("lambda")
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("index.py", "from tests.processes.servers.function import handler\n")
    client.create_function(
        FunctionName=table,
        Runtime=f"python3.{sys.version_info.minor}",
        Role="arn:aws:iam::000000000000:role/any",
        Handler="index.handler",
        Code={"ZipFile": code.getvalue()},
        Timeout=60,
        Environment={
            "Variables": {
                "PYTHONPATH": ":".join([str(ROOT), *sys.path]),
                "ENDPOINT": tables.url,
                "TABLE": table,
                "VIEWS": str(views),
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
            }
        },
    )
    client.create_event_source_mapping(
        FunctionName=table,
        EventSourceArn=arn,
        StartingPosition="TRIM_HORIZON",
        FunctionResponseTypes=["ReportBatchItemFailures"],
        BatchSize=100,
    )
    return client


@pytest.mark.timeout(180)
@pytest.mark.parametrize("by", ["the table's stream", "kinesis"])
def test_what_a_program_writes_is_queried_by_its_token_from_the_view_that_lambda_keeps(
    exact: Tables, tmp_path: Path, by: str
) -> None:
    table, arn = exact.new_streamed()
    view = made_view()
    out = Publisher("feed", Verbatim("https://test.example/feed"), begin="start")
    path = tmp_path / "views.db"
    with DynamoStore(exact.new_client(), table) as store, SqliteViews(path, [view]) as views:
        shards = None
        if by == "kinesis":
            shards, arn = exact.new_shards()
        client = deployed(exact, table, arn, path)
        first = store.run(send(HERE, "a", "b"))
        second = store.run(send(THERE, "c"))
        if shards is not None:
            broker = KinesisBroker(shards, arn.rpartition("/")[2], packed=True)
            (store | MemoryViews() | world | broker).run(publish_once(out))
        pause = threading.Event()
        for _ in range(600):
            if len(rows(views, view)) == 3:
                break
            pause.wait(0.1)
        else:
            pytest.fail("Lambda has not brought the view up to date within a minute")

        def texts(op: Texts) -> list[str]:
            return [text for stream, _, text in rows(views, view) if stream == op.stream]

        app: Any = store | views | world | on(Texts).run(texts)
        found, applied = app.run(at_least(view, first | second, Texts(HERE), within=10)).unwrap()
        assert found == ["a", "b"]
        assert applied.covers(first)
        third = store.run(send(HERE, "d"))
        found, _ = app.run(at_least(view, third, Texts(HERE), within=10)).unwrap()
        assert found == ["a", "b", "d"], "with the token of a write, the view is as new, pushed or not"
        client.delete_function(FunctionName=table)
