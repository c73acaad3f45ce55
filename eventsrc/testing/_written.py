"""Values as they were written, compared: where they are different, in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any, Final

from eventsrc._errors import EventsrcError
from eventsrc.recording.portable import Portable

_TAGS: Final = ("$attrs", "$event", "$error", "$enum", "$call")
"""The tags that name a class or function: values of different ones have nothing to compare."""


def renewed(plain: Any, portable: Portable) -> Any:
    """A value as it would be written today, events brought forward; as it is, if it cannot be."""
    try:
        return portable.plain(portable.value(plain))
    except EventsrcError:
        return plain


def shown(plain: Any, portable: Portable) -> str:
    """A value in a line."""
    try:
        text = repr(portable.value(plain))
    except EventsrcError:
        text = json.dumps(plain)
    return text if len(text) <= 300 else text[:297] + "..."


def compared(
    before: Any, now: Any, path: str, portable: Portable, is_data: bool = False
) -> Iterator[str]:
    """Where a value is different, each place with what is there before and now.

    is_data: whether it is the data of an event, in which keys that begin with $ are its own.
    """
    if before == now:
        return
    if (
        isinstance(before, dict)
        and isinstance(now, dict)
        and before.keys() == now.keys()
        and (is_data or all(before.get(tag) == now.get(tag) for tag in _TAGS))
    ):
        for key in before:
            is_name = is_data or (key not in ("fields", "data") and not key.startswith("$"))
            inner = is_data or (key == "data" and "$event" in before)
            place = f"{path}.{key}" if is_name else path
            yield from compared(before[key], now[key], place, portable, inner)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from compared(one, other, f"{path}[{index}]", portable, is_data)
    elif is_data:
        yield f"{path}: {before!r:.300} -> {now!r:.300}"
    else:
        yield f"{path}: {shown(before, portable)} -> {shown(now, portable)}"


def compared_events(
    stream: str, before: Sequence[Any], now: Sequence[Any], portable: Portable
) -> Iterator[str]:
    """Where the events that a stream gets are different."""
    one_way, other_way = ([json.dumps(e, sort_keys=True) for e in events] for events in (before, now))
    matcher = SequenceMatcher(None, one_way, other_way, autojunk=False)
    for how, a, b, c, d in matcher.get_opcodes():
        if how == "equal":
            continue
        gone, come = before[a:b], now[c:d]
        for one, other in zip(gone, come, strict=False):
            if one["$event"] == other["$event"]:
                yield from compared(one, other, f"{stream}: {one['$event'][0]}", portable)
            else:
                yield f"{stream}: - {shown(one, portable)}"
                yield f"{stream}: + {shown(other, portable)}"
        yield from (f"{stream}: - {shown(event, portable)}" for event in gone[len(come) :])
        yield from (f"{stream}: + {shown(event, portable)}" for event in come[len(gone) :])
