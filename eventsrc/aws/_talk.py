"""Talking with DynamoDB: each operation has a deadline, and what goes wrong has few names.

Nothing of botocore's is raised beyond this module. A request that is known to have done nothing is sent
again until the deadline; so is any reading. Of a transaction whose answer got lost nothing is known:
that is Lost, and who sent it looks what became of it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs

from eventsrc._clock import monotonic
from eventsrc.stores.operations import (
    Lost,
    NotAStore,
    StoreBusy,
    StoreError,
    StoreReadOnly,
    Unreachable,
)

Item: TypeAlias = dict[str, Any]
"""An item as boto3's client gives it: `{"p": {"S": "m"}, "n": {"N": "0"}}`."""

Key: TypeAlias = tuple[str, int]

LAST: Final = 2**63 - 1
"""No version and no position is beyond it."""

_MANY: Final = 100
"""The most items that a BatchGetItem asks for."""

_THROTTLED: Final = frozenset(
    {
        "LimitExceededException",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ReplicatedWriteConflictException",
        "ThrottledException",
        "Throttling",
        "ThrottlingError",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionConflict",
        "TransactionConflictException",
    }
)
"""The codes of a request, or of an action of a transaction, that did nothing and may yet."""

_WRITING: Final = frozenset({"put_item", "update_item", "delete_item", "transact_write_items"})

_UNDER_WAY: Final = "TransactionInProgressException"


class Undone(Exception):
    """A request did nothing, or so far: it is for those who sent it, and goes no further."""


class Canceled(Undone):
    """A transaction stored nothing: it has the reason for each of its actions, and what was there."""

    def __init__(self, reasons: Sequence[Mapping[str, Any]]) -> None:
        self.reasons = reasons
        self.codes: list[str] = [str(reason.get("Code", "None")) for reason in reasons]
        super().__init__(f"the transaction was canceled: {', '.join(self.codes)}")

    @property
    def is_throttled(self) -> bool:
        """Whether some of its actions met with a limit, or with another transaction."""
        return any(code in _THROTTLED for code in self.codes)


class Unmet(Undone):
    """The condition of a single write does not hold: nothing was stored."""


class Throttled(Undone):
    """DynamoDB did nothing, since that was too much for it just now."""


class Unsent(Undone):
    """DynamoDB could not be connected to: it did nothing."""


class UnderWay(Undone):
    """The same transaction is being carried out."""


@attrs.frozen
class Table:
    """A table, the client that leads to it, and how long an operation may take."""

    client: Any
    name: str
    timeout: float

    def talk(self) -> Talk:
        """The conversation of an operation that begins now."""
        return Talk(self, monotonic() + self.timeout)

    def scan(self, attributes: str) -> Iterator[Item]:
        """All items of the table, with some of their attributes. Each page has an operation's time."""
        asked: Item = {
            "TableName": self.name,
            "ConsistentRead": True,
            "ProjectionExpression": ", ".join([f"#{name}" for name in attributes.split(", ")]),
            "ExpressionAttributeNames": {f"#{name}": name for name in attributes.split(", ")},
        }
        while True:
            page = self.talk().page_of_scan(asked)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            asked["ExclusiveStartKey"] = page["LastEvaluatedKey"]


