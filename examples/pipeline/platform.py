"""Where everything is: an environment names the server of AWS, the folder of views, and a name for all.

On AWS itself the same names are a table, two streams, and databases of views that functions can reach.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import attrs

from eventsrc import SqliteViews, View
from eventsrc.aws import DynamoStore, config
from eventsrc.publishing import Publisher, Verbatim
from examples.identity.public import public
from examples.identity.views import groups, users

REGION: Final = "us-east-1"
ENDPOINT: Final = "PIPELINE_ENDPOINT"
FOLDER: Final = "PIPELINE_FOLDER"
NAME: Final = "PIPELINE_NAME"

VIEWS: Final[dict[str, View[Any]]] = {"users": users, "groups": groups}
"""The view of each service."""

SENDERS: Final = {
    "feed": Publisher("feed", Verbatim("https://platform.example"), begin="start", batch=1000),
    "public": Publisher("public", public, begin="start"),
}
"""The publishers, by the streams that they send to."""


@attrs.frozen
class Platform:
    """Where everything is."""

    endpoint: str
    folder: Path
    name: str

    @staticmethod
    def from_environment() -> Platform:
        """Where this process is told that it is."""
        return Platform(os.environ[ENDPOINT], Path(os.environ[FOLDER]), os.environ[NAME])

    def environment(self) -> dict[str, str]:
        """It, for another process."""
        return {
            ENDPOINT: self.endpoint,
            FOLDER: str(self.folder),
            NAME: self.name,
        }

    def client(self, service: str) -> Any:
        """A client of a service of AWS."""
        import boto3

        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=config() if service == "dynamodb" else None,
        )

    def store(self) -> DynamoStore:
        """The store of the platform's events."""
        return DynamoStore(self.client("dynamodb"), self.name)

    def views(self, name: str, *views: View[Any]) -> SqliteViews:
        """A database of views."""
        return SqliteViews(self.folder / f"{name}-views.db", views)

    def stream(self, sender: str) -> str:
        """The name of the Kinesis data stream that a publisher sends to."""
        return f"{self.name}-{sender}"
