"""Exports as files: a copy of a store that is written, and one that is read."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

import attrs

from eventsrc.events.codec import Codec
from eventsrc.events.epochs import Epochs
from eventsrc.events.pages import Events
from eventsrc.events.positions import Cursor
from eventsrc.events.record import Corrupted, Record, check_all
from eventsrc.moving.lines import (
    BLOCK,
    BadExport,
    Chain,
    event_line,
    footer,
    header,
    last_line,
    read_chain,
    read_event,
    read_header,
    read_line,
)
from eventsrc.programs.interpreter import on
from eventsrc.programs.opened import Opened
from eventsrc.stores.copying import (
    EndCopy,
    GetIdentity,
    Identity,
    KeepRecords,
    check_keeping,
    keeping,
)
from eventsrc.stores.operations import MAX_PAGE_BYTES, FeedPage, ReadFeed
from eventsrc.stores.prepare import asked_for, check, check_end, of_one_page, size_of

_TAIL: Final = 1024 * 1024


class ExportWriter(Opened[KeepRecords | EndCopy]):
    """A file that becomes the export of a store: the target of a copy.

    path: of the file, which is made for its owner alone. One that is there goes on from its last whole
        block, so that an export which was killed is resumed, and an old one brought up to date.
    Raises BadExport for a file that is no export.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Final = path
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._file: BinaryIO = os.fdopen(handle, "r+b")
        self._identity: Identity | None = None
        self._first_line = b""
        self._end = 0
        self._last: Record | None = None
        self._chain = Chain()
        try:
            self._resume()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    @on(KeepRecords)
    def keep_records(self, op: KeepRecords) -> int:
        """Writes records; the answer is the position of the last that the file has."""
        check_keeping(op)
        own = self._identity
        if own is None:
            self._first_line = header(op.identity)
            self._file.write(self._first_line)
            own = self._identity = _as_copy(op.identity)
        if own.epochs.begins != op.identity.epochs.begins:
            raise BadExport(
                f"{self.path} was begun when the store was in epoch {own.epochs.current}, and it is in "
                f"{op.identity.epochs.current} now: export into another file"
            )
        last = self._last
        before = () if last is None else (last,)
        todo = keeping(op, own, self._end, lambda first, end: before if first == end else ())
        written: list[bytes] = []
        for record in todo.records:
            line = event_line(record)
            written.append(line)
            self._chain.add(line)
            self._end, self._last = record.position, record
            if self._end % BLOCK == 0:
                written.append(footer(self._end, self._chain.end_block()))
        self._file.write(b"".join(written))
        return self._end

    @on(EndCopy)
    def end_copy(self, op: EndCopy) -> int:
        """Writes the last line, and sees to it that the file is on the disk."""
        if op.raise_epoch:
            raise ValueError("an export is of the epochs of its store: end it without raise_epoch")
        if self._identity is None:
            raise BadExport(f"{self.path} is not begun: keep records first")
        self._file.write(last_line(self._end, self._chain.value, self._first_line))
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._identity.epochs.current

    def _resume(self) -> None:
        """Goes to the end of the last whole block, and leaves off what follows."""
        self._first_line = self._file.readline()
        if not self._first_line.endswith(b"\n"):
            if self._first_line and not self._first_line.startswith(
                b'{"eventsrc":'[: len(self._first_line)]
            ):
                raise BadExport(f"{self.path} is no export: give another file")
            self._first_line = b""
            self._file.seek(0)
            self._file.truncate()
            return
        self._identity = _as_copy(read_header(self._first_line))
        place = _last_footer(self._file, len(self._first_line))
        if place is not None:
            before, begin, end = place
            self._last = read_event(before)
            told = read_line(begin)
            self._end, self._chain = told["to"], Chain(read_chain(told))
            if self._last.position != self._end:
                raise BadExport(f"{self.path} is damaged before the line that ends at {self._end}")
        else:
            end = len(self._first_line)
        self._file.seek(end)
        self._file.truncate()


def _as_copy(identity: Identity) -> Identity:
    return attrs.evolve(identity, epochs=Epochs(identity.epochs.begins, True))


_FOOTER: Final = re.compile(rb'\n(\{"to":\d+,"chain":"[0-9a-f]{64}"\}\n)')


def _last_footer(file: BinaryIO, start: int) -> tuple[bytes, bytes, int] | None:
    """The last line after a block, the line before it, and where it ends; None if there is none."""
    end = file.seek(0, os.SEEK_END)
    held, begin = b"", end
    while begin > start:
        step = max(begin - max(_TAIL, len(held)), start - 1)
        file.seek(step)
        held = file.read(begin - step) + held
        begin = step
        matches = [*_FOOTER.finditer(held)]
        for match in reversed(matches):
            before = held.rfind(b"\n", 0, match.start())
            if before >= 0:
                return held[before + 1 : match.start() + 1], match[1], begin + match.end()
        if begin <= start - 1:
            return None
    return None


