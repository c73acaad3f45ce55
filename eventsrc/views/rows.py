"""Rows of views before and after: copies that a view's database compares with what there is now."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Final, TypeAlias

import attrs

Ask: TypeAlias = Callable[..., list[tuple[Any, ...]]]
"""Executes a statement with parameters."""


@attrs.frozen
class RowChange:
    """A row of a view before and after: None where there is no such row."""

    table: str
    key: Any
    """The values of its primary key by column; of a view in memory, its key."""
    before: Any
    after: Any

    def __str__(self) -> str:
        if self.before is None:
            return f"+ {self.table} {self.after!r}"
        if self.after is None:
            return f"- {self.table} {self.before!r}"
        return f"~ {self.table} {self.key!r}: {_difference(self.before, self.after)}"


def _difference(before: Any, after: Any) -> str:
    if not isinstance(before, dict) or not isinstance(after, dict):
        return f"{before!r} -> {after!r}"
    names = [name for name in after if before.get(name) != after[name]]
    return ", ".join(f"{name} {before.get(name)!r} -> {after[name]!r}" for name in names)


class Copy(ABC):
    """The rows of a view at one moment, kept by its database where that can."""

    @abstractmethod
    def differences(self) -> Iterator[RowChange]:
        """The rows that are different now."""


class SqlCopy(Copy):
    """Copies in temporary tables, so that as many rows as there are can be compared."""

    create: ClassVar[str] = "CREATE TEMP TABLE {copy} AS {rows}"
    without: ClassVar[str] = "{these} EXCEPT {those}"

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._copies: dict[str, str] = {}
        for number, table in enumerate(self._tables()):
            copy = self._copies[table] = f"eventsrc_before_{number}"
            self._ask(self.create.format(copy=copy, rows=self._rows(table)))

    def differences(self) -> Iterator[RowChange]:
        for table in sorted({*self._copies, *self._tables()}):
            now = self._rows(table)
            copy = self._copies.get(table)
            before = f"{now} WHERE false" if copy is None else _ALL.format(copy)
            gone = self.without.format(these=before, those=now)
            come = self.without.format(these=now, those=before)
            yield from paired(table, self._keyed(table, gone), self._keyed(table, come))

    @abstractmethod
    def _tables(self) -> list[str]:
        """The view's own tables."""

    @abstractmethod
    def _rows(self, table: str) -> str:
        """The query for the rows of a table."""

    @abstractmethod
    def _keyed(self, table: str, query: str) -> Iterator[tuple[Any, dict[str, Any]]]:
        """The rows that a query answers, with their keys."""


_ALL: Final = "SELECT * FROM {}"


def paired(
    table: str,
    gone: Iterable[tuple[Any, Any]],
    come: Iterable[tuple[Any, Any]],
) -> Iterator[RowChange]:
    """The changes of a table's rows: rows with the same key are one before and after."""
    after = {_hashable(key): (key, row) for key, row in come}
    for key, row in gone:
        _, now = after.pop(_hashable(key), (key, None))
        yield RowChange(table, key, row, now)
    for key, row in after.values():
        yield RowChange(table, key, None, row)


def _hashable(key: Any) -> Any:
    return repr(sorted(key.items())) if isinstance(key, dict) else key
