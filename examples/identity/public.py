"""What others may know: the events of this service as an API.

Each rule makes an external event of an internal one; an event without a rule is told to nobody. The
schemas are in published.json, which a test holds them to: others go by them.
"""

from typing import Final

import attrs

from eventsrc import Recorded
from eventsrc.publishing import Transformer
from examples.identity.events import (
    GroupId,
    GroupNameSet,
    MemberSet,
    UserApiKeySet,
    UserEmailSet,
    UserId,
    UserNameSet,
)

public: Final = Transformer("https://identity.example")


@attrs.frozen
class UserNamed:
    """A user has this name from now on."""

    user: UserId
    name: str


@attrs.frozen
class UserAddressed:
    """A user has this address of mail from now on."""

    user: UserId
    email: str


@attrs.frozen
class ApiKeyIssued:
    """A user has another API key, which is nobody's business."""

    user: UserId


@attrs.frozen
class GroupNamed:
    """A group has this name from now on."""

    group: GroupId
    name: str


@attrs.frozen
class Membership:
    """A user is a member of a group from now on, or is none."""

    group: GroupId
    user: UserId
    is_member: bool


@public.of(UserNameSet, name="example.identity.user-named")
def user_named(event: Recorded[UserNameSet]) -> UserNamed:
    return UserNamed(event.data.user, event.data.name)


@public.of(UserEmailSet, name="example.identity.user-addressed")
def user_addressed(event: Recorded[UserEmailSet]) -> UserAddressed:
    return UserAddressed(event.data.user, event.data.email)


@public.of(UserApiKeySet, name="example.identity.api-key-issued")
def api_key_issued(event: Recorded[UserApiKeySet]) -> ApiKeyIssued:
    return ApiKeyIssued(event.data.user)


@public.of(GroupNameSet, name="example.identity.group-named")
def group_named(event: Recorded[GroupNameSet]) -> GroupNamed:
    return GroupNamed(event.data.group, event.data.name)


@public.of(MemberSet, name="example.identity.membership")
def membership(event: Recorded[MemberSet]) -> Membership:
    return Membership(event.data.group, event.data.user, event.data.is_member)
