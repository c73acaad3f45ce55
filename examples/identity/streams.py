"""Where events live, and the states that they make.

What must be decided together is in one stream: names are unique among all users, so one stream says
who exists and who has which name. What concerns one user or group alone has a stream of its own.
"""

from typing import TypeAlias

import attrs

from eventsrc import Fold, Stream, Streams
from examples.identity.events import (
    GroupId,
    GroupNameSet,
    MemberSet,
    UserApiKeySet,
    UserEmailSet,
    UserId,
    UserNameSet,
)

ProfileEvent: TypeAlias = UserEmailSet | UserApiKeySet

all_users = Stream("users", events=UserNameSet)
profiles = Streams("users/{user}/profile", key=UserId, events=ProfileEvent)
all_groups = Stream("groups", events=GroupNameSet)
members = Streams("groups/{group}/members", key=GroupId, events=MemberSet)


@attrs.frozen
class Profile:
    """What a user has set."""

    email: str | None = None
    api_key: str | None = None


def with_user_name(names: dict[UserId, str], event: UserNameSet) -> dict[UserId, str]:
    return names | {event.user: event.name}


def with_group_name(names: dict[GroupId, str], event: GroupNameSet) -> dict[GroupId, str]:
    return names | {event.group: event.name}


def with_member(users: frozenset[UserId], event: MemberSet) -> frozenset[UserId]:
    return users | {event.user} if event.is_member else users - {event.user}


def with_setting(profile: Profile, event: ProfileEvent) -> Profile:
    match event:
        case UserEmailSet(email=email):
            return attrs.evolve(profile, email=email)
        case UserApiKeySet(key=key):
            return attrs.evolve(profile, api_key=key)


user_names = Fold(dict[UserId, str](), with_user_name)
group_names = Fold(dict[GroupId, str](), with_group_name)
member_users = Fold(frozenset[UserId](), with_member)
profile = Fold(Profile(), with_setting)
