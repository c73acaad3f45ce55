"""Signed tokens: for texts that come back from strangers.

A token says which versions somebody has seen. That is no secret and gives no rights, but a made-up one
can have a view look for streams that its maker names. A signature shows that the token is one of ours.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from typing import Final, Protocol

from eventsrc.events.positions import BadToken, Token

_MAC_BYTES: Final = 16
_LEAST_KEY_BYTES: Final = 16


class TokenTexts(Protocol):
    """The form in which tokens are given to others, and read again."""

    def write(self, token: Token) -> str:
        """The text of a token: letters, digits and `-_.` only."""
        ...

    def read(self, text: str) -> Token:
        """The token of a text. Raises BadToken for another text."""
        ...


class Plain:
    """Tokens as they are."""

    def write(self, token: Token) -> str:
        """The text of a token."""
        return str(token)

    def read(self, text: str) -> Token:
        """The token of a text. Raises BadToken for another text."""
        return Token.parse(text)


class Signed:
    """Tokens with a signature (HMAC-SHA256, of which 128 bits are kept).

    key: at least 16 bytes that nobody else knows. older: keys whose signatures are still good.
    """

    def __init__(self, key: bytes, older: Sequence[bytes] = ()) -> None:
        for each in (key, *older):
            if len(each) < _LEAST_KEY_BYTES:
                raise ValueError(
                    f"a key of {len(each)} bytes can be guessed: take secrets.token_bytes(32)"
                )
        self._keys = (key, *older)

    def write(self, token: Token) -> str:
        """The text of a token, and its signature."""
        text = str(token)
        return f"{text}.{_signature(self._keys[0], text)}"

    def read(self, text: str) -> Token:
        """The token of a text. Raises BadToken for a text that was not signed with one of the keys."""
        token, _, signature = text.rpartition(".")
        is_ours = text.isascii() and any(
            hmac.compare_digest(_signature(key, token), signature) for key in self._keys
        )
        if not is_ours:
            raise BadToken(f"{text[:100]!r} was not signed here: pass tokens on as they were received")
        return Token.parse(token)


def _signature(key: bytes, text: str) -> str:
    mac = hmac.digest(key, text.encode(), "sha256")[:_MAC_BYTES]
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")
