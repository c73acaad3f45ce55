"""The story of a run in lines: who did what, what they saw, and what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import attrs
from returns.result import Failure, Success

from eventsrc.events.positions import Cursor, Token
from eventsrc.events.recorded import Recorded
from eventsrc.stores.operations import (
    ANY,
    EXISTS,
    NO_STREAM,
    Append,
    Appended,
    Conflict,
    Expected,
    FeedPage,
    FindAppend,
    Head,
    Page,
    Read,
    ReadFeed,
    Unknown,
)
from eventsrc.stores.tags import APPENDS, AnyAppend, AppendIf, BoundaryChanged, ReadTagged, parts_of
from eventsrc.testing._scenarios.faults import Fault
from eventsrc.testing._scenarios.running import (
    BadSchedule,
    Begin,
    Choice,
    Crashed,
    End,
    Raised,
    Replying,
    Running,
    Step,
)
from eventsrc.views.operations import Applied, Apply, GetProgress, Progress
from eventsrc.views.view import View

WIDTH: Final = 100
"""The most characters of an operation, and of an answer."""

LONG: Final = 40
"""The steps of a long run that are shown from its beginning, and from its end."""

EVENTS: Final = 4
"""The most events that are shown of several."""

_WRONG: Final = {
    Fault.CONFLICT: "and is refused",
    Fault.REFUSED: "and is refused",
    Fault.DROPPED: "which is lost on its way",
    Fault.LOST: "and the answer is lost",
    Fault.LATE: "which is held up on its way",
    Fault.AGAIN: "which will come twice",
    Fault.SLOW: "which takes an hour",
    Fault.STALLED: "is stalled for an hour before it",
    Fault.CRASH: "and crashes before it",
    Fault.RESTART: "and is restarted before it",
}

_BEFORE: Final = (Fault.STALLED, Fault.CRASH, Fault.RESTART)
"""Faults that come before the operation, which is not performed then."""

_UNANSWERED: Final[dict[Any, str]] = {
    Fault.CRASH: "crashes before anybody gets its answer",
    Fault.RESTART: "is restarted before anybody gets its answer",
}


def story(
    why: str, steps: Iterable[Step], outcomes: Mapping[str, Any], aside: Sequence[str] = ()
) -> str:
    """The whole of a run, and why it is not right.

    aside: programs that ran when the others had ended, and of which there is nothing to tell.
    """
    lines = [why, ""]
    told = [step for step in steps if _is_told(step) and step.process.partition(".")[0] not in aside]
    width = max((len(step.process) for step in told), default=0)
    for number, step in enumerate(told, 1):
        if LONG < number <= len(told) - LONG:
            if number == LONG + 1:
                lines.append(f"      and {len(told) - 2 * LONG} more steps, until")
            continue
        lines.append(f"{number:4}  {step.process:{width}}  {_did(step)}")
        if (saw := _saw(step)) is not None:
            lines.append(f"{'':{width + 8}}  -> {saw}")
    if aside:
        lines.append(f"      besides, each by itself: {', '.join(aside)}")
    lines.append("")
    for name, outcome in outcomes.items():
        if name not in aside:
            lines.append(f"      {name:{width}}  {_ended(outcome)}")
    return "\n".join(lines)


def trace(running: Running) -> str:
    """A run as text that is the same wherever and whenever the same choices are made."""
    return story("", running.steps, running.outcomes)


def _is_told(step: Step) -> bool:
    """Whether something is to be told of a step."""
    return not isinstance(step.op, Begin | End | Replying) or step.variant is not None


def _did(step: Step) -> str:
    if isinstance(step.op, Replying):
        return _UNANSWERED[step.variant]
    wanted = cut(operation(step.op))
    if isinstance(step.variant, Fault):
        wrong = _WRONG[step.variant]
        return f"{wrong}: {wanted}" if step.variant in _BEFORE else f"{wanted}: {wrong}"
    return f"(which was on its way) {wanted}" if step.is_again else wanted


def _saw(step: Step) -> str | None:
    if step.variant in _BEFORE:
        return None
    return f"raises {cut(shown(step.error))}" if step.error is not None else cut(answer(step.answer))


def _ended(outcome: Any) -> str:
    if isinstance(outcome, Crashed):
        return "crashed"
    if isinstance(outcome, Raised):
        return f"raised {cut(shown(outcome.error))}"
    return f"ended with {cut(answer(outcome))}"


def cut(text: str) -> str:
    """A text in one line, with what is too long left out."""
    text = " ".join(text.split())
    return text if len(text) <= WIDTH else text[: WIDTH - 3] + "..."


# --- operations and answers -----------------------------------------------------------------------


def operation(op: Any) -> str:
    """The operation, in words."""
    tell = _OPERATIONS.get(type(op))
    return shown(op) if tell is None else tell(op)


def answer(value: Any) -> str:
    """The answer, in words."""
    if isinstance(value, Success):
        value = value.unwrap()
        return answer(value) if isinstance(value, Appended) else f"Success({shown(value)})"
    if isinstance(value, Failure):
        value = value.failure()
        return answer(value) if isinstance(value, Conflict | Unknown) else f"Failure({shown(value)})"
    tell = _ANSWERS.get(type(value))
    return shown(value) if tell is None else tell(value)


def _events(events: Sequence[Any]) -> str:
    parts = [shown(event.data if isinstance(event, Recorded) else event) for event in events[:EVENTS]]
    if len(events) > EVENTS:
        parts.append(f"and {len(events) - EVENTS} more")
    return ", ".join(parts)


def _expecting(expected: Expected, stream: str) -> str:
    if expected is ANY:
        return ""
    if expected is NO_STREAM or expected is EXISTS:
        return " if it does not exist" if expected is NO_STREAM else " if it exists"
    return f" at version {expected[stream] if isinstance(expected, Token) else expected}"


def _append(op: AnyAppend) -> str:
    told = [
        f"{_events(part.events)} to {part.stream}{_expecting(part.expected, part.stream)}"
        for part in parts_of(op)
    ]
    text = "appends " + " and ".join(told)
    conditions: list[str] = []
    if not isinstance(op, Append):
        conditions += [f"{c.stream} is{_expecting(c.expected, c.stream)}" for c in op.conditions]
    if isinstance(op, AppendIf):
        conditions += [f"no event came of {its.boundary}" for its in op.unchanged]
    return f"{text}, if {' and '.join(conditions)}" if conditions else text


def _read(op: Read) -> str:
    after = f" after version {op.after}" if op.after else ""
    return f"reads {op.stream}{after}{' backwards' if op.backwards else ''}"


def _apply(op: Apply) -> str:
    parts = [f"{event.stream}@{event.version}" for event in op.events[:EVENTS]]
    if len(op.events) > EVENTS:
        parts.append(f"and {len(op.events) - EVENTS} more")
    return f"applies {', '.join(parts) or 'no events'} to view {op.view.name}"


def _applied(applied: Applied) -> str:
    text = f"{applied.applied} applied"
    if applied.ignored:
        text += f", {applied.ignored} known before"
    for gap in applied.gaps:
        text += f", {gap.stream} is at {gap.applied} and {gap.came} came"
    for failed in applied.failed:
        text += f", {failed.stream}@{failed.version} failed: {failed.error}"
    return text


def _page(page: Page[Any]) -> str:
    return f"version {page.head}: {_events(page.events)}" if page.events else f"version {page.head}"


def _feed_page(page: FeedPage[Any] | BoundaryChanged) -> str:
    return f"{', '.join(map(repr, page.events[:EVENTS])) or 'nothing more'}"


def _appended(appended: Appended) -> str:
    return "stored: " + ", ".join(f"{stream}@{n}" for stream, n in appended.token.versions.items())


_OPERATIONS: Final[dict[type, Callable[[Any], str]]] = {
    **dict.fromkeys(APPENDS, _append),
    Read: _read,
    Head: lambda op: f"asks for the version of {op.stream}",
    ReadFeed: lambda op: f"reads the feed after position {op.after.position}",
    ReadTagged: lambda op: f"reads what there is of {op.boundary}",
    FindAppend: lambda op: f"asks what became of append {op.append_id}",
    Apply: _apply,
    GetProgress: lambda op: f"asks how far view {op.view.name} has come",
}

_ANSWERS: Final[dict[type, Callable[[Any], str]]] = {
    Page: _page,
    FeedPage: _feed_page,
    Appended: _appended,
    BoundaryChanged: lambda conflict: f"Conflict: {_feed_page(conflict)} came",
    Conflict: lambda conflict: f"Conflict: {conflict.stream} is at version {conflict.actual}",
    Unknown: lambda unknown: f"Unknown: {unknown.reason}",
    Applied: _applied,
    Progress: lambda progress: f"to position {progress.cursor.position}",
}


# --- values ---------------------------------------------------------------------------------------


def shown(value: Any) -> str:
    """A value's repr, but for sets, whose order differs from one run of Python to the next."""
    value_type = type(value)
    if value_type in (set, frozenset):
        return f"{{{', '.join(sorted(map(shown, value)))}}}"
    if value_type is list:
        return f"[{', '.join(map(shown, value))}]"
    if value_type is tuple:
        return f"({', '.join(map(shown, value))}{',' if len(value) == 1 else ''})"
    if value_type is dict:
        return f"{{{', '.join(f'{shown(key)}: {shown(its)}' for key, its in value.items())}}}"
    if value_type is Success or value_type is Failure:
        inner = value.unwrap() if value_type is Success else value.failure()
        return f"{value_type.__name__}({shown(inner)})"
    if value_type in (Token, Cursor, View):
        return repr(value)
    if attrs.has(value_type) and _is_generated(value_type.__repr__):
        fields = [(its.name, getattr(value, its.name)) for its in attrs.fields(value_type) if its.repr]
        return f"{value_type.__qualname__}({', '.join(f'{name}={shown(its)}' for name, its in fields)})"
    return repr(value)


