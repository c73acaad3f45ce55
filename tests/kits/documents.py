"""A server of documents with versions, over HTTP, as the target of a view; and what fills it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs

from eventsrc import Recorded, View, synchronise
from tests.kits.library import TYPES, Noted
from tests.kits.views import Kit
from tests.processes.workers import Say


@attrs.define
class Shelf:
    """What the server keeps: documents with the versions of the events that made them.

    came: how many events were brought, those among them that came again.
    """

    documents: dict[str, tuple[int, str]] = attrs.field(factory=dict)
    counts: Counter[str] = attrs.field(factory=Counter)
    came: int = 0
    lock: Any = attrs.field(factory=threading.Lock)

    def get(self, name: str) -> tuple[int, str]:
        """A document, which is asked for once for each event."""
        with self.lock:
            self.came += 1
            return self.documents.get(name, (0, ""))

    def put(self, name: str, version: int, text: str) -> bool:
        """Keeps a document if it is newer."""
        with self.lock:
            if self.documents.get(name, (0, ""))[0] >= version:
                return False
            self.documents[name] = version, text
            return True

    def count(self, name: str) -> None:
        """For the control: adds one, whichever event it is."""
        with self.lock:
            self.came += 1
            self.counts[name] += 1


@contextmanager
def serving(shelf: Shelf) -> Iterator[int]:
    """The server, on a port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._tell(200, json.dumps(shelf.get(self.path)))

        def do_PUT(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._tell(204 if shelf.put(self.path, int(self.headers["Version"]), text) else 409, "")

        def do_POST(self) -> None:
            shelf.count(self.path)
            self._tell(204, "")

        def _tell(self, status: int, body: str) -> None:
            data = body.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@attrs.frozen
class Documents:
    """The target: documents over HTTP."""

    port: int

    def get(self, name: str) -> tuple[int, str]:
        """A document, and the version of the event that made it; 0 if there is none."""
        _, body = self._ask("GET", name)
        version, text = json.loads(body)
        return version, text

    def put(self, name: str, text: str, version: int) -> bool:
        """Keeps a document; answers False if there is a newer one."""
        status, _ = self._ask("PUT", name, text, Version=str(version))
        return status == 204

    def count(self, name: str) -> None:
        """For the control: adds one, however often it is asked."""
        self._ask("POST", name)

    def _ask(self, method: str, name: str, body: str = "", **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, f"/{name}", body.encode(), headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


def notes_documents(deadly: int = 0, *, is_blind: bool = False) -> View[Documents]:
    """A view of notes as documents, one for each stream: its numbers, in the order applied.

    deadly: the position of an event after whose effect the process kills itself.
    """
    view: View[Documents] = View("notes", types=TYPES)

    @view.on(Noted)
    def noted(target: Documents, event: Recorded[Noted]) -> None:
        if is_blind:
            target.count(event.stream)
        else:
            version, text = target.get(event.stream)
            if version < event.version:
                number = str(event.data.number)
                target.put(event.stream, f"{text},{number}" if text else number, event.version)
        if event.position == deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    return view


def filling(kit: Kit, say: Say, port: int, page: int, deadly: int, is_blind: bool) -> None:
    """Brings the documents up to date, or dies between an effect and the page's progress."""
    view = notes_documents(deadly, is_blind=is_blind)
    with (
        kit.open_store(timeout=30) as store,
        kit.open(timeout=30, target=Documents(port)) as views,
    ):
        (store | views).run(synchronise(view, size=page))
