"""One run of several programs at once, a step at a time: each step is one operation of one of them.

Whoever chooses the steps (exploring.py, sampling.py, a text that is pasted into a test) decides
everything that could differ from run to run: whose turn it is, what goes wrong, what chance yields.
A program's time, ids and chance are answered here, so that they depend on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias
from uuid import UUID, uuid5

import attrs
from returns.result import Failure

from eventsrc._errors import EventsrcError
from eventsrc.events.positions import Token
from eventsrc.programs import _loop
from eventsrc.programs._scope import Scope
from eventsrc.programs.operation import Query
from eventsrc.programs.world import Chance, Elapsed, NewId, Now, Sleep
from eventsrc.stores.operations import ANY, Append, Conflict, StoreBusy, Unknown
from eventsrc.stores.tags import AnyAppend, AppendIf, BoundaryChanged
from eventsrc.testing._scenarios.faults import (
    HOUR,
    STALLED,
    AnswerLost,
    Fault,
    can_happen,
    goes_by_the_clock,
)
from eventsrc.testing._scenarios.simulation import EPOCH, append_id, the_time

Variant: TypeAlias = Fault | float | None
"""The way a step is taken: as it should be, with something going wrong, or with this chance."""

Choice: TypeAlias = tuple[str, Variant]
"""The process that takes a step, and the way."""

A_MOMENT: Final = 0.001
"""The seconds that an operation takes by the clock of its program."""

_NAMES: Final = UUID("6f3d4a6e-0f0b-5c3e-9d6f-6b1d3c1c7a55")
_BEGAN: Final = datetime.fromtimestamp(EPOCH, UTC)
_LOCAL: Final = frozenset([Now, Elapsed, NewId, Sleep])
_PERFORMED: Final = frozenset([None, Fault.CONFLICT, Fault.LOST, Fault.AGAIN, Fault.SLOW])
"""The ways to take a step in which an operation comes to its handler."""

_NEVER: Final = 2**40
"""A version that no stream has."""

MOST_CLEANUPS: Final = 1_000
"""The most operations that a program may ask for after its end, before it is left as it is."""

PATIENCE: Final = 5
"""The times in a row that a program is told the same before it is taken to wait for the others."""


class NotAsBefore(EventsrcError):
    """A program did not do in one run what it had done in another with the same answers."""


class BadScenario(EventsrcError, ValueError):
    """A scenario makes no sense."""


class Endless(EventsrcError):
    """A program took as many steps as it may, and would have gone on."""


class BadSchedule(EventsrcError):
    """A schedule asks for a step that cannot be taken."""


class Begin:
    """A program is asked to run, where real time counts."""

    def __repr__(self) -> str:
        return "begins"


class End:
    """A program has answered, where real time counts."""

    def __repr__(self) -> str:
        return "ends"


class Replying:
    """A program gives its answer, where it may end before anybody gets it."""

    def __repr__(self) -> str:
        return "answers"


@attrs.frozen
class Raised:
    """A program ended by raising this."""

    error: BaseException


@attrs.frozen
class Crashed:
    """A program was ended by a crash."""


@attrs.define(eq=False)
class Step:
    """One step of a run: an operation, and its answer or the exception that it raised.

    is_again: whether nobody waited for the answer: it was held up on its way, or came a second time.
    began, ended: when; in a simulation the step's number.
    """

    process: str
    variant: Variant
    op: Any
    answer: Any = None
    error: BaseException | None = None
    is_again: bool = False
    began: float = 0.0
    ended: float = 0.0


@attrs.define
class Plan:
    """The programs to run, and the faults that they may meet."""

    programs: Mapping[str, Any]
    make: Callable[[], Scope]
    """Makes the handlers of a run, over a store that nobody has used."""
    before: Any = None
    """A program that is run before the others."""
    faults: tuple[Fault, ...] = ()
    most_faults: int = 1
    chances: tuple[float, ...] = (0.5,)
    real_time: bool = False
    most_steps: int = 2_000


class _Actor:
    """A program that is being run, with its clock.

    stalled: how much of the time for which some program was stalled its clock shows.
    moments: how often it has asked what nobody else can notice.
    told: what it was told last, and how often in a row, if it has only slept in between.
    """

    __slots__ = (
        "answers",
        "children",
        "deliveries",
        "has_slept",
        "ids",
        "moments",
        "name",
        "process",
        "program",
        "running",
        "seconds",
        "stalled",
        "told",
    )

    def __init__(self, name: str, program: Any, seconds: float, stalled: float) -> None:
        self.name = name
        self.program = program
        self.running: Generator[Any, Any, Any] | None = None
        self.seconds = seconds
        self.stalled = stalled
        self.ids = 0
        self.moments = 0
        self.deliveries = 0
        self.has_slept = False
        self.told: tuple[Any, Any, int] | None = None
        self.answers: list[Any] = []  # of a round: of each branch, once it has come
        self.children: dict[str, int] = {}  # of a round: the branches that wait, by process
        self.process = Process(name, self, _nothing, None, ())


class Process:
    """Something that can take the next step: a program, a branch of one, a command on its way.

    after: the numbers of the steps that it directly follows from.
    seconds, stalled: as of its program when the operation was asked for. What is done side by side,
        and what is on its way, has this time to itself.
    """

    __slots__ = ("actor", "after", "handler", "is_delivery", "name", "op", "seconds", "stalled")

    def __init__(
        self,
        name: str,
        actor: _Actor,
        handler: Callable[[Any], Any],
        op: Any,
        after: tuple[int, ...],
        is_delivery: bool = False,
    ) -> None:
        self.name = name
        self.actor = actor
        self.is_delivery = is_delivery
        self.ask(handler, op, after)

    def ask(self, handler: Callable[[Any], Any], op: Any, after: tuple[int, ...]) -> None:
        """Takes on its program's next operation, in place of a new process."""
        self.handler = handler
        self.op = op
        self.after = after
        self.seconds = self.actor.seconds
        self.stalled = self.actor.stalled

    @property
    def is_branch(self) -> bool:
        """Whether it is one of several operations that its program performs together."""
        return self.name in self.actor.children


