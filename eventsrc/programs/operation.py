"""Operations: what a service may ask for.

An operation is an immutable value that asks for something and names the type of its answer. It is
declared by a class statement and nothing else:

    class Save(Command[Outcome[UserId, NameTaken]]):
        user: NewUser

    class UserByName(Query[User | None]):
        name: str

    App: TypeAlias = Save | UserByName      # several kinds of operations together: a union

`answer = yield from UserByName("homer")`, in a program, has the type that the operation names.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, ClassVar, Generic, NoReturn, Self, TypeVar, dataclass_transform

import attrs

from eventsrc.programs.program import (
    Bind,
    Do,
    Effect,
    Map,
    Program,
    following,
    stable_name,
    unperformed,
)

B = TypeVar("B")
O = TypeVar("O")
R = TypeVar("R")


def _named_as_written(_cls: type, fields: list[attrs.Attribute[Any]]) -> list[attrs.Attribute[Any]]:
    """Has `_name: str` initialised as `_name=`, as type checkers expect; attrs would say `name=`."""
    return [
        field.evolve(alias=field.name) if field.alias == field.name.lstrip("_") else field
        for field in fields
    ]


@dataclass_transform(frozen_default=True, field_specifiers=(attrs.field,))
class Operation(Generic[R]):
    """Base of operations; R is the type of the operation's answer.

    By being declared, a subclass becomes a frozen attrs class: equality, hash, repr and `match`
    patterns come with it, and `attrs.field` gives defaults and validators. In recordings it has the
    class's own name, or the one that is declared, as in `class Save(Command[None], name="save")`.
    """

    # R is invariant: a function taking an operation and an answer for it then takes just the declared
    # answer; were R covariant, type checkers would widen the two to `object` and take any.

    __attrs_attrs__: ClassVar[Any]
    __stable_name__: ClassVar[str]

    def __init_subclass__(cls, *, name: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if name is not None:
            cls.__stable_name__ = stable_name(name)
        # Without slots, so that the class is changed in place: a slotted copy would leave the original
        # behind in __subclasses__, and a frozen class is made no faster by slots.
        attrs.define(
            cls, frozen=True, slots=False, auto_attribs=True, field_transformer=_named_as_written
        )
        with contextlib.suppress(NameError):  # of a name that is defined later, or in a function
            attrs.resolve_types(cls)  # Hypothesis reads no postponed annotations

    def __iter__(self) -> Do[Self, R]:
        return (yield self)  # type: ignore[misc,no-any-return]  # pyright: ignore

    def __bool__(self) -> NoReturn:
        unperformed(self)

    def map(self, function: Callable[[R], B]) -> Program[Self, B]:
        """A program performing this operation, with the answer passed through a function."""
        return Map(self, function)  # type: ignore[arg-type]

    def and_then(self, function: Callable[[R], Effect[O, B]]) -> Program[Self | O, B]:
        """A program performing this operation, then what the function makes of the answer."""
        return Bind(self, function)  # type: ignore[arg-type]

    def then(self, effect: Effect[O, B]) -> Program[Self | O, B]:
        """A program performing this operation, then another program, whose result is the result."""
        return following(self, effect)


class Query(Operation[R]):
    """An operation that only reads: it may be repeated, cached, batched and run beside others."""


class Command(Operation[R]):
    """An operation that may write."""


class Derived(Query[R]):
    """A query with a meaning of its own, a program over lower operations, which needs no handler.

    The run loop performs the meaning where no interpreter handles the operation; one that does may do
    better. So a service's types may name the lower operations in place of this one.
    """

    lower: ClassVar[tuple[type[Operation[Any]], ...]]
    """The operations that the meaning may perform."""

    def meaning(self) -> Effect[Any, R]:
        """The program to perform in place of the operation."""
        raise NotImplementedError(f"{type(self).__qualname__} derives from Derived, and has no meaning")
