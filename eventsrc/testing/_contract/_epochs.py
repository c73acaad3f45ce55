"""The contract of a store that can be told that it was restored: what its epochs make of old texts.

No store is restored here: a cursor or token that names what came after an epoch began, and says that it
is of the epoch before, is what somebody else has who read the store before it was restored.
"""

from __future__ import annotations

from typing import Any, TypeAlias, cast
from uuid import uuid4

import attrs
import pytest

from eventsrc.events.epochs import WrongEpoch
from eventsrc.events.positions import START, Cursor, Token
from eventsrc.programs.interpreter import Interpreter
from eventsrc.stores.epochs import restored
from eventsrc.stores.newest import newest
from eventsrc.stores.operations import (
    Append,
    AppendAll,
    Condition,
    EpochOp,
    FindAppend,
    GetEpochs,
    Read,
    ReadFeed,
    StoreOp,
    StreamAppend,
)
from eventsrc.streams.fold import Fold, Folded, load, load_at
from eventsrc.streams.past import as_of
from eventsrc.testing._contract._shared import (
    ContractPart,
    Store,
    append,
    end_of,
    filled,
    fresh,
    left_alone,
)
from eventsrc.testing._contract.samples import Noted

Restorable: TypeAlias = Interpreter[StoreOp | EpochOp]

_NUMBER: Fold[int, Any] = Fold(0, lambda number, _: number + 1)


def at(text: Any, epoch: int) -> Any:
    """The same cursor or token, as another epoch would have issued it."""
    return type(text).parse(str(attrs.evolve(text, epoch=epoch)))


