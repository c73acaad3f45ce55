"""Metadata: the standard keys, and metadata for all appends of a program.

What an append says beside its events is the user's own, but for these keys, which always mean the same:

- `correlation_id`: names the request or process that all of this belongs to;
- `causation_id`: the id of the event, or of the message, that made this happen;
- `actor`: on whose behalf it happens;
- `traceparent`: the trace that it is part of, as W3C Trace Context has it;
- `origin`: where the events come from, if they were first recorded elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import attrs

from eventsrc._errors import with_article
from eventsrc.events.codec import Json
from eventsrc.programs.program import Do, Effect, Program, intercept
from eventsrc.stores.tags import APPENDS

O = TypeVar("O")
R = TypeVar("R")

STANDARD: Final = ("correlation_id", "causation_id", "actor", "traceparent", "origin")
"""The keys whose meaning is fixed; their values are texts."""

LONGEST: Final = 512
"""The most characters of the value of a standard key."""


def with_metadata(
    source: Effect[O, R],
    *,
    correlation_id: str | None = None,
    causation_id: str | None = None,
    actor: str | None = None,
    traceparent: str | None = None,
    origin: str | None = None,
    others: Json | None = None,
) -> Program[O, R]:
    """The program, all of whose appends have this metadata, however deep in a service they are made.

    others: metadata under keys of one's own. What an append says itself, or a `with_metadata` inside
        this one, goes before.
    Raises TypeError or ValueError for the value of a standard key that is no text, empty, too long, or
    no traceparent.
    """
    standard = (correlation_id, causation_id, actor, traceparent, origin)
    given: dict[str, Any] = {
        **(others or {}),
        **{key: text for key, text in zip(STANDARD, standard, strict=True) if text is not None},
    }
    check_metadata(given)
    return intercept(source, _Adding(given), only=APPENDS)


@attrs.frozen
class _Adding:
    """Performs an append with more metadata."""

    metadata: Json

    def __call__(self, op: Any) -> Do[Any, Any]:
        return (yield attrs.evolve(op, metadata=self._with(op.metadata)))

    def _with(self, its: Any) -> Any:
        """With what an append says itself; what is no mapping is left to the store to refuse."""
        return {**self.metadata, **its} if isinstance(its, Mapping) else its


def check_metadata(metadata: Mapping[str, Any]) -> None:
    """Raises TypeError or ValueError for a value of a standard key that cannot be one."""
    for key in STANDARD:
        if key in metadata:
            _check(key, metadata[key])


def _check(key: str, text: object) -> None:
    if not isinstance(text, str):
        raise TypeError(
            f"{key} is {text!r:.100}, {with_article(type(text))}, and must be a str: "
            "write str(...), or use a key of your own"
        )
    if not 1 <= len(text) <= LONGEST:
        raise ValueError(
            f"{key} is {text!r:.100}: it must have 1 to {LONGEST} characters, or be left out"
        )
    if key == "traceparent" and not _TRACEPARENT.fullmatch(text):
        raise ValueError(
            f"traceparent is {text!r:.100}, which W3C Trace Context does not allow, as it does "
            "'00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01': leave it out"
        )


_TRACEPARENT: Final = re.compile(
    "(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
