"""A bad network between a client and a server of Postgres: a TCP proxy with faults at will.

    with Proxy(server.dsn) as proxy:
        connection = psycopg.connect(proxy.dsn)
        proxy.fault = Slow(1)
        ...
        proxy.fault = None

A fault holds for all connections, those there and those to come, until another is set. Two threads
carry the bytes of each connection, one for each direction.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import Final, Literal, Self, TypeAlias

import attrs
from psycopg.conninfo import conninfo_to_dict, make_conninfo

Towards: TypeAlias = Literal["server", "client"]


@attrs.frozen
class Frozen:
    """Nothing is carried, nothing is lost: it goes on where it was when the fault is over."""


@attrs.frozen
class BlackHole:
    """What is sent is taken and lost; no answer comes, and no end of the connection."""


@attrs.frozen
class Slow:
    """So many bytes per second, one at a time."""

    rate: float


@attrs.frozen
class Cut:
    """So many more bytes in a direction, wherever in a message that is; then the connection is dropped.

    It happens once, to the connection that is the first to get there.
    """

    after: int
    towards: Towards


Fault: TypeAlias = Frozen | BlackHole | Slow | Cut


class Proxy:
    """Listens on a port of the loopback device, and carries bytes to a server and back.

    dsn: the server's address. It is the client's, by way of the proxy, that the attribute `dsn` has.
    """

    def __init__(self, dsn: str) -> None:
        told = conninfo_to_dict(dsn)
        self._host, self._port = (
            str(told.get("host") or "localhost"),
            int(str(told.get("port") or 5432)),
        )
        self._listening: Final = socket.create_server(("127.0.0.1", 0))
        port = self._listening.getsockname()[1]
        self.dsn: Final = make_conninfo(
            dsn, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable"
        )
        self._changed: Final = threading.Condition()
        self._fault: Fault | None = None
        self._links: Final[set[_Link]] = set()
        self._threads: Final[list[threading.Thread]] = []
        self._closed = False

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
        self.drop()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # which wakes the thread that accepts
        self._listening.close()
        while self._threads:
            thread = self._threads.pop()
            thread.join(10)
            assert not thread.is_alive(), f"{thread} has not ended in time"

    @property
    def fault(self) -> Fault | None:
        """What is wrong with the network at the moment; None after a Cut has happened."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault | None) -> None:
        with self._changed:
            self._fault = fault
            self._changed.notify_all()

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._links)

    def drop(self) -> None:
        """Ends all connections, in whatever they are at, at both ends."""
        with self._changed:
            for link in [*self._links]:
                self._drop(link)

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            try:
                server = self._connect()
            except OSError:
                client.close()
                continue
            link = _Link(client, server)
            with self._changed:
                self._links.add(link)
                if self._closed:
                    self._drop(link)
            self._start(self._carry, link, client, server, "server")
            self._start(self._carry, link, server, client, "client")

    def _connect(self) -> socket.socket:
        if not self._host.startswith("/"):
            return socket.create_connection((self._host, self._port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{self._host}/.s.PGSQL.{self._port}")
        return server

    def _carry(self, link: _Link, source: socket.socket, sink: socket.socket, towards: Towards) -> None:
        """Carries bytes in one direction until an end is closed, and then closes the other."""
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                while data:
                    data = self._pass(link, data, sink, towards)
        with self._changed:
            link.ends -= 1
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
            if link.ends == 0:
                self._links.discard(link)
                link.client.close()
                link.server.close()

    def _pass(self, link: _Link, data: bytes, sink: socket.socket, towards: Towards) -> bytes:
        """Sends what the fault of the moment lets through; answers what is left to send."""
        with self._changed:
            self._changed.wait_for(lambda: link.is_dropped or not isinstance(self._fault, Frozen))
            if link.is_dropped:
                return b""
            fault, now = self._fault, data
            match fault:
                case BlackHole():
                    return b""
                case Slow(rate):
                    end = time.monotonic() + 1 / rate
                    # Another fault, and an end, come at once and not after the wait for a byte.
                    self._changed.wait_for(
                        lambda: link.is_dropped or self._fault is not fault, 1 / rate
                    )
                    if link.is_dropped or time.monotonic() < end:
                        return data
                    now = data[:1]
                case Cut(after, of) if of == towards:
                    now = data[:after]
                    self._fault = attrs.evolve(fault, after=after - len(now))
        sink.sendall(now)
        if isinstance(fault, Cut) and fault.towards == towards and fault.after == len(now):
            self.fault = None
            with self._changed:
                self._drop(link)
        return data[len(now) :]

    def _drop(self, link: _Link) -> None:
        """Ends a connection, while holding the lock; what was not sent yet is lost."""
        link.is_dropped = True
        self._changed.notify_all()
        for end in (link.client, link.server):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)  # which wakes the threads that read and write


@attrs.define(eq=False)
class _Link:
    """A client's connection and its continuation to the server."""

    client: socket.socket
    server: socket.socket
    ends: int = 2
    is_dropped: bool = False
