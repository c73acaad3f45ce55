"""A client whose server is far away, loses answers, refuses, or shows transactions item by item."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import attrs

Key = tuple[str, str]


@attrs.define
class Network:
    """The faults of all clients that share a network.

    latency: seconds of a transaction; reading takes a third. Both vary by a half.
    lost: which part of the answers to transactions gets lost, half of them with the request.
    late: for up to how many seconds readers do not see an item of a transaction that was carried out.
    undone: which part of the keys of a BatchGetItem is left for later.
    """

    latency: float = 0.0
    lost: float = 0.0
    late: float = 0.0
    undone: float = 0.0
    has_tokens: bool = True
    refuse: Callable[[str, dict[str, Any]], Exception | None] = lambda call, asked: None
    dice: random.Random = attrs.field(factory=random.Random)
    calls: list[str] = attrs.field(factory=list)
    hidden: dict[Key, float] = attrs.field(factory=dict)
    lock: threading.Lock = attrs.field(factory=threading.Lock)


class Distant:
    """A client of boto3 with a network between it and its server."""

    def __init__(self, client: Any, network: Network) -> None:
        self._client = client
        self._network = network
        self.meta = client.meta

    def __getattr__(self, call: str) -> Any:
        def ask(**asked: Any) -> Any:
            return self._ask(call, asked)

        return ask

    def _ask(self, call: str, asked: dict[str, Any]) -> Any:
        network = self._network
        is_transaction = call == "transact_write_items"
        if network.latency:
            share = 1.0 if is_transaction else 1 / 3
            time.sleep(network.latency * share * (0.5 + network.dice.random()))
        with network.lock:
            network.calls.append(call)
        refusal = network.refuse(call, asked)
        if refusal is not None:
            raise refusal
        if is_transaction:
            return self._transact(asked)
        limit = asked.pop("Limit", None) if network.late else None
        answer = getattr(self._client, call)(**asked)
        if network.late:
            self._hide(call, answer, limit)
        if call == "batch_get_item" and network.undone:
            self._leave(asked, answer)
        return answer

    def _transact(self, asked: dict[str, Any]) -> Any:
        network = self._network
        if not network.has_tokens:
            asked = {name: value for name, value in asked.items() if name != "ClientRequestToken"}
        if network.dice.random() < network.lost / 2:
            raise lost()
        keys = [_key(action["Put"]["Item"]) for action in asked["TransactItems"] if "Put" in action]
        if network.late:
            with network.lock:  # all but one of them may be late
                seen = network.dice.randrange(len(keys))
                until = time.monotonic() + 1e6
                late = [key for nth, key in enumerate(keys) if nth != seen]
                network.hidden |= {key: until for key in late if key not in network.hidden}
        try:
            answer = self._client.transact_write_items(**asked)
        except Exception:
            self._show(keys, 0.0)
            raise
        self._show(keys, network.late)
        if network.late:
            time.sleep(network.late)  # it is answered when all of it is visible
        if network.dice.random() < network.lost / 2:
            raise lost()
        return answer

    def _show(self, keys: list[Key], within: float) -> None:
        network = self._network
        with network.lock:
            for key in keys:
                if network.hidden.get(key, 0.0) > time.monotonic() + 1e5:
                    network.hidden[key] = time.monotonic() + network.dice.random() * within

    def _hide(self, call: str, answer: Any, limit: int | None) -> None:
        now = time.monotonic()
        with self._network.lock:
            hidden = {key for key, until in self._network.hidden.items() if until > now}
        if call == "query":
            seen = [item for item in answer["Items"] if _key(item) not in hidden]
            answer["Items"] = seen[:limit]
            if len(seen) > len(answer["Items"]):
                answer["LastEvaluatedKey"] = _fields(answer["Items"][-1])
        elif call == "batch_get_item":
            for items in answer["Responses"].values():
                items[:] = [item for item in items if _key(item) not in hidden]

    def _leave(self, asked: dict[str, Any], answer: Any) -> None:
        dice = self._network.dice
        for table, items in answer["Responses"].items():
            left = [item for item in items if dice.random() < self._network.undone]
            if left:
                items[:] = [item for item in items if item not in left]
                more = {**asked["RequestItems"][table], "Keys": [_fields(item) for item in left]}
                answer.setdefault("UnprocessedKeys", {})[table] = more


def _key(item: dict[str, Any]) -> Key:
    return item["p"]["S"], item["n"]["N"]


def _fields(item: dict[str, Any]) -> dict[str, Any]:
    return {name: item[name] for name in ("p", "n")}


def lost() -> Exception:
    """No answer came."""
    from botocore.exceptions import ReadTimeoutError

    return ReadTimeoutError(endpoint_url="http://far.away")  # type: ignore[no-any-return]


def unsent() -> Exception:
    """There was no connection."""
    from botocore.exceptions import ConnectTimeoutError

    return ConnectTimeoutError(endpoint_url="http://far.away")  # type: ignore[no-any-return]


def refusal(code: str, *reasons: str, status: int = 400, message: str = "a stub says so") -> Exception:
    """A refusal of DynamoDB. reasons: of the actions of a transaction."""
    from botocore.exceptions import ClientError

    response: dict[str, Any] = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    if reasons:
        response["CancellationReasons"] = [{"Code": reason} for reason in reasons]
    return ClientError(response, "TransactWriteItems")  # type: ignore[no-any-return]
