"""A server of documents with versions, over HTTP, as a sink of views; and the process that fills it.

python -m tests.views.documents PORT STORE VIEWS KILLS [--blind]
KILLS are the positions of events after whose effect the process kills itself, before the page's
progress is kept.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs

from eventsrc import Recorded, SqliteStore, SqliteViews, View, synchronise
from tests.views.library import CODEC, TYPES, Noted


@attrs.define
class Shelf:
    """What the server keeps: documents with the versions of the events that made them."""

    documents: dict[str, tuple[int, str]] = attrs.field(factory=dict)
    counts: Counter[str] = attrs.field(factory=Counter)
    puts: int = 0
    refused: int = 0
    lock: Any = attrs.field(factory=threading.Lock)

    def put(self, name: str, version: int, text: str) -> bool:
        """Keeps a document if it is newer."""
        with self.lock:
            self.puts += 1
            if self.documents.get(name, (0, ""))[0] >= version:
                self.refused += 1
                return False
            self.documents[name] = version, text
            return True


@contextmanager
def serving(shelf: Shelf) -> Iterator[int]:
    """The server, on a port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            version, text = shelf.documents.get(self.path, (0, ""))
            self._tell(200, json.dumps([version, text]))

        def do_PUT(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._tell(204 if shelf.put(self.path, int(self.headers["Version"]), text) else 409, "")

        def do_POST(self) -> None:  # for the control
            shelf.counts[self.path] += 1
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
    """The sink: documents over HTTP."""

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
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, f"/{name}", body.encode(), headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


def notes_documents(kills: frozenset[int] = frozenset(), *, is_blind: bool = False) -> View[Documents]:
    """A view of notes as documents, one for each stream: its numbers, in the order applied."""
    view: View[Documents] = View("notes", types=TYPES)

    @view.on(Noted)
    def noted(sink: Documents, event: Recorded[Noted]) -> None:
        if is_blind:
            sink.count(event.stream)
        else:
            version, text = sink.get(event.stream)
            if version < event.version:
                number = str(event.data.number)
                sink.put(event.stream, f"{text},{number}" if text else number, event.version)
        if event.position in kills:
            os.kill(os.getpid(), signal.SIGKILL)

    return view


def main(port: str, store_path: str, views_path: str, kills: str, *broken: str) -> None:
    """Brings the documents up to date, or dies."""
    chosen = frozenset(json.loads(kills))
    view = notes_documents(chosen, is_blind="--blind" in broken)
    with (
        SqliteStore(store_path, CODEC) as store,
        SqliteViews(views_path, durability="process", sink=Documents(int(port))) as views,
    ):
        (store | views).run(synchronise(view, size=20))


if __name__ == "__main__":
    main(*sys.argv[1:])
