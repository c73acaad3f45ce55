"""Interpreters that are opened and closed: what holds a file or a connection to a database."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self, TypeVar

from eventsrc._pickling import OfOneProcess
from eventsrc.programs.interpreter import Interpreter

O_contra = TypeVar("O_contra", contravariant=True)


class Opened(OfOneProcess, Interpreter[O_contra]):
    """An interpreter of O that is closed at the end, by `with` or `close`."""

    @abstractmethod
    def close(self) -> None:
        """Closes what it holds; it performs nothing any more."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
