"""Who else is asked: a bank and a post office, which outlive every process of the shop.

Both are files here. The bank takes each key once, as a real one does with an idempotency key; the post
office delivers a letter once for each `Message-ID`. They are asked at least once, and so it is enough.
"""

import json
import os
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from eventsrc import Command, Interpreter, on


class AskForPayment(Command[None]):
    """Asks the bank for a payment; what it says comes later, as an event, or never."""

    order: str
    amount: int
    key: UUID


class Refund(Command[None]):
    """Gives money back."""

    order: str
    amount: int
    key: UUID


class Mail(Command[None]):
    to: str
    text: str
    key: UUID


class Outside(Interpreter[AskForPayment | Refund | Mail]):
    """The bank and the post office, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder: Final = folder

    @on(AskForPayment)
    def ask(self, op: AskForPayment) -> None:
        self._write("asked", op.key, order=op.order, amount=op.amount)

    @on(Refund)
    def refund(self, op: Refund) -> None:
        self._write("refunds", op.key, order=op.order, amount=op.amount)

    @on(Mail)
    def mail(self, op: Mail) -> None:
        self._write("mails", op.key, to=op.to, text=op.text)

    def done(self, what: str) -> list[dict[str, Any]]:
        """What was asked for, each key once: "asked", "refunds" or "mails"."""
        found: dict[str, dict[str, Any]] = {}
        path = self._folder / f"{what}.jsonl"
        for line in path.read_text().splitlines() if path.exists() else ():
            told = json.loads(line)
            found.setdefault(told.pop("key"), told)
        return [*found.values()]

    def _write(self, what: str, key: UUID, **told: Any) -> None:
        line = json.dumps({"key": str(key), **told}) + "\n"
        file = os.open(self._folder / f"{what}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(file, line.encode())  # at once, so that no other process writes in between
        finally:
            os.close(file)
