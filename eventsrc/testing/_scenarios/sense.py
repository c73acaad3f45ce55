"""Whether a scenario makes sense: what would pass and prove nothing is refused at once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from types import GeneratorType
from typing import Any

from eventsrc.programs._scope import MissingHandlers
from eventsrc.programs.interpreter import AsyncInterpreter, Interpreter
from eventsrc.programs.operation import Operation
from eventsrc.programs.program import Program, name_of
from eventsrc.stores.operations import ReadFeed
from eventsrc.testing._scenarios.faults import Fault
from eventsrc.testing._scenarios.running import BadScenario


def check_programs(_scenario: object, _attribute: object, programs: Mapping[str, Any]) -> None:
    """Raises BadScenario unless these are programs, with names for a story."""
    if not programs:
        raise BadScenario("a scenario needs a program, and one is of use with two")
    for name, its in programs.items():
        if not name or not name.replace("_", "").isalnum():
            raise BadScenario(f"{name!r} is no name for a program: use letters, digits and _")
        check_program(name, its)


def check_before(_scenario: object, _attribute: object, before: Any) -> None:
    """Raises BadScenario unless this is a program, or None."""
    if before is not None:
        check_program("before", before)


def check_program(name: str, its: Any) -> None:
    """Raises BadScenario unless this is a program that can be run again and again."""
    if isinstance(its, GeneratorType):
        raise BadScenario(
            f"{name} is a body, which runs only once: decorate {its.__name__} with @program"
        )
    if not isinstance(its, Operation | Program):
        if callable(its):
            raise BadScenario(f"{name} is the function {name_of(its)}: call it, to have its program")
        if isinstance(its, Collection) or not hasattr(its, "__iter__"):
            raise BadScenario(f"{name} is {its!r:.200}, which is neither a program nor an operation")


def check_maker(_scenario: object, _attribute: object, make: Any) -> None:
    """Raises BadScenario unless this makes interpreters."""
    if isinstance(make, AsyncInterpreter) or not callable(make):
        raise BadScenario(
            f"`on` is {make!r:.200}: give a function that makes a new interpreter for each run, such "
            "as `on=lambda: SimulatedStore() | Users()`"
        )


def check_judge(_scenario: object, attribute: Any, judge: Any) -> None:
    """Raises BadScenario unless this is a function of how a run ended, or None."""
    if judge is None:
        return
    problem = "" if callable(judge) else "is no function"
    try:
        if callable(judge):
            inspect.signature(judge).bind(None)
    except TypeError as error:
        problem = str(error)
    except ValueError:  # a function of C, whose parameters nobody knows
        pass
    if problem:
        raise BadScenario(
            f"`{attribute.name}` is to be a function of one argument, how a run ended, and "
            f"{name_of(judge)} is not: {problem}"
        )


def check_faults(_scenario: object, _attribute: object, faults: Any) -> None:
    """Raises BadScenario unless these are faults."""
    if isinstance(faults, str) or not isinstance(faults, Iterable):
        raise BadScenario(f"faults={faults!r} is not some faults: write faults=[LOST]")


def faults_of(faults: Iterable[Any]) -> tuple[Fault, ...]:
    """The faults. Raises BadScenario for what is none."""
    found = tuple(faults)
    for fault in found:
        if not isinstance(fault, Fault):
            raise BadScenario(f"{fault!r} is no fault: write LOST, or another of EVERY_FAULT")
    return found


def check_number(name: str, number: int, least: int) -> None:
    """Raises BadScenario for a number with which nothing would be tried."""
    if number < least:
        raise BadScenario(f"{name}={number} is too small: give a number, at least {least}")


def fresh(app: Any) -> Interpreter[Any]:
    """An interpreter for a run. Raises BadScenario if it is none, or over a store with events in it."""
    if not isinstance(app, Interpreter):
        what = "an asynchronous interpreter" if isinstance(app, AsyncInterpreter) else f"{app!r:.200}"
        raise BadScenario(
            f"a run is made on {what}, and needs an Interpreter: give one whose handlers are "
            "functions, such as those of a SimulatedStore"
        )
    try:
        page = app.run(ReadFeed(limit=1, all_streams=True))
    except MissingHandlers:
        return app
    if page.events:
        raise BadScenario(
            "the store of a run has events before anything was done, the first of them "
            f"{page.events[0]!r:.200}: make a new store for each run, in the function that makes its "
            "interpreter, and store what is to be there by `before`"
        )
    return app


def unshared(make: Callable[[], Any]) -> None:
    """Raises BadScenario if the same interpreter is made for two runs."""
    one, other = make(), make()
    if one is other:
        raise BadScenario(
            f"`on` answers the same {type(one).__qualname__} again, and what one run does would be "
            "there in the next: make a new one each time"
        )


def judged(judge: Any, answer: Any, otherwise: str) -> str | None:
    """The complaint in an answer of `holds`; None if there is none.

    Raises BadScenario for an answer that tells neither.
    """
    if answer is None or answer is True:
        return None
    if answer is False:
        return otherwise
    if type(answer) is list and all(type(reason) is str for reason in answer):
        return "\n".join(answer) or (otherwise if answer else None)
    raise _unclear("holds", judge, answer, "a bool, or a list of what is wrong, or assert")


def observed(judge: Any, answer: Any) -> Any:
    """The observation of `linearizable`. Raises BadScenario for a program: it has observed nothing."""
    if isinstance(answer, Operation | Program | GeneratorType):
        raise _unclear("linearizable", judge, answer, "what was seen")
    return answer


def _unclear(name: str, judge: Any, answer: Any, wanted: str) -> BadScenario:
    return BadScenario(
        f"`{name}` ({name_of(judge)}) answered {answer!r:.200}: answer {wanted}; run programs by "
        "after.run"
    )
