"""Nothing leaves by default; what does is as the catalogue says, and stays so."""

from __future__ import annotations

import datetime
import enum
import json
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import attrs
import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent as Theirs
from hypothesis import given, settings
from hypothesis import strategies as st

from eventsrc import MemoryStore, Recorded, event
from eventsrc.errors import EventTypeError, NotACloudEvent, SchemaChanged
from eventsrc.events.codec import Codec
from eventsrc.events.event import EventTypes
from eventsrc.publishing import CloudEvent, Transformer
from eventsrc.publishing.schemas import schema_of
from eventsrc.stores.metadata import with_metadata
from eventsrc.streams.stream import Streams

TYPES = EventTypes()
SOURCE = "https://shop.example/orders"


@event("test.out.placed", types=TYPES)
class Placed:
    order: str
    total: int


@event("test.out.risk-rated", types=TYPES)
class RiskRated:
    order: str
    risk: float


@attrs.frozen
class OrderPlaced:
    """An order was placed, and is paid."""

    order: str
    total: int


@attrs.frozen
class Measured:
    order: str
    weight: float


orders = Streams("orders/{id}", key=str, events=Placed | RiskRated)


def recorded(event: Placed | RiskRated, **metadata: Any) -> Recorded[Any]:
    store = MemoryStore(Codec(TYPES))
    store.run(with_metadata(orders["7"].append(event), **metadata))
    return store.run(orders["7"].history())[0]


def shop() -> Transformer:
    public = Transformer(SOURCE, types=TYPES)

    @public.of(Placed, name="com.example.order.placed", version=2)
    def placed(event: Recorded[Placed]) -> OrderPlaced | None:
        return OrderPlaced(event.data.order, event.data.total) if event.data.total else None

    return public


def test_an_event_without_a_rule_does_not_leave() -> None:
    assert shop().transform(recorded(RiskRated("7", 0.5))) is None


def test_a_rule_may_keep_an_event_back() -> None:
    assert shop().transform(recorded(Placed("7", 0))) is None


def test_what_leaves_names_its_event_for_ever() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    event = recorded(Placed("7", 30), traceparent=trace, correlation_id="c1", actor="eve")
    made = shop().transform(event)
    assert made == CloudEvent(
        id=str(event.id),
        source=SOURCE,
        type="com.example.order.placed.v2",
        subject="orders/7",
        time=event.recorded_at,
        data={"order": "7", "total": 30},
        extensions={"sequence": "0" * 18 + "1", "traceparent": trace, "correlationid": "c1"},
    )
    assert made == shop().transform(event)


def test_a_rule_that_answers_with_another_class_fails() -> None:
    public = Transformer(SOURCE, types=TYPES)

    @public.of(Placed, name="placed")
    def placed(event: Recorded[Placed]) -> OrderPlaced:
        return Measured("7", 1.0)  # type: ignore[return-value]

    with pytest.raises(TypeError, match="says that it answers with OrderPlaced"):
        public.transform(recorded(Placed("7", 30)))


def test_data_that_json_does_not_have_fail_before_any_broker_is_asked() -> None:
    public = Transformer(SOURCE, types=TYPES)

    @public.of(RiskRated, name="measured")
    def measured(event: Recorded[RiskRated]) -> Measured:
        return Measured("7", float("nan"))

    with pytest.raises(NotACloudEvent, match="JSON"):
        public.transform(recorded(RiskRated("7", 0.5)))


def answers_nothing(event: Recorded[Placed]):  # type: ignore[no-untyped-def]
    return None


def answers_a_dict(event: Recorded[Placed]) -> dict[str, int]:
    return {}


async def answers_later(event: Recorded[Placed]) -> OrderPlaced:
    return OrderPlaced("7", 1)


@pytest.mark.parametrize("rule", [answers_nothing, answers_a_dict, answers_later])
def test_a_rule_says_what_it_answers_with(rule: Any) -> None:
    with pytest.raises(EventTypeError, match="rule"):
        Transformer(SOURCE, types=TYPES).of(Placed, name="placed")(rule)


@pytest.mark.parametrize(
    ("name", "version"), [("", 1), ("a b", 1), ("a..b", 1), ("a.*", 1), ("placed", 0), ("placed", True)]
)
def test_names_and_versions_are_those_that_brokers_take(name: str, version: int) -> None:
    with pytest.raises(EventTypeError):
        Transformer(SOURCE, types=TYPES).of(Placed, name=name, version=version)


def test_a_type_has_one_rule() -> None:
    with pytest.raises(EventTypeError, match="keep one"):
        shop().of(Placed, name="other")
    with pytest.raises(EventTypeError, match="another name"):
        shop().of(RiskRated, name="com.example.order.placed", version=2)


@pytest.mark.parametrize("source", ["", "a b", "\n", None])
def test_a_source_is_a_uri(source: Any) -> None:
    with pytest.raises(ValueError, match="URI"):
        Transformer(source)


# --- the catalogue ----------------------------------------------------------------------------------


def test_the_catalogue_prints_what_leaves() -> None:
    printed = str(shop().catalogue())
    assert printed.startswith(
        f"{SOURCE}\n\ncom.example.order.placed.v2, of test.out.placed\n"
        "  An order was placed, and is paid.\n"
    )
    assert '"total": {' in printed


def changed(version: int) -> Transformer:
    public = Transformer(SOURCE, types=TYPES)

    @public.of(Placed, name="com.example.order.placed", version=version)
    def placed(event: Recorded[Placed]) -> Measured:
        return Measured("7", 1.0)

    return public


