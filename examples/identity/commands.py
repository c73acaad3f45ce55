"""What commands mean: programs that load, decide and append events."""

from collections.abc import Mapping
from typing import TypeAlias, TypeVar

from eventsrc import (
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
    GroupAdded,
    IdentityCommand,
    Join,
    Leave,
    NameTaken,
    NoSuchGroup,
    NoSuchUser,
    RenameUser,
    ReplaceEmail,
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

Below: TypeAlias = StoreOp | World
"""What the commands are made of; of the world, decisions need its clock and chance, to try again."""

K = TypeVar("K", UserId, GroupId)


class IdentityCommands(Translation[IdentityCommand, Below]):
    @on(AddUser).program
    def add_user(self, op: AddUser) -> Try[Below, UserAdded, NameTaken]:
        def claim(names: dict[UserId, str]) -> Outcome[list[UserNameSet], NameTaken]:
            if (by := holder(names, op.name)) is not None:
                return Failure(NameTaken(op.name, by))
            return Success([UserNameSet(UserId(next_id(names)), op.name)])

        decided = yield from ok(
            all_users.decide(user_names, claim, append_id=op.append_id, request=op.request)
        )
        return Success(UserAdded(decided.events[0].user, decided.token))

    @on(RenameUser).program
    def rename_user(self, op: RenameUser) -> Try[Below, Token, NameTaken | NoSuchUser]:
        def rename(names: dict[UserId, str]) -> Outcome[list[UserNameSet], NameTaken | NoSuchUser]:
            by = holder(names, op.name)
            if op.user not in names:
                return Failure(NoSuchUser(op.user))
            if by is None:
                return Success([UserNameSet(op.user, op.name)])
            return Success([]) if by == op.user else Failure(NameTaken(op.name, by))

        decided = yield from ok(all_users.decide(user_names, rename))
        return Success(decided.token)

    @on(SetEmail).program
    def set_email(self, op: SetEmail) -> Try[Below, Token, NoSuchUser]:
        yield from ok(existing_user(op.user))
        event = UserEmailSet(op.user, op.email)
        appended = yield from profiles[op.user].append(event, append_id=op.append_id)
        return Success(appended.token)

    @on(ReplaceEmail).program
    def replace_email(self, op: ReplaceEmail) -> Try[Below, Token, NoSuchUser | Changed]:
        yield from ok(existing_user(op.user))
        event = UserEmailSet(op.user, op.email)
        match (yield from profiles[op.user].append_at(op.seen, event, append_id=op.append_id)):
            case Success(appended):
                return Success(appended.token)
            case Failure(conflict):
                return Failure(Changed(tuple(recorded.data for recorded in conflict.events)))

    @on(SetApiKey).program
    def set_api_key(self, op: SetApiKey) -> Try[Below, Token, NoSuchUser]:
        yield from ok(existing_user(op.user))
        appended = yield from profiles[op.user].append(UserApiKeySet(op.user, op.key))
        return Success(appended.token)

    @on(AddGroup).program
    def add_group(self, op: AddGroup) -> Try[Below, GroupAdded, NameTaken]:
        def claim(names: dict[GroupId, str]) -> Outcome[list[GroupNameSet], NameTaken]:
            if (by := holder(names, op.name)) is not None:
                return Failure(NameTaken(op.name, by))
            return Success([GroupNameSet(GroupId(next_id(names)), op.name)])

        decided = yield from ok(all_groups.decide(group_names, claim))
        return Success(GroupAdded(decided.events[0].group, decided.token))

    @on(Join).program
    def join(self, op: Join) -> Try[Below, Token, NoSuchUser | NoSuchGroup]:
        return (yield from set_member(op.user, op.group, is_member=True))

    @on(Leave).program
    def leave(self, op: Leave) -> Try[Below, Token, NoSuchUser | NoSuchGroup]:
        return (yield from set_member(op.user, op.group, is_member=False))


def holder(names: Mapping[K, str], name: str) -> K | None:
    """Who has a name."""
    return next((key for key, taken in names.items() if taken == name), None)


def next_id(names: Mapping[K, str]) -> str:
    """An id that nobody has: who was named once keeps a name. It is claimed together with the name."""
    return str(len(names) + 1)


@program
def existing_user(user: UserId) -> Try[Below, None, NoSuchUser]:
    """Succeeds if there is such a user; users are never removed, so it stays true."""
    names = (yield from all_users.get(user_names)).state
    return Success(None) if user in names else Failure(NoSuchUser(user))


@program
def set_member(
    user: UserId, group: GroupId, *, is_member: bool
) -> Try[Below, Token, NoSuchUser | NoSuchGroup]:
    """Makes a user a member or not; where nothing would change, nothing is written."""
    yield from ok(existing_user(user))
    if group not in (yield from all_groups.get(group_names)).state:
        return Failure(NoSuchGroup(group))

    def change(users: frozenset[UserId]) -> list[MemberSet]:
        return [] if (user in users) == is_member else [MemberSet(group, user, is_member)]

    return Success((yield from members[group].change(member_users, change)).token)
