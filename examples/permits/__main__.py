"""Where the replay runs, and its report: the command line of this example."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click

from eventsrc import EventsrcError, ReadFeed
from examples.permits.log import BadRow, NotALog, read_log
from examples.permits.replay import replay
from examples.permits.report import report
from examples.permits.views import VIEWS, PermitQueries
from examples.places import opened_async


class Stopped(click.ClickException):
    """The replay could not go on."""

    exit_code = 2


@click.command()
@click.argument("log", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--store",
    "where",
    metavar="memory|FILE|postgresql://ADDRESS",
    default="memory",
    help="Where it is kept; memory if not given.",
)
@click.option("--batch", type=click.IntRange(1), default=500, show_default=True, help="Rows at a time.")
@click.pass_context
def main(context: click.Context, log: Path, where: str, batch: int) -> None:
    """Replays an event log and reports what it says.

    A log that is replayed again changes nothing; a replay that was broken off is completed. The exit
    status is 1 if some rows could not be recorded, and 2 if the replay had to stop.
    """
    began = time.perf_counter()
    try:
        bad, new, text = asyncio.run(_replayed(log, where, batch))
    except NotALog as error:
        raise Stopped(f"{log} is no event log: {error}") from error
    except (EventsrcError, OSError) as error:
        raise Stopped(str(error)) from error
    for row in bad:
        click.echo(f"{log}:{row.line}: {row.reason}", err=True)
    took = time.perf_counter() - began
    rows = "1 row" if len(bad) == 1 else f"{len(bad)} rows"
    click.echo(f"{text}\n\n{new} events are new, {rows} could not be recorded; {took:.1f} s")
    context.exit(1 if bad else 0)


async def _replayed(log: Path, where: str, batch: int) -> tuple[list[BadRow], int, str]:
    """Replays a log. Answers its bad rows, how many events are new, and the report."""
    with log.open("rb") as lines:
        async with opened_async(where, VIEWS) as (store, views):
            before = (await store.run_async(ReadFeed(limit=1))).end.position
            size, label = log.stat().st_size, f"Replaying {log.name}"
            with click.progressbar(length=size, label=label, file=sys.stderr) as bar:
                bad = await replay(store, views, read_log(_telling(bar.update, lines)), batch)
            new = (await store.run_async(ReadFeed(limit=1))).end.position - before
            return bad, new, PermitQueries(views).run(report())


def _telling(tell: Callable[[int], None], lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines, with the length of each told when the next is asked for."""
    for line in lines:
        yield line
        tell(len(line))


if __name__ == "__main__":
    main()
