"""Names that are unique by tags: as a dictionary would have it, whoever asks at once."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from returns.result import Failure, Success

from eventsrc import MemoryStore, SqliteStore, world
from examples.identity.events import UserId
from examples.identity.operations import NameTaken, NoSuchUser
from examples.identity.tagged import add_user, holder, name_of, rename_user

NAMES = ("Homer", "Marge", "Lisa")


@given(
    steps=st.lists(st.tuples(st.sampled_from(["add", 0, 1, 2]), st.sampled_from(NAMES)), max_size=12)
)
def test_names_are_given_and_freed_as_in_a_dictionary(steps: list[tuple[Any, str]]) -> None:
    app = MemoryStore() | world
    users: list[UserId] = []
    model: dict[UserId, str] = {}
    for who, name in steps:
        by = next((user for user, its in model.items() if its == name), None)
        assert app.run(holder(name)) == by
        if who == "add":
            answer = app.run(add_user(name))
            if by is None:
                users.append(answer.unwrap())
                model[users[-1]] = name
            else:
                assert answer == Failure(NameTaken(name, by))
            continue
        asked = users[who] if who < len(users) else UserId("nobody")
        renamed = app.run(rename_user(asked, name))
        if asked not in model:
            assert renamed == Failure(NoSuchUser(asked))
        elif by in (None, asked):
            assert renamed == Success(None)
            model[asked] = name
        else:
            assert renamed == Failure(NameTaken(name, by))
    assert {user: app.run(name_of(user)) for user in users} == model


def test_of_many_who_want_a_name_at_once_one_gets_it(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "store.db", durability="process") as store:
        app = store | world
        answers: list[Any] = []

        def want(name: str) -> None:
            answers.append(app.run(add_user(name)))

        threads = [threading.Thread(target=want, args=(NAMES[n % 3],)) for n in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sum(isinstance(answer, Success) for answer in answers) == 3
        assert len({app.run(holder(name)) for name in NAMES}) == 3
