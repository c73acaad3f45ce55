"""Recordings of version 1, which commit 4fdead8 wrote, brought forward: it had the paths of modules.

A name of the library, "eventsrc.store:Read", is "eventsrc/Read" now; another one, "shop.orders:Place",
is its last part, "Place". Functions and classes that were named as values, and folds, which hold
functions, stand as what was not written, since a recording may name nothing that is to be called. An
event's data was in one place whether JSON or bytes, and each has its own now.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any, Final

from eventsrc.recording._library import PREFIX, PYTHON, named


def from_version_1(run: Any) -> Any:
    """A run of version 1 as version 2 has it. It may name nothing more than one of version 2."""
    new = {key: _value(part) for key, part in run.items()} | {"eventsrc": 2}
    _tell_where_pages_follow(new.get("operations", ()))
    return new


def _tell_where_pages_follow(performed: Any) -> None:
    """Adds to each Apply of a page of the feed where that began, as the ReadFeed before it says."""
    began: Any = None
    for each in performed:
        name, fields = each["operation"].get("$attrs"), each["operation"].get("fields")
        if name == f"{PREFIX}ReadFeed":
            began = fields.get("after", _START)
        elif name == f"{PREFIX}Apply" and fields.get("cursor") is not None:
            fields["after"] = began


_START: Final = {"$attrs": f"{PREFIX}Cursor", "fields": {"store_id": "", "position": 0}}


def _value(plain: Any) -> Any:
    if isinstance(plain, list):
        return [_value(item) for item in plain]
    if not isinstance(plain, dict):
        return plain
    tag = next(iter(plain), "")
    change = _CHANGES.get(tag)
    if change is not None:
        return change(plain)
    return {key: _value(item) for key, item in plain.items()}


def _name(old: Any) -> str:
    module, _, path = str(old).partition(":")
    own = path.rpartition(".")[2]
    if module == "builtins":
        return PYTHON + own
    if module.partition(".")[0] == "eventsrc":
        return PREFIX + _RENAMED.get(own, own)
    return own


_RENAMED: Final = {
    "Late": "Stale",
    "Part": "PartitionProgress",
    "_OrConflict": "OrConflict",
    "_history": "history",
    "_same": "same",
    "_surely": "surely",
    "_value": "value",
    "synchronise_part": "synchronise_partition",
}
"""Names of the library that are other ones now."""

_FIELDS: Final = {
    f"{PREFIX}{name}": {"part": "partition", "parts": "partitions", "store": "store_id"}
    for name in (
        *("Apply", "Cursor", "GetApplied", "Lease", "Progress", "Status", "Token"),
        "synchronise_partition",
    )
}
"""Fields, and parameters, that are other ones now."""


def _error(plain: Any) -> Any:
    rest = {key: _value(part) for key, part in plain.items() if key != "$error"}
    return {"$error": _name(plain["$error"]), **rest}


def _call(plain: Any) -> Any:
    name = _name(plain["$call"])
    return {"$call": name, "args": _value(plain["args"]), "kwargs": _fields(name, plain["kwargs"])}


def _fields(name: str, plain: Any) -> Any:
    renamed = _FIELDS.get(name, {})
    return {renamed.get(key, key): _value(part) for key, part in plain.items()}


def _attrs(plain: Any) -> Any:
    name = _name(plain["$attrs"])
    if name.startswith(PREFIX) and named(name) is None:
        return {"$unwritten": name.removeprefix(PREFIX)}
    function = plain["fields"].get("function") if name == f"{PREFIX}Bind" else None
    if isinstance(function, dict) and "$partial" in function:  # of `then`
        return {"$then": [_value(plain["fields"]["source"]), *map(_value, function["args"])]}
    fields = _fields(name, plain["fields"])
    if name == f"{PREFIX}Page" and "is_last" not in fields:
        fields["is_last"] = _is_last(fields)
    return {"$attrs": name, "fields": fields}


def _is_last(page: Any) -> bool:
    """Whether a page was the last, in the direction that its events show."""
    (events,) = page["events"].values()
    versions = [event["$recorded"]["version"] for event in events]
    is_backwards = versions[:1] > versions[-1:]
    return not versions or versions[-1] == (1 if is_backwards else page["head"])


def _reference(plain: Any) -> Any:
    return {"$function": _name(plain["$ref"])}


def _unwritten(plain: Any) -> Any:
    name = plain.get("$unwritten") or plain["$partial"].get("$ref")
    return {"$unwritten": _name(name).removeprefix(PREFIX).removeprefix(PYTHON)}


def _recorded(plain: Any) -> Any:
    about = plain["$recorded"]
    if "metadata" in about:
        about = about | {"metadata": _value(about["metadata"])}
    return {"$recorded": about, "event": _event(plain["event"])}


def _event(plain: Any) -> Any:
    kind, data = plain["$event"], plain["data"]
    if isinstance(data, dict) and data.keys() == {"$bytes"} and _is_bytes(kind[2], data["$bytes"]):
        return {"$event": kind, "bytes": data["$bytes"]}
    return plain


def _is_bytes(codec: str, text: Any) -> bool:
    """Whether data was bytes, and not an event's own JSON with that key: these were no JSON."""
    try:
        data = base64.b64decode(text, validate=True)
    except (TypeError, ValueError):
        return False
    if codec != "json":
        return True
    try:
        json.loads(data)
    except ValueError:
        return True
    return False


_CHANGES: Final[dict[str, Callable[[Any], Any]]] = {
    "$attrs": _attrs,
    "$call": _call,
    "$enum": lambda plain: {**plain, "$enum": _name(plain["$enum"])},
    "$error": _error,
    "$event": _event,
    "$partial": _unwritten,
    "$recorded": _recorded,
    "$ref": _reference,
    "$unwritten": _unwritten,
}
