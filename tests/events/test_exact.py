"""Checks made from types: they pass what comes back, and their paths lead to what would not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import GenericAlias
from typing import Annotated, Any, NewType
from uuid import UUID

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from eventsrc.events._exact import MAX_DEPTH, NotStorable, check_for, check_json
from tests.kits.values import (
    Circle,
    Kind,
    Square,
    Tree,
    UserId,
    Word,
    anything,
    came_back,
    json_values,
    kinds,
    texts,
)


class Nameless:
    """A class whose objects cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no name")


def is_refused(value: Any) -> bool:
    """Whether check_json refuses a value."""
    try:
        check_json(value)
    except NotStorable:
        return True
    return False


# --- JSON -----------------------------------------------------------------------------------------


@given(anything)
def test_a_value_passes_just_if_json_gives_it_back_as_it_was(value: Any) -> None:
    if not is_refused(value):
        assert came_back(value, json.loads(json.dumps(value, allow_nan=False)))


@given(json_values)
def test_json_passes(value: Any) -> None:
    check_json(value)


@given(anything)
def test_refusing_a_value_tells_why_in_a_line(value: Any) -> None:
    assume(is_refused(value))
    with pytest.raises(NotStorable) as refused:
        check_json(value)
    assert "\n" not in str(refused.value)
    assert len(refused.value.reason) < 250


@st.composite
def places_in_json(draw: st.DrawFn) -> tuple[Any, str]:
    """A value with a culprit somewhere in it, and the path to the culprit."""
    value: Any = draw(st.sampled_from([{1, 2}, (1,), b"x", 2**64, float("nan"), Word("x"), "\ud800"]))
    path = ""
    for name in draw(st.lists(texts | st.none(), max_size=5)):
        before = draw(st.lists(json_values, max_size=2))
        if name is None:
            value, path = [*before, value, *before], f"[{len(before)}]{path}"
        else:
            value, path = {f"{name}!": before, name: value, f"{name}?": 1}, f"[{name!r}]{path}"
    return value, path


@given(places_in_json())
def test_the_path_to_a_culprit_is_the_python_that_leads_to_it(place: tuple[Any, str]) -> None:
    value, path = place
    with pytest.raises(NotStorable) as refused:
        check_json(value)
    assert refused.value.path == path
    assert is_refused(eval(f"value{path}"))


@given(st.integers(0, MAX_DEPTH + 3), st.booleans())
def test_values_may_nest_a_hundred_deep(depth: int, in_dicts: bool) -> None:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value} if in_dicts else [value]
    assert is_refused(value) == (depth > MAX_DEPTH)


# --- types ----------------------------------------------------------------------------------------


@given(st.data())
def test_the_check_for_a_type_passes_its_values(data: st.DataObject) -> None:
    kind: Kind = data.draw(kinds)
    check = check_for(kind.annotation).check
    assert check is not None
    check(data.draw(kind.values))


@given(kinds, anything)
def test_the_check_for_a_list_finds_what_the_check_for_its_items_refuses(kind: Kind, item: Any) -> None:
    assume("Literal" not in str(kind.annotation))  # see "a list as a literal" in test_codec.py
    check, check_all = (
        check_for(kind.annotation).check,
        check_for(GenericAlias(tuple, (kind.annotation, ...))).check,
    )
    assert check is not None
    assert check_all is not None
    try:
        check(item)
    except NotStorable as bad:
        reason, path = bad.reason, bad.path
    else:
        check_all((item,))
        return
    with pytest.raises(NotStorable) as refused:
        check_all((item,))
    assert refused.value.reason == reason
    dot = "." if path and not path.startswith("[") else ""
    assert refused.value.path == f"[0]{dot}{path}"


@pytest.mark.parametrize(
    "annotation",
    [
        NewType("Deeper", UserId),
        Annotated[str, "a", "b"],
        Annotated[NewType("Wrapped", str), 1],
        str | None,
    ],
)
def test_a_name_for_a_type_is_checked_as_the_type(annotation: Any) -> None:
    check = check_for(annotation).check
    assert check is not None
    check("x")
    with pytest.raises(NotStorable, match="is an int, not a str"):
        check(5)


@pytest.mark.parametrize(
    "annotation",
    [
        list,
        dict[int, str],
        Sequence[int],
        int | float,
        UUID | str,
        list[int] | str,
        complex,
        Nameless,
        list[Nameless],
    ],
    ids=repr,
)
def test_there_is_no_check_for_a_type_that_only_comparing_can_tell_about(annotation: Any) -> None:
    assert not check_for(annotation).is_complete


def test_a_class_with_a_field_that_is_not_given_is_compared() -> None:
    @attrs.frozen
    class Derived:
        x: int
        twice: int = attrs.field(init=False, default=0)

    assert not check_for(Derived).is_complete


def test_an_object_of_a_subclass_is_refused_for_what_its_class_would_lose() -> None:
    @attrs.frozen
    class Named(Circle):
        name: str = "round"

    check = check_for(Circle).check
    assert check is not None
    with pytest.raises(NotStorable, match="Named, not a Circle"):
        check(Named(1.0))


def test_in_a_union_an_object_is_checked_by_its_own_class() -> None:
    check = check_for(Circle | Square | None).check
    assert check is not None
    check(None)
    check(Square(1.0, "x"))
    with pytest.raises(NotStorable, match="name cannot be stored: 5 is an int, not a str"):
        check(Square(1.0, 5))  # type: ignore[arg-type]


def test_a_class_that_contains_itself_is_checked_all_the_way_down() -> None:
    check = check_for(Tree).check
    assert check is not None
    with pytest.raises(NotStorable) as refused:
        check(Tree(1, None, (Tree(2), Tree(3, Tree("leaf")))))  # type: ignore[arg-type]
    assert refused.value.path == "others[1].left.leaf"


# --- what a refusal says --------------------------------------------------------------------------


def test_a_refusal_names_its_path_and_its_reason() -> None:
    bad = NotStorable("it is too blue", "sky").within("days[3]").within("week")
    assert str(bad) == "week.days[3].sky cannot be stored: it is too blue"
    assert str(NotStorable("it is too blue")) == "the value cannot be stored: it is too blue"


def test_a_long_value_is_shown_by_its_beginning() -> None:
    with pytest.raises(NotStorable) as refused:
        check_json({"a": ("x" * 1000,)})
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("value", [Nameless(), 10**5000], ids=["no repr", "5000 digits"])
def test_a_value_that_cannot_be_shown_can_be_refused(value: object) -> None:
    with pytest.raises(NotStorable):
        check_json([value])
