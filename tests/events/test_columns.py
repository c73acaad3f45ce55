"""Whoever is sure that many values pass is right, and is sure of what events mostly are."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsrc.events._columns import glance_for
from eventsrc.events._exact import NotStorable, check_for
from tests.events.values import Colour, Count, Kind, Money, Square, Tree, Word, anything, kinds

NOON = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)


@attrs.frozen
class Plain:
    """A class of what events mostly are."""

    id: UUID
    name: str
    at: dt.datetime
    count: Count
    tags: list[str]
    colour: Colour
    nick: str | None = None


PLAIN = Plain(UUID(int=1), "Homer", NOON, Count(3), ["a", "b"], Colour.RED)


def but(**changes: Any) -> Plain:
    """A plain object with other values in some fields, whatever their types."""
    return attrs.evolve(PLAIN, **changes)


def passes(kind: Any, value: Any) -> bool:
    """Whether the check of a type passes a value."""
    try:
        check_for(kind).check(value)
    except NotStorable:
        return False
    return True


@given(st.data())
def test_what_is_sure_to_pass_passes(data: st.DataObject) -> None:
    kind: Kind = data.draw(kinds)
    values = data.draw(st.lists(kind.values | anything, min_size=1, max_size=4))
    if glance_for(kind.annotation)(values):
        assert all(passes(kind.annotation, value) for value in values)


@pytest.mark.parametrize("count", [1, 2, 100])
def test_objects_of_plain_fields_are_sure_to_pass(count: int) -> None:
    assert glance_for(Plain)([PLAIN, but(nick="H", tags=[])] * count)


@pytest.mark.parametrize(
    "odd",
    [
        but(id="1"),
        but(name="\ud800"),
        but(name=Word("x")),
        but(at=NOON.replace(fold=1)),
        but(at=NOON.astimezone(dt.timezone(dt.timedelta(seconds=1)))),
        but(count=2**63),
        but(count=True),
        but(tags=("a",)),
        but(tags=["a", None]),
        but(colour="red"),
        but(nick=5),
        Square(1.0),
    ],
    ids=repr,
)
def test_one_odd_value_among_many_is_enough_not_to_be_sure(odd: Any) -> None:
    assert not glance_for(Plain)([PLAIN, PLAIN, odd, PLAIN])


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Tree, [Tree(1), Tree(2)]),
        (Money, [Money(Decimal(1), "EUR")]),
        (dict[str, int], [{"a": 1}]),
        (int | str, [1, "a"]),
    ],
    ids=repr,
)
def test_of_other_types_it_is_never_sure(kind: Any, values: Sequence[Any]) -> None:
    assert not glance_for(kind)(values)