def test_a_schema_that_changes_without_a_new_version_fails_a_test(tmp_path: Path) -> None:
    file = tmp_path / "published.json"
    shop().check(file, write=True)
    shop().check(file)
    for write in (False, True):
        with pytest.raises(SchemaChanged, match=r"placed.v2 has another schema.*total, weight"):
            changed(2).check(file, write=write)
    with pytest.raises(SchemaChanged, match=r"placed.v3 not in published.json"):
        changed(3).check(file)
    changed(3).check(file, write=True)
    changed(3).check(file)


def test_what_was_published_once_stays_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "published.json"
    shop().check(file, write=True)
    changed(3).check(file, write=True)
    with pytest.raises(SchemaChanged, match=r"placed.v2"):
        changed(2).check(file)


def test_another_source_is_another_publisher(tmp_path: Path) -> None:
    file = tmp_path / "published.json"
    shop().check(file, write=True)
    with pytest.raises(SchemaChanged, match="source"):
        Transformer("https://other.example", types=TYPES).check(file)


def test_a_missing_file_is_no_success(tmp_path: Path) -> None:
    with pytest.raises(SchemaChanged, match="there is no"):
        shop().check(tmp_path / "none.json")


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


@attrs.frozen
class Line:
    article: UUID
    price: Decimal
    inner: list[Line]


@attrs.frozen
class Everything:
    at: datetime.datetime
    day: datetime.date
    size: Size
    lines: tuple[Line, ...]
    pair: tuple[int, str]
    names: dict[str, bool | None]
    kind: Literal["a", "b"]
    tags: frozenset[str]
    line: Line


def test_schemas_tell_what_json_has() -> None:
    line = {"$ref": "#/$defs/Line"}
    schema = schema_of(Everything)
    assert schema["properties"] == {
        "at": {"type": "string", "format": "date-time"},
        "day": {"type": "string", "format": "date"},
        "size": {"enum": ["s", "l"]},
        "lines": {"type": "array", "items": line},
        "pair": {
            "type": "array",
            "prefixItems": [{"type": "integer"}, {"type": "string"}],
            "minItems": 2,
            "maxItems": 2,
        },
        "names": {
            "type": "object",
            "additionalProperties": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
        },
        "kind": {"enum": ["a", "b"]},
        "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        "line": line,
    }
    assert schema["$defs"]["Line"]["properties"]["inner"] == {"type": "array", "items": line}
    assert schema_of(Line)["$ref"] == "#/$defs/Line"


@attrs.frozen
class Odd:
    what: complex


def test_a_field_without_a_schema_is_found_when_the_rule_is_declared() -> None:
    public = Transformer(SOURCE, types=TYPES)

    def odd(event: Recorded[Placed]) -> Odd:
        return Odd(1j)

    with pytest.raises(EventTypeError, match=r"Odd\.what"):
        public.of(Placed, name="odd")(odd)


# --- CloudEvents ------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
events = st.builds(
    CloudEvent,
    id=texts,
    source=st.just(SOURCE),
    type=texts,
    subject=texts,
    time=st.none() | st.datetimes(timezones=st.just(datetime.UTC)),
    data=values,
    extensions=st.dictionaries(
        st.from_regex("[a-z0-9]{1,20}", fullmatch=True).map(lambda name: f"x{name}"[:20]),
        texts,
        max_size=3,
    ),
)


@settings(max_examples=30)
@given(events)
def test_an_event_is_read_as_it_was_written(made: CloudEvent) -> None:
    assert CloudEvent.parse(made.to_json()) == made


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"specversion":"0.3","id":"1","source":"s","type":"t"}',
        b'{"specversion":"1.0","source":"s","type":"t"}',
        b'{"specversion":"1.0","id":7,"source":"s","type":"t"}',
        b'{"specversion":"1.0","id":"1","source":"s","type":"t","time":"noon"}',
        b'{"specversion":"1.0","id":"1","source":"s","type":"t","time":"2026-12-01T12:00:00"}',
        b'{"specversion":"1.0","id":"1","source":"s","type":"t","data":NaN}',
        b'{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"AA=="}',
        b'{"specversion":"1.0","id":"1","source":"s","type":"t","Bad-Name":"x"}',
        b'{"specversion":"1.0","id":"1","source":"s","type":"t","datacontenttype":"text/xml"}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(NotACloudEvent):
        CloudEvent.parse(body)


def test_data_are_read_as_a_class_of_the_receiver() -> None:
    body = (
        b'{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"order":"7","total":3,"x":1}}'
    )
    assert CloudEvent.parse(body).data_as(OrderPlaced) == OrderPlaced("7", 3)
    with pytest.raises(NotACloudEvent, match="OrderPlaced"):
        CloudEvent.parse(body.replace(b"total", b"sum")).data_as(OrderPlaced)


@given(events)
@settings(max_examples=30)
def test_the_package_cloudevents_reads_what_is_written_and_writes_what_is_read(
    made: CloudEvent,
) -> None:
    theirs = JSONFormat().read(Theirs, made.to_json())
    assert isinstance(theirs, Theirs)
    told = theirs.get_id(), theirs.get_source(), theirs.get_type(), theirs.get_subject()
    assert told == (made.id, made.source, made.type, made.subject)
    assert theirs.get_data() == made.data
    assert made.time in (None, theirs.get_time())  # which it makes up if there is none
    assert {name: theirs.get_extension(name) for name in made.extensions} == made.extensions
    again = CloudEvent.parse(JSONFormat().write(theirs))
    assert attrs.evolve(again, time=made.time) == made


def test_equal_events_have_equal_bytes() -> None:
    made = CloudEvent("1", SOURCE, "t", "s", None, {"a": 1})
    assert json.loads(made.to_json())["specversion"] == "1.0"
    assert made.to_json() == CloudEvent.parse(made.to_json()).to_json()
