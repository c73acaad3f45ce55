"""Tests of retries: an append with the same append_id is stored once."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest

from eventsrc.events.stream_id import StreamId
from eventsrc.stores.operations import (
    ANY,
    NO_STREAM,
    Append,
    AppendAll,
    Conflict,
    FindAppend,
    Read,
    Rejected,
    StreamAppend,
)
from eventsrc.stores.requests import OtherRequest, request_of
from eventsrc.testing._contract._shared import (
    ContractPart,
    Store,
    accepted,
    append,
    but,
    filled,
    fresh,
    left_alone,
    refusal,
    texts_of,
)
from eventsrc.testing._contract.samples import AnyValue, Noted


class Retries(ContractPart):
    """Tests of retries: an append with the same append_id is stored once."""

    @pytest.mark.parametrize("others", [0, 3])
    def test_a_retry_with_the_same_append_id_answers_with_the_first_result(
        self, store: Store, others: int
    ) -> None:
        stream, append_id = filled(store, 1), uuid4()
        asked = Append(stream, (Noted("a"), Noted("b")), 1, append_id)
        answer = store.run(asked)
        assert accepted(answer).version == 3
        for number in range(others):
            append(store, stream, f"later {number}")
            append(store, fresh(), "elsewhere")
        for retry in (asked, but(asked, expected=ANY), but(asked, expected=NO_STREAM)):
            with left_alone(store, stream):
                assert store.run(retry) == answer

    def test_an_append_id_is_remembered_for_longer_than_the_next_thousand(self, store: Store) -> None:
        stream, other, append_id = filled(store, 1), fresh(), uuid4()
        asked = Append(stream, (Noted("a"),), append_id=append_id)
        answer = store.run(asked)
        for _ in range(1_001):
            append(store, other, "later", append_id=uuid4())
        with left_alone(store, stream):
            assert store.run(asked) == answer
        assert not self.finding or store.run(FindAppend(append_id)) == accepted(answer)

    def test_an_append_whose_id_the_store_chose_can_be_retried_with_that(self, store: Store) -> None:
        stream = fresh()
        first, second = append(store, stream, "a"), append(store, stream, "a")
        with left_alone(store, stream):
            assert append(store, stream, "a", append_id=second.append_id) == second
            assert append(store, stream, "a", append_id=first.append_id) == first
            other = store.run(Append(stream, (Noted("b"),), append_id=first.append_id))
        assert isinstance(refusal(other), Rejected)

    def test_appends_with_no_chosen_id_are_stored_each_time(self, store: Store) -> None:
        stream = fresh()
        answers = [append(store, stream, "the same") for _ in range(3)]
        assert len({answer.append_id for answer in answers}) == 3
        assert texts_of(store, stream) == ["the same"] * 3

    @pytest.mark.parametrize(
        "change",
        [
            lambda asked: but(asked, events=(Noted("a"), Noted("c"))),
            lambda asked: but(asked, events=(Noted("b"), Noted("a"))),
            lambda asked: but(asked, events=(Noted("a"),)),
            lambda asked: but(asked, events=(Noted("a"), Noted("b"), Noted("c"))),
            lambda asked: but(asked, events=(Noted("a"), AnyValue("b"))),
            lambda asked: but(asked, stream=StreamId(f"{asked.stream}/b")),
            lambda asked: AppendAll(
                (StreamAppend(asked.stream, asked.events), StreamAppend(fresh(), asked.events)),
                append_id=asked.append_id,
            ),
        ],
        ids=[
            "other event",
            "other order",
            "fewer",
            "more",
            "other type",
            "other stream",
            "more streams",
        ],
    )
    def test_an_append_id_that_was_used_for_other_events_is_rejected(
        self, store: Store, change: Callable[[Append], Append | AppendAll]
    ) -> None:
        stream = fresh()
        asked = Append(stream, (Noted("a"), Noted("b")), append_id=uuid4())
        answer = store.run(asked)
        changed = change(asked)
        if not self.claimed(changed):
            pytest.skip("the store appends to one stream at a time: `several` is False")
        with left_alone(store, stream):
            refused = refusal(store.run(changed))
        assert isinstance(refused, Rejected)
        assert str(asked.append_id) in refused.reason
        assert store.run(asked) == answer

    @pytest.mark.usefixtures("finds_appends")
    @pytest.mark.parametrize("several", [False, True], ids=["one stream", "several"])
    def test_an_append_for_a_request_is_answered_again_for_that_request_alone(
        self, store: Store, several: bool
    ) -> None:
        stream, other, append_id = fresh(), fresh(), uuid4()
        asked = but(_to(stream, other, several), append_id=append_id, request=request_of("the first"))
        if not self.claimed(asked):
            pytest.skip("the store appends to one stream at a time: `several` is False")
        answer = store.run(asked)
        append(store, stream, "later")
        with left_alone(store, stream, other):
            assert store.run(asked) == answer
            assert store.run(but(asked, request=None)) == answer, "and for one that says none"
            refused = refusal(store.run(but(asked, request=request_of("another"))))
            assert isinstance(refused, Rejected)
            assert str(append_id) in refused.reason
        for request in (None, request_of("the first")):
            assert store.run(FindAppend(append_id, request)) == accepted(answer)
        with pytest.raises(OtherRequest, match=str(append_id)):
            store.run(FindAppend(append_id, request_of("another")))
        assert store.run(FindAppend(uuid4(), request_of("the first"))) is None

    @pytest.mark.usefixtures("finds_appends")
    def test_an_append_that_was_made_for_no_request_is_not_one_of_a_request(self, store: Store) -> None:
        asked = Append(fresh(), (Noted("a"),), append_id=uuid4(), metadata={"request": "the first"})
        store.run(asked)
        with left_alone(store, asked.stream):
            told = refusal(store.run(but(asked, request=request_of("the first"))))
        assert isinstance(told, Rejected)
        assert asked.append_id is not None
        with pytest.raises(OtherRequest):
            store.run(FindAppend(asked.append_id, request_of("the first")))

    def test_the_digest_of_a_request_is_no_metadata(self, store: Store) -> None:
        stream, said = fresh(), {"actor": "homer"}
        asked = Append(stream, (Noted("a"),), append_id=uuid4(), metadata=said)
        store.run(but(asked, request=request_of("the first")))
        store.run(Append(stream, (Noted("b"),), append_id=uuid4(), request=request_of("other")))
        assert [event.metadata for event in store.run(Read(stream)).events] == [said, {}]
        for bad in ("$request", "$sealed"):
            with left_alone(store, stream), pytest.raises(ValueError, match=r"library's own"):
                store.run(but(asked, append_id=uuid4(), metadata={bad: "0" * 32}))

    @pytest.mark.usefixtures("finds_appends")
    def test_a_request_without_an_append_id_or_that_is_no_bytes_is_refused(self, store: Store) -> None:
        asked = Append(fresh(), (Noted("a"),), append_id=uuid4(), request=request_of("the first"))
        with left_alone(store, asked.stream):
            with pytest.raises(ValueError, match="append_id"):
                store.run(but(asked, append_id=None))
            with pytest.raises(TypeError, match="request_of"):
                store.run(but(asked, request="the first"))
        assert asked.append_id is not None
        with pytest.raises(TypeError, match="request_of"):
            store.run(FindAppend(asked.append_id, "the first"))  # type: ignore[arg-type]

    @pytest.mark.usefixtures("appends_to_several")
    def test_an_append_id_is_the_same_for_one_stream_and_for_several(self, store: Store) -> None:
        stream, other = fresh(), fresh()
        batch = (Noted("a"), Noted("b"))
        one, several = uuid4(), uuid4()
        first = store.run(Append(stream, batch, append_id=one))
        second = store.run(AppendAll((StreamAppend(other, batch),), append_id=several))
        with left_alone(store, stream, other):
            assert store.run(AppendAll((StreamAppend(stream, batch),), append_id=one)) == first
            assert store.run(Append(other, batch, append_id=several)) == second
            mixed = store.run(AppendAll((StreamAppend(other, batch),), append_id=one))
        assert isinstance(refusal(mixed), Rejected)

    def test_an_append_id_is_not_used_up_by_a_conflict(self, store: Store) -> None:
        stream, append_id = filled(store, 1), uuid4()
        assert isinstance(refusal(store.run(Append(stream, (Noted("a"),), 0, append_id))), Conflict)
        assert not self.finding or store.run(FindAppend(append_id)) is None
        assert accepted(store.run(Append(stream, (Noted("b"),), 1, append_id))).version == 2

    @pytest.mark.usefixtures("finds_appends")
    def test_what_became_of_an_append_can_be_found(self, store: Store) -> None:
        stream, other = fresh(), fresh()
        parts = (StreamAppend(other, (Noted("c"),)), StreamAppend(stream, (Noted("d"), Noted("e"))))
        answers = [
            append(store, stream, "a"),
            append(store, stream, "b", append_id=uuid4()),
        ]
        several = self.claimed(AppendAll(parts, append_id=uuid4()), AppendAll(parts))
        answers += [accepted(store.run(asked)) for asked in several]
        for answer in answers:
            assert store.run(FindAppend(answer.append_id)) == answer
        assert store.run(FindAppend(uuid4())) is None


def _to(stream: StreamId, other: StreamId, several: bool) -> Append | AppendAll:
    if not several:
        return Append(stream, (Noted("a"), Noted("b")))
    return AppendAll((StreamAppend(stream, (Noted("a"),)), StreamAppend(other, (Noted("b"),))))
