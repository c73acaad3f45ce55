"""Writes bank.sql: the tables that an application of `eventsourcing` 9.5 wrote, as SQLite dumps them.

python -m tests.moving.eventsourcing_9.make PATH    in an environment that has `eventsourcing`
"""

from __future__ import annotations

import sqlite3
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from eventsourcing.application import Application  # pyright: ignore[reportMissingImports]
from eventsourcing.domain import Aggregate, event  # pyright: ignore[reportMissingImports]

HERE = Path(__file__).parent


class Account(Aggregate):  # type: ignore[misc]
    """An account of the bank."""

    @event("Opened")  # type: ignore[untyped-decorator]
    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.balance = Decimal(0)

    @event("Credited")  # type: ignore[untyped-decorator]
    def credit(self, amount: Decimal, reference: UUID) -> None:
        """Pays in."""
        self.balance += amount

    @event("Renamed")  # type: ignore[untyped-decorator]
    def rename(self, owner: str) -> None:
        """Has another owner."""
        self.owner = owner


def write(path: str) -> list[Any]:
    """Runs an application on a file; answers its accounts."""
    bank: Any = Application({"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": path})
    accounts = [Account("Höm\u2028er"), Account("Marge")]
    for number, account in enumerate(accounts * 3):
        account.credit(Decimal(f"{number}.50"), UUID(int=number))
        bank.save(account)
    accounts[0].rename("Homer")
    accounts[1].credit(Decimal("1e3"), UUID(int=99))
    bank.save(*accounts)
    bank.close()
    return accounts


if __name__ == "__main__":
    write(sys.argv[1])
    with sqlite3.connect(sys.argv[1]) as connection:
        (HERE / "bank.sql").write_text("\n".join(connection.iterdump()) + "\n")
