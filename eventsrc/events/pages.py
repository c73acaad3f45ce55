"""Several recorded events at once, as a store found them: a page of a stream or of the feed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from operator import xor
from typing import Any, TypeVar, overload
from zlib import crc32

from eventsrc._errors import REFUSALS
from eventsrc.events.codec import Codec, Kind
from eventsrc.events.record import LOST_KIND, Corrupted, Record, record_of, seed_of
from eventsrc.events.recorded import Recorded

E = TypeVar("E")
E_co = TypeVar("E_co", covariant=True)


def of_streams(
    events: Sequence[Recorded[E]], is_wanted: Callable[[str], bool]
) -> Sequence[Recorded[E]]:
    """The events of some streams."""
    if isinstance(events, Events):
        return events.of_streams(is_wanted)
    return [recorded for recorded in events if is_wanted(recorded.record.stream)]


def decoded(events: Sequence[Recorded[E]]) -> Sequence[E]:
    """The events themselves, decoded together where that is faster."""
    if isinstance(events, Events):
        return events.decoded()
    return [recorded.data for recorded in events]


def records_of(events: Sequence[Recorded[Any]]) -> Sequence[Record]:
    """The events as they are stored, undecoded."""
    if isinstance(events, Events):
        return events.records
    return [recorded.record for recorded in events]


class Events(Sequence[Recorded[E_co]]):
    """Recorded events, as a store found them.

    records: tuples with the fields of a Record; each becomes a Recorded when it is first looked at.
    codec: decodes them.
    kinds: what stands for what, where the records have something else in place of their kinds.
    """

    __slots__ = ("_codec", "_items", "_kinds", "_records")

    def __init__(
        self,
        records: Sequence[tuple[Any, ...]],
        codec: Codec,
        kinds: Mapping[Any, Kind] | None = None,
    ) -> None:
        self._records = records
        self._codec = codec
        self._kinds = kinds
        self._items: tuple[Recorded[E_co], ...] | None = None

    def decoded(self) -> list[E_co]:
        """All the events themselves. Raises UnknownEvent, Undecodable or Corrupted, as for each."""
        try:
            return self._decoded_together()
        except Exception as error:
            events = [recorded.data for recorded in self]  # which says better what is wrong
            if not isinstance(error, REFUSALS):  # nothing is wrong with any of them
                raise
            return events

    @property
    def records(self) -> Sequence[Record]:
        """The events as they are stored, undecoded."""
        if self._items is not None:
            return [recorded.record for recorded in self._items]
        return [*self._all_records()]

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> Recorded[E_co]: ...
    @overload
    def __getitem__(self, index: slice) -> Events[E_co]: ...
    def __getitem__(self, index: int | slice) -> Recorded[E_co] | Events[E_co]:
        if isinstance(index, slice):
            return Events(self._records[index], self._codec, self._kinds)
        return self._made()[index]

    def __iter__(self) -> Iterator[Recorded[E_co]]:
        return iter(self._made())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Events | tuple):
            return NotImplemented
        return self._made() == tuple(other)

    def __hash__(self) -> int:
        return hash(self._made())

    def __repr__(self) -> str:
        return repr(self._made())

    def __reduce__(self) -> tuple[Any, ...]:
        return _of_recorded, (self._made(), self._codec)

    def of_streams(self, is_wanted: Callable[[str], bool]) -> Events[E_co]:
        """The events of some streams."""
        wanted = [record for record in self._records if is_wanted(record[1])]
        return Events(wanted, self._codec, self._kinds)

    def prefetch(self) -> None:
        """Decodes all the events in one go, as far as that is possible, for those who look at each."""
        with contextlib.suppress(*REFUSALS):
            for recorded, data in zip(self._made(), self._decoded_together(), strict=True):
                recorded.keep(data)

    def _decoded_together(self) -> list[E_co]:
        """Raises something if any of the events has to be looked at alone."""
        if not len(self):
            return []
        streams, versions, kind_ids, datas, data_crcs = self._columns()
        kinds: Sequence[Kind] = kind_ids
        if self._kinds is not None:
            kinds = [*map(self._kinds.__getitem__, kind_ids)]
        # Loops in C take a fraction of what a loop over the rows does.
        seeds: Iterable[int] = map(seed_of, streams, kinds)
        if _are_equal(kinds) and _are_equal(streams):
            seeds = repeat(seed_of(streams[0], kinds[0]))
        if [*map(xor, map(crc32, datas, seeds), versions)] != [*data_crcs]:  # or one is beyond 32 bits
            raise Corrupted("one of the events was changed")
        return _decoded_all(self._codec, kinds, datas)

    def _columns(self) -> tuple[Sequence[Any], ...]:
        """Streams, versions, kinds or what stands for them, data and their checksums."""
        _, streams, versions, kind_ids, _, datas, data_crcs, _ = zip(*self._records, strict=True)
        return streams, versions, kind_ids, datas, data_crcs

    def _made(self) -> tuple[Recorded[E_co], ...]:
        if self._items is None:
            self._items = tuple(map(Recorded, self._all_records(), repeat(self._codec)))
        return self._items

    def _all_records(self) -> Iterator[Record]:
        records: Iterable[tuple[Any, ...]] = self._records
        if self._kinds is not None and self._records:
            columns = [*zip(*self._records, strict=True)]
            columns[3] = tuple([self._kinds.get(name, LOST_KIND) for name in columns[3]])
            records = zip(*columns, strict=True)
        return map(record_of, records)


class EventsData(Events[E_co]):
    """Recorded events of which only the data was read.

    columns: streams, versions, what stands for the kinds in `kinds`, data, and checksums of the data.
    """

    __slots__ = ("_data",)

    def __init__(
        self, columns: tuple[Sequence[Any], ...], kinds: Mapping[Any, Kind], codec: Codec
    ) -> None:
        super().__init__((), codec)
        self._data = columns
        self._kinds: Mapping[Any, Kind] = kinds

    def __len__(self) -> int:
        return len(self._data[0])

    @overload
    def __getitem__(self, index: int) -> Recorded[E_co]: ...
    @overload
    def __getitem__(self, index: slice) -> Events[E_co]: ...
    def __getitem__(self, index: int | slice) -> Recorded[E_co] | Events[E_co]:
        if isinstance(index, slice):
            columns = tuple(column[index] for column in self._data)
            return EventsData(columns, self._kinds, self._codec)
        return self._made()[index]

    @property
    def records(self) -> Sequence[Record]:
        """The events as they are stored, of which only these columns were read."""
        self._made()
        return super().records

    def of_streams(self, is_wanted: Callable[[str], bool]) -> Events[E_co]:
        """The events of some streams."""
        self._made()
        return super().of_streams(is_wanted)

    def _columns(self) -> tuple[Sequence[Any], ...]:
        return self._data

    def _made(self) -> tuple[Recorded[E_co], ...]:
        if self._items is None:
            self._records = [
                (0, stream, version, name, 0, data, data_crc, b"")
                for stream, version, name, data, data_crc in zip(*self._data, strict=True)
            ]
        return super()._made()


def _of_recorded(made: Sequence[Recorded[E]], codec: Codec) -> Events[E]:
    return Events([recorded.record for recorded in made], codec)


def _are_equal(values: Sequence[Any]) -> bool:
    return values.count(values[0]) == len(values)


def _decoded_all(codec: Codec, kinds: Sequence[Kind], datas: Sequence[bytes]) -> list[Any]:
    """Events, those of each kind decoded together."""
    if _are_equal(kinds):
        return codec.page_decoder(kinds[0])(datas)
    of_kind: dict[Kind, list[bytes]] = {kind: [] for kind in kinds}
    for kind, data in zip(kinds, datas, strict=True):
        of_kind[kind].append(data)
    events = {kind: iter(codec.page_decoder(kind)(some)) for kind, some in of_kind.items()}
    return [next(events[kind]) for kind in kinds]
