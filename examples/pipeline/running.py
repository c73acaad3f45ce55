"""The platform while it runs: its table and streams, its functions on Lambda, and its processes."""

from __future__ import annotations

import io
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import attrs

from eventsrc import (
    START,
    EventsrcError,
    ReadFeed,
    SqliteStore,
    SqliteViews,
    StreamId,
    status,
    synchronise,
    world,
)
from eventsrc.testing.servers import create_table
from eventsrc.views.operations import GetApplied
from examples.identity.requests import KEY
from examples.pipeline.functions import FUNCTIONS
from examples.pipeline.newsletter import letters
from examples.pipeline.platform import SENDERS, VIEWS, Platform
from examples.tables import tables

WITHIN: Final = 60.0
"""Seconds in which everything must be ready, and must have arrived."""

ROOT: Final = Path(__file__).parents[2]


class Failed(EventsrcError):
    """A process of the platform did not start, or ended early."""


@attrs.frozen
class Answer:
    """An answer of a service: its JSON, and the token of what it has written or seen."""

    body: Any
    tag: str


class Running:
    """The platform, until it is closed. url: of the emulator of AWS."""

    def __init__(self, url: str, folder: Path, name: str) -> None:
        self._place = Platform(url, folder, name)
        self._environment = {
            **os.environ,
            **self._place.environment(),
            KEY: secrets.token_hex(
                32
            ),  # one for both services, so that a token goes from one to the other
            "PYTHONPATH": ":".join([str(ROOT), *filter(None, sys.path)]),
        }
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._functions = self._place.client("lambda")
        self._addresses: dict[str, str] = {}
        self._store: Any = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the processes, and removes the functions."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(WITHIN / 4)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._store is not None:
            self._store.close()
        for mapping in self._functions.list_event_source_mappings()["EventSourceMappings"]:
            if self._place.name in mapping["FunctionArn"]:
                self._functions.delete_event_source_mapping(UUID=mapping["UUID"])
        for function in self._functions.list_functions()["Functions"]:
            if function["FunctionName"].startswith(self._place.name):
                self._functions.delete_function(FunctionName=function["FunctionName"])

    def _start(self) -> None:
        place = self._place
        create_table(place.client("dynamodb"), place.name)
        self._store = place.store()
        kinesis = place.client("kinesis")
        arns: dict[str, str] = {}
        for sender in SENDERS:
            stream = place.stream(sender)
            kinesis.create_stream(StreamName=stream, ShardCount=2)
            kinesis.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 1})
            told = kinesis.describe_stream(StreamName=stream)["StreamDescription"]
            arns[sender] = told["StreamARN"]
        for function, sender in FUNCTIONS.items():
            self._deploy(function)
            self._functions.create_event_source_mapping(
                FunctionName=f"{place.name}-{function}",
                EventSourceArn=arns[sender],
                StartingPosition="TRIM_HORIZON",
                FunctionResponseTypes=["ReportBatchItemFailures"],
                BatchSize=100,
            )
        self._deploy("timer")
        for service in VIEWS:
            self._processes[service] = self._begin("service", service)
        for sender in SENDERS:
            self._processes[sender] = self._begin("senders", sender)
        for service in VIEWS:
            self._addresses[service] = self._address(service)

    def _deploy(self, function: str) -> None:
        """Makes a function of this code: on AWS it would be in the archive."""
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("index.py", f"from examples.pipeline.functions import {function}\n")
        path = {"PYTHONPATH": self._environment["PYTHONPATH"]}
        self._functions.create_function(
            FunctionName=f"{self._place.name}-{function}",
            Runtime=f"python3.{sys.version_info.minor}",
            Role="arn:aws:iam::000000000000:role/any",
            Handler=f"index.{function}",
            Code={"ZipFile": code.getvalue()},
            Timeout=60,
            Environment={"Variables": {**path, **self._place.environment()}},
        )

    def _begin(self, module: str, name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"examples.pipeline.{module}", name]
        return subprocess.Popen(command, cwd=ROOT, env=self._environment)

    def _address(self, service: str) -> str:
        """The address of a service, when it is ready."""
        file, end = self._place.folder / f"{service}.url", time.monotonic() + WITHIN
        while not file.exists():
            self._check()
            if time.monotonic() > end:
                raise Failed(f"{service} was not ready within {WITHIN:.0f} seconds")
            time.sleep(0.02)
        return file.read_text()

    def _check(self) -> None:
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise Failed(f"the process {name} ended with {process.returncode}: see above")

    # --- what clients do

    def ask(
        self, service: str, method: str, path: str, body: object = None, *, seen: str = ""
    ) -> Answer:
        """Asks a service. seen: the tokens that its answer must have seen."""
        data = None if body is None else json.dumps(body).encode()
        said = {"Seen": seen, "Prefer": "wait=5"} if seen else {}
        request = urllib.request.Request(self._addresses[service] + path, data, said, method=method)
        with urllib.request.urlopen(request, timeout=WITHIN) as answer:
            return Answer(json.loads(answer.read()), answer.headers.get("ETag", ""))

    # --- what is where

    def picture(self) -> list[str]:
        """The processes and functions, each with what it does."""
        services = [f"{name:<12}{address}" for name, address in self._addresses.items()]
        senders = [f"{name:<12}DynamoDB → Kinesis" for name in SENDERS]
        functions = [f"{name:<12}{sender} → Lambda" for name, sender in FUNCTIONS.items()]
        return services + senders + functions

    def lags(self) -> dict[str, int]:
        """The events that have still to arrive, at each place."""
        heads: dict[StreamId, int] = {}
        at = START
        while True:
            page = self._store.run(ReadFeed(at, 1000))
            heads |= {event.stream: event.version for event in page.events}
            at = page.next
            if not page.events:
                break
        found: dict[str, int] = {}
        for name, out in SENDERS.items():
            with self._place.views(name, out.view) as progress:
                found[f"{name}, to Kinesis"] = (
                    (self._store | progress | world).run(status(out.view)).lag
                )
        for name, view in VIEWS.items():
            with self._place.views(name, view) as views:
                applied = views.run(GetApplied(view, tuple(heads)))
            found[f"{name}, through Lambda"] = sum(heads.values()) - sum(applied.values())
        users = sum(head for stream, head in heads.items() if stream.split("/")[0] == "users")
        with SqliteStore(self._place.folder / "newsletter.db") as store:
            found["newsletter, by external events"] = users - len(
                store.run(ReadFeed(START, 1000)).events
            )
        return found

    def settled(self) -> list[str]:
        """Waits until everything has arrived; answers what has not in time."""
        end = time.monotonic() + WITHIN
        while any((lags := self.lags()).values()):
            self._check()
            if time.monotonic() > end:
                return [what for what, lag in lags.items() if lag]
            time.sleep(0.1)
        return []

    def timer(self) -> int:
        """Calls the function of the timer, as a schedule does; answers what it had to apply."""
        told = self._functions.invoke(FunctionName=f"{self._place.name}-timer", Payload=b"{}")
        answer = json.loads(told["Payload"].read())
        if told.get("FunctionError"):
            raise Failed(f"the timer failed: {answer}")
        return sum(answer.values())

    def readers(self) -> list[tuple[str, str]]:
        """The names and addresses that the newsletter has."""
        folder = self._place.folder
        with (
            SqliteStore(folder / "newsletter.db") as store,
            SqliteViews(folder / "newsletter-views.db", [letters]) as views,
        ):
            (store | views).run(synchronise(letters))
            with views.reading(letters) as db:
                return tables(db).rows("SELECT name, email FROM letters ORDER BY name")
