"""A file from a stranger makes nothing but what is known by the names in it, and calls nothing."""

from __future__ import annotations

import copy
import enum
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import attrs
import pytest

from eventsrc import Codec, Do, MemoryStore, Query, StoreOp, event, program, pure
from eventsrc._errors import EventsrcError
from eventsrc.events.event import EventTypes
from eventsrc.recording import RunFile, recording
from eventsrc.recording._migration import from_version_1
from eventsrc.recording._names import Names
from eventsrc.recording.portable import NotPortable, Portable, Unwritten
from eventsrc.testing.replay import NotARecording, replay
from tests.faults import scaled
from tests.kits.bank import (
    KNOWN,
    Broke,
    TooLittle,
    bank,
    deposit,
    fail,
    history,
    pay_all,
    sum_of,
)

made: list[str] = []
"""What was made or called that must not be."""


@attrs.define
class Job:
    """Imported, and not known."""

    command: str = ""

    def __attrs_post_init__(self) -> None:
        made.append(self.command)


class Alarm(Exception):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        made.append("alarm")


class Ask(Query[int]):
    text: str = ""

    def __attrs_post_init__(self) -> None:
        made.append("ask")


def call(*_: object, **__: object) -> str:
    made.append("call")
    return "called"


@program
def unknown(*_: object, **__: object) -> Do[StoreOp, None]:
    made.append("program")
    yield from ()


HERE = "tests.recording.test_hostile"
NAMES = [
    *(
        "os.system",
        "os:system",
        "posix:system",
        "system",
        "subprocess:Popen",
        "subprocess.Popen",
        "Popen",
    ),
    *("builtins:exec", "builtins:eval", "python/exec", "python/eval", "eventsrc/exec", "exec", "eval"),
    *("builtins:SystemExit", "python/SystemExit", "python/KeyboardInterrupt", "SystemExit"),
    *("eventsrc/Stop", "eventsrc/in_turn", "eventsrc.programs.program:in_turn", "eventsrc/Intercept"),
    *(f"{HERE}:{name}" for name in ("Job", "Alarm", "Ask", "call", "unknown")),
    *(f"{HERE}.{name}" for name in ("Job", "Alarm", "Ask", "call", "unknown")),
    *("Job", "Alarm", "Ask", "call", "unknown", "__class__", "", "deposit", "Broke", "TooLittle"),
]


@pytest.fixture(autouse=True)
def _nothing_made() -> Iterator[None]:
    made.clear()
    yield
    made.clear()


def found_anywhere(_self: Names, name: Any) -> Any:
    """As version 1 found things: the control of what is below."""
    module, _, path = str(name).partition(":")
    thing: Any = sys.modules.get(module)
    for part in path.split("."):
        thing = getattr(thing, part, None)
    return thing


# --- one name at a time ---------------------------------------------------------------------------

FORMS: dict[str, Any] = {
    "attrs": lambda name: {"$attrs": name, "fields": {"command": "rm -rf"}},
    "enum": lambda name: {"$enum": name, "name": "RED"},
    "error": lambda name: {"$error": name, "args": ["called"]},
    "error's text": lambda name: {"$error": name, "text": "called"},
    "program": lambda name: {"$call": name, "args": [], "kwargs": {}},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in ("deposit", "Broke", "TooLittle")]
)
def test_what_is_not_known_cannot_be_made(form: str, name: str) -> None:
    with pytest.raises(NotPortable, match="is known as|is no "):
        Portable(names=Names(KNOWN)).value(FORMS[form](name))
    assert made == []


@pytest.mark.parametrize("name", NAMES)
def test_a_function_that_is_not_known_is_read_as_its_name(name: str) -> None:
    found = Portable(names=Names(KNOWN)).value({"$function": name})
    assert found == (deposit if name == "deposit" else Unwritten(name))


def test_finding_names_in_modules_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Names, "_get", found_anywhere)
    for name, form in (("Job", "attrs"), ("Alarm", "error")):
        Portable(names=Names(KNOWN)).value(FORMS[form](f"{HERE}:{name}"))
    assert made == ["rm -rf", "alarm"]


def test_an_exception_that_is_no_exception_cannot_be_known() -> None:
    for bad in (SystemExit, KeyboardInterrupt, call, 3, "Job", Portable):
        with pytest.raises(NotPortable, match="cannot be known"):
            Names([bad])


