"""External events by HTTP: signed, in order, within a deadline; and what a receiver takes for good."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsrc.errors import BadSignature, NotACloudEvent, Unreachable
from eventsrc.publishing import CloudEvent, Publish, Published, received
from eventsrc.publishing.signing import signed
from eventsrc.publishing.webhooks import Webhook
from tests.contracts.brokers import Bench, BrokerContract, made

KEY, OTHER = b"k" * 32, b"o" * 32


class Quiet(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Senders go away in the middle here."""


class Receiver:
    """A service that receives events, on a port of this machine.

    answers: the status for an event.
    """

    def __init__(self) -> None:
        self.came: list[CloudEvent] = []
        self.wrong: list[str] = []
        self.connections = 0
        self.answers: Callable[[CloudEvent], int] = lambda _event: 204
        its = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                its.connections += 1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    event = received(body, dict(self.headers), KEY)
                except (BadSignature, NotACloudEvent) as error:
                    its.wrong.append(str(error))
                    status = 400
                else:
                    status = its.answers(event)
                    if 200 <= status < 300:
                        its.came.append(event)
                said = b"" if status == 204 else b"said so"
                self.send_response(status)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hooks?from=shop"


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        thread.join()
        receiver.server.server_close()
    assert receiver.wrong == []


class WebhookBench(Bench):
    def __init__(self, receiver: Receiver) -> None:
        self.broker = Webhook(receiver.url, KEY)
        self.receiver = receiver
        receiver.answers = self._answer

    def came(self) -> Sequence[CloudEvent]:
        return self.receiver.came

    @contextmanager
    def away(self) -> Iterator[None]:
        self.receiver.answers = lambda _event: 503
        yield
        self.receiver.answers = self._answer

    def unacceptable(self, subject: str) -> CloudEvent:
        return attrs.evolve(made(subject, 0), data={"bad": True})

    def _answer(self, event: CloudEvent) -> int:
        return 422 if "bad" in event.data else 204


class TestWebhooks(BrokerContract):
    @pytest.fixture
    def bench(self) -> Iterator[Bench]:
        with receiving() as receiver:
            yield WebhookBench(receiver)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def send(receiver: Receiver, *events: CloudEvent, **options: Any) -> Published:
    answer: Published = Webhook(receiver.url, KEY, **options).run(Publish(events))
    return answer


A1, A2, B1 = made("a", 1), made("a", 2), made("b", 1)


def test_a_publish_in_an_event_loop_holds_up_nobody(receiver: Receiver) -> None:
    asked, ticked = threading.Event(), threading.Event()

    def answer(_event: CloudEvent) -> int:
        asked.set()
        return 204 if ticked.wait(20) else 500

    async def beside() -> Published:
        sending = asyncio.ensure_future(Webhook(receiver.url, KEY).run_async(Publish((A1,))))
        await asyncio.to_thread(asked.wait, 20)
        ticked.set()  # which only this loop does
        return await sending

    receiver.answers = answer
    assert asyncio.run(beside()) == Published()


def test_a_publish_takes_one_connection(receiver: Receiver) -> None:
    send(receiver, *(made(str(number), number) for number in range(20)))
    assert receiver.connections == 1


@pytest.mark.parametrize("status", [301, 401, 404, 429, 503])
def test_a_receiver_that_takes_nothing_for_now_is_away(receiver: Receiver, status: int) -> None:
    receiver.answers = lambda _event: status
    with pytest.raises(Unreachable, match=f"{status}: said so"):
        send(receiver, A1)


def test_a_failure_of_the_receiver_is_that_of_an_event_if_others_get_through(
    receiver: Receiver,
) -> None:
    receiver.answers = lambda event: 500 if event.subject == "a" else 204
    with pytest.raises(Unreachable, match="500: said so"):
        send(receiver, A1, A2)
    answer = send(receiver, A1, A2, B1)
    assert ([each.id for each in answer.refused], answer.left) == ([A1.id], 0)
    assert receiver.came == [B1]


