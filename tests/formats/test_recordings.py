"""Recordings of commit 4fdead8 replay as they did there, by a migration."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from eventsrc import Codec, Interpreter, MemoryStore, on, world
from eventsrc.recording._migration import from_version_1
from eventsrc.recording.masks import pseudonyms
from eventsrc.recording.portable import NotPortable
from eventsrc.testing.replay import Replayed, replay
from tests.formats.modules import HERE, bank

EXPECTED: dict[str, Any] = json.loads((HERE / "expected.json").read_text())["recordings"]

PROGRAMS = (
    *(bank.decides, bank.deposit, bank.fail, bank.fail_oddly, bank.given, bank.level_out),
    *(bank.open_account, bank.pay_all, bank.reads, bank.side_by_side, bank.states, bank.sum_of),
    *(bank.told_failure, bank.writes),
)
VALUES = (bank.Bank, bank.Tell, bank.Broke, bank.Colour, bank.Hidden, bank.TooLittle)


def service(fee: int) -> Interpreter[Any]:
    def refuse(op: Any) -> Any:
        raise LookupError(op)

    tell: Interpreter[Any] = on(bank.Tell).run(refuse)
    below: Interpreter[Any] = MemoryStore(Codec(bank.TYPES)) | world | tell
    made: Interpreter[Any] = bank.bank(below, fee)
    return made


def replayed(name: str, fee: int, known: tuple[Any, ...] = (*PROGRAMS, *VALUES)) -> Replayed:
    how: dict[str, Any] = {"codec": Codec(bank.TYPES), "views": [bank.totals]}
    if name == "masked.jsonl":
        how["masks"] = bank.masks(pseudonyms(bank.SECRET))
    if name == "values.jsonl":
        how["opaque"] = bank.OPAQUE
    app = None if name in ("values.jsonl", "views.jsonl") else service(fee)
    return replay(HERE / "recordings" / name, app, known=known, **how)


def by_own_names(text: str) -> str:
    """With the last parts of the names that 4fdead8 wrote, which are the names of today."""
    return re.sub(r"\b(?:bank_4fdead8|eventsrc[\w.]*):(\w+)", r"\1", text)


@pytest.mark.parametrize("name", EXPECTED)
def test_recordings_of_4fdead8_replay_as_they_did(name: str) -> None:
    expected = EXPECTED[name]
    found = replayed(name, fee=0)
    assert str(found) == by_own_names(expected["replayed"])
    assert [run.program for run in found.runs] == list(map(by_own_names, expected["programs"]))
    assert str(replayed(name, fee=1)) == by_own_names(expected["with a fee of 1"])


def test_a_program_that_is_not_known_is_not_found_by_its_old_name() -> None:
    with pytest.raises(NotPortable, match="no program is known as 'pay_all'"):
        replayed("answers.jsonl", fee=0, known=VALUES)


@pytest.mark.parametrize("name", EXPECTED)
def test_what_the_migration_makes_has_no_path_of_a_module(name: str) -> None:
    for line in (HERE / "recordings" / name).read_text().splitlines():
        try:
            run = json.loads(line)
        except ValueError:
            continue
        text = json.dumps(from_version_1(run))
        assert not re.search(r'"[\w.]+:[A-Za-z_.]+"', text), text


@pytest.mark.parametrize(
    "data",
    [
        {"$bytes": "bm8gSlNPTg==", "more": 1},
        {"$bytes": [1]},
        {"$bytes": "no base64"},
        {"$bytes": "MQ=="},
    ],
)
def test_data_of_an_event_that_looks_like_bytes_was_its_own(data: Any) -> None:
    """4fdead8 wrote bytes only for what is no JSON."""
    event = {"$event": ["some.event", 1, "json"], "data": data}
    assert from_version_1({"program": event})["program"] == event


@pytest.mark.parametrize(("codec", "text"), [("json", "bm8gSlNPTg=="), ("other", "MQ==")])
def test_bytes_of_an_event_stay_bytes(codec: str, text: str) -> None:
    event = {"$event": ["some.event", 1, codec], "data": {"$bytes": text}}
    brought = {"$event": ["some.event", 1, codec], "bytes": text}
    assert from_version_1({"program": event})["program"] == brought