class Running:
    """Programs that are being run: `processes` are those that can take the next step.

    waiting: those that could too, but let others go first: they ask again and again, and sleep.
    endless: who would have gone on when they had taken all the steps that they may.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.scope = plan.make()
        self.before: list[Step] = []
        self.steps: list[Step] = []
        self.choices: list[Choice] = []
        self.outcomes: dict[str, Any] = {}
        self.processes: dict[str, Process] = {}
        self.spans: dict[str, tuple[int, int]] = {}
        self.waiting: dict[str, Process] = {}
        self.endless: str | None = None
        self._faults = 0
        self._numbers = 0
        self._actors: list[_Actor] = []
        self._stalled = 0.0  # for how long all programs that were stalled were, together
        self._since = 0.0  # when what was run alone had ended
        self._local_kinds = {*_LOCAL, Chance} if len(plan.chances) == 1 else _LOCAL
        self._may_crash = not {Fault.CRASH, Fault.RESTART}.isdisjoint(plan.faults)
        if plan.before is not None:
            check_before(self.alone(plan.before, self.before))
        for name, program in plan.programs.items():
            actor = _Actor(name, program, self._since, 0.0)
            self._actors.append(actor)
            if plan.real_time:
                self.processes[name] = Process(name, actor, _nothing, Begin(), ())
            else:
                self._start(actor, ())

    @property
    def may_fail(self) -> bool:
        """Whether something may still go wrong."""
        return self._faults < self.plan.most_faults

    def variants(self, process: Process) -> list[Variant]:
        """The ways in which the process can take its next step; first as it should."""
        op = process.op
        kind = type(op)
        if kind is Begin or kind is End:
            return [None]
        if kind is Replying:
            ends = (Fault.CRASH, Fault.RESTART) if self.may_fail else ()
            return [None, *(fault for fault in self.plan.faults if fault in ends)]
        found: list[Variant] = list(self.plan.chances) if kind is Chance else [None]
        if self._faults < self.plan.most_faults and not process.is_delivery:
            found += [fault for fault in self.plan.faults if can_happen(fault, op)]
        return found

    def step(self, name: str, variant: Variant = None) -> None:
        """Takes a step."""
        process = self.processes.pop(name)
        number = len(self.steps)
        if number == self.plan.most_steps:
            self._cut(process.actor)
            return
        actor = process.actor
        op = process.op
        if type(op) is not Replying or variant is not None:  # to answer in the end is no choice
            self.choices.append((name, variant))
        if process.stalled != self._stalled and variant in _PERFORMED and goes_by_the_clock(op):
            process.seconds += self._stalled - process.stalled
            process.stalled = self._stalled
        the_time.set(EPOCH + process.seconds)
        if variant is STALLED:
            self._stall(process, number)
            return
        if not process.is_delivery:
            seconds = process.seconds + A_MOMENT
            if actor.seconds < seconds:
                actor.seconds = seconds
            if actor.stalled < process.stalled:
                actor.stalled = process.stalled
        if variant is None:
            good, answer = _perform(process.handler, op)
        elif isinstance(variant, Fault):
            self._faults += 1
            if variant is Fault.CRASH or variant is Fault.RESTART:
                self.steps.append(Step(name, variant, op, began=number, ended=number))
                self._end_badly(actor, variant, number)
                self._no_more_waiting()
                return
            good, answer = self._go_wrong(process, variant, number)
        else:
            good, answer = _perform(lambda _op: variant, op)
        value, error = (answer, None) if good else (None, answer)
        self.steps.append(Step(name, variant, op, value, error, process.is_delivery, number, number))
        is_vain = (actor.has_slept or actor.told) and _is_vain(actor, op, answer)
        if not process.is_delivery:
            self._answer(process, good, answer, number)
        if is_vain and name in self.processes:
            self.waiting[name] = self.processes.pop(name)
        elif self.waiting and not is_vain:
            self._no_more_waiting()
        if self.waiting and not self.processes:
            self._no_more_waiting()

    def end(self) -> None:
        """Ends the programs that have not ended: nothing more is to be seen of them."""
        for actor in self._actors:
            if actor.running is not None:
                _closed(actor.running)

    def _cut(self, actor: _Actor) -> None:
        self.endless = actor.name
        self.processes.clear()
        self.waiting.clear()
        self.end()

    def _no_more_waiting(self) -> None:
        self.processes.update(self.waiting)
        self.waiting.clear()

    # What goes wrong:

    def _go_wrong(self, process: Process, fault: Fault, number: int) -> tuple[bool, Any]:
        """Performs an operation, or not, as the fault says."""
        op, handler = process.op, process.handler
        if fault is Fault.REFUSED:
            return False, StoreBusy("others kept it busy until the deadline, which was simulated")
        if fault is Fault.CONFLICT:
            return _refuse(handler, op)
        if fault is Fault.SLOW:
            process.actor.seconds = max(process.actor.seconds, process.seconds + A_MOMENT + HOUR)
            return _perform(handler, op)
        if isinstance(op, AnyAppend) and op.append_id is None:
            self._numbers += 1
            op = attrs.evolve(op, append_id=append_id(2**40 + self._numbers))  # type: ignore[misc]
        if fault is Fault.AGAIN or fault is Fault.LATE:
            actor = process.actor
            actor.deliveries += 1
            name = f"{actor.name}~{actor.deliveries}"
            self.processes[name] = Process(name, actor, handler, op, (number,), is_delivery=True)
        if fault is Fault.AGAIN:
            return _perform(handler, op)
        if fault is Fault.LOST:
            _perform(handler, op)
        why = "its answer was lost, which was simulated"
        if isinstance(op, AnyAppend):
            assert op.append_id is not None
            return True, Failure(Unknown(op.append_id, why))
        return False, AnswerLost(f"whether {op!r} was done is not known: {why}")

    def _stall(self, process: Process, number: int) -> None:
        """Lets an hour pass for everybody before the operation, which is then still to be performed."""
        self._faults += 1
        self._stalled += HOUR
        process.seconds += HOUR
        process.stalled += HOUR
        process.after = (number,)
        self.steps.append(Step(process.name, Fault.STALLED, process.op, began=number, ended=number))
        self.processes[process.name] = process

    def _end_badly(self, actor: _Actor, fault: Fault, number: int) -> None:
        for branch in actor.children:
            self.processes.pop(branch, None)
            self.waiting.pop(branch, None)
        actor.children = {}
        assert actor.running is not None
        _closed(actor.running)
        self.outcomes.pop(actor.name, None)
        if fault is Fault.RESTART:
            self._start(actor, (number,))
        else:
            self.outcomes[actor.name] = Crashed()

    # What the programs do:

    def _start(self, actor: _Actor, after: tuple[int, ...]) -> None:
        actor.running = _loop.loop(actor.program, self.scope, False)
        self._go_on(actor, actor.running.send, None, after)

    def _answer(self, process: Process, good: bool, answer: Any, number: int) -> None:
        """Gives a program the answer that it waits for."""
        actor = process.actor
        after = (number,)
        if process.name in actor.children:
            actor.answers[actor.children.pop(process.name)] = number, (good, answer)
            if not actor.children:
                self._end_round(actor)
        elif type(process.op) is Begin:
            self.spans[actor.name] = number, number
            self._start(actor, after)
        elif type(process.op) is End:
            self.spans[actor.name] = self.spans[actor.name][0], number
        elif type(process.op) is not Replying:
            assert actor.running is not None
            self._go_on(actor, actor.running.send if good else actor.running.throw, answer, after)

    def _go_on(
        self,
        actor: _Actor,
        advance: Callable[[Any], Any],
        answer: Any,
        after: tuple[int, ...],
    ) -> None:
        """Gives a program an answer and runs it to its next operation that others could notice."""
        running = actor.running
        assert running is not None
        try:
            while True:
                handler, op = advance(answer)
                if actor.moments > self.plan.most_steps:
                    self._cut(actor)
                    return
                if handler is _loop.ROUND:
                    if self._begin_round(actor, op, after):
                        return
                    answer = [found for _, found in actor.answers]
                elif type(op) in self._local_kinds:
                    answer = self._local(actor, op)
                else:
                    actor.process.ask(handler, op, after)
                    self.processes[actor.name] = actor.process
                    return
                advance = running.send
        except StopIteration as stop:
            self.outcomes[actor.name] = stop.value
        except Exception as error:
            self.outcomes[actor.name] = Raised(error)
        if self._may_crash:
            self.processes[actor.name] = Process(actor.name, actor, _nothing, Replying(), after)
        elif self.plan.real_time:
            self.processes[actor.name] = Process(actor.name, actor, _nothing, End(), after)

    def _begin_round(
        self, actor: _Actor, requests: Sequence[tuple[Any, Any]], after: tuple[int, ...]
    ) -> bool:
        """Lets the branches of a program take their steps; answers whether they have any to take."""
        actor.answers = [None] * len(requests)
        began = latest = actor.seconds
        for index, (handler, op) in enumerate(requests):
            if type(op) in self._local_kinds:
                actor.answers[index] = -1, (True, self._local(actor, op))
                latest, actor.seconds = max(latest, actor.seconds), began
            else:
                name = f"{actor.name}.{index + 1}"
                actor.children[name] = index
                self.processes[name] = Process(name, actor, handler, op, after)
        actor.seconds = latest
        return bool(actor.children)

    def _end_round(self, actor: _Actor) -> None:
        after = tuple(number for number, _ in actor.answers if number >= 0)
        assert actor.running is not None
        answers = [found for _, found in actor.answers]
        self._go_on(actor, actor.running.send, answers, after)

    def alone(
        self,
        program: Any,
        steps: list[Step] | None = None,
        note: Callable[[Any], None] | None = None,
    ) -> Any:
        """Runs a program from its beginning to its end, while nothing else happens.

        It begins when the others have ended, by the latest of their clocks.
        steps: what it does is added to them.
        note: is given each of its operations.
        Raises Endless if it takes more steps than it may.
        """
        latest = max((its.seconds - its.stalled + self._stalled for its in self._actors), default=0.0)
        actor = _Actor("alone", program, max(latest, self._since), self._stalled)
        actor.ids = self._numbers = self._numbers + 1_000
        running = _loop.loop(program, self.scope, False)

        def answer(handler: Any, op: Any) -> tuple[bool, Any]:
            if actor.moments == self.plan.most_steps:
                raise Endless(
                    f"{program!r:.300} took {actor.moments} steps, and would have gone on: either "
                    "it waits for what never comes, or it is to be allowed more (`most_steps`)"
                )
            if type(op) in _LOCAL or type(op) is Chance:
                return True, self._local(actor, op)
            actor.moments += 1
            if note is not None:
                note(op)
            the_time.set(EPOCH + actor.seconds)
            actor.seconds += A_MOMENT
            good, value = _perform(handler, op)
            if steps is not None:
                step = Step("before", None, op, began=-1.0, ended=-1.0)
                if good:
                    step.answer = value
                steps.append(step)
            return good, value

        def together(requests: Sequence[tuple[Any, Any]]) -> list[tuple[bool, Any]]:
            answers: list[tuple[bool, Any]] = []
            began = latest = actor.seconds
            for request in requests:
                actor.seconds = began
                answers.append(answer(*request))
                latest = max(latest, actor.seconds)
            actor.seconds = latest
            return answers

        try:
            handler, op = next(running)
            while True:
                if handler is _loop.ROUND:
                    handler, op = running.send(together(op))
                else:
                    good, value = answer(handler, op)
                    handler, op = running.send(value) if good else running.throw(value)
        except StopIteration as stop:
            return stop.value
        finally:
            self._since = actor.seconds
            _closed(running)

    def _local(self, actor: _Actor, op: Any) -> Any:
        """Answers what a program asks of the world, which nobody else can notice."""
        kind = type(op)
        actor.moments += 1
        if kind is Now or kind is Elapsed:
            actor.told = None  # it waits until a time, not for the others
            return _BEGAN + timedelta(seconds=actor.seconds) if kind is Now else actor.seconds
        if kind is NewId:
            actor.ids += 1
            return uuid5(_NAMES, f"{actor.name} {actor.ids}")
        if kind is Sleep:
            actor.seconds += op.seconds
            actor.has_slept = True
            return None
        return self.plan.chances[0]


def follow(running: Running, choices: Iterable[Choice], *, strictly: bool) -> None:
    """Takes the steps that are chosen, then lets each program go on to its end, one after the other.

    Those that have begun come first, each kind in the order of the plan.
    strictly: raises BadSchedule for a step that cannot be taken, which is left out otherwise.
    """
    last = ""
    begun: dict[str, None] = {}
    for number, (name, variant) in enumerate(choices, 1):
        process = running.processes.get(name)
        if process is None or variant not in running.variants(process):
            if strictly:
                raise BadSchedule(_why_not(running, number, name, variant))
            continue
        begun[process.actor.name] = None
        running.step(name, variant)
        last = name
    order = [*(name for name in running.plan.programs if name in begun), *running.plan.programs]
    while running.processes:
        if last not in running.processes:
            processes = running.processes
            last = min(processes, key=lambda name: order.index(processes[name].actor.name))
        running.step(last, running.variants(running.processes[last])[0])


def check_before(answer: Any) -> None:
    """Raises BadScenario if the program that is run first has failed."""
    if isinstance(answer, Failure):
        raise BadScenario(
            f"the program that is run before the others answered {answer!r:.500}: they would begin "
            "with something else than you mean"
        )


def _why_not(running: Running, number: int, name: str, variant: Variant) -> str:
    found = running.processes
    if name not in found:
        return f"step {number} is to be {name}'s, but those who have one to take are {', '.join(found)}"
    can = ", ".join(map(str, running.variants(found[name])))
    return (
        f"step {number} is to be {name}'s with {variant}, but {found[name].op!r} can be done with {can}"
    )


def _nothing(_op: Any) -> None:
    """Performs what is no operation."""


def _perform(handler: Callable[[Any], Any], op: Any) -> tuple[bool, Any]:
    try:
        return True, handler(op)
    except Exception as error:
        return False, error


def _refuse(handler: Callable[[Any], Any], op: Any) -> tuple[bool, Any]:
    """Has the store itself refuse an append, which says what it found."""
    wanted, hopeless = _hopeless(op)
    good, answer = _perform(handler, hopeless)
    conflict = answer.failure() if good and isinstance(answer, Failure) else None
    if not isinstance(conflict, Conflict) or conflict.expected != _NEVER:
        return good, answer
    expected = wanted.expected
    if expected is ANY:  # it depends on a boundary alone
        boundary, next_one = op.unchanged[0].boundary, conflict.actual + 1
        return True, Failure(
            BoundaryChanged(conflict.stream, conflict.actual, next_one, boundary=boundary)
        )
    version = expected[wanted.stream] if isinstance(expected, Token) else expected
    return True, Failure(attrs.evolve(conflict, expected=version, events=()))


def _hopeless(op: Any) -> tuple[Any, Any]:
    """The first part of an append that has a condition, and the append with one that is never met."""
    if isinstance(op, Append):
        return op, attrs.evolve(op, expected=_NEVER)  # type: ignore[misc]
    for field in ("appends", "conditions"):
        parts = [*getattr(op, field)]
        for place, part in enumerate(parts):
            if part.expected is not ANY:
                parts[place] = attrs.evolve(part, expected=_NEVER)
                return part, attrs.evolve(op, **{field: tuple(parts)})
    if isinstance(op, AppendIf):
        part, *others = op.appends
        never = attrs.evolve(part, expected=_NEVER)
        return part, attrs.evolve(op, appends=(never, *others))  # type: ignore[misc]
    raise AssertionError(f"{op!r} has no condition")


def _is_vain(actor: _Actor, op: Any, answer: Any) -> bool:
    """Whether a program that does nothing but ask and sleep is told the same over and over."""
    if not isinstance(op, Query):
        actor.told = None
        return False
    if not actor.has_slept:
        return False
    actor.has_slept = False
    before, its_answer, times = actor.told or (None, None, 0)
    times = times + 1 if before == op and its_answer == answer else 1
    actor.told = op, answer, times
    return times > PATIENCE


def _closed(running: Generator[Any, Any, Any]) -> None:
    """Ends a program as a crash does: nothing is performed of what it would do in the end."""
    for _ in range(MOST_CLEANUPS):
        try:
            running.close()
            return
        except RuntimeError:  # it has yielded what it would perform
            continue
        except Exception:
            return
