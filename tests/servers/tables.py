"""Tables of an emulator, and stores in them."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from eventsrc.testing.servers import create_table


class Tables:
    """An emulator. url: where it is."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = self.new_client()

    def new_client(self, **options: Any) -> Any:
        """A client of boto3. options: for `eventsrc.aws.config`."""
        return self.other_client("dynamodb", **options)

    def other_client(self, service: str, url: str = "", **options: Any) -> Any:
        """A new client of another service. url: elsewhere than here."""
        import boto3

        from eventsrc.aws import config

        return boto3.client(
            service,
            endpoint_url=url or self.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=config(**options),
        )

    def new(self) -> str:
        """A new table."""
        name = f"t{uuid4().hex}"
        create_table(self.client, name)
        return name

    def new_streamed(self) -> tuple[str, str]:
        """A new table whose changes are streamed, and the ARN of the stream."""
        name = self.new()
        specification = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
        self.client.update_table(TableName=name, StreamSpecification=specification)
        arn: str = self.client.describe_table(TableName=name)["Table"]["LatestStreamArn"]
        return name, arn

    def new_shards(self) -> tuple[Any, str]:
        """A new Kinesis data stream of two shards: a client for it, and its ARN."""
        client, name = self.other_client("kinesis"), f"k{uuid4().hex}"
        client.create_stream(StreamName=name, ShardCount=2)
        client.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
        told = client.describe_stream(StreamName=name)["StreamDescription"]
        return client, str(told["StreamARN"])
