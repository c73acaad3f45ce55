"""The functions on Lambda: two that keep a view each, one that takes external events, and a timer.

What a function needs is made once, when its process is called for the first time.
"""

from __future__ import annotations

from base64 import b64decode
from functools import cache
from typing import Any, Final

from eventsrc import Interpreter, SqliteStore, synchronise, world
from eventsrc.aws.delivery import Handler, lambda_handler
from eventsrc.publishing import CloudEvent, arrived
from examples.pipeline.newsletter import INBOX, take
from examples.pipeline.platform import VIEWS, Platform

FUNCTIONS: Final = {"users": "feed", "groups": "feed", "newsletter": "public"}
"""The functions that a stream is mapped to, and its publisher."""


def users(event: Any, context: object) -> dict[str, Any]:
    """Applies a batch of events to the view of users."""
    return _handler("users")(event, context)


def groups(event: Any, context: object) -> dict[str, Any]:
    """Applies a batch of events to the view of groups."""
    return _handler("groups")(event, context)


def timer(event: Any, context: object) -> dict[str, int]:
    """Reads the feed, for a schedule of every minute: whatever was not pushed is applied now."""
    return {name: _app(name).run(synchronise(view)).applied for name, view in VIEWS.items()}


def newsletter(event: Any, context: object) -> dict[str, Any]:
    """Takes a batch of external events. If it raises, Lambda brings the batch again."""
    for record in event["Records"]:
        for each in CloudEvent.parse_all(b64decode(record["kinesis"]["data"])):
            _letters().run(arrived(each, take, inbox=INBOX))
    return {"batchItemFailures": []}


@cache
def _app(name: str) -> Interpreter[Any]:
    place = Platform.from_environment()
    return place.store() | place.views(name, VIEWS[name]) | world


@cache
def _handler(name: str) -> Handler:
    return lambda_handler(VIEWS[name], _app(name))


@cache
def _letters() -> Interpreter[Any]:
    return SqliteStore(Platform.from_environment().folder / "newsletter.db") | world
