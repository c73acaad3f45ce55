"""Scenarios: programs that run at the same time, and what must be true however they come to interleave.

    two_withdrawals = Scenario(
        {"ann": withdraw(60), "bob": withdraw(60)},
        on=lambda: SimulatedStore(),
        before=deposit(100),
        holds=lambda after: after.run(balance()) >= 0,
    )

    def test_an_account_is_never_overdrawn():
        found = two_withdrawals.explore()
        assert found.holds, found.story

What is found is printed as a story, with the line that runs it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property, partial
from itertools import permutations
from random import Random
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import attrs
import pytest

from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.interpreter import Interpreter, scope_for, scope_of
from eventsrc.programs.program import Effect, name_of
from eventsrc.programs.world import world
from eventsrc.stores.operations import StoreError
from eventsrc.streams.decide import AppendFailed, NotDecided
from eventsrc.streams.serializable import NotSerialized
from eventsrc.testing._scenarios import reality, sense
from eventsrc.testing._scenarios.exploring import every_schedule
from eventsrc.testing._scenarios.faults import Fault
from eventsrc.testing._scenarios.footprints import FeedIsRead, Footprints, Reader
from eventsrc.testing._scenarios.garbage import without_collecting
from eventsrc.testing._scenarios.judging import whole_feed
from eventsrc.testing._scenarios.pasting import decorator_of_this_example, name_in_callers
from eventsrc.testing._scenarios.running import (
    BadScenario,
    BadSchedule,
    Choice,
    NotAsBefore,
    Plan,
    Raised,
    Running,
    Step,
    check_before,
    follow,
)
from eventsrc.testing._scenarios.sampling import by_chance, drawn, shortened
from eventsrc.testing._scenarios.story import as_text, cut, of_text, shown, story

if TYPE_CHECKING:
    from hypothesis.strategies import DataObject

R = TypeVar("R")

Spans: TypeAlias = Mapping[str, tuple[float, float]]
"""When each program began and ended."""

_OF_FAULTS: Final = (StoreError, AppendFailed, NotDecided, NotSerialized)
"""Errors that programs may raise if something goes wrong with their operations."""

MOST: Final = 100_000
"""The most schedules that are run before it is said that there are more."""


@attrs.frozen(eq=False)
class After:
    """The end of a run.

    answers: of each program by its name: its result, Raised(error), or Crashed().
    before: what the program did that was run before the others.
    steps: what was done, in order. Operations that have nothing to do with each other are in one order
        of many.
    """

    answers: Mapping[str, Any]
    before: tuple[Step, ...]
    steps: tuple[Step, ...]
    _run: Callable[[Any], Any] = attrs.field(repr=False)
    _look: Callable[[Any], Any] = attrs.field(repr=False)
    """As `_run`, for what no order of different streams can be seen by."""

    @staticmethod
    def of(running: Running, note: Callable[[Any], None] | None = None) -> After:
        """Makes it of a run that has ended.

        note: is given each operation that `run` performs.
        """
        return After(
            _in_order(running.plan.programs, running.outcomes),
            tuple(running.before),
            tuple(running.steps),
            partial(running.alone, note=note),
            running.alone,
        )

    def run(self, program: Effect[Any, R]) -> R:
        """Interprets a program now, after the others."""
        result: R = self._run(program)
        return result

    def streams(self) -> dict[StreamId, list[Recorded[Any]]]:
        """The events of each stream of the store, in their order in the feed; streams by their names.

        How the events of different streams are ordered is not seen in it, so that fewer schedules have
        to be run than for `run(ReadFeed())`.
        """
        found: dict[StreamId, list[Recorded[Any]]] = {}
        for recorded in self._look(whole_feed()):
            found.setdefault(recorded.stream, []).append(recorded)
        return dict(sorted(found.items()))


def _in_order(programs: Iterable[str], outcomes: Mapping[str, Any]) -> dict[str, Any]:
    """Outcomes in the order of the programs: the order in which they ended is one of many."""
    return {name: outcomes[name] for name in programs if name in outcomes}


@attrs.frozen
class Found:
    """The result of running a scenario.

    holds: whether what must be true is, in all the runs that were asked for.
    schedules: how many different ones were run.
    story: of the run in which it does not hold: who did what, what they saw, and how to run it again.
    schedule: of that run, for `Scenario.replay`.
    """

    holds: bool
    schedules: int
    story: str
    schedule: str | None = None

    def __str__(self) -> str:
        return self.story


@attrs.frozen(eq=False)
class Scenario:
    """Programs that run at the same time, and what must be true however they come to interleave.

    programs: by their names in the story, of letters and digits.
    on: makes the interpreter of a run, new each time, over a SimulatedStore (and SimulatedViews) that
        nobody else uses. Time, ids and chance are always the simulation's.
    before: a program that is run first, by itself. BadScenario is raised if it answers a Failure.
    holds: is given how a run ended; if that is not right it raises, or answers False or a list of what
        is wrong.
    linearizable: in place of `holds`: what is observed after a run. It must be what would be observed
        if each program had been performed at one moment between its beginning and its end.
    faults, most_faults: what may go wrong, and how often in a run.
    may_raise: what programs may raise. Anything else is taken for a mistake of theirs; so is, without
        faults, an error of the store.
    chances: what `Chance` may yield: each is tried.
    footprints: what the application's own operations read and write, by their types. See footprints.py.
    most_steps: in one run, before it is taken for endless.
    """

    programs: Mapping[str, Effect[Any, Any]] = attrs.field(validator=sense.check_programs)
    on: Callable[[], Interpreter[Any]] = attrs.field(kw_only=True, validator=sense.check_maker)
    before: Effect[Any, Any] | None = attrs.field(
        kw_only=True, default=None, validator=sense.check_before
    )
    holds: Callable[[After], object] | None = attrs.field(
        kw_only=True, default=None, validator=sense.check_judge
    )
    linearizable: Callable[[After], object] | None = attrs.field(
        kw_only=True, default=None, validator=sense.check_judge
    )
    faults: Iterable[Fault] = attrs.field(kw_only=True, default=(), validator=sense.check_faults)
    most_faults: int = attrs.field(kw_only=True, default=1)
    may_raise: tuple[type[Exception], ...] = attrs.field(kw_only=True, default=())
    chances: Iterable[float] = attrs.field(kw_only=True, default=(0.5,))
    footprints: Footprints = attrs.field(kw_only=True, factory=dict[Any, Any])
    most_steps: int = attrs.field(kw_only=True, default=2_000)

    def __attrs_post_init__(self) -> None:
        if (self.holds is None) == (self.linearizable is None):
            raise BadScenario("say what must be true, by `holds` or by `linearizable`")
        sense.check_number("most_faults", self.most_faults, 0)
        sense.check_number("most_steps", self.most_steps, 1)
        plan = self._plan
        if self.linearizable is not None and (plan.faults or len(plan.chances) > 1):
            raise BadScenario(
                "`linearizable` goes by what the programs do one at a time, when nothing goes wrong "
                "and chance is always the same: use `holds` with faults and chances"
            )
        if not plan.chances or not all(0 <= chance < 1 for chance in plan.chances):
            raise BadScenario(f"chances {plan.chances} are not some numbers from 0 and below 1")

    def explore(self, *, most: int = MOST, reduced: bool = True) -> Found:
        """Runs every schedule, but of those that no program can tell apart only one.

        most: it stops after so many, and then `holds` is False if it would have gone on.
        reduced: False runs every order of all steps, to doubt the reduction.
        Raises NotAsBefore if a program does not do the same again with the same answers.
        """
        sense.check_number("most", most, 1)
        timed = Fault.STALLED in self._plan.faults
        reader = Reader(self.footprints, ordered=False, timed=timed) if reduced else None
        try:
            return self._explore(most, reader)
        except FeedIsRead:
            return self._explore(most, Reader(self.footprints, ordered=True, timed=timed))

    def sample(self, runs: int = 1_000, *, seed: int = 0) -> Found:
        """Runs schedules that are drawn by chance: always the same ones with the same seed."""
        sense.check_number("runs", runs, 1)
        random = Random(seed)
        for number in range(1, runs + 1):
            running = self._broken_by_chance(random)
            if running is not None:
                return self._broken(running, number, f"found in run {number} of {runs}, seed {seed}")
        return Found(True, runs, f"it holds in {runs} runs, seed {seed}")

    def check(self, data: DataObject) -> None:
        """Runs one schedule that Hypothesis draws (`data` is of `st.data()`).

        Raises AssertionError with the story if what must be true is not.
        """
        from hypothesis import strategies as st

        running = drawn(self._ready, lambda some: data.draw(st.sampled_from(some)))
        why = self._why(running)
        if why is not None:
            schedule = f"drawn by Hypothesis, as {as_text(running.choices)!r}"
            again = f"{schedule}; to run it again, decorate the test: {decorator_of_this_example()}"
            raise AssertionError(self._told(why, running, running.choices, again))

    def replay(self, schedule: str) -> Found:
        """Runs one schedule, as a story ends with; when it is over, the programs go on one by one.

        Raises BadSchedule for one that does not fit the programs.
        """
        choices = of_text(schedule)
        running = Running(self._ready)
        follow(running, choices, strictly=True)
        why = self._why(running)
        if why is None:
            return Found(True, 1, story("it holds:", running.steps, running.outcomes), schedule)
        again = self._again("replayed", as_text(choices))
        return Found(False, 1, self._told(why, running, choices, again), as_text(choices))

    def for_real(
        self, make: Callable[[], AbstractContextManager[Interpreter[Any]]], *, rounds: int = 100
    ) -> Found:
        """Runs the programs in threads, on a store that is real, as often as `rounds` says.

        make: makes the interpreter of a round, over a store that nobody else uses, `world` included.
        Nothing goes wrong on purpose. What `linearizable` observes is compared with what is observed
        in the simulation, one program at a time: it must not have ids, times or positions in it.
        Raises TimeoutError if the programs of a round do not end.
        """
        sense.check_number("rounds", rounds, 1)
        for number in range(1, rounds + 1):
            with make() as app:
                scope = scope_of(sense.fresh(app))
                before: list[Step] = []
                if self.before is not None:
                    check_before(reality.recorded("before", self.before, scope, before))
                done = reality.at_once(self.programs, scope)
                outcomes = _in_order(self.programs, done.outcomes)
                after = After(outcomes, tuple(before), tuple(done.steps), app.run, app.run)
                why = self._why_wrong(after, self.may_raise, done.spans)
            if why is not None:
                told = story(why, done.steps, done.outcomes)
                return Found(False, number, f"{told}\n\nfound in round {number} of {rounds}, for real")
        return Found(True, rounds, f"it holds in {rounds} rounds, for real")

    @without_collecting
    def _broken_by_chance(self, random: Random) -> Running | None:
        """Runs a schedule that is drawn by chance; answers the run if it is not right."""
        running = by_chance(self._ready, random)
        return None if self._why(running) is None else running

    # How a run is judged:

    @cached_property
    def _ready(self) -> Plan:
        """The plan, once the interpreter is known to have handlers for the programs."""
        sense.unshared(self.on)
        app = world.but(sense.fresh(self.on()))
        for program in self._plan.programs.values():
            scope_for(app, program)
        return self._plan

    @cached_property
    def _plan(self) -> Plan:
        return Plan(
            dict(self.programs),
            lambda: scope_of(world.but(sense.fresh(self.on()))),
            self.before,
            sense.faults_of(self.faults),
            self.most_faults,
            tuple(self.chances),
            self.linearizable is not None,
            self.most_steps,
        )

    def _explore(self, most: int, reader: Reader | None) -> Found:
        number = 0
        for running in every_schedule(self._ready, reader):
            if number == most:
                return Found(False, number, f"it holds in {number} schedules, and there are more")
            number += 1
            if self._why(running, None if reader is None else reader.note) is not None:
                return self._broken(running, number, f"found in schedule {number}")
            if reader is not None and reader.is_feed_read:
                raise FeedIsRead
        return Found(True, number, f"it holds in every schedule: {number} different ones")

    def _why(self, running: Running, note: Callable[[Any], None] | None = None) -> str | None:
        """Why a run is not right, or None if it is.

        note: is given each operation by which that is found out.
        """
        if running.endless is not None:
            return (
                f"the programs took {self.most_steps} steps, and {running.endless} would have gone on: "
                "either it waits for what never comes, or `most_steps` is to be more"
            )
        expected = (*self.may_raise, *_OF_FAULTS) if running.plan.faults else self.may_raise
        return self._why_wrong(After.of(running, note), expected, running.spans)

    def _why_wrong(
        self, after: After, may_raise: tuple[type[Exception], ...], spans: Spans
    ) -> str | None:
        for name, answer in after.answers.items():
            if isinstance(answer, Raised) and not isinstance(answer.error, may_raise):
                return f"{name} raised {cut(shown(answer.error))}"
        if self.linearizable is not None:
            return self._why_not_linearizable(spans, self._observed(after))
        assert self.holds is not None
        try:
            answer = self.holds(after)
        except (AssertionError, pytest.fail.Exception) as error:
            return str(error) or self._broken_promise
        except BadScenario:
            raise
        except Exception as error:
            return f"{self._broken_promise}: it raised {cut(shown(error))}"
        return sense.judged(self.holds, answer, self._broken_promise)

    @property
    def _broken_promise(self) -> str:
        name = name_of(self.holds)
        return "what must hold does not" if name == "<lambda>" else f"{name} does not hold"

    def _observed(self, after: After) -> object:
        assert self.linearizable is not None
        return sense.observed(self.linearizable, self.linearizable(after))

    def _why_not_linearizable(self, of: Spans, observed: object) -> str | None:
        for order, wanted in self._one_at_a_time:
            spans = [of[name] for name in order]
            is_possible = all(
                spans[later][1] >= spans[earlier][0]
                for later in range(len(spans))
                for earlier in range(later)
            )
            if is_possible and wanted == observed:
                return None
        lines = [f"observed was {cut(shown(observed))}, which no order of the programs makes:"]
        lines += [
            f"   {', '.join(order)}: {cut(shown(wanted))}" for order, wanted in self._one_at_a_time
        ]
        return "\n".join(lines)

    @cached_property
    def _one_at_a_time(self) -> list[tuple[tuple[str, ...], object]]:
        """The observations after the programs have run one after the other, in each order."""
        found: list[tuple[tuple[str, ...], object]] = []
        for order in permutations(self.programs):
            running = Running(attrs.evolve(self._ready, programs={n: self.programs[n] for n in order}))
            follow(running, (), strictly=False)
            after = After.of(running)
            after = attrs.evolve(after, answers=_in_order(self.programs, after.answers))
            found.append((order, self._observed(after)))
        return found

    def _broken(self, running: Running, runs: int, where: str) -> Found:
        """The shortest story of a run that is not right."""
        choices = running.choices
        if running.endless is None:
            choices = shortened(self._ready, choices, lambda other: self._why(other) is not None)
            running = Running(self._ready)
            try:
                follow(running, choices, strictly=True)
            except BadSchedule as error:
                raise self._not_as_before(choices) from error
        why = self._why(running)
        if why is None:
            raise self._not_as_before(choices)
        again = as_text(choices)
        return Found(False, runs, self._told(why, running, choices, self._again(where, again)), again)

    def _not_as_before(self, choices: Sequence[Choice]) -> NotAsBefore:
        return NotAsBefore(
            f"the schedule {as_text(choices)!r} was broken in one run, and is not in another: a "
            "program takes time, ids and chance from operations (programs.world), and so does what "
            "judges it"
        )

    def _again(self, where: str, schedule: str) -> str:
        return f"{where}; to run it again: {name_in_callers(self)}.replay({schedule!r})"

    def _told(self, why: str, running: Running, choices: Sequence[Choice], end: str) -> str:
        aside = self._aside(why, running, choices)
        return f"{story(why, running.steps, running.outcomes, aside)}\n\n{end}"

    def _aside(self, why: str, running: Running, choices: Sequence[Choice]) -> list[str]:
        """The programs without which the same is told of the others, and it is not right either."""
        begun = {name.partition(".")[0].partition("~")[0] for name, _ in choices}
        aside: list[str] = []
        if running.endless is not None or self.linearizable is not None:
            return aside
        for name in self.programs:
            left = {its: each for its, each in self.programs.items() if its not in [*aside, name]}
            if name not in begun and left:
                other = Running(attrs.evolve(self._ready, programs=left))
                follow(other, choices, strictly=False)
                left_out = [*aside, name]
                if self._why(other) == why and (
                    story(why, other.steps, other.outcomes, left_out)
                    == story(why, running.steps, running.outcomes, left_out)
                ):
                    aside = left_out
        return aside