class EpochsOfStores(ContractPart):
    """The rules for cursors and tokens of a store's earlier epochs."""

    @pytest.fixture
    def raised(self, store: Store) -> Restorable:
        """The store, if it has epochs."""
        if not self.epochs:
            pytest.skip("`epochs` is False: the store cannot be told that it was restored")
        return cast("Restorable", store)

    def test_an_epoch_begins_at_the_end_of_the_feed(self, raised: Restorable) -> None:
        filled(raised, 3)
        before = raised.run(GetEpochs())
        end = end_of(raised)
        number = raised.run(restored())
        assert number > before.current == end.epoch
        assert raised.run(GetEpochs()).begins == (*before.begins, (number, end.position))
        assert raised.run(restored()) > number, "which does no harm"

    @pytest.mark.usefixtures("finds_appends")
    @pytest.mark.usefixtures("appends_to_several")
    def test_all_that_is_issued_names_the_epoch(self, raised: Restorable) -> None:
        stream, other = filled(raised, 2), fresh()
        number = raised.run(restored())
        answers = [append(raised, stream, "3"), append(raised, other, "1", "2")]
        parts = StreamAppend(stream, (Noted("4"),)), StreamAppend(other, (Noted("3"),))
        keyed = AppendAll(parts, append_id=uuid4())
        answers += [raised.run(asked).unwrap() for asked in (AppendAll(parts), keyed, keyed)]
        answers += [found for a in answers if (found := raised.run(FindAppend(a.append_id)))]
        pages = [raised.run(Read(stream, whole=whole)) for whole in (True, False)]
        pages.append(raised.run(Read(stream, backwards=True)))
        assert {token.epoch for token in (page.token for page in pages)} == {number}
        assert {(a.token.epoch, a.cursor.epoch) for a in answers} == {(number, number)}
        for feed in (ReadFeed(), ReadFeed(whole=False), ReadFeed(prefix=f"{stream.split('/')[0]}/")):
            page = raised.run(feed)
            assert (page.next.epoch, page.end.epoch) == (number, number)

    def test_a_cursor_is_good_up_to_where_the_next_epoch_began(self, raised: Restorable) -> None:
        filled(raised, 3)
        before = end_of(raised)
        raised.run(restored())
        stream = filled(raised, 2)
        new = raised.run(ReadFeed(before))
        assert [event.stream for event in new.events] == [stream, stream]
        beyond = Cursor(before.store_id, before.position + 1, before.epoch)
        with pytest.raises(WrongEpoch, match=f"up to position {before.position}"):
            raised.run(ReadFeed(at(beyond, before.epoch)))
        assert len(raised.run(ReadFeed(at(beyond, new.end.epoch))).events) == 1
        with pytest.raises(WrongEpoch, match="does not have"):
            raised.run(ReadFeed(at(beyond, new.end.epoch + 1)))
        assert raised.run(ReadFeed(START, 1, all_streams=True)).events
        with pytest.raises(WrongEpoch, match=f"up to position {before.position}"):
            raised.run(newest(beyond))
        back = raised.run(newest(before, limit=1))
        assert [event.position for event in back.events] == [before.position]
        assert (back.next.epoch, back.end) == (new.end.epoch, new.end)

    @pytest.mark.usefixtures("appends_to_several")
    def test_a_token_is_good_up_to_where_the_next_epoch_began(self, raised: Restorable) -> None:
        stream, other = filled(raised, 2), filled(raised, 1)
        before = raised.run(Read(stream)).token
        raised.run(restored())
        part = StreamAppend(other, (Noted("2"),))
        assert raised.run(AppendAll((part,), (Condition(stream, before),))).unwrap()
        assert raised.run(Append(stream, (Noted("3"),), before)).unwrap().version == 3
        beyond = Token(before.store_id, {stream: 3}, before.epoch)
        with left_alone(raised, stream, other):
            for asked in self.claimed(
                Append(stream, (Noted("4"),), beyond),
                AppendAll((StreamAppend(stream, (Noted("4"),), beyond), part)),
                AppendAll((part,), (Condition(stream, beyond),)),
                Append(stream, (Noted("4"),), at(beyond, before.epoch + 1)),
            ):
                with pytest.raises(WrongEpoch, match=f"version 3 of {stream}"):
                    raised.run(asked)
        assert raised.run(load_at(stream, _NUMBER, before)).state == 2
        with pytest.raises(WrongEpoch):
            raised.run(load_at(stream, _NUMBER, beyond))
        now = raised.run(Read(stream)).token
        assert raised.run(Append(stream, (Noted("4"),), at(now, now.epoch))).unwrap().version == 4

    def test_a_known_state_is_read_on_from_up_to_where_the_next_epoch_began(
        self, raised: Restorable
    ) -> None:
        stream = filled(raised, 2)
        before = raised.run(Read(stream)).token
        raised.run(restored())
        append(raised, stream, "3", "4")
        kept, lost = (
            Folded(12, 2, before),
            Folded(13, 3, Token(before.store_id, {stream: 3}, before.epoch)),
        )
        assert raised.run(load(stream, _NUMBER, kept)).state == 14, "it was read on from"
        assert raised.run(load(stream, _NUMBER, lost)).state == 4, "it is of an event that was lost"

    def test_a_token_that_has_seen_no_event_is_of_every_epoch(self, raised: Restorable) -> None:
        stream = fresh()
        nothing = raised.run(Read(stream)).token
        raised.run(restored())
        assert raised.run(Append(stream, (Noted("1"),), nothing)).unwrap().version == 1

    @pytest.mark.usefixtures("appends_to_several")
    def test_tokens_of_two_epochs_are_held_each_to_its_own(self, raised: Restorable) -> None:
        old, lost, new = filled(raised, 1), filled(raised, 1), fresh()
        before = raised.run(Read(old)).token
        raised.run(restored())
        after = append(raised, new, "1").token
        append(raised, lost, "2")
        both = at(before | after, after.epoch)
        assert Token.parse(str(both)) == before | after == after | before
        part = StreamAppend(fresh(), (Noted("1"),))
        assert raised.run(AppendAll((part,), (Condition(old, both), Condition(new, both)))).unwrap()
        worse = after | Token(before.store_id, {lost: 2}, before.epoch)
        with pytest.raises(WrongEpoch, match=f"version 2 of {lost}"):
            raised.run(AppendAll((part,), (Condition(new, worse), Condition(lost, worse))))

    def test_the_past_is_that_of_its_epoch(self, raised: Restorable) -> None:
        stream = filled(raised, 2)
        before, token = end_of(raised), raised.run(Read(stream)).token
        raised.run(restored())
        append(raised, stream, "3")
        for place in (before, token):
            assert as_of(raised, place).run(Read(stream)).head == 2
        for beyond in (
            Cursor(before.store_id, before.position + 1, before.epoch),
            Token(token.store_id, {stream: 3}, token.epoch),
        ):
            with pytest.raises(WrongEpoch):
                as_of(raised, beyond).run(Read(stream))
