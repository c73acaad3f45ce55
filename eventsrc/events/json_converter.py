"""The cattrs converter of events: values of the types that they have to JSON, and back."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, get_args
from uuid import UUID

from eventsrc.events._shapes import REAL
from eventsrc.events._uuids import parsed

if TYPE_CHECKING:
    from cattrs import Converter
    from cattrs.preconf.json import JsonConverter


def json_converter() -> JsonConverter:
    """The cattrs converter that a Codec uses unless it is given one, to register one's own hooks on."""
    # Imported where it is used: a quarter of the time that importing the library would take.
    from cattrs.cols import is_any_set
    from cattrs.preconf.json import make_converter

    converter = make_converter(detailed_validation=False)
    converter.register_unstructure_hook(float, float)  # an int in a float field becomes a float
    converter.register_unstructure_hook(UUID, str)
    converter.register_structure_hook(UUID, lambda text, _kind: parsed(text))
    converter.register_unstructure_hook(Decimal, str)
    converter.register_structure_hook(Decimal, lambda text, _kind: Decimal(text))
    converter.register_unstructure_hook(REAL.datetime, _rfc_3339)
    converter.register_unstructure_hook(datetime.time, lambda time: time.isoformat())
    converter.register_structure_hook(
        datetime.time, lambda text, _kind: datetime.time.fromisoformat(text)
    )
    converter.register_unstructure_hook(datetime.timedelta, _microseconds)
    converter.register_structure_hook(
        datetime.timedelta, lambda number, _kind: datetime.timedelta(microseconds=number)
    )
    converter.register_unstructure_hook_factory(is_any_set, _sorted_set_hook)
    return converter


@cache
def default_converter() -> JsonConverter:
    """The one that is used where none is given."""
    return json_converter()


def _sorted_set_hook(kind: Any, converter: Converter) -> Callable[[Any], list[Any]]:
    """Sets are stored sorted, so that equal events have equal bytes."""
    (item_kind,) = get_args(kind) or (Any,)
    item_hook = converter.get_unstructure_hook(item_kind)
    return lambda items: sorted(map(item_hook, items), key=json.dumps)


def _rfc_3339(time: datetime.datetime) -> str:
    text = time.isoformat()
    return text[:-6] + "Z" if text.endswith("+00:00") else text


def _microseconds(delta: datetime.timedelta) -> int:
    return delta // datetime.timedelta(microseconds=1)
