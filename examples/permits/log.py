"""An event log: a CSV file with the columns of the XES standard, one step of one case on each line.

Every line is read by itself, so that one that cannot be read spoils no other; the price is that a field
cannot hold a line break.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import datetime

import attrs

from examples.permits.cases import CaseId, CaseOpened, StepTaken, TaskId, cases

_CASE, _CHANNEL, _DEPARTMENT = "case:concept:name", "case:channel", "case:department"
_TASK, _NAME, _TIME = "concept:instance", "concept:name", "time:timestamp"
_USER, _GROUP = "org:resource", "org:group"
_COLUMNS = (_CASE, _CHANNEL, _DEPARTMENT, _TASK, _NAME, _TIME, _USER, _GROUP)


@attrs.frozen
class Row:
    """What a line says: that a step was taken, in a case that was opened."""

    line: int
    opened: CaseOpened
    step: StepTaken


@attrs.frozen
class BadRow:
    """A line from which nothing is recorded, and why."""

    line: int
    reason: str


class NotALog(Exception):
    """A file whose first line does not name the columns of an event log."""


def read_log(lines: Iterable[bytes]) -> Iterator[Row | BadRow]:
    """The rows of a log, given its lines. Raises NotALog if the first does not name the columns."""
    numbered = enumerate(lines, 1)
    _, first = next(numbered, (1, b""))
    try:
        header = _fields(first.removeprefix(b"\xef\xbb\xbf"))
    except ValueError as error:
        raise NotALog(f"its first line cannot be read: {error}") from error
    if missing := [column for column in _COLUMNS if column not in header]:
        raise NotALog(f"its first line does not name the columns {', '.join(missing)}")
    for number, line in numbered:
        if not line.isspace():
            yield _row(number, header, line)


def _row(number: int, header: list[str], line: bytes) -> Row | BadRow:
    try:
        fields = _fields(line)
        if len(fields) != len(header):
            return BadRow(number, f"it has {len(fields)} columns, and the first line {len(header)}")
        of = {column: field.strip() for column, field in zip(header, fields, strict=True)}
        if empty := [column for column in (_CASE, _TASK, _NAME) if not of[column]]:
            return BadRow(number, f"it has nothing in {', '.join(empty)}")
        at = datetime.fromisoformat(of[_TIME])
        if at.tzinfo is None:
            return BadRow(number, f"its time {of[_TIME]!r} has no time zone")
        case = CaseId(of[_CASE])
        cases[case]  # raises BadStreamId, a ValueError, for an id that no stream can have
    except ValueError as error:
        return BadRow(number, str(error))
    opened = CaseOpened(case, of[_CHANNEL], of[_DEPARTMENT])
    return Row(number, opened, StepTaken(case, TaskId(of[_TASK]), of[_NAME], of[_USER], of[_GROUP], at))


def _fields(line: bytes) -> list[str]:
    """A line's fields. Raises ValueError for bytes that are not UTF-8, and for broken quotes."""
    try:
        rows = list(csv.reader([line.decode().rstrip("\r\n")], strict=True))
    except csv.Error as error:
        raise ValueError(f"it is not CSV: {error}") from error
    return rows[0] if rows else []
