"""Exports: a store as lines of JSON, in a file that says itself whether it is whole.

The first line is the store, each other an event, to the byte as it is stored, so that one store has one
export. After every thousand events, and after the last, a line has the chain: the SHA-256 of the chain
before it and of the lines of the events since. The form is in docs/explanation/formats.md.
"""

from __future__ import annotations

import binascii
import hashlib
import json
import re
import struct
from base64 import b64decode, b64encode
from functools import lru_cache
from typing import Any, Final

from eventsrc._errors import EventsrcError
from eventsrc.events.codec import Kind
from eventsrc.events.epochs import Epochs
from eventsrc.events.record import Record, record_of
from eventsrc.stores.copying import Identity

VERSION: Final = 1
"""The version of the form."""

BLOCK: Final = 1000
"""The events between two lines with the chain."""

NO_CHAIN: Final = bytes(32)
"""The chain before the first event."""


class BadExport(EventsrcError):
    """A file is no export, or not as it was written."""


# --- writing


def header(identity: Identity) -> bytes:
    """The first line: the store."""
    told = {
        "eventsrc": VERSION,
        "store": identity.store_id,
        "secret": identity.secret.hex(),
        "epochs": identity.epochs.begins,
    }
    return _line(told)


def event_line(record: Record) -> bytes:
    """The line of an event. Its data and metadata stand in it as they are stored, if they are JSON."""
    position, stream, version, kind, at, data, data_crc, rest = record
    line = b'{"p":%d,"s":%b,"v":%d,"t":%b,"at":%d,"a":"%b","n":%d,"c":[%d,%d]' % (
        position,
        _text(stream),
        version,
        _kind(kind),
        at,
        binascii.hexlify(rest[:16]),
        int.from_bytes(rest[16:20], "little"),
        data_crc,
        int.from_bytes(rest[20:24], "little"),
    )
    if len(rest) > 24:
        line += _field(b"m", rest[24:])
    return line + _field(b"d", data) + b"}\n"


def footer(position: int, chain: bytes) -> bytes:
    """The line after a block of events, whose last is at a position."""
    return _line({"to": position, "chain": chain.hex()})


def last_line(position: int, chain: bytes, first_line: bytes) -> bytes:
    """The last line, which says that the file is whole."""
    told = {"end": position, "chain": chain.hex(), "header": hashlib.sha256(first_line).hexdigest()}
    return _line(told)


class Chain:
    """The chain of the events so far. value: the one after the last whole block."""

    def __init__(self, value: bytes = NO_CHAIN) -> None:
        self._value = value
        self._block: Any = None

    def add(self, line: bytes) -> None:
        """Takes the line of the next event."""
        if self._block is None:
            self._block = hashlib.sha256(self._value)
        self._block.update(line)

    @property
    def value(self) -> bytes:
        """The chain after the last line, be the block whole or not."""
        return self._value if self._block is None else self._block.digest()

    def end_block(self) -> bytes:
        """Begins another block; answers the chain of those before."""
        self._value, self._block = self.value, None
        return self._value


def _field(name: bytes, stored: bytes) -> bytes:
    if _is_json(stored):
        return b',"%b":%b' % (name, stored)
    return b',"%b64":"%b"' % (name, b64encode(stored))


def _is_json(stored: bytes) -> bool:
    """Whether bytes are a value of JSON on one line, which has no spaces around it."""
    if b"\n" in stored or b"\r" in stored or stored != stored.strip():
        return False
    try:
        _parse(stored.decode())
    except (ValueError, RecursionError):
        return False
    return True


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_parse: Final = json.JSONDecoder(parse_constant=_no_constant, parse_int=str, parse_float=str).decode


def _line(told: Any) -> bytes:
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


@lru_cache(maxsize=65_536)
def _text(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False).encode()


@lru_cache(maxsize=4096)
def _kind(kind: Kind) -> bytes:
    return json.dumps([*kind], ensure_ascii=False, separators=(",", ":")).encode()


# --- reading


