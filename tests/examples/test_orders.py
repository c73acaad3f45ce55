"""The orders example: its story on each store, payments at any moment, and workers that are killed."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from eventsrc import MemoryStore, pure
from eventsrc.durable import MINUTES, Runs
from eventsrc.durable.work import work_off
from eventsrc.views.memory import MemoryViews
from examples.orders.__main__ import main, running
from examples.orders.clock import Clock
from examples.orders.events import (
    Declined,
    Paid,
    Stocked,
    books,
    in_stock,
    orders,
    payments,
    state,
    stock,
)
from examples.orders.fulfilment import ALL, fulfilments, late_payments
from examples.orders.outside import Outside
from tests.faults import scaled

STORY = """\
order 1: confirmed
order 2: cancelled
order 3: cancelled
order 4: cancelled
lamps in stock: 2
given back: 30 euros of order 3
mail to 4: your order was cancelled: lamp is sold out
mail to 1: thank you for 10 euros
mail to 2: your order was cancelled: the bank declined
mail to 3: your order was cancelled: it was not paid in time
mail to the boss: 2026-12-02: 10 euros
"""


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_the_story_is_the_same_on_every_store(kind: str, tmp_path: Path) -> None:
    where = "memory" if kind == "memory" else str(tmp_path / "shop.db")
    done = CliRunner().invoke(main, ["--store", where])
    assert done.exit_code == 0, done.output
    assert done.output == STORY


STEPS = st.lists(st.sampled_from(["pay", "decline", "wait", "work", "late"]), max_size=8)


def end_of(steps: list[str], folder: Path) -> tuple[str, int, int, int]:
    """The end of an order, what the books have of it, what was paid, and what was given back."""
    outside, clock = Outside(folder), Clock()
    app: Any = MemoryStore() | MemoryViews() | clock | outside
    app.run(stock["lamp"].append(Stocked(1)))
    app.run(fulfilments.start("1", "lamp", 10))
    paid = 0
    for step in [*steps, "work", "late", "work"]:
        match step:
            case "pay" if not paid:
                app.run(payments["1"].append(Paid("1", 10)))
                paid = 10
            case "decline":
                app.run(payments["1"].append(Declined("1")))
            case "wait":
                clock.pass_by(5 * MINUTES)
            case "late":
                clock.pass_by(16 * MINUTES)
            case _:
                for runs in (late_payments, fulfilments, late_payments):  # as of two workers
                    app.run(work_off(runs))
    ended = app.run(orders["1"].get(state)).state
    assert app.run(stock["lamp"].get(in_stock)).state == (0 if ended == "confirmed" else 1)
    assert len(outside.done("mails")) == 1
    taken = sum(each.data.amount for each in app.run(books.history()))
    return ended, taken, paid, sum(each["amount"] for each in outside.done("refunds"))


def is_right(ended: str, taken: int, paid: int, given_back: int) -> bool:
    return (ended, taken, given_back) in (("confirmed", paid, 0), ("cancelled", 0, paid))


@settings(max_examples=scaled(40), deadline=None)
@given(steps=STEPS)
def test_money_is_kept_for_confirmed_orders_alone_whenever_it_comes(
    steps: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert is_right(*end_of(steps, tmp_path_factory.mktemp("outside")))


def test_control_looking_at_an_order_that_is_under_way_keeps_money_for_nothing(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Runs, "result", lambda *_: pure(None))
    ways = [["work", "decline", "pay", "work"], ["work", "pay", "decline"], ["decline", "pay"]]
    ends = [end_of(steps, tmp_path_factory.mktemp("outside")) for steps in ways]
    assert not all(is_right(*end) for end in ends)


def test_workers_that_are_killed_again_and_again_leave_the_same_books_and_mails(tmp_path: Path) -> None:
    path, folder, chosen = str(tmp_path / "shop.db"), tmp_path / "outside", random.Random(3)
    names = [f"{number}" for number in range(12)]
    with running(path, folder) as (app, _):
        app.run(stock["lamp"].append(Stocked(20)))
    placed = "".join(f"{name} 10\n" for name in names)
    command = [sys.executable, "-m", "examples.orders"]
    subprocess.run([*command, "place", path, "--outside", folder], input=placed, text=True, check=True)
    answers: dict[str, Any] = {
        name: [Paid(name, 10), Declined(name), None][int(name) % 3] for name in names
    }
    for round_ in range(scaled(2)):
        with ExitStack() as stack:
            workers = [
                stack.enter_context(subprocess.Popen([*command, "work", path, "--outside", folder]))
                for _ in range(2)
            ]
            deadline = time.monotonic() + 20
            with running(path, folder) as (app, outside):
                while len(outside.done("asked")) < 4 * (round_ + 1) and time.monotonic() < deadline:
                    time.sleep(0.01)
                for name in names:
                    if chosen.random() < 0.5 and (answer := answers.pop(name, None)) is not None:
                        app.run(payments[name].append(answer))
            for worker in workers:
                worker.kill()
    with running(path, folder) as (app, outside):
        for name, answer in answers.items():
            if answer is not None:
                app.run(payments[name].append(answer))
        in_time: Any = app.but(Clock(datetime.now(UTC)))
        in_time.run(work_off(fulfilments, late_payments))
        clock = Clock(datetime.now(UTC))
        clock.pass_by(16 * MINUTES)
        app.but(clock).run(work_off(*ALL))
        ends = {name: app.run(orders[name].get(state)).state for name in names}
        assert ends == {name: "cancelled" if int(name) % 3 else "confirmed" for name in names}
        assert [each.data.amount for each in app.run(books.history())] == [10] * 4
        assert app.run(stock["lamp"].get(in_stock)).state == 20 - 4
        told = [mail["to"] for mail in outside.done("mails") if mail["to"] in names]
        assert sorted(told) == sorted(names)
        assert not outside.done("refunds")