def _is_generated(method: Any) -> bool:
    code = getattr(method, "__code__", None)
    return code is not None and code.co_filename.startswith("<attrs generated")


# --- schedules as text ----------------------------------------------------------------------------


def as_text(choices: Sequence[Choice]) -> str:
    """A schedule in a line: "ann*2 bob!lost ann:0.9"."""
    return " ".join(
        f"{each}*{count}" if (count := len(list(group))) > 1 else each
        for each, group in groupby(map(_one, choices))
    )


def _one(choice: Choice) -> str:
    name, variant = choice
    if variant is None:
        return name
    return f"{name}!{variant.value}" if isinstance(variant, Fault) else f"{name}:{variant}"


def of_text(text: str) -> list[Choice]:
    """The schedule that `as_text` wrote. Raises BadSchedule for what it would not write."""
    return [choice for part in text.split() for choice in _several(part)]


def _several(part: str) -> Iterator[Choice]:
    each, _, count = part.partition("*")
    try:
        if "!" in each:
            name, _, fault = each.partition("!")
            choice: Choice = name, Fault(fault)
        elif ":" in each:
            name, _, chance = each.partition(":")
            choice = name, float(chance)
        else:
            choice = each, None
        times = int(count) if count else 1
    except ValueError:
        raise BadSchedule(
            f"{part!r} is no step: write a program's name, with !lost or another fault or :0.5 for a "
            "chance after it, and *3 to repeat it"
        ) from None
    for _ in range(times):
        yield choice
