"""What happened. Each event sets one thing, so that setting it twice is setting it once.

The names in quotes are what is stored: classes and modules may be renamed later, they may not.
"""

from typing import NewType

from eventsrc import event

UserId = NewType("UserId", str)
GroupId = NewType("GroupId", str)


@event("identity.user-name-set")
class UserNameSet:
    user: UserId
    name: str


@event("identity.user-email-set")
class UserEmailSet:
    user: UserId
    email: str


@event("identity.user-api-key-set")
class UserApiKeySet:
    user: UserId
    key: str


@event("identity.group-name-set")
class GroupNameSet:
    group: GroupId
    name: str


@event("identity.member-set")
class MemberSet:
    """Whether a user is a member of a group, from now on."""

    group: GroupId
    user: UserId
    is_member: bool
