"""The views that queries read: tables that are kept in step with the events.

A view may hear of streams in any order, so a user's email can come before the name: handlers set what
their event says and touch nothing else.
"""

from sqlite_utils import Database

from eventsrc import Recorded, View
from examples.identity.events import GroupNameSet, MemberSet, UserEmailSet, UserNameSet

users: View[Database] = View("users")
"""Users, to be found by name and email, and by a search in both."""


@users.schema
def create_users(db: Database) -> None:
    table = db.table("users").create({"id": str, "name": str, "email": str}, pk="id")
    table.create_index(["name"])
    table.create_index(["email"])
    table.enable_fts(["name", "email"], create_triggers=True)


@users.on(UserNameSet)
def set_name(db: Database, event: Recorded[UserNameSet]) -> None:
    db.table("users").upsert({"id": event.data.user, "name": event.data.name}, pk="id")


@users.on(UserEmailSet)
def set_email(db: Database, event: Recorded[UserEmailSet]) -> None:
    db.table("users").upsert({"id": event.data.user, "email": event.data.email}, pk="id")


groups: View[Database] = View("groups")
"""Groups, and who is in them."""


@groups.schema
def create_groups(db: Database) -> None:
    db.table("groups").create({"id": str, "name": str}, pk="id")
    db.table("memberships").create({"user": str, "group": str}, pk=("user", "group"))


@groups.on(GroupNameSet)
def set_group_name(db: Database, event: Recorded[GroupNameSet]) -> None:
    db.table("groups").upsert({"id": event.data.group, "name": event.data.name}, pk="id")


@groups.on(MemberSet)
def set_member(db: Database, event: Recorded[MemberSet]) -> None:
    user, group = event.data.user, event.data.group
    if event.data.is_member:
        db.table("memberships").upsert({"user": user, "group": group}, pk=("user", "group"))
    else:
        db.conn.execute("DELETE FROM memberships WHERE user = ? AND [group] = ?", [user, group])


users_new: View[Database] = View("users_new")
"""Users with a column that nobody thought of at first, built later from the same events."""


@users_new.schema
def create_users_new(db: Database) -> None:
    db.table("users_new").create({"id": str, "name": str, "email_domain": str}, pk="id")


@users_new.on(UserNameSet)
def set_new_name(db: Database, event: Recorded[UserNameSet]) -> None:
    db.table("users_new").upsert({"id": event.data.user, "name": event.data.name}, pk="id")


@users_new.on(UserEmailSet)
def set_email_domain(db: Database, event: Recorded[UserEmailSet]) -> None:
    domain = event.data.email.partition("@")[2]
    db.table("users_new").upsert({"id": event.data.user, "email_domain": domain}, pk="id")


VIEWS = (users, groups)
"""The views that queries need."""