@pytest.mark.parametrize("old", [True, False], ids=["version 1", "version 2"])
@pytest.mark.parametrize("kind", ["Map", "Bind", "Gather"])
def test_the_run_loop_calls_nothing_that_a_file_names(tmp_path: Path, kind: str, old: bool) -> None:
    source = {"$attrs": "eventsrc.program:Pure", "fields": {"value": "text"}}
    function: Any = {"$ref": f"{HERE}:call"}
    if kind == "Gather":
        fields: Any = {"branches": {"$tuple": [source]}, "collect": function}
    else:
        fields = {"source": source, "function": function}
    node = {"$attrs": f"eventsrc.program:{kind}", "fields": fields}
    run: dict[str, Any] = {"program": node, "operations": [], "answer": None}
    path = tmp_path / "runs.jsonl"
    path.write_text(json.dumps({"eventsrc": 1} | run if old else from_version_1(run)))
    with pytest.raises(NotPortable, match="a function that is neither known nor harmless"):
        replay(path, bank(MemoryStore()), known=KNOWN)
    assert made == []


def test_a_value_that_can_be_called_is_not_called_for_a_file(tmp_path: Path) -> None:
    @attrs.frozen
    class Callback:
        def __call__(self, value: object) -> object:
            made.append("callback")
            return value

    run = {
        "eventsrc": 2,
        "program": {
            "$attrs": "eventsrc/Map",
            "fields": {
                "source": {"$attrs": "eventsrc/Pure", "fields": {"value": 1}},
                "function": {"$attrs": "Callback", "fields": {}},
            },
        },
        "operations": [],
        "answer": 1,
    }
    path = tmp_path / "runs.jsonl"
    path.write_text(json.dumps(run))
    with pytest.raises(NotPortable, match="neither known nor harmless"):
        replay(path, known=[Callback])
    assert made == []


def test_what_is_no_program_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    for plain in ({"$attrs": "TooLittle", "fields": {"name": "a", "has": 1}}, {"a": 1}):
        path.write_text(json.dumps({"eventsrc": 2, "program": plain, "operations": [], "answer": 1}))
        with pytest.raises(NotPortable, match="neither a program nor an operation"):
            replay(path, known=KNOWN)


# --- data that looks like something else ----------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        {"$bytes": "QQ=="},
        {"$call": "deposit", "args": ["homer", 1], "kwargs": {}},
        {"$attrs": "TooLittle", "fields": {"name": "a", "has": 1}},
        {"$event": ["test.recording.moved", 1, "json"], "data": {"amount": 1}},
        {"$error": "Broke", "args": []},
        {"$sealed": 1},
    ],
    ids=lambda data: next(iter(data)),
)
def test_keys_of_an_event_are_its_own(tmp_path: Path, data: Any) -> None:
    types = EventTypes()

    @event("test.recording.free", types=types)
    class Free:
        about: dict[str, Any]

    codec = Codec(types)
    portable = Portable(codec, names=Names(KNOWN))
    for value in (Free(data), Free({"inner": [data]}), [data], {"a": data}):
        assert portable.value(json.loads(json.dumps(portable.plain(value)))) == value
    if "$sealed" not in data:  # which no store takes
        assert replayed_after(tmp_path, Free(data), codec).same


def replayed_after(tmp_path: Path, happened: Any, codec: Codec) -> Any:
    from eventsrc import Append, StreamId

    path = tmp_path / "runs.jsonl"
    store = MemoryStore(codec)
    with RunFile(path, codec=codec) as runs:
        recording(store, runs).run(Append(StreamId("a"), (happened,), metadata={"m": happened.about}))
    return replay(path, MemoryStore(codec), codec=codec)


# --- names ----------------------------------------------------------------------------------------


def test_two_things_of_one_name_are_refused_with_the_remedy(tmp_path: Path) -> None:
    @attrs.frozen
    class TooLittle:
        has: int

    with pytest.raises(NotPortable, match=r"are both named 'TooLittle'.*`name=`"):
        Names([*KNOWN, TooLittle])
    with RunFile(tmp_path / "runs.jsonl") as runs:
        app = recording(MemoryStore(), runs)
        app.run(pure(TooLittle(1)))
        with pytest.raises(NotPortable, match="are both named 'TooLittle'"):
            app.run(pure(tooLittle()))


def tooLittle() -> Any:
    return TooLittle("homer", 1)


def test_a_name_can_be_chosen_and_kept(tmp_path: Path) -> None:
    class Other(Query[int], name="Balance"):
        who: str

    @program(name="pay")
    def paying(who: str) -> Do[Other, int]:
        return (yield from Other(who))

    portable = Portable(names=Names([Other, paying]))
    plain = portable.plain(paying("homer"))
    assert plain == {"$call": "pay", "args": ["homer"], "kwargs": {}}
    assert portable.plain(Other("homer"))["$attrs"] == "Balance"
    assert portable.value(plain) == paying("homer")

    class Derived(Other):
        """Derived from one with a name: it has its own."""

    assert portable.plain(Derived("homer"))["$attrs"] == "Derived"


