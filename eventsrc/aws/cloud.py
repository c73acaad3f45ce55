"""The table of a store, and clients that lead to it.

The store never makes its table, and needs no rights to. `python -m eventsrc.aws.cloud` prints the
template of one for CloudFormation.
"""

from __future__ import annotations

from typing import Any

__all__ = ["cloudformation", "config", "new_client"]


def config(timeout: float = 2.0, connections: int = 32) -> Any:
    """The botocore Config of a client for a store: it gives up early, and the store tries again.

    timeout: how many seconds an answer may take. connections: as many as threads use the store.
    """
    from botocore.config import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
        Config,  # pyright: ignore
    )

    return Config(
        connect_timeout=min(timeout, 1.0),
        read_timeout=timeout,
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=connections,
        tcp_keepalive=True,
    )


def new_client(region: str = "", endpoint: str = "", profile: str = "") -> Any:
    """A client of boto3 for a store; empty texts leave it to boto3, which looks at its environment."""
    import boto3  # type: ignore[import-not-found,import-untyped,unused-ignore]  # pyright: ignore

    session = boto3.Session(profile_name=profile or None, region_name=region or None)
    return session.client("dynamodb", endpoint_url=endpoint or None, config=config())


def cloudformation(table: str = "events", *, stream: bool = False, most_writes: int = 8000) -> str:
    """The template of a stack with a store's table, to be deployed as it is or copied from.

    table: its name. stream: whether changes are to be streamed, for Lambda.
    most_writes: the write units a second that it may cost at most.
    """
    streaming = "\n      StreamSpecification: {StreamViewType: NEW_IMAGE}" if stream else ""
    return _TEMPLATE.format(table=table, streaming=streaming, most_writes=most_writes)


_TEMPLATE = """\
AWSTemplateFormatVersion: "2010-09-09"
Resources:
  Events:
    Type: AWS::DynamoDB::Table
    DeletionPolicy: Retain
    UpdateReplacePolicy: Retain
    Properties:
      TableName: {table}
      BillingMode: PAY_PER_REQUEST
      DeletionProtectionEnabled: true
      AttributeDefinitions:
        - {{AttributeName: p, AttributeType: S}}
        - {{AttributeName: n, AttributeType: N}}
      KeySchema:
        - {{AttributeName: p, KeyType: HASH}}
        - {{AttributeName: n, KeyType: RANGE}}
      PointInTimeRecoverySpecification: {{PointInTimeRecoveryEnabled: true}}{streaming}
      OnDemandThroughput: {{MaxWriteRequestUnits: {most_writes}}}
"""


if __name__ == "__main__":
    print(cloudformation())  # noqa: T201
