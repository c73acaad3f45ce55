"""Judging a table from outside: by a scan, and not by anything that a store says."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

import attrs


@attrs.frozen
class Found:
    """The items of a table."""

    commits: list[dict[str, Any]]
    parts: dict[tuple[str, int], dict[str, Any]]
    texts: Counter[str]
    """The events, by their only field."""

    @property
    def end(self) -> int:
        """The position of the last event."""
        return max([int(commit["l"]["N"]) for commit in self.commits], default=0)


def scan(client: Any, table: str) -> Found:
    """All that is in a table."""
    items = everything(client, table)
    commits = [item for item in items if item["p"]["S"][:2] == "f/" and "w" in item]
    commits.sort(key=lambda item: int(item["n"]["N"]))
    parts = {_key(item): item for item in items if item["p"]["S"][:2] == "s/"}
    texts: Counter[str] = Counter()
    for item in parts.values():
        texts.update(text for event in _events(item) for text in event.values())
    return Found(commits, parts, texts)


def everything(client: Any, table: str) -> list[dict[str, Any]]:
    """All items of a table."""
    pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return [item for page in pages for item in page["Items"]]


def faults(found: Found, acknowledged: Iterable[str]) -> list[str]:
    """Everything that is wrong with a table, in words."""
    wrong: list[str] = []
    following = 1
    named: set[tuple[str, int]] = set()
    versions: dict[str, int] = {}
    for commit in found.commits:
        first, last = int(commit["n"]["N"]), int(commit["l"]["N"])
        if first != following:
            wrong.append(f"position {following} is missing: there is a commit at {first}")
        following = last + 1
        position = first
        for stream, version, count, *_ in json.loads(_expanded(commit["w"]["B"]))[2]:
            key = f"s/{stream}", version
            named.add(key)
            part = found.parts.get(key)
            if part is None:
                wrong.append(f"{key} is named by a commit, and is not there")
            elif (int(part["f"]["N"]), int(part["c"]["N"])) != (position, version + count - 1):
                wrong.append(f"{key} is another than the commit names")
            if version != versions.get(stream, 0) + 1:
                wrong.append(f"version {versions.get(stream, 0) + 1} of {stream} is missing")
            versions[stream] = version + count - 1
            position += count
    wrong += [f"{key} is in no commit" for key in found.parts.keys() - named]
    told = Counter(acknowledged)
    wrong += [f"{text} was acknowledged, and is not there" for text in told.keys() - found.texts.keys()]
    wrong += [f"{text} is there {count} times" for text, count in found.texts.items() if count > 1]
    return wrong


def _key(item: dict[str, Any]) -> tuple[str, int]:
    return item["p"]["S"], int(item["n"]["N"])


def _expanded(kept: bytes) -> bytes:
    return zlib.decompress(kept[1:]) if kept[:1] == b"\1" else kept[1:]


def _events(part: dict[str, Any]) -> list[dict[str, str]]:
    """The data of a part's events, all of which are in line."""
    body = _expanded(part["d"]["B"])
    named, beside, count = (int.from_bytes(body[at : at + 4], "little") for at in (0, 4, 8))
    at = 12 + named + beside
    sizes = [int.from_bytes(body[at + 16 * n + 4 : at + 16 * n + 8], "little") for n in range(count)]
    at += 16 * count
    found: list[dict[str, str]] = []
    for size in sizes:
        found.append(json.loads(body[at : at + size]))
        at += size
    return found
