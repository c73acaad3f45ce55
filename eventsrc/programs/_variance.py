"""Types for type checkers alone: they say what they know in the form in which checkers infer best.

Handles, SyncHandles and Translates have two parameters that are always the same operations. With one,
mypy (2.4) would infer the operations of the right operand of `a | b` from the type that is expected of
the whole, and then report the operand; a choice between two parameters, which the expected type leaves
open, makes it go by the operand, as pyright does anyway.

Wrappable and Below say in one signature that an Interpreter gives an Interpreter and an
AsyncInterpreter an AsyncInterpreter. Overloads would say it too, but an argument with an Any among its
types matches both, and the call is then Any to both checkers.
"""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

K_co = TypeVar("K_co", covariant=True)
L_co = TypeVar("L_co", covariant=True)
L_contra = TypeVar("L_contra", contravariant=True)
O_contra = TypeVar("O_contra", contravariant=True)
O2_contra = TypeVar("O2_contra", contravariant=True)
O_co = TypeVar("O_co", covariant=True)


class Handles(Generic[O_contra, O2_contra]):
    """The operand of `|`, but for its operations an AsyncInterpreter."""


class SyncHandles(Handles[O_contra, O2_contra]):
    """The operand of `|`, but for its operations an Interpreter."""


class Translates(Generic[O_contra, O2_contra, L_co]):
    """The operand of `|`, but for its operations a Translation."""


class Wrappable(Protocol[K_co]):
    """An interpreter of which others of its own type, K, are made."""

    def _rescoped(self, scope: Any) -> K_co: ...


class Below(Protocol[L_contra, O_co, K_co]):
    """An interpreter of L, over which a translation of O becomes a K."""

    def _below(self, upper: Translates[O_co, O_co, L_contra]) -> K_co: ...
