"""External events, as CloudEvents 1.0 has them: what leaves a service, and what comes from another.

See the CloudEvents specification 1.0, and its JSON event format.
"""

from __future__ import annotations

import builtins
import json
import re
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Any, Final, TypeVar

import attrs

from eventsrc._errors import REFUSALS, EventsrcError, with_article
from eventsrc.events.codec import Json
from eventsrc.events.json_converter import default_converter

T = TypeVar("T")

CONTENT_TYPE: Final = "application/cloudevents+json"
"""The media type of one event as JSON."""


class NotACloudEvent(EventsrcError, ValueError):
    """Bytes that are no CloudEvent of version 1.0 in JSON, or one whose data are not as was asked."""


def _is_filled(event: object, field: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or not value or _CONTROLS.search(value):
        raise NotACloudEvent(
            f"a CloudEvent's {field.name} is {value!r:.100}: give a text that is not empty, without "
            "control characters"
        )


def _has_good_names(event: object, field: attrs.Attribute[Any], value: Mapping[str, object]) -> None:
    for name, text in value.items():
        if not _NAME.fullmatch(name) or name in _ATTRIBUTES:
            raise NotACloudEvent(
                f"{name!r:.100} cannot name an extension of a CloudEvent: use up to 20 lower-case "
                "letters and digits, and no name that CloudEvents has"
            )
        if not isinstance(text, str | bool | int):
            raise NotACloudEvent(
                f"the extension {name} is {text!r:.100}, {with_article(type(text))}: give a text, a "
                "number without fraction, or a bool"
            )


@attrs.frozen(slots=False)
class CloudEvent:
    """An event for others.

    id, source: together they name the event for ever; one that comes again has the same.
    type: such as `com.example.order.placed.v2`.
    subject: the events of a source with the same subject are in an order, which is kept: an internal
        event's stream.
    time: when it was recorded; None if that is not told.
    data: what happened, as JSON has it.
    extensions: attributes beside these: `sequence`, by which events of a subject are in order as texts,
        and `traceparent`, `correlationid` where the event has them.
    Raises NotACloudEvent for what the specification does not allow.
    """

    id: str = attrs.field(validator=_is_filled)
    source: str = attrs.field(validator=_is_filled)
    type: str = attrs.field(validator=_is_filled)
    subject: str = attrs.field(validator=_is_filled)
    time: datetime | None
    data: Any = attrs.field(hash=False)
    extensions: Json = attrs.field(factory=dict[str, Any], validator=_has_good_names, hash=False)

    def to_json(self) -> bytes:
        """It in the JSON format, of media type `application/cloudevents+json`: equal events have equal
        bytes. Raises NotACloudEvent for data that JSON does not have."""
        return self._json

    @staticmethod
    def parse(body: bytes | str) -> CloudEvent:
        """The event of a text in the JSON format. Raises NotACloudEvent for another text."""
        return CloudEvent._of(_json_of(body))

    @staticmethod
    def parse_all(body: bytes | str) -> tuple[CloudEvent, ...]:
        """The events of a text in the JSON format: of one event, or of a batch. Raises NotACloudEvent
        for another text, and for a batch with something else in it."""
        told = _json_of(body)
        return tuple([CloudEvent._of(each) for each in (told if isinstance(told, list) else [told])])

    @staticmethod
    def _of(told: object) -> CloudEvent:
        if not isinstance(told, dict) or told.get("specversion") != "1.0":
            raise NotACloudEvent(f"{str(told)[:100]!r} is no CloudEvent of version 1.0")
        kind = told.get("datacontenttype", "application/json")
        if "data_base64" in told or not isinstance(kind, str) or not _JSON.fullmatch(kind):
            raise NotACloudEvent(
                f"the data of event {told.get('id')!r:.100} are {kind!r:.100}, "
                "and not JSON: ask for them as application/json"
            )
        text = told.get("time")
        try:
            time = None if text is None else datetime.fromisoformat(text)
            if time is not None and time.tzinfo is None:
                raise ValueError("it has no offset from UTC")
        except (TypeError, ValueError) as error:
            raise NotACloudEvent(f"{text!r:.100} is no time, as RFC 3339 has it") from error
        others = {name: value for name, value in told.items() if name not in _ATTRIBUTES}
        subject = told.get("subject", told.get("source"))
        named = told.get("id"), told.get("source"), told.get("type"), subject
        return CloudEvent(*named, time, told.get("data"), others)  # type: ignore[arg-type]  # checked

    def to_dict(self) -> dict[str, Any]:
        """It as a value of the JSON format, for who writes several as one JSON."""
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "subject": self.subject,
            **({} if self.time is None else {"time": _written(self.time)}),
            "datacontenttype": "application/json",
            **self.extensions,
            "data": self.data,
        }

    @cached_property
    def _json(self) -> bytes:
        try:
            return _ENCODER.encode(self.to_dict()).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise NotACloudEvent(f"event {self.id} cannot be written as JSON: {error}") from error

    def data_as(self, kind: builtins.type[T]) -> T:
        """The data as a class has them, such as the receiver's own attrs class.

        Fields that the class does not have are passed over. Raises NotACloudEvent for data that do not
        fit.
        """
        try:
            return default_converter().structure(self.data, kind)
        except REFUSALS as error:
            raise NotACloudEvent(
                f"the data of event {self.id}, of type {self.type}, are no {kind.__qualname__}: {error}"
            ) from error


def _written(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _json_of(body: bytes | str) -> object:
    try:
        told: object = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise NotACloudEvent(f"{body[:100]!r} is no JSON: {error}") from error
    return told


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


_ATTRIBUTES: Final = frozenset(
    {"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"}
) | {"dataschema", "data_base64"}
_JSON: Final = re.compile(r"(application|text)/([\w.-]+\+)?json(;.*)?")
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_NAME: Final = re.compile("[a-z0-9]{1,20}")
_CONTROLS: Final = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")
