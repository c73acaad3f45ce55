"""Operations, histories and programs are drawn from types, and make sense to those who perform them."""

from __future__ import annotations

from typing import Any, NewType

import attrs
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from eventsrc import Command, Failure, Interpreter, MemoryStore, Outcome, Success, event, on
from eventsrc.programs.program import in_turn
from eventsrc.testing import events, histories, operations, programs
from tests.kits.shops import HOMER, MARGE, Deposited, Withdrawn, accounts

UserId = NewType("UserId", str)


class AddUser(Command[UserId]):
    """Adds somebody, and answers who that is."""

    name: str


class Rename(Command[Outcome[None, str]]):
    """Gives somebody another name."""

    user: UserId
    name: str
    formal: bool = False


class Users(Interpreter[AddUser | Rename]):
    """Users in a list."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    @on(AddUser)
    def add_user(self, op: AddUser) -> UserId:
        user = UserId(f"user {len(self.names)}")
        self.names[user] = op.name
        return user

    @on(Rename)
    def rename(self, op: Rename) -> Any:
        if op.user not in self.names:
            return Failure("nobody")
        self.names[op.user] = op.name
        return Success(None)


@given(operations(AddUser, Rename))
def test_operations_are_made_of_their_fields_types(op: AddUser | Rename) -> None:
    assert isinstance(op.name, str)
    assert isinstance(op, AddUser) or isinstance(op.user, str)


@settings(deadline=None)
@given(histories(accounts[HOMER], accounts[MARGE]))
def test_histories_can_have_happened(history: tuple[Any, ...]) -> None:
    store = MemoryStore()
    done = store.run(in_turn(history, lambda append: append))
    assert all(isinstance(answer, Success) for answer in done)
    assert {type(event) for append in history for event in append.events} <= {Deposited, Withdrawn}


@settings(deadline=None)
@given(programs(AddUser, Rename))
def test_programs_perform_operations_and_answer_their_answers(drawn: Any) -> None:
    answers = Users().run(drawn)
    assert len(answers) == len(drawn.args[0])
    assert repr(drawn).startswith("performing(")


ADD = st.builds(AddUser, st.just("homer"))
RENAME = st.builds(Rename, st.just(UserId("?")), st.just("bart"))


def renames_somebody(drawn: Any) -> bool:
    return Success(None) in Users().run(drawn)


def test_programs_can_use_what_earlier_answers_brought() -> None:
    find(programs(ADD, RENAME, reusing=[UserId]), renames_somebody)


def test_control_without_that_ids_are_never_right() -> None:
    with pytest.raises(NoSuchExample):
        find(programs(ADD, RENAME), renames_somebody, settings=settings(max_examples=200))


# --- events of classes that refuse values


@event("test.strategies.paid")
class Paid:
    cents: int = attrs.field(validator=attrs.validators.ge(0))


@event("test.strategies.picky")
class Picky:
    word: str = attrs.field(validator=attrs.validators.in_(["the only one"]))


@given(events(Paid))
def test_values_that_a_class_refuses_are_left_out(paid: Paid) -> None:
    assert paid.cents >= 0


def test_a_class_that_refuses_all_is_named_with_the_remedy() -> None:
    @settings(database=None)
    @given(events(Picky))
    def check(_: Picky) -> None:
        """Never called."""

    with pytest.raises(ValueError, match=r"Picky refused all of 40 .*st\.builds\(Picky, \.\.\.\)"):
        check()
