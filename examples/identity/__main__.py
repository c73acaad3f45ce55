"""The talk's story, told on a SQLite file: `python -m examples.identity [FILE]`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from eventsrc import (
    Failure,
    Interpreter,
    Outcome,
    ReadFeed,
    SqliteStore,
    SqliteViews,
    Success,
    force,
    synchronise,
    trace,
    world,
)
from examples.identity.app import identity, synchronise_all
from examples.identity.operations import (
    AddGroup,
    AddUser,
    App,
    AuditTrail,
    GroupsOf,
    Join,
    ReadProfile,
    RenameUser,
    SearchUsers,
    SetApiKey,
    SetEmail,
    User,
    UserAsOf,
    UserNamed,
)
from examples.identity.services import register, register_member
from examples.identity.views import VIEWS, users, users_new

R = TypeVar("R")


def chapter(title: str) -> None:
    print(f"\n{title}\n{'-' * len(title)}")


def succeeded(outcome: Outcome[R, object]) -> R:
    match outcome:
        case Success(value):
            return value
        case Failure(why):
            raise SystemExit(f"the story went wrong: {why}")


def show(found: Iterable[User | None]) -> None:
    for user in found:
        print("  nobody" if user is None else f"  {user.name:<10} {user.email}")


def tell(store: SqliteStore, views: SqliteViews) -> None:
    app: Interpreter[App] = identity(store, views)

    chapter("Three users, written as events")
    group = succeeded(app.run(AddGroup("Simpsons"))).group
    succeeded(app.run(register_member("Homer", "homer@springfield.example", group)))
    succeeded(app.run(register_member("Bart", "bart@elbarto.example", group)))
    maggie = succeeded(app.run(register_member("Maggie", "maggie@springfield.example", group))).user
    feed = store.run(ReadFeed()).events
    for recorded in feed[:4]:
        print(f"  {recorded.position:>2}  {recorded.stream!s:<48.48} {recorded.type}")
    print(f"  ... {len(feed)} events in all")

    chapter("A view knows nothing until it is synchronised")
    show([app.run(UserNamed("Homer"))])
    print(f"  {synchronise_all(store, views)} events applied; now there is")
    show([app.run(UserNamed("Homer"))])
    print("  and a search for 'spring ho' finds")
    show(app.run(SearchUsers("spring ho")))

    chapter("A name is taken once")
    print(f"  {app.run(AddUser('Bart'))}")
    print(f"  {app.run(register('Nelson', 'ha-ha'))}")

    chapter("Maggie becomes Lisa Jr, and her old name is free")
    before = app.run(AuditTrail(maggie))[-1].at
    token = succeeded(app.run(RenameUser(maggie, "Lisa Jr")))
    succeeded(app.run(SetApiKey(maggie, "s3cr3t")))
    print(f"  the view has not heard of it: {app.run(UserNamed('Lisa Jr'))}")
    succeeded((store | views | world).run(force(users, token)))
    print("  forced to be as new as the token of the rename, it has:")
    show([app.run(UserNamed("Lisa Jr"))])
    another = succeeded(app.run(AddUser("Maggie"))).user
    print(f"  and the name is free for another Maggie, {another}")

    chapter("A second view, with a column that nobody thought of, from the same events")
    done = (store | views).run(synchronise(users_new))
    print(f"  users_new applied {done.applied} events, lag {done.lag}")
    with views.reading() as db:
        for row in db.table("users_new").rows_where("domain IS NOT NULL", order_by="name"):
            print(f"  {row['name']:<10} {row['domain']}")

    chapter("What was seen may be stale")
    _, seen = app.run(ReadProfile(maggie))
    succeeded(app.run(SetEmail(maggie, "lisa@springfield.example")))
    print("  somebody else sets the email, and then we do, with the token of what we saw:")
    print(f"  {app.run(SetEmail(maggie, 'jr@springfield.example', seen))}")

    chapter("Nothing is forgotten")
    for entry in app.run(AuditTrail(maggie)):
        print(f"  {entry.at:%H:%M:%S.%f}  {entry.what}")
    then = app.run(UserAsOf(maggie, before))
    print(f"  as she was at {before:%H:%M:%S.%f}: {then.name}, {then.profile.email}")

    chapter("What a run does can be seen")
    print(trace(app, Join(maggie, group).then(GroupsOf(maggie))))


def main(arguments: list[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="identity-") as folder:
        path = Path(arguments[0]) if arguments else Path(folder) / "identity.db"
        print(f"Events and views are in one SQLite file, {path}")
        with SqliteStore(path) as store, SqliteViews(path, VIEWS) as views:
            if store.run(ReadFeed(limit=1)).events:
                print("The story has been told there already. Its users are:")
                synchronise_all(store, views)
                with views.reading() as db:
                    for row in db.table("users").rows_where(order_by="name"):
                        print(f"  {row['name']:<10} {row['email']}")
            else:
                tell(store, views)


if __name__ == "__main__":
    main(sys.argv[1:])
