"""The views that queries read: tables that are kept in step with the events.

A view may hear of streams in any order, so a user's email can come before the name: handlers set what
their event says and touch nothing else.
"""

from typing import Any

from eventsrc import Recorded, View
from examples.identity.events import GroupNameSet, MemberSet, UserEmailSet, UserNameSet
from examples.tables import Database, tables

users: View[Any] = View("users")
"""Users, to be found by name and email, and by a search in both."""


@users.schema
def create_users(db: Database) -> None:
    tables(db).create("users", {"id": str, "name": str, "email": str}, "id")
    tables(db).index("users", "name")
    tables(db).index("users", "email")
    tables(db).enable_search("users", "name", "email")


@users.on(UserNameSet)
def set_name(db: Database, event: Recorded[UserNameSet]) -> None:
    tables(db).put("users", {"id": event.data.user, "name": event.data.name}, "id")


@users.on(UserEmailSet)
def set_email(db: Database, event: Recorded[UserEmailSet]) -> None:
    tables(db).put("users", {"id": event.data.user, "email": event.data.email}, "id")


groups: View[Any] = View("groups")
"""Groups, and who is in them."""


@groups.schema
def create_groups(db: Database) -> None:
    tables(db).create("groups", {"id": str, "name": str}, "id")
    tables(db).create("memberships", {"user": str, "group": str}, "user", "group")


@groups.on(GroupNameSet)
def set_group_name(db: Database, event: Recorded[GroupNameSet]) -> None:
    tables(db).put("groups", {"id": event.data.group, "name": event.data.name}, "id")


@groups.on(MemberSet)
def set_member(db: Database, event: Recorded[MemberSet]) -> None:
    membership = {"user": event.data.user, "group": event.data.group}
    if event.data.is_member:
        tables(db).put("memberships", membership, "user", "group")
    else:
        tables(db).remove("memberships", membership)


users_new: View[Any] = View("users_new")
"""Users with a column that nobody thought of at first, built later from the same events."""


@users_new.schema
def create_users_new(db: Database) -> None:
    tables(db).create("users_new", {"id": str, "name": str, "email_domain": str}, "id")


@users_new.on(UserNameSet)
def set_new_name(db: Database, event: Recorded[UserNameSet]) -> None:
    tables(db).put("users_new", {"id": event.data.user, "name": event.data.name}, "id")


@users_new.on(UserEmailSet)
def set_email_domain(db: Database, event: Recorded[UserEmailSet]) -> None:
    domain = event.data.email.partition("@")[2]
    tables(db).put("users_new", {"id": event.data.user, "email_domain": domain}, "id")


VIEWS = (users, groups)
"""The views that queries need."""
