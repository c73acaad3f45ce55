"""Copies of stores: the operations by which one store takes over the events of another as they are.

A copy has the other's id and secret, its epochs, and its records to the byte. So cursors and tokens of
the other are good for it, and a retry of an append is answered as there. While it is a copy it takes no
appends of its own; `EndCopy` makes it a store like any. The programs over these operations are in
`eventsrc.moving`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn, TypeAlias

import attrs

from eventsrc.events.epochs import Epochs
from eventsrc.events.record import Corrupted, Record, check_all
from eventsrc.events.stream_id import MAX_ID_BYTES
from eventsrc.programs.operation import Command, Query
from eventsrc.stores.operations import MAX_PAGE, StoreError, StoreReadOnly


class NotACopy(StoreError):
    """A store cannot take over events: it has others, or is no copy of the store that they are of."""


@attrs.frozen
class Identity:
    """The store itself, without its events.

    secret: of which its ids and the digests of requests are made; whoever knows it can try out which
        request an append was for.
    """

    store_id: str
    secret: bytes = attrs.field(repr=False)
    epochs: Epochs


class GetIdentity(Query[Identity]):
    """The store's id, its secret and its epochs: whoever may ask for it may copy the store."""


class KeepRecords(Command[int]):
    """Keeps records as another store has them; answers the position of the last that it has then.

    identity: of the store that they are of. An empty store takes it over and is its copy from then on,
        which takes no appends: have it open nowhere else, since others go by what it was.
    records: at most 10 000 that follow each other in its feed, of which the first is the next that the
        copy wants. Those that it has already must be the same. None: to ask how far it is.
    Raises NotACopy, having kept nothing, for records that do not follow, or of another store; and
    Corrupted for those that are damaged.
    """

    identity: Identity
    records: tuple[Record, ...] = ()


class EndCopy(Command[int]):
    """Makes a copy a store that takes appends; answers its epoch. To do so twice does no harm.

    raise_epoch: whether it begins another epoch. It must if the other store may have appended what has
        not arrived, or goes on: cursors and tokens of that are errors from then on.
    """

    raise_epoch: bool = False


CopyOp: TypeAlias = GetIdentity | KeepRecords | EndCopy
"""The operations, besides, of a store that can be copied and be a copy."""


def check_keeping(op: KeepRecords) -> None:
    """Raises TypeError, ValueError or Corrupted for records that nobody can keep."""
    if not isinstance(op.identity, Identity):
        raise TypeError(f"identity is {op.identity!r:.100}: give what GetIdentity answers")
    if not isinstance(op.records, tuple):
        raise TypeError(f"records is {op.records!r:.100}: give a tuple of Records")
    if len(op.records) > MAX_PAGE:
        raise ValueError(f"{len(op.records)} records are too many: keep at most {MAX_PAGE} at once")
    for stream in {record.stream for record in op.records}:
        if not isinstance(stream, str) or not 0 < len(stream.encode(errors="replace")) <= MAX_ID_BYTES:
            raise Corrupted(f"{stream!r:.200} is no stream")
    for kind in {record.kind for record in op.records}:
        if [*map(type, kind)] != [str, int, str] or not 0 < kind.schema < 2**63:
            raise Corrupted(f"{kind!r:.200} is no kind of events")
    position = op.records[0].position if op.records else 0
    for record in op.records:
        if record.position != position:
            raise NotACopy(
                f"the record at position {record.position} does not follow that at {position - 1}: "
                "give those of a feed as they stand there"
            )
        position += 1
    check_all(op.records)


@attrs.frozen
class Keeping:
    """The part of a KeepRecords that is to be done."""

    is_new: bool
    """Whether the store takes over the identity."""
    epochs: Epochs
    """The epochs that the store has then."""
    records: Sequence[Record]
    """The records that it does not have yet."""


def keeping(
    op: KeepRecords,
    own: Identity,
    end: int,
    stored: Callable[[int, int], Sequence[Record]],
) -> Keeping:
    """The part of an operation that is to be done by a store. Raises NotACopy.

    own, end: the store as it is. stored: its records from one position to another, both included.
    """
    theirs = op.identity
    is_copy = own.epochs.is_copy
    is_new = not is_copy and not end
    if is_new:
        pass
    elif own.store_id != theirs.store_id:
        _refuse(
            f"the store is {own.store_id!r}, with {end} events, and no copy of {theirs.store_id!r}: "
            "copy into an empty store, or go on from the store that it is a copy of"
        )
    else:
        _check_epochs(own.epochs, theirs.epochs, end)
    epochs = Epochs(theirs.epochs.begins, True) if is_copy or is_new else own.epochs
    if not op.records:
        return Keeping(is_new, epochs, ())
    first, last = op.records[0].position, op.records[-1].position
    if first > end + 1:
        _refuse(
            f"the copy ends at position {end}, and the records begin at {first}: go on from its end"
        )
    if not is_copy and not is_new and last > end:
        _refuse(
            f"the store ends at position {end} and is a copy no more: it takes appends of its own; "
            "copy into another, empty one"
        )
    has = min(last, end) - first + 1
    if has > 0:
        for brought, kept in zip(op.records, stored(first, min(last, end)), strict=False):
            if brought != kept:
                _refuse(
                    f"the event at position {kept.position}, {kept.stream}@{kept.version}, is another "
                    "in the copy: the store was restored, or is not the one that was copied: begin anew"
                )
    return Keeping(is_new, epochs, op.records[max(has, 0) :])


def check_versions(records: Sequence[Record], version_of: Callable[[str], int]) -> dict[str, int]:
    """The versions of streams after some records. Raises NotACopy if one does not follow.

    version_of: of a stream before.
    """
    versions: dict[str, int] = {}
    for record in records:
        before = versions.get(record.stream)
        if before is None:
            before = version_of(record.stream)
        if record.version != before + 1:
            _refuse(
                f"version {record.version} of {record.stream}, at position {record.position}, does not "
                f"follow version {before}: the store that is copied is damaged"
            )
        versions[record.stream] = record.version
    return versions


def refuse_append(epochs: Epochs) -> None:
    """Raises StoreReadOnly if a store is a copy."""
    if epochs.is_copy:
        raise StoreReadOnly(
            "the store is a copy, which is being made or kept up to date: append to the store that it "
            "is of, or promote the copy first"
        )


def _check_epochs(own: Epochs, theirs: Epochs, end: int) -> None:
    known = len(own.begins)
    if not own.is_copy and theirs.begins != own.begins:
        _refuse("the store was promoted, and is a copy no more: copy into another, empty one")
    if theirs.begins[:known] != own.begins:
        _refuse(
            f"the copy knows of the epochs {own.begins}, and the store is in {theirs.begins}: it was "
            "restored from an older backup: begin the copy anew"
        )
    for number, position in theirs.begins[known:]:
        if position < end:
            _refuse(
                f"the store began epoch {number} after position {position}, and the copy has {end} "
                "events, some of which the store lost: promote the copy, or begin it anew"
            )


def _refuse(why: str) -> NoReturn:
    raise NotACopy(why)