def test_what_was_sent_before_the_receiver_went_away_is_done_with(receiver: Receiver) -> None:
    receiver.answers = lambda event: 503 if event.subject == "b" else 204
    assert send(receiver, A1, A2, B1, made("c", 1)) == Published(left=2)
    assert receiver.came == [A1, A2]


def test_a_slow_receiver_is_given_what_it_takes_in_time(receiver: Receiver) -> None:
    def answer(event: CloudEvent) -> int:
        if event.subject == "b":
            silent.wait(20)
        return 204

    silent = threading.Event()
    receiver.answers = answer
    began = time.monotonic()
    assert send(receiver, A1, B1, A2, within=1.5) == Published(left=2)
    with pytest.raises(Unreachable):
        send(receiver, B1, within=0.2)
    silent.set()
    assert time.monotonic() - began < 10


def test_a_receiver_that_drips_is_away() -> None:
    """Each byte comes in time; the answer never does."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                while not over.wait(0.01):
                    try:
                        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        began = time.monotonic()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(Unreachable):
            Webhook(url, KEY, within=0.2).run(Publish((A1,)))
        over.set()
        thread.join(20)
        assert time.monotonic() - began < 10


def test_nobody_there_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(Unreachable, match="does not answer"):
        Webhook(f"http://127.0.0.1:{port}", KEY).run(Publish((A1,)))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "shop.example",
        "ftp://x",
        "http://",
        "https://me:secret@x/",
        "http://x/\r\nA: b",
        "http://x/ä",
    ],
)
def test_an_address_is_a_url_of_http(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        Webhook(url, KEY)


@pytest.mark.parametrize("key", [b"", b"short", "k" * 32])
def test_a_key_cannot_be_guessed(key: Any) -> None:
    with pytest.raises(ValueError, match="key"):
        Webhook("https://x", key)


# --- what a receiver takes --------------------------------------------------------------------------

BODY = A1.to_json()


def headers(now: int = 1000, *keys: bytes) -> Mapping[str, str]:
    return signed(BODY, A1.id, now, *(keys or (KEY,)))


def test_a_request_that_was_signed_with_one_of_the_keys_is_good() -> None:
    for keys in ((KEY,), (OTHER, KEY), (KEY, OTHER)):
        upper = {name.upper(): text for name, text in headers(1000, *keys).items()}
        assert received(BODY, upper, KEY, clock=lambda: 1299.0) == A1
    assert received(BODY, headers(), OTHER, KEY, clock=lambda: 701.0) == A1


def test_the_signature_is_that_of_the_standard() -> None:
    """By the example of Standard Webhooks' own libraries."""
    import base64

    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    told = signed(b'{"test": 2432232314}', "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, key)
    assert told["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("told", "now"),
    [
        ({}, 1000),
        (headers(1000, OTHER), 1000),
        (headers(), 1301),
        (headers(), 699),
        ({**headers(), "webhook-id": "other"}, 1000),
        ({**headers(), "webhook-timestamp": "1001"}, 1000),
        ({**headers(), "webhook-timestamp": "soon"}, 1000),
        ({**headers(), "webhook-signature": ""}, 1000),
        ({**headers(), "webhook-signature": "v1,ä"}, 1000),
        ({**headers(), "webhook-signature": headers()["webhook-signature"].replace("v1", "v2")}, 1000),
    ],
)
def test_another_request_is_refused(told: Mapping[str, str], now: int) -> None:
    with pytest.raises(BadSignature):
        received(BODY, told, KEY, clock=lambda: float(now))


@given(st.integers(0, len(BODY) - 1), st.integers(0, 7))
def test_a_body_that_was_changed_is_refused(at: int, bit: int) -> None:
    changed = bytearray(BODY)
    changed[at] ^= 1 << bit
    with pytest.raises(BadSignature):
        received(bytes(changed), headers(), KEY, clock=lambda: 1000.0)