def test_values_can_choose_a_name_too() -> None:
    @attrs.frozen
    class Money:
        __stable_name__ = "money"
        amount: int

    class Hue(enum.Enum):
        __stable_name__ = "colour"
        RED = 1

    class Refused(Exception):
        __stable_name__ = "refused"

    names = Names([Money, Hue, Refused])
    assert [names.of(kind) for kind in (Money, Hue, Refused)] == ["money", "colour", "refused"]
    portable = Portable(names=names)
    assert portable.value(portable.plain([Money(1), Hue.RED])) == [Money(1), Hue.RED]


@pytest.mark.parametrize("name", ["", "a b", "eventsrc/Read", "os:system", "1st", "x" * 200])
def test_a_bad_name_is_refused_when_it_is_declared(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a name in recordings"):

        @program(name=name)
        def named() -> Do[StoreOp, None]:
            yield from ()

    with pytest.raises(ValueError, match="cannot be a name in recordings"):

        class Named(Query[int], name=name):
            pass


# --- many at once ---------------------------------------------------------------------------------

STATED = (EventsrcError,)
"""What a replay may raise, whatever is in the file."""


def some_runs(path: Path) -> list[Any]:
    store = MemoryStore()
    with RunFile(path) as runs:
        app = recording(bank(store), runs)
        app.run(deposit("homer", 100))
        app.run(pay_all("homer", ["marge", "bart"], 30))
        app.run(pay_all("homer", ["marge"], 300))
        app.run(sum_of(["homer", "marge"]))
        app.run(history("homer"))
        app.run(deposit("homer", 1).then(deposit("bart", 2)))
        app.run(pure([TooLittle("homer", 1)]).map(tuple))
        with pytest.raises(Broke):
            app.run(fail("homer"))
    here = [json.loads(line) for line in path.read_text().splitlines()]
    old = Path(__file__).parents[1] / "formats" / "4fdead8" / "recordings"
    lines = [
        line
        for name in ("answers", "values")
        for line in (old / f"{name}.jsonl").read_text().splitlines()
    ]
    return here + [json.loads(line) for line in lines]


def nodes(plain: Any) -> Iterator[tuple[Any, Any]]:
    """Each place in a value: its container, and its key."""
    items = plain.items() if isinstance(plain, dict) else enumerate(plain)
    for key, part in list(items):
        yield plain, key
        if isinstance(part, dict | list):
            yield from nodes(part)


def mutated(run: Any, others: list[Any], random: Random) -> Any:
    """A run with a few places changed, mostly to what names something."""
    run = copy.deepcopy(run)
    for _ in range(random.randrange(1, 5)):
        container, key = random.choice(list(nodes(run)))
        what = random.randrange(6)
        name = random.choice(NAMES)
        if what == 0:
            container[key] = random.choice(list(FORMS.values()))(name)
        elif what == 1:
            container[key] = {"$ref": name} if run.get("eventsrc") == 1 else {"$function": name}
        elif what == 2:
            its, at = random.choice(list(nodes(random.choice(others))))
            container[key] = copy.deepcopy(its[at])
        elif what == 3:
            container[key] = random.choice([None, -1, "", name, [], {}, {"$": 1}, 2**70])
        elif what == 4 and isinstance(container, dict):
            container[random.choice(["$attrs", "$call", "$error", "fields", "args", name])] = (
                container.pop(key)
            )
        else:
            named = [
                (c, k) for c, k in nodes(run) if k in ("$attrs", "$call", "$error", "$enum", "$ref")
            ]
            if named:
                its, at = random.choice(named)
                its[at] = name
    return run


def fuzz(tmp_path: Path, rounds: int) -> int:
    """Replays as many mutated runs; answers how many of them got as far as to be compared."""
    path, random, compared = tmp_path / "runs.jsonl", Random(17), 0
    runs = some_runs(path)
    for _ in range(rounds):
        run = mutated(random.choice(runs), runs, random)
        path.write_text(json.dumps(run))
        try:
            replay(path, bank(MemoryStore()), known=KNOWN)
        except STATED:
            continue
        compared += 1
    return compared


def test_no_mutated_recording_makes_what_is_not_known(tmp_path: Path) -> None:
    rounds = scaled(400, 20_000)
    compared = fuzz(tmp_path, rounds)
    assert made == []
    assert rounds / 20 < compared < rounds, "some are read, and some are refused"


def test_the_fuzzer_would_find_a_name_that_leads_to_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = Names._get

    def known_or_anything(self: Names, name: Any) -> Any:
        found = get(self, name)
        return found_anywhere(self, name) if found is None else found

    monkeypatch.setattr(Names, "_get", known_or_anything)
    monkeypatch.setattr("tests.recording.test_hostile.STATED", (Exception,))
    fuzz(tmp_path, 400)
    assert made


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000], ids=["lists", "objects"])
def test_deep_json_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text(f'{{"eventsrc":2,"program":{text}\n{text}')
    with pytest.raises((NotARecording, NotPortable)):
        replay(path)
