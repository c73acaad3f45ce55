"""The command line of this example: thirty students rush for twenty seats, in a store of yours."""

import threading
from collections import Counter
from typing import Any

import click
from returns.result import Success

from eventsrc import world
from eventsrc.events.tags import about
from eventsrc.stores.tags import ReadTagged
from examples.courses.events import CourseId, Joined, StudentId, course
from examples.courses.service import define, join
from examples.places import opened

RUST = CourseId("rust")


@click.command
@click.option(
    "--store", "where", default="memory", help="A FILE or postgresql://; memory if not given."
)
def main(where: str) -> None:
    """Has thirty students rush for twenty seats, and says who got one."""
    with opened(where, []) as (store, _):
        app: Any = store | world
        click.echo(f"{RUST} is offered: {app.run(define(RUST, 20))}")
        answers: list[Any] = []

        def rush(number: int) -> None:
            answers.append(app.run(join(StudentId(f"student-{number}"), RUST)))

        threads = [threading.Thread(target=rush, args=(number,)) for number in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        told = ("got a seat" if isinstance(one, Success) else one.failure().value for one in answers)
        for what, count in sorted(Counter(told).items()):
            click.echo(f"{count} students: {what}")
        page = app.run(ReadTagged(about(course[RUST], of=Joined)))
        click.echo(f"{len(page.events)} of {RUST}'s seats are taken")


if __name__ == "__main__":
    main()
