"""What commands mean: programs that load, decide and append events."""

from __future__ import annotations

from typing import TypeAlias

from eventsrc import (
    Conflict,
    Failure,
    Outcome,
    StoreOp,
    Success,
    Token,
    Translation,
    Try,
    World,
    ok,
    on,
    program,
)
from eventsrc.world import NewId
from examples.identity.events import (
    GroupId,
    GroupNameSet,
    MemberSet,
    UserApiKeySet,
    UserEmailSet,
    UserId,
    UserNameSet,
)
from examples.identity.operations import (
    AddGroup,
    AddUser,
    Changed,
    Commands,
    GroupAdded,
    Join,
    Leave,
    NameTaken,
    NoSuchGroup,
    NoSuchUser,
    RenameUser,
    SetApiKey,
    SetEmail,
    UserAdded,
)
from examples.identity.streams import (
    all_groups,
    all_users,
    group_names,
    member_users,
    members,
    profiles,
    user_names,
)

Lower: TypeAlias = StoreOp | World


def owner(names: dict[UserId, str], name: str) -> UserId | None:
    """Who has a name."""
    return next((user for user, taken in names.items() if taken == name), None)


class IdentityCommands(Translation[Commands, Lower]):
    @on(AddUser).program
    def add_user(self, op: AddUser) -> Try[Lower, NameTaken, UserAdded]:
        user = UserId((yield from NewId()).hex)

        def claim(names: dict[UserId, str]) -> Outcome[list[UserNameSet], NameTaken]:
            holder = owner(names, op.name)
            if holder is not None:
                return Failure(NameTaken(op.name, holder))
            return Success([UserNameSet(user, op.name)])

        decided = yield from ok(all_users.decide(user_names, claim))
        return Success(UserAdded(user, decided.token))

    @on(RenameUser).program
    def rename_user(self, op: RenameUser) -> Try[Lower, NameTaken | NoSuchUser, Token]:
        def rename(names: dict[UserId, str]) -> Outcome[list[UserNameSet], NameTaken | NoSuchUser]:
            holder = owner(names, op.name)
            if op.user not in names:
                return Failure(NoSuchUser(op.user))
            if holder == op.user:
                return Success([])
            if holder is not None:
                return Failure(NameTaken(op.name, holder))
            return Success([UserNameSet(op.user, op.name)])

        decided = yield from ok(all_users.decide(user_names, rename))
        return Success(decided.token)

    @on(SetEmail).program
    def set_email(self, op: SetEmail) -> Try[Lower, NoSuchUser | Changed, Token]:
        yield from ok(existing_user(op.user))
        stream, event = profiles[op.user], UserEmailSet(op.user, op.email)
        if op.seen is None:
            return Success((yield from stream.append(event)).token)
        match (yield from stream.append_at(op.seen, event)):
            case Success(appended):
                return Success(appended.token)
            case Failure(Conflict(events=events)):
                return Failure(Changed(tuple(repr(recorded.data) for recorded in events)))

    @on(SetApiKey).program
    def set_api_key(self, op: SetApiKey) -> Try[Lower, NoSuchUser, Token]:
        yield from ok(existing_user(op.user))
        return Success((yield from profiles[op.user].append(UserApiKeySet(op.user, op.key))).token)

    @on(AddGroup).program
    def add_group(self, op: AddGroup) -> Try[Lower, NameTaken, GroupAdded]:
        group = GroupId((yield from NewId()).hex)

        def claim(names: dict[GroupId, str]) -> Outcome[list[GroupNameSet], NameTaken]:
            for holder, name in names.items():
                if name == op.name:
                    return Failure(NameTaken(op.name, holder))
            return Success([GroupNameSet(group, op.name)])

        decided = yield from ok(all_groups.decide(group_names, claim))
        return Success(GroupAdded(group, decided.token))

    @on(Join).program
    def join(self, op: Join) -> Try[Lower, NoSuchUser | NoSuchGroup, Token]:
        return (yield from set_member(op.user, op.group, is_member=True))

    @on(Leave).program
    def leave(self, op: Leave) -> Try[Lower, NoSuchUser | NoSuchGroup, Token]:
        return (yield from set_member(op.user, op.group, is_member=False))


@program
def existing_user(user: UserId) -> Try[Lower, NoSuchUser, None]:
    names = (yield from all_users.get(user_names)).state
    return Success(None) if user in names else Failure(NoSuchUser(user))


@program
def set_member(
    user: UserId, group: GroupId, *, is_member: bool
) -> Try[Lower, NoSuchUser | NoSuchGroup, Token]:
    """Makes a user a member or not; one who is already is left alone."""
    yield from ok(existing_user(user))
    names = (yield from all_groups.get(group_names)).state
    if group not in names:
        return Failure(NoSuchGroup(group))

    def change(users: frozenset[UserId]) -> list[MemberSet]:
        return [] if (user in users) == is_member else [MemberSet(group, user, is_member)]

    changed = yield from members[group].change(member_users, change)
    return Success(changed.token)
