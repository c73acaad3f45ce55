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
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from eventsrc.decide import AppendFailed, NotDecided
from eventsrc.interpreter import Interpreter
from eventsrc.program import Effect, name_of
from eventsrc.recorded import Recorded
from eventsrc.serializable import NotSerialized
from eventsrc.store import StoreError
from eventsrc.stream_id import StreamId
from eventsrc.testing import reality
from eventsrc.testing.exploring import every_schedule
from eventsrc.testing.faults import Fault
from eventsrc.testing.footprints import FeedIsRead, Footprints, Reader
from eventsrc.testing.judging import whole_feed
from eventsrc.testing.running import (
    BadScenario,
    Choice,
    Plan,
    Raised,
    Running,
    Step,
    check_before,
    follow,
)
from eventsrc.testing.sampling import by_chance, drawn, shortened
from eventsrc.testing.story import as_text, cut, of_text, shown, story
from eventsrc.world import world

if TYPE_CHECKING:
    from hypothesis.strategies import DataObject

R = TypeVar("R")

_OF_FAULTS: Final = (StoreError, AppendFailed, NotDecided, NotSerialized)
"""What programs may raise if something goes wrong with their operations."""

MOST: Final = 100_000
"""How many schedules are run before it is said that there are more."""


@attrs.frozen(eq=False)
class After:
    """How a run ended.

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
        """How a run that has ended did.

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
    """What came of running a scenario.

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


def _named(_scenario: object, _attribute: object, programs: Mapping[str, Any]) -> None:
    if not programs:
        raise BadScenario("a scenario needs a program, and one is of use with two")
    for name in programs:
        if not name or not name.replace("_", "").isalnum():
            raise BadScenario(f"{name!r} is no name for a program: use letters, digits and _")


@attrs.frozen(eq=False)
class Scenario:
    """Programs that run at the same time, and what must be true however they come to interleave.

    programs: by their names in the story, of letters and digits.
    on: makes the interpreter of a run, new each time, over a SimulatedStore (and SimulatedViews) that
        nobody else uses. Time, ids and chance are always the simulation's.
    before: a program that is run first, by itself. BadScenario is raised if it answers a Failure.
    holds: is given how a run ended; it answers False, or raises, if that is not right.
    linearizable: in place of `holds`: what is observed after a run. It must be what would be observed
        if each program had been performed at one moment between its beginning and its end.
    faults, most_faults: what may go wrong, and how often in a run.
    may_raise: what programs may raise. Anything else is taken for a mistake of theirs; so is, without
        faults, an error of the store.
    chances: what `Chance` may yield: each is tried.
    footprints: what the application's own operations read and write, by their types. See footprints.py.
    most_steps: in one run, before it is taken for endless.
    """

    programs: Mapping[str, Effect[Any, Any]] = attrs.field(validator=_named)
    on: Callable[[], Interpreter[Any]] = attrs.field(kw_only=True)
    before: Effect[Any, Any] | None = attrs.field(kw_only=True, default=None)
    holds: Callable[[After], object] | None = attrs.field(kw_only=True, default=None)
    linearizable: Callable[[After], object] | None = attrs.field(kw_only=True, default=None)
    faults: Iterable[Fault] = attrs.field(kw_only=True, default=())
    most_faults: int = attrs.field(kw_only=True, default=1)
    may_raise: tuple[type[Exception], ...] = attrs.field(kw_only=True, default=())
    chances: Iterable[float] = attrs.field(kw_only=True, default=(0.5,))
    footprints: Footprints = attrs.field(kw_only=True, factory=dict[Any, Any])
    most_steps: int = attrs.field(kw_only=True, default=2_000)

    def __attrs_post_init__(self) -> None:
        if (self.holds is None) == (self.linearizable is None):
            raise BadScenario("say what must be true, by `holds` or by `linearizable`")
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
        try:
            return self._explore(most, Reader(self.footprints, ordered=False) if reduced else None)
        except FeedIsRead:
            return self._explore(most, Reader(self.footprints, ordered=True))

    def sample(self, runs: int = 1_000, *, seed: int = 0) -> Found:
        """Runs schedules that are drawn by chance: always the same ones with the same seed."""
        random = Random(seed)
        for number in range(1, runs + 1):
            running = by_chance(self._ready, random)
            if self._why(running) is not None:
                return self._broken(running, number, f"found in run {number} of {runs}, seed {seed}")
        return Found(True, runs, f"it holds in {runs} runs, seed {seed}")

    def check(self, data: DataObject) -> None:
        """Runs one schedule that Hypothesis draws (`data` is of `st.data()`).

        Raises AssertionError with the story if what must be true is not.
        """
        from hypothesis import strategies as st

        running = drawn(self._ready, lambda some: data.draw(st.sampled_from(some)))
        if self._why(running) is not None:
            raise AssertionError(self._told(running, running.choices, 1, "drawn by Hypothesis").story)

    def replay(self, schedule: str) -> Found:
        """Runs one schedule, as a story ends with; when it is over, the programs go on one by one.

        Raises BadSchedule for one that does not fit the programs.
        """
        choices = of_text(schedule)
        running = Running(self._ready)
        follow(running, choices, strictly=True)
        if self._why(running) is None:
            return Found(True, 1, story("it holds:", running.steps, running.outcomes), schedule)
        return self._told(running, choices, 1, "replayed")

    def for_real(
        self, make: Callable[[], AbstractContextManager[Interpreter[Any]]], *, rounds: int = 100
    ) -> Found:
        """Runs the programs in threads, on a store that is real, as often as `rounds` says.

        make: makes the interpreter of a round, over a store that nobody else uses, `world` included.
        Nothing goes wrong on purpose. Raises TimeoutError if the programs of a round do not end.
        """
        if self.holds is None:
            raise BadScenario("`linearizable` is for simulated runs: use `holds` on a real store")
        for number in range(1, rounds + 1):
            with make() as app:
                scope = app._scope  # pyright: ignore[reportPrivateUsage]
                before: list[Step] = []
                if self.before is not None:
                    check_before(reality.recorded("before", self.before, scope, before))
                done = reality.at_once(self.programs, scope)
                outcomes = _in_order(self.programs, done.outcomes)
                after = After(outcomes, tuple(before), tuple(done.steps), app.run, app.run)
                why = self._why_wrong(after, self.may_raise)
            if why is not None:
                told = story(why, done.steps, done.outcomes)
                return Found(False, number, f"{told}\n\nfound in round {number} of {rounds}, for real")
        return Found(True, rounds, f"it holds in {rounds} rounds, for real")

    # How a run is judged:

    @cached_property
    def _ready(self) -> Plan:
        """The plan, once the interpreter is known to have handlers for the programs."""
        app = world.but(self.on())
        for program in self._plan.programs.values():
            app._check(program)  # pyright: ignore[reportPrivateUsage]
        return self._plan

    @cached_property
    def _plan(self) -> Plan:
        return Plan(
            dict(self.programs),
            lambda: world.but(self.on())._scope,  # pyright: ignore[reportPrivateUsage]
            self.before,
            tuple(self.faults),
            self.most_faults,
            tuple(self.chances),
            self.linearizable is not None,
            self.most_steps,
        )

    def _explore(self, most: int, reader: Reader | None) -> Found:
        number = 0
        for running in every_schedule(self._ready, reader):
            number += 1
            if self._why(running, None if reader is None else reader.note) is not None:
                return self._broken(running, number, f"found in schedule {number}")
            if reader is not None and reader.is_feed_read:
                raise FeedIsRead
            if number == most:
                return Found(False, number, f"it holds in {number} schedules, and there are more")
        return Found(True, number, f"it holds in every schedule: {number} different ones")

    def _why(self, running: Running, note: Callable[[Any], None] | None = None) -> str | None:
        """Why a run is not right, or None if it is.

        note: is given each operation by which that is found out.
        """
        if running.is_cut:
            return (
                f"the programs took {self.most_steps} steps, and would have gone on: either one waits "
                "for what never comes, or `most_steps` is to be more"
            )
        expected = (*self.may_raise, *_OF_FAULTS) if running.plan.faults else self.may_raise
        after = After.of(running, note)
        if self.linearizable is None:
            return self._why_wrong(after, expected)
        return _why_raised(after, expected) or self._why_not_linearizable(
            running, self.linearizable(after)
        )

    def _why_wrong(self, after: After, may_raise: tuple[type[Exception], ...]) -> str | None:
        assert self.holds is not None
        raised = _why_raised(after, may_raise)
        if raised is not None:
            return raised
        try:
            return self._broken_promise if self.holds(after) is False else None
        except AssertionError as error:
            return str(error) or self._broken_promise
        except Exception as error:
            return f"{self._broken_promise}: it raised {cut(shown(error))}"

    @property
    def _broken_promise(self) -> str:
        name = name_of(self.holds)
        return "what must hold does not" if name == "<lambda>" else f"{name} does not hold"

    def _why_not_linearizable(self, running: Running, observed: object) -> str | None:
        for order, wanted in self._one_at_a_time:
            spans = [running.spans[name] for name in order]
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
        """What is observed after the programs have run one after the other, in each order."""
        assert self.linearizable is not None
        found: list[tuple[tuple[str, ...], object]] = []
        for order in permutations(self.programs):
            running = Running(attrs.evolve(self._ready, programs={n: self.programs[n] for n in order}))
            follow(running, (), strictly=False)
            found.append((order, self.linearizable(After.of(running))))
        return found

    def _broken(self, running: Running, runs: int, where: str) -> Found:
        """The shortest story of a run that is not right."""
        if running.is_cut:
            return self._told(running, running.choices, runs, where)
        choices = shortened(self._ready, running.choices, lambda other: self._why(other) is not None)
        short = Running(self._ready)
        follow(short, choices, strictly=True)
        return self._told(short, choices, runs, where)

    def _told(self, running: Running, choices: Sequence[Choice], runs: int, where: str) -> Found:
        why = self._why(running)
        assert why is not None, f"{running.choices} was broken once, and is not again"
        again = as_text(choices)
        told = story(why, running.steps, running.outcomes)
        told += f"\n\n{where}; to run it again: .replay({again!r})"
        return Found(False, runs, told, again)


def _why_raised(after: After, may_raise: tuple[type[Exception], ...]) -> str | None:
    for name, answer in after.answers.items():
        if isinstance(answer, Raised) and not isinstance(answer.error, may_raise):
            return f"{name} raised {cut(shown(answer.error))}"
    return None
