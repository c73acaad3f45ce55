"""Snapshots: states that a store keeps beside the events, so that a load need not begin at the first.

A snapshot is never the truth: it can be lost, and made again from the events. It is kept under a name
and a version, which say what made it: whoever changes what a fold makes of the same events raises the
version, and the snapshots of the old one are no longer looked at. Each also says by which fold it was
made, and another fold that keeps its states under the same name leaves it alone.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import attrs

from eventsrc._errors import EventsrcError
from eventsrc.events._exact import NotStorable, check_for, shown
from eventsrc.events._sealed import check_unsealed
from eventsrc.events.codec import MAX_DATA_BYTES
from eventsrc.events.json_converter import default_converter
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.program import name_of
from eventsrc.stores.operations import Snapshot

if TYPE_CHECKING:
    from cattrs.preconf.json import JsonConverter
    from typing_extensions import TypeForm

S = TypeVar("S")

_SUM: Final = 4
_MARK: Final = b"\x01"
_BESIDE: Final = 1024
"""Bytes that are kept for what stands beside the state."""


class MadeByAnother(Exception):
    """A snapshot was made by another fold, of this name. The argument says by which."""


class BadSnapshot(EventsrcError):
    """A snapshot is damaged, or its fold has changed and kept its version."""


@attrs.frozen
class Snapshots(Generic[S]):
    """The form in which a fold's states are kept, and how often.

    name: under which the store keeps them: one for each fold.
    of: the type of the state, such as `dict[UUID, str]`, by which it is written as JSON.
    version: to be raised when the fold makes another state of the same events, or its type changes.
    every: one is saved by a load that reaches or passes a version divisible by this. None: none is
        saved, and those that are there are used, for readers that may not write.
    converter: for states of types that need hooks of one's own; see `json_converter`.
    """

    name: str
    of: TypeForm[S] = attrs.field(repr=lambda state_type: name_of(state_type))
    version: int = 1
    every: int | None = 100
    converter: JsonConverter | None = attrs.field(default=None, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        if self.every is not None and self.every < 1:
            raise ValueError(f"every={self.every}: save one every so many events, at least 1, or None")

    def is_due(self, since: int, version: int) -> bool:
        """Whether a load that began at one version and ended at another saves its state."""
        return self.every is not None and version // self.every > since // self.every

    def snapshot(self, stream: StreamId, version: int, state: S, maker: str = "") -> Snapshot:
        """The state at a version of a stream, to be saved.

        maker: the definition of the fold that made it.
        Raises NotStorable for a state that would not come back equal.
        """
        data = _marked(maker) + self.encode(state)
        kept = Snapshot(stream, self.name, self.version, version, b"")
        return attrs.evolve(kept, data=_sum(kept, data) + data)

    def state(self, kept: Snapshot, maker: str = "") -> S:
        """The state that a snapshot holds.

        maker: the definition of the fold that asks; raises MadeByAnother if it says of another.
        Raises BadSnapshot if it cannot be trusted.
        """
        data = kept.data[_SUM:]
        if kept.data[:_SUM] != _sum(kept, data):
            raise BadSnapshot(
                f"the snapshot {self.name!r} of {kept.stream} at version {kept.version} is damaged: "
                f"check the disk, and write Snapshots(..., version={self.version + 1}) to leave it "
                "aside and make another from the events"
            )
        if data[:1] == _MARK:
            begin = 3 + int.from_bytes(data[1:3], "big")
            its, data = data[3:begin].decode(), data[begin:]
            if maker and its != maker:
                raise MadeByAnother(its)
        try:
            state = self._decoded(data)
            if self._encoded(state) != data:  # converters are lenient: they make a str of an int
                raise ValueError(f"it would be kept as {self._encoded(state)[:100]!r} now")
        except Exception as error:
            raise BadSnapshot(
                f"the snapshot {self.name!r} of {kept.stream} at version {kept.version} is no "
                f"{name_of(self.of)} ({error}): if the type has changed, write "
                f"Snapshots(..., version={self.version + 1})"
            ) from error
        return state

    def encode(self, state: S) -> bytes:
        """A state as JSON. Raises NotStorable for one that would not come back equal."""
        remedy = f"correct `of={name_of(self.of)}` in Snapshots({self.name!r}), or keep no snapshots"
        try:
            check_for(self.of).check(state)
            data = self._encoded(state)
            check_unsealed(data)
            back = self._decoded(data)
            is_same = back == state and self._encoded(back) == data
        except NotStorable as error:
            raise NotStorable(f"{error.reason}: {remedy}", error.path) from error
        except Exception as error:
            raise NotStorable(f"{shown(state)} has no JSON form ({error}): {remedy}") from error
        if not is_same:
            raise NotStorable(f"{shown(state)} would come back as {shown(back)}: {remedy}")
        if len(data) + _BESIDE > MAX_DATA_BYTES:
            raise NotStorable(
                f"it has {len(data)} bytes of JSON, and {MAX_DATA_BYTES - _BESIDE} is the most: keep "
                "less in the state, or no snapshots"
            )
        return data

    def _encoded(self, state: S) -> bytes:
        plain = self._json().unstructure(state, unstructure_as=self.of)
        return json.dumps(plain, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()

    def _decoded(self, data: bytes) -> S:
        state_type: Any = self.of
        made: S = self._json().structure(json.loads(data), state_type)
        return made

    def _json(self) -> JsonConverter:
        return default_converter() if self.converter is None else self.converter


def _marked(maker: str) -> bytes:
    """The definition of a fold, as it stands before the state; nothing if it is not known."""
    text = maker.encode()
    return _MARK + len(text).to_bytes(2, "big") + text if text else b""


def _sum(kept: Snapshot, data: bytes) -> bytes:
    """A checksum of the state and of what it is said to be, so that no snapshot passes for another."""
    place = f"{kept.stream}\0{kept.fold}\0{kept.fold_version}\0{kept.version}\0"
    return zlib.crc32(data, zlib.crc32(place.encode())).to_bytes(_SUM, "big")
