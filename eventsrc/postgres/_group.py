"""Appends that a Postgres store stores by one statement, since each is the next of its stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias
from uuid import UUID

from returns.result import Failure, Success

from eventsrc.events.codec import Kind
from eventsrc.events.positions import Cursor, Token
from eventsrc.events.record import Record, make_records
from eventsrc.events.stream_id import StreamId
from eventsrc.postgres._conversation import array
from eventsrc.programs.program import Outcome
from eventsrc.stores._ids import OwnIds
from eventsrc.stores.operations import Appended, NotAppended, Unknown, is_met
from eventsrc.stores.prepare import Prepared

StreamHeads: TypeAlias = dict[StreamId, tuple[int, int]]
"""The numbers and versions of streams; zeros for those that there are not yet."""

_GROUPS: Final = 4
_BYTES: Final = 1024 * 1024
"""The most groups that are remembered, and the most bytes of data that each may have for that."""


class PlainAppends:
    """The appends of a group that demand nothing but to be the next of one stream.

    group: some appends, each with its index, by which it is answered.
    heads: of streams; appends to others are left out. now: microseconds since 1970.
    ids: name the appends by the positions that they get if the last one is still `end`.
    """

    def __init__(
        self,
        group: Iterable[tuple[int, Prepared]],
        heads: StreamHeads,
        now: int,
        ids: OwnIds,
        end: int,
    ) -> None:
        self.foretold: Final = end + 1
        """The position that the first event gets then."""
        self.records: Final[list[Record]] = []
        """The events, at the positions that they would have in an empty feed."""
        self.outdated: Final[list[tuple[int, StreamId, int]]] = []
        """The appends that expect a version which their stream has left."""
        self._now: Final = now
        self._heads: Final = heads.copy()
        self._new: Final[dict[StreamId, int]] = {}
        self._taken: Final[list[tuple[int, UUID, StreamId, int, int]]] = []
        for index, asked in group:
            (part,) = asked.parts
            stream, expected, events = part.stream, part.expected, part.events
            head = self._heads.get(stream)
            if head is None:
                continue
            number, version = head
            if not is_met(expected, version):
                if isinstance(expected, int) and expected < version:
                    self.outdated.append((index, stream, expected))
                continue
            offset = len(self.records)
            append_id = asked.append_id = ids.naming(asked.append_id, self.foretold + offset)
            self.records.extend(
                make_records(
                    offset + 1, stream, version + 1, append_id.bytes, 0, events, asked.metadata, now
                )
            )
            if not number:
                number = -len(self._new) - 1
                self._new[stream] = number
            version += len(events)
            self._heads[stream] = number, version
            self._taken.append((index, append_id, stream, version, offset + len(events)))

    def parameters(self, kinds: Mapping[Kind, int]) -> tuple[Any, ...]:
        """The parameters of the function `append_known`. kinds: their numbers."""
        _, streams, versions, of_kinds, _, datas, data_crcs, rests = zip(*self.records, strict=True)
        heads = self._heads
        return (
            self._now,
            [str(stream) for stream in self._new],
            array([heads[stream][0] for stream in streams]),
            array(versions),
            array([kinds[kind] for kind in of_kinds]),
            list(datas),
            array(data_crcs),
            list(rests),
        )

    def streams(self) -> set[StreamId]:
        """The streams that are appended to."""
        return {stream for _, _, stream, _, _ in self._taken}

    def heads(self, new: Sequence[int]) -> StreamHeads:
        """The heads of the streams once the events are stored. new: the ids of those that were not."""
        return {
            stream: (number if number > 0 else new[-number - 1], version)
            for stream, (number, version) in ((one, self._heads[one]) for one in self.streams())
        }

    def answers(
        self, store_id: str, epoch: int, position: int
    ) -> dict[int, Outcome[Appended, NotAppended]]:
        """The answers, once the events are stored. position: the position before the first of them."""
        return {
            index: Success(
                Appended(
                    append_id,
                    Token(store_id, {stream: version}, epoch),
                    Cursor(store_id, position + end, epoch),
                )
            )
            for index, append_id, stream, version, end in self._taken
        }

    def unknown(self, why: str) -> dict[int, Outcome[Appended, NotAppended]]:
        """The answers, if it cannot be known whether the events are stored."""
        return {index: Failure(Unknown(append_id, why)) for index, append_id, *_ in self._taken}

    def indexes(self) -> list[int]:
        """Of the appends whose events these are."""
        return [index for index, *_ in self._taken]


class Recent:
    """The last events that a store has stored, for those who come a little too late."""

    def __init__(self) -> None:
        self._groups: deque[tuple[int, Sequence[Record]]] = deque(maxlen=_GROUPS)

    def add(self, position: int, records: Sequence[Record]) -> None:
        """Keeps events that were stored together, if they are not large.

        position: the position of the one whose record has position 0, or would have.
        """
        if sum([len(record.data) for record in records]) <= _BYTES:
            self._groups.append((position, records))

    def between(self, stream: StreamId, version: int, head: int) -> list[Record]:
        """The events of a stream after a version, up to its head; none if they are not all known."""
        found = [
            record._replace(position=position + record.position)
            for position, records in tuple(self._groups)  # another thread may have it forget all
            for record in records
            if record.stream == stream and record.version > version
        ]
        is_whole = [record.version for record in found] == [*range(version + 1, head + 1)]
        return found if is_whole else []

    def forget_all(self) -> None:
        """Forgets all: what is stored may be older than what was seen."""
        self._groups.clear()
