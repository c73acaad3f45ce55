"""Programs about the epochs of a store."""

from __future__ import annotations

from typing import Any, Never

from eventsrc.events.epochs import Epochs
from eventsrc.events.positions import Token
from eventsrc.events.stream_id import StreamId
from eventsrc.programs.program import Do, gather_all, program
from eventsrc.stores.operations import GetEpochs, Page, RaiseEpoch, Read
from eventsrc.stores.prepare import check_seen


@program
def restored() -> Do[RaiseEpoch, int]:
    """Begins another epoch of a store that was restored from a backup, before anybody appends to it.

    From then on, cursors, tokens and views that name what was lost are errors (WrongEpoch), also when
    the store has grown past them; those that name what was saved stay valid. Answers the number of the
    new epoch. Doing it twice does no harm.
    """
    return (yield from RaiseEpoch())


def get_epochs() -> Do[Never, Epochs]:
    """The epochs of the store, for programs whose types need not name GetEpochs, as it is derived."""
    return (yield from GetEpochs())  # type: ignore[misc]  # pyright: ignore


def check_token(token: Token, page: Page[Any], *streams: StreamId) -> Do[Read, None]:
    """Raises WrongStore or WrongEpoch if a token saw of some streams what the store does not have.

    page: any of the store, which says its epoch; if that is the token's, nothing more is asked.
    """
    token.check(page.token.store_id)
    epoch = page.token.epoch
    old = [stream for stream in streams if token[stream] and token.epoch_of(stream) != epoch]
    if not old:
        return
    epochs = yield from get_epochs()
    pages = yield from gather_all([Read(stream, token[stream] - 1, 1) for stream in old])
    for stream, its in zip(old, pages, strict=True):
        position = its.events[0].position if its.events else None
        check_seen(epochs, token.epoch_of(stream), stream, token[stream], position)
