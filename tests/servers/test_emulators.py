"""The emulators as they are: where they differ from DynamoDB, so that an upgrade is seen to change it.

Each probe answers whether the emulator does as DynamoDB's documentation says.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from tests.servers.tables import Tables


def _key(p: str, n: int) -> dict[str, Any]:
    return {"p": {"S": p}, "n": {"N": str(n)}}


def _put(table: str, item: dict[str, Any], *, new: bool = True) -> dict[str, Any]:
    put: dict[str, Any] = {"TableName": table, "Item": item}
    if new:
        put["ConditionExpression"] = "attribute_not_exists(p)"
        put["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    return {"Put": put}


def _transact(tables: Tables, *actions: dict[str, Any], token: str = "") -> Any:
    """The answer to a transaction; if it is refused, the code, and the reasons if there are some."""
    from botocore.exceptions import ClientError

    try:
        tables.client.transact_write_items(
            TransactItems=list(actions), ClientRequestToken=token or uuid4().hex
        )
    except ClientError as error:
        refused: Any = error.response
        reasons = [reason.get("Code") for reason in refused.get("CancellationReasons", [])]
        return refused["Error"]["Code"], reasons, refused.get("CancellationReasons", [])
    return "stored"


def refused_transactions_store_nothing_and_say_why(tables: Tables, table: str) -> bool:
    _transact(tables, _put(table, _key("a", 1)))
    code, reasons, told = _transact(tables, _put(table, _key("b", 1)), _put(table, _key("a", 1)))
    found = tables.client.get_item(TableName=table, Key=_key("b", 1), ConsistentRead=True)
    return (
        code == "TransactionCanceledException"
        and reasons == ["None", "ConditionalCheckFailed"]
        and told[1]["Item"] == _key("a", 1)
        and "Item" not in found
    )


def a_token_makes_a_transaction_idempotent(tables: Tables, table: str) -> bool:
    asked = _put(table, _key("a", 1))
    return [_transact(tables, asked, token="t") for _ in range(2)] == ["stored", "stored"]


def a_token_of_another_transaction_is_refused(tables: Tables, table: str) -> bool:
    _transact(tables, _put(table, _key("a", 1)), token="u")
    answer = _transact(tables, _put(table, _key("b", 1)), token="u")
    return bool(answer[0] == "IdempotentParameterMismatchException")


def more_than_100_actions_are_refused(tables: Tables, table: str) -> bool:
    answer = _transact(tables, *[_put(table, _key("a", n)) for n in range(101)])
    return bool(answer[0] == "ValidationException")


def items_of_more_than_400_kib_are_refused(tables: Tables, table: str) -> bool:
    answer = _transact(tables, _put(table, {**_key("a", 1), "d": {"B": bytes(409_600)}}))
    return bool(answer[0] == "ValidationException")


def transactions_of_more_than_4_mib_are_refused(tables: Tables, table: str) -> bool:
    large = [_put(table, {**_key("a", n), "d": {"B": bytes(390_000)}}) for n in range(12)]
    return bool(_transact(tables, *large) != "stored")


def queries_stop_at_1_mb(tables: Tables, table: str) -> bool:
    for n in range(4):
        tables.client.put_item(TableName=table, Item={**_key("a", n), "d": {"B": bytes(390_000)}})
    page = tables.client.query(
        TableName=table,
        KeyConditionExpression="p = :p",
        ExpressionAttributeValues={":p": {"S": "a"}},
    )
    return "LastEvaluatedKey" in page


def ranges_that_are_upside_down_are_refused(tables: Tables, table: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        tables.client.query(
            TableName=table,
            KeyConditionExpression="p = :p AND n BETWEEN :a AND :b",
            ExpressionAttributeValues={":p": {"S": "a"}, ":a": {"N": "2"}, ":b": {"N": "1"}},
        )
    except ClientError:
        return True
    return False


def one_of_eight_threads_gets_a_place(tables: Tables, table: str) -> bool:
    answers: list[Any] = []

    def race() -> None:
        answers.append(_transact(tables, _put(table, _key("a", 1))))

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers.count("stored") == 1


def consumed_capacity_of_transactions_is_told(tables: Tables, table: str) -> bool:
    answer = tables.client.transact_write_items(
        TransactItems=[_put(table, _key("a", 1))], ReturnConsumedCapacity="TOTAL"
    )
    told = answer.get("ConsumedCapacity", [])
    return bool(told) and told[0].get("CapacityUnits") == 2


LOOSE: dict[Callable[[Tables, str], bool], set[str]] = {
    refused_transactions_store_nothing_and_say_why: set(),
    a_token_makes_a_transaction_idempotent: {"roto"},
    a_token_of_another_transaction_is_refused: {"roto"},
    more_than_100_actions_are_refused: set(),
    items_of_more_than_400_kib_are_refused: set(),
    transactions_of_more_than_4_mib_are_refused: {"roto"},
    queries_stop_at_1_mb: {"roto"},
    ranges_that_are_upside_down_are_refused: {"roto"},
    one_of_eight_threads_gets_a_place: set(),
    consumed_capacity_of_transactions_is_told: {"roto"},
}
"""The probes, and the emulators that do not pass them."""


@pytest.mark.parametrize("probe", LOOSE, ids=lambda probe: probe.__name__)
@pytest.mark.parametrize("emulator", ["ministack", "roto"])
def test_an_emulator_is_as_loose_as_it_was(
    emulator: str, probe: Callable[[Tables, str], bool], request: pytest.FixtureRequest
) -> None:
    tables = Tables(request.getfixturevalue(f"{emulator}_url"))
    assert probe(tables, tables.new()) is (emulator not in LOOSE[probe])
