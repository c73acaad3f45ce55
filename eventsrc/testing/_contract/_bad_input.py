"""Tests of bad input, which is refused before anything is written, and of hostile names."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsrc.events._exact import NotStorable
from eventsrc.events.event import EventTypeError, Opaque
from eventsrc.events.positions import Cursor
from eventsrc.events.stream_id import BadStreamId, StreamId
from eventsrc.stores.newest import newest
from eventsrc.stores.operations import (
    ANY,
    MAX_PAGE,
    Append,
    AppendAll,
    Condition,
    FindAppend,
    Head,
    LoadSnapshot,
    Read,
    ReadFeed,
    SaveSnapshot,
    Snapshot,
    StreamAppend,
)
from eventsrc.testing._contract._shared import (
    ContractPart,
    Store,
    append,
    end_of,
    feed_of,
    filled,
    fresh,
    id_of,
    in_moderation,
    left_alone,
    new_family,
    texts_of,
)
from eventsrc.testing._contract.samples import HOSTILE_NAMES, AnyValue, Noted
from eventsrc.testing._strategies import batches, events, stream_ids, unstorable_values


class BadInput(ContractPart):
    """Tests of bad input, which is refused before anything is written, and of hostile names."""

    # --- bad input ------------------------------------------------------------------------------------

    @in_moderation
    @given(bad=unstorable_values(), before=batches(events(Noted)))
    def test_an_event_that_would_not_come_back_equal_is_refused_with_the_path_to_its_value(
        self, store: Store, bad: Any, before: tuple[object, ...]
    ) -> None:
        stream, other = fresh(), fresh()
        batch = (*before, AnyValue(bad), Noted("after"))
        parts = (StreamAppend(other, (Noted("good"),)), StreamAppend(stream, batch))
        with left_alone(store, stream, other):
            for asked in self.claimed(Append(stream, batch), AppendAll(parts)):
                with pytest.raises(NotStorable) as refused:
                    store.run(asked)
                assert refused.value.path.startswith(f"events[{len(before)}].value")

    @in_moderation
    @given(bad=unstorable_values())
    def test_metadata_that_would_not_come_back_equal_are_refused(self, store: Store, bad: Any) -> None:
        stream = fresh()
        with left_alone(store, stream):
            for said in ({"good": 1, "bad": bad}, {1: "a"}, {"\ud800": 1}):
                with pytest.raises(NotStorable, match="metadata"):
                    store.run(Append(stream, (Noted("good"),), metadata=said))  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "said", [{"actor": 1}, {"correlation_id": ""}, {"traceparent": "x"}, {"origin": None}]
    )
    def test_the_standard_keys_of_metadata_have_texts(self, store: Store, said: Any) -> None:
        stream = fresh()
        with left_alone(store, stream), pytest.raises((TypeError, ValueError), match=next(iter(said))):
            store.run(Append(stream, (Noted("good"),), metadata=said))

    def test_the_key_that_is_the_librarys_own_is_refused_wherever_it_is(self, store: Store) -> None:
        stream, other = fresh(), fresh()
        bad = AnyValue([{"$sealed": 1}])
        with left_alone(store, stream, other):
            for asked in self.claimed(
                Append(stream, (Noted("good"), bad)),
                Append(stream, (Noted("good"),), metadata={"by": {"$sealed": 1}}),
                AppendAll((StreamAppend(other, (Noted("good"),)), StreamAppend(stream, (bad,)))),
            ):
                with pytest.raises(NotStorable, match=r"\$sealed"):
                    store.run(asked)

    @pytest.mark.parametrize(
        "event",
        [None, "a text", object(), {"text": "x"}, Noted, ANY, b""],
        ids=lambda e: type(e).__name__,
    )
    def test_an_object_that_is_no_event_is_refused(self, store: Store, event: object) -> None:
        stream = fresh()
        with left_alone(store, stream), pytest.raises(EventTypeError, match=type(event).__name__):
            store.run(Append(stream, (Noted("good"), event)))

    @pytest.mark.parametrize(
        ("event", "shown"),
        [
            (Opaque("", 1, "json", b""), "''"),
            (Opaque("x" * 513, 1, "json", b""), "xxx"),
            (Opaque("a", 0, "json", b""), "0"),
            (Opaque("a", 2**63, "json", b""), str(2**63)),
            (Opaque("a", 1, "\ud800", b""), r"'\\ud800'"),
            (Opaque("a", 1, "json", "text"), "'text'"),  # type: ignore[arg-type]
        ],
        ids=repr,
    )
    def test_an_opaque_event_that_never_was_stored_so_is_refused(
        self, store: Store, event: Opaque, shown: str
    ) -> None:
        stream = fresh()
        with left_alone(store, stream), pytest.raises(NotStorable, match=shown):
            store.run(Append(stream, (Noted("good"), event)))

    @pytest.mark.parametrize("bad", [-1, 2**63, 2**70, True, 1.0, "1", None, b"1"], ids=repr)
    def test_an_expected_version_that_is_none_is_refused(self, store: Store, bad: Any) -> None:
        stream, other = filled(store, 1), fresh()
        part = StreamAppend(other, (Noted("new"),))
        with left_alone(store, stream, other):
            for asked in self.claimed(
                Append(stream, (Noted("new"),), bad),
                AppendAll((part, StreamAppend(stream, (Noted("new"),), bad))),
                AppendAll((part,), (Condition(stream, bad),)),
            ):
                with pytest.raises((TypeError, ValueError), match=repr(bad)):
                    store.run(asked)

    @pytest.mark.parametrize(
        ("batch", "shown"),
        [
            ((), "no events"),
            ([], "no events"),
            ([Noted("a list")], "a list"),
            ({Noted("a set")}, "a set"),
            (Noted("itself"), "itself"),
        ],
        ids=repr,
    )
    def test_a_batch_must_be_a_tuple_of_events(self, store: Store, batch: Any, shown: str) -> None:
        stream, other = fresh(), fresh()
        parts = (StreamAppend(other, (Noted("good"),)), StreamAppend(stream, batch))
        with left_alone(store, stream, other):
            for asked in self.claimed(Append(stream, batch), AppendAll(parts)):
                with pytest.raises((TypeError, ValueError), match=shown):
                    store.run(asked)

    @pytest.mark.usefixtures("appends_to_several")
    def test_a_stream_is_appended_to_once_in_an_append_to_several(self, store: Store) -> None:
        stream, other = fresh(), fresh()
        parts = [StreamAppend(at, (Noted("a"),)) for at in (stream, other, stream)]
        with left_alone(store, stream, other):
            with pytest.raises(ValueError, match=f"{stream} is appended to twice"):
                store.run(AppendAll(tuple(parts)))
            with pytest.raises(ValueError, match="no events"):
                store.run(AppendAll((), (Condition(stream, 0),)))

    @pytest.mark.parametrize("bad", ["plain-text", b"bytes", 7, None], ids=repr)
    def test_a_stream_is_named_by_a_stream_id(self, store: Store, bad: Any) -> None:
        good = fresh()
        part = StreamAppend(good, (Noted("good"),))
        with left_alone(store, good):
            for asked in self.claimed(
                Append(bad, (Noted("x"),)),
                AppendAll((part, StreamAppend(bad, (Noted("x"),)))),
                AppendAll((part,), (Condition(bad, ANY),)),
                Read(bad),
                Head(bad),
                LoadSnapshot(bad, "total", 1),
            ):
                with pytest.raises(TypeError, match=repr(bad)):
                    store.run(asked)

    @pytest.mark.parametrize("bad", ["", "/", "a/", "/a", "a//b", "a\0b", "\ud800"], ids=ascii)
    def test_a_text_that_is_no_stream_id_cannot_name_a_stream_or_a_family(
        self, store: Store, bad: str
    ) -> None:
        with pytest.raises(BadStreamId):
            StreamId(bad)
        if bad:
            with pytest.raises(BadStreamId):
                store.run(ReadFeed(prefix=bad if bad.endswith("/") and bad != "a/" else f"{bad}//"))

    def test_a_stream_id_may_have_512_bytes_and_not_one_more(self, store: Store) -> None:
        family = new_family()
        longest = f"{family}/" + "ä" * ((512 - len(family)) // 2 - 1)
        longest += "x" * (512 - len(longest.encode()))
        begin = end_of(store)
        append(store, StreamId(longest), "1")
        assert texts_of(store, StreamId(longest)) == ["1"]
        assert len(feed_of(store, begin, prefix=f"{family}/")) == 1
        assert store.run(ReadFeed(begin, prefix=f"{longest}/")).events == ()
        with pytest.raises(BadStreamId, match="513 bytes, and 512 is the most"):
            StreamId(longest + "x")
        with pytest.raises(BadStreamId, match="513 bytes, and 512 is the most"):
            store.run(ReadFeed(prefix=f"{longest}x/"))

    @pytest.mark.parametrize("bad", [0, -1, MAX_PAGE + 1, True, 2.5, "5", None], ids=repr)
    def test_a_limit_is_a_number_from_1_to_10_000(self, store: Store, bad: Any) -> None:
        for asked in (Read(fresh(), limit=bad), ReadFeed(limit=bad)):
            with pytest.raises((TypeError, ValueError), match=f"limit is {bad!r}"):
                store.run(asked)
        with pytest.raises((TypeError, ValueError), match=f"limit is {bad!r}"):
            store.run(newest(limit=bad))

    @pytest.mark.parametrize("bad", [-1, 2**63, True, 2.5, "5", None], ids=repr)
    def test_a_stream_is_read_after_a_version(self, store: Store, bad: Any) -> None:
        for backwards in (False, True):
            with pytest.raises((TypeError, ValueError), match=f"after is {bad!r}"):
                store.run(Read(fresh(), bad, backwards=backwards))

    @pytest.mark.parametrize("bad", ["5", 5, None, "a.5"], ids=repr)
    def test_the_feed_is_read_after_a_cursor(self, store: Store, bad: Any) -> None:
        with pytest.raises(TypeError, match=repr(bad)):
            store.run(ReadFeed(bad))

    @pytest.mark.parametrize("position", [-1, 2**63])
    def test_a_cursor_with_no_place_is_refused(self, store: Store, position: int) -> None:
        with pytest.raises(ValueError, match=str(position)):
            store.run(ReadFeed(Cursor(id_of(store), position)))

    @pytest.mark.parametrize("bad", ["users", "users/%", "/users/", "/", "a//"], ids=repr)
    def test_a_prefix_ends_with_a_slash(self, store: Store, bad: str) -> None:
        with pytest.raises(BadStreamId, match=bad.strip("/") or "/"):
            store.run(ReadFeed(prefix=bad))

    @pytest.mark.parametrize("bad", ["a.b", ["a.b"], {"a.b"}, 5], ids=repr)
    def test_types_are_a_frozenset(self, store: Store, bad: Any) -> None:
        with pytest.raises(TypeError, match="types is"):
            store.run(ReadFeed(types=bad))

    @pytest.mark.usefixtures("keeps_snapshots")
    @pytest.mark.parametrize(
        ("field", "bad"),
        [
            *[("version", bad) for bad in (-1, 2**63, True, 2.5, "5", None)],
            *[("fold_version", bad) for bad in (-1, 2**63, True, "1")],
            *[("fold", bad) for bad in ("", "a\0b", "\ud800", "x" * 513, 5, None)],
            *[("data", bad) for bad in ("text", None, bytearray(b"x"))],
        ],
        ids=ascii,
    )
    def test_a_snapshot_that_makes_no_sense_is_refused(
        self, store: Store, field: str, bad: Any
    ) -> None:
        stream = fresh()
        right = Snapshot(stream, "total", 1, 1, b"right")
        store.run(SaveSnapshot(right))
        with pytest.raises((TypeError, ValueError), match=field):
            store.run(SaveSnapshot(attrs.evolve(right, **{field: bad})))
        assert store.run(LoadSnapshot(stream, "total", 1)) == right

    @pytest.mark.usefixtures("keeps_snapshots")
    @pytest.mark.parametrize("bad", [5, None, "snapshot"], ids=repr)
    def test_what_is_no_snapshot_is_refused(self, store: Store, bad: Any) -> None:
        with pytest.raises(TypeError, match=repr(bad)):
            store.run(SaveSnapshot(bad))

    @pytest.mark.usefixtures("appends_to_several")
    @pytest.mark.parametrize("bad", [5, None, "append"], ids=repr)
    def test_what_is_no_append_to_a_stream_is_refused(self, store: Store, bad: Any) -> None:
        stream = fresh()
        part = StreamAppend(stream, (Noted("x"),))
        with left_alone(store, stream):
            for asked in self.claimed(AppendAll((part, bad)), AppendAll((part,), (bad,))):
                with pytest.raises(TypeError, match=repr(bad)):
                    store.run(asked)

    @pytest.mark.parametrize("bad", ["a", 5, b"0123456789abcdef"], ids=repr)
    def test_an_append_id_is_a_uuid(self, store: Store, bad: Any) -> None:
        stream = fresh()
        with pytest.raises(TypeError, match=f"append_id is {bad!r}"):
            store.run(FindAppend(bad) if self.finding else Append(stream, (Noted("x"),), ANY, bad))
        with left_alone(store, stream):
            for asked in self.claimed(
                Append(stream, (Noted("x"),), append_id=bad),
                AppendAll((StreamAppend(stream, (Noted("x"),)),), append_id=bad),
            ):
                with pytest.raises(TypeError, match=f"append_id is {bad!r}"):
                    store.run(asked)

    # --- hostile names --------------------------------------------------------------------------------

    def test_streams_with_hostile_names_are_kept_apart(self, store: Store) -> None:
        family, begin = new_family(), end_of(store)
        streams = [StreamId(f"{family}/{name}") for name in HOSTILE_NAMES]
        for round in (1, 2):
            for name, stream in zip(HOSTILE_NAMES, streams, strict=True):
                assert append(store, stream, name).version == round
        for name, stream in zip(HOSTILE_NAMES, streams, strict=True):
            assert texts_of(store, stream) == [name, name]
            assert store.run(Head(stream)) == 2
        assert [recorded.stream for recorded in feed_of(store, begin)] == streams * 2
        assert len(feed_of(store, begin, prefix=f"{family}/")) == len(streams) * 2

    def test_families_with_hostile_names_are_kept_apart(self, store: Store) -> None:
        family, begin = new_family(), end_of(store)
        for name in HOSTILE_NAMES:
            append(store, StreamId(f"{family}/{name}/x"), name)
            append(store, StreamId(f"{family}/{name}"), "not in the family")
        for name in HOSTILE_NAMES:
            came = feed_of(store, begin, prefix=f"{family}/{name}/")
            assert [recorded.data.text for recorded in came] == [name]

    @pytest.mark.usefixtures("keeps_snapshots")
    def test_snapshots_with_hostile_names_are_kept_apart(self, store: Store) -> None:
        family = new_family()
        kept = [Snapshot(StreamId(f"{family}/{n}"), n, 1, 1, n.encode()) for n in HOSTILE_NAMES]
        for snapshot in kept:
            store.run(SaveSnapshot(snapshot))
        for snapshot in kept:
            assert store.run(LoadSnapshot(snapshot.stream, snapshot.fold, 1)) == snapshot

    @in_moderation
    @given(names=st.lists(stream_ids()))
    def test_every_stream_id_is_a_stream_of_its_own(self, store: Store, names: list[str]) -> None:
        family, begin = new_family(), end_of(store)
        streams = [StreamId(f"{family}/{name}") for name in names if len(name.encode()) < 400]
        for stream in streams:
            append(store, stream, str(stream))
        for stream in set(streams):
            assert texts_of(store, stream) == [str(stream)] * streams.count(stream)
        assert [recorded.stream for recorded in feed_of(store, begin)] == streams