class Talk:
    """The requests of one operation, until its deadline by _clock.monotonic()."""

    def __init__(self, table: Table, deadline: float) -> None:
        self._table = table
        self.deadline = deadline

    @property
    def is_over(self) -> bool:
        """Whether its time is over."""
        return monotonic() >= self.deadline

    @property
    def has_time(self) -> bool:
        """Whether most of its time is left."""
        return self.deadline - monotonic() > self._table.timeout * 0.75

    def pause(self, most: float) -> None:
        """Waits a moment of random length, and not beyond the deadline."""
        left = self.deadline - monotonic()
        if left > 0:
            time.sleep(min(most * (0.5 + random.random() / 2), left))

    def busy(self) -> StoreBusy:
        """The error of an operation whose time is over, which has stored nothing."""
        return StoreBusy(
            f"it could not be done in {self._table.timeout} seconds, as others were at it or the table "
            "was at its limit: try again, or give it a longer timeout, or the table more throughput"
        )

    # --- reading

    def get(self, p: str, n: int) -> Item | None:
        """An item; None if there is none."""
        found = self._read("get_item", TableName=self._table.name, Key=key(p, n), ConsistentRead=True)
        item: Item | None = found.get("Item")
        return item

    def query(
        self, p: str, low: int, high: int, limit: int, *, newest: bool = False
    ) -> tuple[list[Item], bool]:
        """Some items of a partition, and whether there may be more.

        newest: begin with the highest number.
        """
        if low > high:  # which DynamoDB refuses
            return [], False
        found = self._read(
            "query",
            TableName=self._table.name,
            KeyConditionExpression="p = :p AND n BETWEEN :a AND :b",
            ExpressionAttributeValues={":p": {"S": p}, ":a": {"N": str(low)}, ":b": {"N": str(high)}},
            ConsistentRead=True,
            ScanIndexForward=not newest,
            Limit=limit,
        )
        return found["Items"], "LastEvaluatedKey" in found

    def many(self, keys: Iterable[Key], *, keys_only: bool = False) -> dict[Key, Item]:
        """Gets some items, as far as they are there."""
        found: dict[Key, Item] = {}
        left = [key(*one) for one in dict.fromkeys(keys)]
        asked: Item = {"ConsistentRead": True}
        if keys_only:
            asked["ProjectionExpression"] = "p, n"
        pause = 0.01
        while left:
            some, left = left[:_MANY], left[_MANY:]
            answer = self._read(
                "batch_get_item", RequestItems={self._table.name: {**asked, "Keys": some}}
            )
            items = answer["Responses"].get(self._table.name, [])
            for item in items:
                found[item["p"]["S"], number(item, "n")] = item
            undone = answer.get("UnprocessedKeys", {}).get(self._table.name, {}).get("Keys", [])
            if undone and not items:  # it was too much for it
                if self.is_over:
                    raise self.busy()
                self.pause(pause)
                pause = min(pause * 2, 0.5)
            left += undone
        return found

    def page_of_scan(self, asked: Item) -> Item:
        """Some items of the table."""
        page: Item = self._read("scan", **asked)
        return page

    def _read(self, call: str, **asked: Any) -> Any:
        """An answer, asked for until the deadline."""
        pause = 0.01
        while True:
            try:
                return self._ask(call, **asked)
            except (Throttled, Lost, Unsent) as error:
                if self.is_over:
                    if isinstance(error, Throttled):
                        raise self.busy() from error
                    raise Unreachable(f"DynamoDB does not answer: {error}") from error
            self.pause(pause)
            pause = min(pause * 2, 0.5)

    # --- writing

    def put(self, item: Item, condition: str = "", values: Item | None = None) -> None:
        """Puts an item, which may be done twice. Raises Unmet if the condition does not hold."""
        asked: Item = {"TableName": self._table.name, "Item": item}
        if condition:
            asked["ConditionExpression"] = condition
        if values:
            asked["ExpressionAttributeValues"] = values
        self._read("put_item", **asked)

    def update(self, p: str, n: int, update: str, values: Item, condition: str = "") -> Item:
        """Changes an item once, and answers what it is then.

        Raises Unmet, Throttled and Unsent, which have changed nothing, and Lost.
        """
        asked: Item = {
            "TableName": self._table.name,
            "Key": key(p, n),
            "UpdateExpression": update,
            "ExpressionAttributeValues": values,
            "ReturnValues": "ALL_NEW",
        }
        if condition:
            asked["ConditionExpression"] = condition
        changed: Item = self._ask("update_item", **asked)["Attributes"]
        return changed

    def set(self, p: str, n: int, update: str, values: Item) -> None:
        """Changes an item, which may be done twice."""
        self._read(
            "update_item",
            TableName=self._table.name,
            Key=key(p, n),
            UpdateExpression=update,
            ExpressionAttributeValues=values,
        )

    def delete(self, p: str, n: int) -> None:
        """Deletes an item, if it is there."""
        self._read("delete_item", TableName=self._table.name, Key=key(p, n))

    def transact(self, actions: Sequence[Item], token: str) -> None:
        """Performs all actions or none.

        token: names the transaction, in case that it is sent again.
        Raises Canceled, Throttled and Unsent, which have stored nothing; StoreError if it never will
        be; UnderWay and Lost.
        """
        self._ask("transact_write_items", TransactItems=actions, ClientRequestToken=token)

    def new(self, item: Item) -> Item:
        """The action that puts an item if it is not there."""
        return {
            "Put": {
                "TableName": self._table.name,
                "Item": item,
                "ConditionExpression": "attribute_not_exists(p)",
            }
        }

    def changed(self, p: str, n: int, update: str, values: Item, condition: str) -> Item:
        """The action that changes an item, if a condition holds."""
        return {
            "Update": {
                "TableName": self._table.name,
                "Key": key(p, n),
                "UpdateExpression": update,
                "ExpressionAttributeValues": values,
                "ConditionExpression": condition,
            }
        }

    def _ask(self, call: str, **asked: Any) -> Any:
        try:
            return getattr(self._table.client, call)(**asked)
        except Exception as error:
            translated = self._translated(call, error)
            if translated is None:
                raise
            raise translated from error

    def _translated(self, call: str, error: Exception) -> Exception | None:
        """The error that stands for an exception of botocore; None for what is not its own."""
        from botocore import exceptions as bc  # type: ignore[import-not-found,import-untyped,unused-ignore]  # pyright: ignore

        if isinstance(error, bc.ClientError):
            refused: Any = error
            return self._refusal(call, refused.response)
        if isinstance(
            error, bc.EndpointConnectionError | bc.ConnectTimeoutError | bc.ProxyConnectionError
        ):
            return Unsent(str(error))
        if isinstance(error, bc.HTTPClientError | bc.ConnectionError):
            return Lost(f"DynamoDB did not answer: {error}")
        if isinstance(error, bc.BotoCoreError):  # no credentials, no region, what it does not let pass
            return StoreError(f"boto3 does not ask DynamoDB: {error}")
        return None

    def _refusal(self, call: str, response: Mapping[str, Any]) -> Exception:
        code = str(response["Error"].get("Code", ""))
        message = f"DynamoDB says {code}: {response['Error'].get('Message', '')}"
        if code == "TransactionCanceledException":
            return Canceled(response.get("CancellationReasons") or [])
        if code == "ConditionalCheckFailedException":
            return Unmet(message)
        if code in _THROTTLED:
            return Throttled(message)
        if code == _UNDER_WAY:
            return UnderWay(message)
        if int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)) >= 500:
            return Lost(message)
        if code == "ResourceNotFoundException":
            return NotAStore(
                f"there is no table {self._table.name!r} in the region of the client: the store does "
                "not make it; eventsrc.aws.cloudformation() says how"
            )
        if code == "AccessDeniedException" and call in _WRITING:
            return StoreReadOnly(f"{message}: give the role what docs/how-to/dynamodb.md lists")
        return StoreError(message)


def key(p: str, n: int) -> Item:
    """The key of an item."""
    return {"p": {"S": p}, "n": {"N": str(n)}}


def number(item: Item, name: str, default: int = 0) -> int:
    """A number in an item."""
    return int(item[name]["N"]) if name in item else default
