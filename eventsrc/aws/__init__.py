"""Events in DynamoDB. It needs the extra `aws`, that is boto3.

client = boto3.client("dynamodb", config=eventsrc.aws.config())
with DynamoStore(client, "events") as store: ...
"""

from eventsrc.aws.cloud import cloudformation, config
from eventsrc.aws.store import AsyncDynamoStore, DynamoStore

__all__ = ["AsyncDynamoStore", "DynamoStore", "cloudformation", "config"]
