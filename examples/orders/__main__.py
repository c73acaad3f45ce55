"""The command line of this example: a story, and workers for the same orders in a store of yours."""

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from eventsrc import world
from eventsrc.durable import DAYS, MINUTES
from eventsrc.durable.work import work, work_off
from examples.orders.clock import Clock
from examples.orders.events import Declined, Paid, Stocked, in_stock, orders, payments, state, stock
from examples.orders.fulfilment import ALL, fulfilments, nightlies
from examples.orders.outside import Outside
from examples.places import opened

where_ = click.argument("where", metavar="FILE|postgresql://ADDRESS|dynamodb:TABLE")
outside_ = click.option(
    "--outside",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("outside"),
    show_default=True,
    help="The folder of the bank and the post office.",
)


@click.group(invoke_without_command=True)
@click.option(
    "--store", "where", default="memory", help="Where the story is kept; memory if not given."
)
@click.pass_context
def main(context: click.Context, where: str) -> None:
    """Tells a story of some orders, or does what the commands below say."""
    if context.invoked_subcommand is None:
        with tempfile.TemporaryDirectory() as folder:
            tell(where, Path(folder))


def tell(where: str, folder: Path) -> None:
    """Tells the story: orders that are paid, declined, late and sold out."""
    clock, outside = Clock(), Outside(folder)
    with opened(where, []) as (store, views):
        app: Any = store | views | clock | outside
        app.run(stock["lamp"].append(Stocked(3)))
        app.run(nightlies.start())
        for number, item in enumerate(["lamp", "lamp", "lamp", "lamp"], 1):
            app.run(fulfilments.start(f"{number}", item, 10 * number))
        app.run(work_off(*ALL))
        app.run(payments["1"].append(Paid("1", 10)))
        app.run(payments["2"].append(Declined("2")))
        app.run(work_off(*ALL))
        clock.pass_by(16 * MINUTES)
        app.run(work_off(*ALL))
        app.run(payments["3"].append(Paid("3", 30)))  # which is too late
        app.run(work_off(*ALL))
        clock.pass_by(1 * DAYS)
        app.run(work_off(*ALL))
        show(app, outside, [f"{number}" for number in range(1, 5)])


def show(app: Any, outside: Outside, names: list[str]) -> None:
    """Prints the orders, the stock, and what the bank and the post office have done."""
    for name in names:
        click.echo(f"order {name}: {app.run(orders[name].get(state)).state}")
    click.echo(f"lamps in stock: {app.run(stock['lamp'].get(in_stock)).state}")
    for refund in outside.done("refunds"):
        click.echo(f"given back: {refund['amount']} euros of order {refund['order']}")
    for mail in outside.done("mails"):
        click.echo(f"mail to {mail['to']}: {mail['text']}")


@contextlib.contextmanager
def running(where: str, folder: Path) -> Iterator[tuple[Any, Outside]]:
    """The application on a store, and who is outside of it."""
    folder.mkdir(exist_ok=True)
    with opened(where, []) as (store, views):
        outside = Outside(folder)
        yield store | views | world | outside, outside


@main.command()
@where_
@outside_
def place(where: str, folder: Path) -> None:
    """Reads orders from standard input, a line of NAME AMOUNT for each, and begins to fulfil them."""
    with running(where, folder) as (app, _):
        for line in sys.stdin:
            name, amount = line.split()
            app.run(fulfilments.start(name, "lamp", int(amount)))


@main.command("work")
@where_
@outside_
def work_(where: str, folder: Path) -> None:
    """Works on the orders until it is told to stop; several may, and any may be killed."""
    stopped: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda told, _frame: stopped.append(told))
    with running(where, folder) as (app, _):
        app.run(nightlies.start())
        app.run(work(*ALL, owner=f"{os.getpid()}", lease=2.0, until=lambda: bool(stopped)))


if __name__ == "__main__":
    main()
