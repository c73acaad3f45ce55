"""A Lambda function that keeps a view in SQLite, as an application would deploy it.

Its environment says which table and endpoint its store has, and where its view is.
"""

from __future__ import annotations

import os
from typing import Any

from eventsrc import SqliteViews
from eventsrc.aws import DynamoStore
from eventsrc.aws.cloud import new_client
from eventsrc.aws.delivery import lambda_handler
from tests.servers.test_delivery import made_view

_view = made_view()
_store = DynamoStore(new_client("us-east-1", os.environ["ENDPOINT"]), os.environ["TABLE"])
_handle = lambda_handler(_view, _store | SqliteViews(os.environ["VIEWS"], [_view]))


def handler(event: Any, context: object) -> dict[str, Any]:
    """Applies a batch of changes."""
    return _handle(event, context)
