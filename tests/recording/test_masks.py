"""What is masked is nowhere in the file, whatever its type is and however deep it was."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventsrc import Codec, Command, Do, MemoryStore, Query, StoreOp, Streams, event, on, program, world
from eventsrc.events.event import EventTypes
from eventsrc.recording import RunFile, recording
from eventsrc.recording.masks import pseudonyms

TYPES = EventTypes()


@event("test.masks.told", types=TYPES)
class Told:
    secret: Any
    about: Any


notes = Streams("notes/{key}", key=str, events=Told)


class Ask(Query[Any]):
    secret: Any


class Keep(Command[None]):
    about: Any


@attrs.frozen
class Deep:
    parts: list[Any]
    by_key: dict[str, Any]


@program
def tell(secret: Any, text: str, also: Any) -> Do[StoreOp | Ask | Keep, Any]:
    yield from notes[text].append(Told(text, [{"x": also}, {text: also}, f"about {text}"]))
    yield from Keep({"args": [also], "kwargs": {text: 1}})
    yield from Keep([also, (also,), {also: also} if not isinstance(also, list) else None])
    return (yield from Ask(secret))


MASKS: dict[str, Any] = {"pseudonym": pseudonyms(b"a secret of the test"), "constant": "***"}

secrets = (
    st.text("abcdefgh/%@ é", min_size=4, max_size=12).filter(str.strip)
    | st.integers(10**6, 10**15)
    | st.uuids()
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(secret=secrets)
@pytest.mark.parametrize("mask", MASKS)
def test_a_value_that_is_masked_once_is_nowhere(secret: Any, mask: str, tmp_path: Path) -> None:
    path = tmp_path / f"{uuid4()}.jsonl"
    hide = MASKS[mask]
    masks = {(tell, "secret"): hide, (Ask, "secret"): hide}
    store = MemoryStore(Codec(TYPES))
    answering = on(Ask).run(lambda op: Deep([op.secret], {f"{op.secret}": op.secret}))
    app = store | world | answering | on(Keep).always(None)
    also = str(secret) if isinstance(secret, UUID) else secret
    with RunFile(path, masks=masks, opaque=(Deep,), codec=Codec(TYPES)) as runs:
        recording(app, runs).run(tell(secret, str(secret), also))
    written = path.read_text()
    assert "test.masks.told" in written, "the run was written"
    assert str(secret) not in written
    assert json.dumps(str(secret))[1:-1] not in written
    for text in all_texts(json.loads(written)):
        assert str(secret) not in text


def all_texts(plain: Any) -> list[str]:
    if isinstance(plain, dict):
        return [text for pair in plain.items() for part in pair for text in all_texts(part)]
    if isinstance(plain, list):
        return [text for part in plain for text in all_texts(part)]
    return [str(plain)]


@pytest.mark.parametrize(
    "secret",
    [
        {"email": "homer@example.com", "of": ["marge@example.com"]},
        Deep(["homer@example.com"], {"marge@example.com": 1}),
        ("homer@example.com", {"marge@example.com"}),
    ],
    ids=["dict", "class", "tuple and set"],
)
def test_texts_deep_in_what_is_masked_are_nowhere(secret: Any, tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    app = on(Ask).run(lambda op: ["homer@example.com", {"to": "marge@example.com"}])
    with RunFile(path, masks={(Ask, "secret"): "***"}) as runs:
        recording(app, runs).run(Ask(secret))
    assert "example.com" not in path.read_text()


@pytest.mark.parametrize(
    "secret", [Decimal("1234.50"), datetime(2026, 12, 1, tzinfo=UTC), 1234.5, b"a secret"], ids=repr
)
def test_values_of_other_types_are_nowhere(secret: Any, tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    with RunFile(path, masks={(Ask, "secret"): "***"}) as runs:
        recording(on(Ask).run(lambda op: [op.secret, f"{op.secret}"]), runs).run(Ask(secret))
    plain = (path.read_text(), *all_texts(json.loads(path.read_text())))
    if isinstance(secret, bytes):
        assert all("YSBzZWNyZXQ=" not in text for text in plain)
    else:
        assert all(str(secret) not in text for text in plain)


def test_a_dict_that_looks_like_a_call_changes_no_result(tmp_path: Path) -> None:
    told: list[Any] = []
    path = tmp_path / "runs.jsonl"
    with RunFile(path, masks={(Ask, "secret"): "***"}, failing=told.append) as runs:
        answer = {"args": 1, "kwargs": "homer"}
        assert recording(on(Ask).run(lambda op: answer), runs).run(Ask("homer")) == answer
    assert told == []
    assert "homer" not in path.read_text()