class ExportReader(Opened[GetIdentity | ReadFeed]):
    """The export in a file: the source of a copy.

    Raises BadExport for a file that is no export, or is not whole. Its pages are of blocks whose chain
    is right, and an error names the line that is not what was written.
    """

    def __init__(self, path: str | os.PathLike[str], codec: Codec | None = None) -> None:
        self.path: Final = path
        self.codec: Final = Codec() if codec is None else codec
        self._file: Final = Path(path).open("rb")  # noqa: SIM115 - closed by close()
        try:
            first = self._file.readline()
            self._identity: Final = read_header(first)
            self._start: Final = len(first)
            self._end, self._last_chain = self._read_end(first)
        except BaseException:
            self._file.close()
            raise
        self._position = 0
        self._held: list[Record] = []
        """Records that are read and not told yet."""
        self._go_to_start()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    @on(GetIdentity)
    def get_identity(self, op: GetIdentity) -> Identity:
        """The store that the export is of."""
        return self._identity

    @on(ReadFeed)
    def read_feed(self, op: ReadFeed) -> FeedPage[object]:
        """A page of the feed."""
        check(op)
        epochs = self._identity.epochs
        position = op.after.check(self._identity.store_id)
        epochs.check(op.after)
        check_end(op, self._end)
        if position != self._position:
            self._go_to(position)
        found: list[Record] = []
        while len(found) < op.limit and size_of(found) < MAX_PAGE_BYTES:
            if not self._held:
                if self._next > self._end:
                    break
                self._held = self._block()
            more = op.limit - len(found)
            found += self._held[:more]
            self._held = self._held[more:]
        page = of_one_page(found)
        self._held = [*found[len(page) :], *self._held]
        self._position = page[-1].position if page else position
        if self._position == self._end:
            self._check_last()
        at = Cursor(self._identity.store_id, self._position, epochs.current)
        end = Cursor(self._identity.store_id, self._end, epochs.current)
        return FeedPage(Events(asked_for(op, page), self.codec), at, end)

    # --- reading on

    def _go_to_start(self) -> None:
        self._file.seek(self._start)
        self._line = 1
        self._position = 0
        self._next = 1
        self._chain: Chain | None = Chain()
        """None from where it was jumped to up to the next line that has it."""
        self._held = []

    def _block(self) -> list[Record]:
        """The records up to the next line with the chain, which is checked, or of a page."""
        found: list[Record] = []
        size = 0
        first = self._line + 1
        while True:
            line = self._file.readline()
            self._line += 1
            if line.startswith(b'{"p":'):
                found.append(self._read(line))
                if self._chain is not None:
                    self._chain.add(line)
                size += len(line)
                if size > MAX_PAGE_BYTES:
                    return found
                continue
            if not line.startswith((b'{"to":', b'{"end":')):
                self._fail("is no line of an export" if line else "is missing: the file is cut")
            told = read_line(line)
            if told.get("to", told.get("end")) != self._next - 1:
                self._fail(f"does not follow position {self._next - 1}")
            if self._chain is None:
                self._chain = Chain(read_chain(told))
            elif read_chain(told) != self._chain.end_block():
                self._name_damage(found, first)
                self._fail("does not fit the events before it: one of them was changed")
            if found:
                return found
            if "end" in told:
                self._fail("comes too early")

    def _name_damage(self, records: Sequence[Record], first: int) -> None:
        """Raises BadExport for the first damaged one of some records, whose lines follow each other."""
        for number, record in enumerate(records):
            try:
                check_all([record])
            except Corrupted as error:
                self._line = first + number
                self._fail(f"is damaged: {error}")

    def _read(self, line: bytes) -> Record:
        try:
            record = read_event(line)
        except BadExport as error:
            self._fail(f"is damaged: {error}")
        if record.position != self._next:
            self._fail(f"has position {record.position}, and {self._next} is next")
        self._next += 1
        return record

    def _fail(self, what: str) -> NoReturn:
        place = f"line {self._line}" if self._line > 0 else f"the line of position {self._next}"
        raise BadExport(f"{place} of {self.path} {what}")

    def _check_last(self) -> None:
        """Looks at what comes after the last event: the last line, and nothing else."""
        if self._chain is not None and self._chain.value != self._last_chain:
            self._fail("is followed by a last line with another chain: it was changed")
        if not self._held and self._file.tell() not in self._ends:
            self._fail("is followed by lines that nobody wrote there")

    # --- finding

    def _read_end(self, first: bytes) -> tuple[int, bytes]:
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(max(size - 1024, 0))
        tail = self._file.read()
        line = tail[tail.rfind(b"\n", 0, -1) + 1 :]
        if not line.startswith(b'{"end":'):
            raise BadExport(f"{self.path} is not whole, as it has no last line: export into it again")
        told = read_line(line)
        end, chain = told.get("end"), read_chain(told)
        if type(end) is not int or line != last_line(end, chain, first):
            raise BadExport(f"the first or the last line of {self.path} is not what was written")
        self._size = size - len(line)
        self._ends = self._size, size
        return end, chain

    def _go_to(self, position: int) -> None:
        """Goes to the line after a position: by halves, as each line of an event says its own."""
        self._go_to_start()
        if not position:
            return
        low, high = self._start, self._size  # the line begins in [low, high]
        while high - low > _TAIL // 16:
            middle = (low + high) // 2
            self._file.seek(middle)
            self._file.readline()
            at, found = self._next_event()
            if found is None or found > position or at >= high:
                high = middle
            else:
                low = at
        self._file.seek(low)
        while True:
            at, found = self._next_event()
            if found is None or found > position:
                break
            self._file.seek(at)
            self._file.readline()
        self._file.seek(at)
        self._line = -(2**62)
        self._position, self._next, self._chain = position, position + 1, None

    def _next_event(self) -> tuple[int, int | None]:
        """Where the next line of an event begins, and its position; None if there is none."""
        while True:
            at = self._file.tell()
            line = self._file.readline()
            match = _POSITION.match(line)
            if match:
                return at, int(match[1])
            if not line or at >= self._size:
                return at, None


_POSITION: Final = re.compile(rb'\{"p":(\d{1,19}),')
