"""Nothing that is stored or sent is run, and signatures are compared in constant time."""

from __future__ import annotations

import ast
import hmac
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import eventsrc
from eventsrc.events.positions import BadToken, Token
from eventsrc.events.stream_id import StreamId
from eventsrc.http.signing import Signed
from eventsrc.publishing.signing import BadSignature, received, signed

ROOT = Path(eventsrc.__file__).parent

MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle", "code"}
CALLS = {"eval", "exec", "compile", "__import__", "import_module"}

SAFE = {
    "events/_source.py": "source that is put together of the names of fields, which are identifiers",
    "_pickling.py": "by the module and name with which this library made a value picklable",
    "cli/_target.py": "the module that the user of the command line names",
    "forgotten.py": "the modules that the user of the command line names",
}


def evaluations(source: str) -> Iterator[str]:
    """What of a source may run what it is given."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (each.name for each in names if each.name.split(".")[0] in MODULES)
            case ast.ImportFrom(module=str() as module) if module.split(".")[0] in MODULES:
                yield module
            case ast.Call(func=ast.Name(id=name)) if name in CALLS:
                yield name
            case ast.Call(func=ast.Attribute(attr="import_module")):
                yield "import_module"
            case _:
                pass


def test_nothing_is_pickled_or_evaluated() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): [*evaluations(path.read_text())]
        for path in sorted(ROOT.rglob("*.py"))
    }
    assert {name for name, its in found.items() if its} == {*SAFE}


@pytest.mark.parametrize(
    "planted",
    [
        "import pickle",
        "from pickle import loads",
        "import marshal as m",
        "eval('1')",
        "exec(compile('1', '', 'exec'))",
        "importlib.import_module(name)",
        "__import__(name)",
    ],
)
def test_control_what_is_planted_is_found(planted: str) -> None:
    assert [*evaluations(planted)]


# --- signatures

TOKEN = Token("store", {StreamId("a"): 1})
OTHER_KEY = b"o" * 32


def of_a_token(text: str) -> None:
    Signed(b"k" * 32, older=[OTHER_KEY]).read(text)


def of_a_request(mark: str) -> None:
    headers = signed(b"{}", "1", 7, b"k" * 32) | {"webhook-signature": f"v1,{mark}"}
    received(b"{}", headers, b"k" * 32, OTHER_KEY, clock=lambda: 7.0)


KNOWN: list[tuple[Callable[[str], None], str]] = [
    (of_a_token, Signed(b"k" * 32).write(TOKEN)),
    (of_a_request, signed(b"{}", "1", 7, b"k" * 32)["webhook-signature"].partition(",")[2]),
]


@pytest.mark.parametrize(("check", "text"), KNOWN, ids=["a token", "a request"])
@pytest.mark.parametrize("place", [0, -2])
def test_a_signature_is_compared_as_a_whole_wherever_it_is_wrong(
    check: Callable[[str], None], text: str, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[int] = []
    compare = hmac.compare_digest

    def noting(one: Any, other: Any) -> bool:
        compared.append(len(one) + len(other))
        return compare(one, other)

    begin = text.rpartition(".")[0]
    signature = [*text.removeprefix(begin)]
    at = place if place < 0 else len(signature) - len(text.rpartition(".")[2])
    signature[at] = "A" if signature[at] != "A" else "B"
    monkeypatch.setattr(hmac, "compare_digest", noting)
    with pytest.raises((BadToken, BadSignature)):
        check(begin + "".join(signature))
    assert len(compared) == 2, "with each of the keys"
    assert len({*compared}) == 1
