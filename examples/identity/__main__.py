"""The talk's story, told in a SQLite file that is removed again, or in a place that you name.

`python -m examples.identity [--store memory|FILE|postgresql://ADDRESS|dynamodb:TABLE]`
"""

import sys
from argparse import SUPPRESS, ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias, TypeVar

from eventsrc import (
    EventsrcError,
    Failure,
    Interpreter,
    Outcome,
    ReadFeed,
    Success,
    Token,
    for_each,
    force,
    synchronise,
    trace,
)
from examples.identity import operations as ask
from examples.identity.app import Everything, identity
from examples.identity.events import UserId
from examples.identity.services import register, register_member
from examples.identity.streams import all_users
from examples.identity.views import VIEWS, users, users_new
from examples.places import Views, is_postgres, opened
from examples.tables import tables

R = TypeVar("R")
Answer: TypeAlias = Outcome[ask.UserAdded | Token, object] | ask.User | ask.UserState | str | None


def tell(app: Interpreter[Everything], views: Views) -> None:
    chapter("Homer, Bart and Maggie are added", "What is stored is what happened:")
    simpsons = done(app.run(ask.AddGroup("Simpsons"))).group
    done(app.run(register_member("Homer", "homer@springfield.example", simpsons)))
    done(app.run(register_member("Bart", "bart@elbarto.example", simpsons)))
    maggie = done(app.run(register_member("Maggie", "maggie@springfield.example", simpsons))).user
    for event in app.run(ReadFeed()).events:
        say(f"{event.position:>2} {event.stream}", str(event.data))

    chapter("Queries read views", "A view knows nothing until it is synchronised with the events.")
    say("named Homer", app.run(ask.UserNamed("Homer")))
    progress, *_ = app.run(for_each(VIEWS, synchronise))
    say("synchronised", f"{progress.applied} events applied, {progress.lag} to go")
    say("named Homer", app.run(ask.UserNamed("Homer")))
    say("has bart@elbarto.example", *app.run(ask.UsersWithEmail("bart@elbarto.example")))
    say('matches "spring ma"', *app.run(ask.SearchUsers("spring ma")))
    say("Maggie is in", *app.run(ask.GroupsOf(maggie)))

    chapter("A name is taken once", "The stream of all users decides. A failure is a value.")
    say("another Bart", app.run(register("Bart", "bart@school.example")))
    say("a bad email", app.run(register("Nelson", "ha-ha")))

    chapter("Maggie becomes Lisa Jr", "A view can be forced to the token of a write.")
    before = app.run(ask.ReadUser(maggie))
    token = done(app.run(ask.RenameUser(maggie, "Lisa Jr")))
    say("the token", str(dict(token.versions)))
    say("named Lisa Jr", app.run(ask.UserNamed("Lisa Jr")))
    done(app.run(force(users, token)))
    say("forced to the token", app.run(ask.UserNamed("Lisa Jr")))
    say("another Maggie", app.run(ask.AddUser("Maggie")))

    chapter("A second view, built later", "Its column is new; the old events fill it.")
    say("users_new", f"{app.run(synchronise(users_new)).applied} events applied")
    with views.reading(users_new) as db:
        for name, domain in tables(db).rows("SELECT name, email_domain FROM users_new ORDER BY id"):
            say(name, domain or "-")

    chapter("Whoever has seen old news is told the new", "A write can depend on a token.")
    seen = app.run(ask.ReadUser(maggie)).token
    done(app.run(ask.SetEmail(maggie, "lisa@springfield.example")))
    say("with a stale token", app.run(ask.ReplaceEmail(maggie, "jr@springfield.example", seen)))
    seen = app.run(ask.ReadUser(maggie)).token
    done(app.run(ask.ReplaceEmail(maggie, "jr@springfield.example", seen)))
    done(app.run(ask.SetApiKey(maggie, "s3cr3t")))
    say("with a new one", app.run(ask.ReadUser(maggie)))

    chapter("Nothing is forgotten", "All that happened to Maggie, and what she was before.")
    audit(app, maggie)
    say("as seen with a token", app.run(ask.ReadUser(maggie, before.token)))
    born = app.run(ask.AuditTrail(maggie))[0].at
    say(f"as of {born:%H:%M:%S.%f}", app.run(ask.ReadUser(maggie, born)))

    chapter("What a run did", "The program, the commands in it, and what these are made of.")
    for line in str(trace(app, register("Lisa", "lisa@springfield.example"))).splitlines():
        print("  " + (line if len(line) <= 96 else line[:95] + "…"))


def tell_again(app: Interpreter[Everything]) -> None:
    chapter("The story has been told here already", "The file has kept it:")
    app.run(for_each(VIEWS, synchronise))
    heroine = app.run(ask.UserNamed("Lisa Jr"))
    say("named Lisa Jr", heroine)
    if heroine is not None:
        audit(app, heroine.id)


def audit(app: Interpreter[Everything], user: UserId) -> None:
    for entry in app.run(ask.AuditTrail(user)):
        say(f"{entry.at:%H:%M:%S.%f}", entry.what)


def done(outcome: Outcome[R, object]) -> R:
    match outcome:
        case Success(answer):
            return answer
        case Failure(why):
            raise SystemExit(f"the story went wrong: {why}")


def chapter(title: str, idea: str) -> None:
    print(f"\n{title.upper()}\n{idea}")


def say(what: str, *answers: Answer) -> None:
    for answer in answers:
        print(f"  {what:<26}  {in_words(answer)}")


def in_words(answer: Answer) -> str:
    match answer:
        case None:
            return "nobody"
        case str():
            return answer
        case ask.User(name=name, email=email) | ask.UserState(name=name, email=email):
            return f"{name}, {email or 'no email'}"
        case Success(ask.UserAdded(user=user)):
            return f"added, as user {user}"
        case Success():
            return "done"
        case Failure(ask.Changed(since=(first, *_))):
            return f"refused, after {first}"
        case Failure(why):
            return f"refused: {why}"


def main(where: str) -> None:
    print(f"Events and views are kept in {'Postgres' if is_postgres(where) else where}")
    with opened(where, VIEWS) as (store, views):
        app = identity(store, views)
        if app.run(all_users.head()) == 0:
            tell(app, views)
        else:
            tell_again(app)


if __name__ == "__main__":
    places = ArgumentParser("python -m examples.identity")
    places.add_argument("--store", metavar="memory|FILE|postgresql://ADDRESS|dynamodb:TABLE")
    places.add_argument("store", nargs="?", default=SUPPRESS, help=SUPPRESS)  # a file alone will do
    store = places.parse_args().store
    try:
        if store is not None:
            main(store)
        else:
            with TemporaryDirectory(prefix="identity-") as folder:
                main(str(Path(folder) / "identity.db"))
            print(f"\n{folder} is removed again.")
    except EventsrcError as error:
        sys.exit(str(error))