def read_header(line: bytes) -> Identity:
    """The store that a first line is of. Raises BadExport for a line that is none."""
    told = read_line(line)
    version = told.get("eventsrc")
    if type(version) is int and version > VERSION:
        raise BadExport(
            f"the export has form {version}, and the newest known is {VERSION}: update eventsrc"
        )
    try:
        store_id, secret, begins = told["store"], bytes.fromhex(told["secret"]), told["epochs"]
        epochs = Epochs(tuple((number, position) for number, position in begins))
        numbers = [number for begin in epochs.begins for number in begin]
        is_good = version == VERSION and type(store_id) is str and 1 <= len(secret) <= 64
        if not is_good or not numbers or {*map(type, numbers)} != {int}:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise BadExport(f"{line[:80]!r} is not the first line of an export") from None
    return Identity(store_id, secret, epochs)


def read_line(line: bytes) -> dict[str, Any]:
    """The object of a line. Raises BadExport for a line that has none."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        told = None
    if type(told) is not dict or not line.endswith(b"\n"):
        raise BadExport(f"{line[:80]!r} is no line of an export")
    return told


def read_chain(told: dict[str, Any]) -> bytes:
    """The chain that a line has. Raises BadExport for a line that has none."""
    chain = told.get("chain")
    if type(chain) is not str or not _CHAIN.fullmatch(chain):
        raise BadExport(f"{chain!r:.80} is no chain")
    return bytes.fromhex(chain)


_CHAIN: Final = re.compile("[0-9a-f]{64}")


def read_event(line: bytes) -> Record:
    """The record of the line of an event. Raises BadExport for a line that has none.

    Whether it is what was stored is told by its checksums.
    """
    match = _EVENT.fullmatch(line)
    try:
        if match is None:
            raise ValueError
        position, stream, version, kind, at, append_id, offset, crc, rest_crc, left = match.groups()
        metadata = b""
        if left[2:3] == b"m":
            metadata, left = _read_metadata(left)
        rest = _REST.pack(bytes.fromhex(append_id.decode()), int(offset), int(rest_crc)) + metadata
        return record_of(
            (
                int(position),
                _read_text(stream),
                int(version),
                _read_kind(kind),
                int(at),
                left[5:] if left[:5] == b',"d":' else _read_coded(b"d", left),
                int(crc),
                rest,
            )
        )
    except (ValueError, struct.error, RecursionError):
        raise BadExport(f"{line[:80]!r} is not the line of an event") from None


_STRING: Final = rb'"(?:[^"\\]|\\.)*"'
_EVENT: Final = re.compile(
    rb'\{"p":(\d{1,19}),"s":(%b),"v":(\d{1,19}),"t":(\[%b,\d{1,19},%b\]),"at":(-?\d{1,19}),'
    rb'"a":"([0-9a-f]{32})","n":(\d{1,10}),"c":\[(\d{1,10}),(\d{1,10})\](,"[dm].*)\}\n'
    % (_STRING, _STRING, _STRING)
)
_REST: Final = struct.Struct("<16sII")


@lru_cache(maxsize=65_536)
def _read_text(text: bytes) -> str:
    return str(json.loads(text))


@lru_cache(maxsize=4096)
def _read_kind(text: bytes) -> Kind:
    return Kind(*json.loads(text))


def _read_metadata(left: bytes) -> tuple[bytes, bytes]:
    """The metadata at the beginning of what is left of a line, and what follows them."""
    if left.startswith(b',"m64":"'):
        end = left.index(b'"', 8) + 1
        return _read_coded(b"m", left[:end]), left[end:]
    if not left.startswith(b',"m":'):
        raise ValueError
    text = left.decode()
    _, end = _decoder.raw_decode(text, len(',"m":'))
    return text[len(',"m":') : end].encode(), text[end:].encode()


_decoder: Final = json.JSONDecoder()


def _read_coded(name: bytes, left: bytes) -> bytes:
    coded = b',"%b64":"' % name
    if left.startswith(coded) and left.endswith(b'"'):
        return b64decode(left[len(coded) : -1], validate=True)
    raise ValueError
