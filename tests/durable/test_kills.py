"""A worker is killed before and after each operation; its run ends as if nothing had happened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from eventsrc import AppendAll, Interpreter, MemoryStore, Now
from eventsrc.durable import _attempt
from eventsrc.durable._steps import parts_of
from tests.durable.conftest import MakeStore
from tests.durable.service import CODEC, Clock, Commands, Outside, Paid, facts, fulfilment, payments
from tests.kits.dying import Died, Dying, finish_dying


def run_dying(store: Interpreter[Any], dying: Dying) -> dict[str, Any]:
    """A run with one death; answers what is true at the end."""
    outside, clock = Outside(), Clock()

    def process(dying: Dying) -> Interpreter[Any]:
        below = dying.around(store) | dying.around(clock)
        return Commands().into(below) | below | dying.around(outside)

    app = process(Dying(0, after=False))
    app.run(payments["7"].append(Paid("7")))
    app.run(fulfilment.start("7", 30))
    status = finish_dying(process, fulfilment, "7", dying)
    assert status.state == "ended", status
    return {**facts(app, outside), "result": status.result}


def deaths(make_store: MakeStore) -> Iterator[tuple[int, bool, dict[str, Any]]]:
    """Each place to die at, and what is true at the end."""
    for after in (False, True):
        for at in range(1, 1_000):
            dying = Dying(at, after=after)
            found = run_dying(make_store(), dying)
            if not dying.has_died:
                assert at > 30
                break
            yield at, after, found


def test_a_run_that_is_killed_at_any_operation_ends_as_one_that_is_not(make_store: MakeStore) -> None:
    expected = run_dying(make_store(), Dying(0, after=False))
    assert expected["keys"] == 1
    assert len(expected["mailed"]) == 1
    for at, after, found in deaths(make_store):
        assert found == expected, f"killed {'after' if after else 'before'} operation {at}"


def test_control_an_append_before_its_entry_in_the_journal_is_made_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def first_the_effect(self: Any, op: Any, form: Any) -> Any:
        parts, conditions = parts_of(op)
        outcome = yield AppendAll(parts, conditions)
        self._note({"op": form, "answer": self._forms.portable.plain(outcome)})
        return outcome

    monkeypatch.setattr(_attempt.Attempt, "_append", first_the_effect)
    expected = run_dying(MemoryStore(CODEC), Dying(0, after=False))
    assert any(found != expected for _, _, found in deaths(lambda: MemoryStore(CODEC)))


def test_control_a_command_without_derived_ids_is_done_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_attempt._Within, "perform", lambda _self, op: (yield op))
    expected = run_dying(MemoryStore(CODEC), Dying(0, after=False))
    assert any(found != expected for _, _, found in deaths(lambda: MemoryStore(CODEC)))


def test_what_dies_performs_nothing_on_its_way_out() -> None:
    dying = Dying(1, after=False)
    with pytest.raises(Died):
        dying.around(Clock()).run(Now())
    assert dying.has_died
