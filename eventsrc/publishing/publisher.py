"""Publishers: they send what a transformer makes of the feed to a broker, for as long as they run.

The store is the outbox. A publisher reads the feed, which never skips an event, and notes behind each
batch how far it has come; so nothing is written when events are appended, and nothing can be forgotten.
It is kept as a view is, in a database of views: with progress, leases, parked streams and lag, and it
builds nothing. An event counts as applied when the broker has it, or when it is not for others.

If its process ends between the two, the batch is sent again, under the same ids. All else that looks
like publishing does not: a view that is built anew, a follower of the publisher's own view.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from eventsrc._pickling import ByName
from eventsrc.events.positions import Cursor
from eventsrc.events.stream_id import StreamId
from eventsrc.following.follow import FollowOp, follow
from eventsrc.following.outages import Outage
from eventsrc.following.parking import RetryOp, SkipOp
from eventsrc.following.parking import retry as retry_view
from eventsrc.following.parking import skip as skip_view
from eventsrc.following.synchroniser import PAGE, Synchronised, SyncOp, synchronise
from eventsrc.following.waiting import EVERY
from eventsrc.programs.program import Do, program
from eventsrc.programs.world import Elapsed
from eventsrc.publishing._sending import Sending, SendOp
from eventsrc.publishing._sink import Sink
from eventsrc.publishing.transformer import Transformer
from eventsrc.publishing.verbatim import Verbatim
from eventsrc.stores.operations import StoreError
from eventsrc.views.operations import Parked

BATCH: Final = 100
"""Events of the feed that are published at a time."""

PublishOp: TypeAlias = FollowOp | SendOp | Elapsed
"""The operations of a publisher: on the store, the database of views, the broker and the clock."""


class Publisher(ByName):
    """A stream of external events, which is sent to one broker.

    name: under which its progress is kept; letters, digits and `._-`, at most 80.
    public: what leaves; Verbatim for all events as they are, which is for the service's own views.
    prefix: only events of the streams below it; all if empty.
    partitions: the number of shares of the streams, which several processes can have.
    begin: where it begins when it runs for the first time: behind the last event of then, before the
        first event of all, or behind a position in the feed.
    batch: how many events of the feed are published at a time, and so come again at most if a process
        ends meanwhile.
    Raises ValueError for a bad name, or a batch of none.
    """

    def __init__(
        self,
        name: str,
        public: Transformer | Verbatim,
        *,
        prefix: str = "",
        partitions: int = 1,
        begin: Literal["end", "start"] | Cursor = "end",
        batch: int = BATCH,
    ) -> None:
        if not isinstance(name, str) or not name or len(name) > 80 or not _LETTERS.issuperset(name):
            raise ValueError(
                f"{name!r:.100} cannot name a publisher: use 1 to 80 letters, digits and ._-"
            )
        if not isinstance(begin, Cursor) and begin not in ("end", "start"):
            raise ValueError(f"begin is {begin!r:.100}: choose 'end' or 'start', or give a cursor")
        if type(batch) is not int or not 1 <= batch <= PAGE:
            raise ValueError(f"a batch is of 1 to {PAGE} events, not of {batch!r:.100}")
        self.name: Final = name
        self.public: Final[Transformer | Verbatim] = public
        self.begin: Final = begin
        self.batch: Final = batch
        self.view: Final = Sink(name, prefix, partitions)
        """By which `status` tells its lag, and `GetParked` what is parked."""

    def __repr__(self) -> str:
        return f"Publisher({self.name!r})"


@program
def publish(
    out: Publisher, every: float = EVERY, *, owner: str | None = None, lease: float = 10.0
) -> Do[PublishOp, None]:
    """Publishes for ever, alone or sharing the streams with other processes: as `follow` follows.

    every: seconds between two looks at the feed, at its end.
    owner: a name of its own for each of the processes that share the publisher; None for one alone.
    lease: seconds for which the others leave an owner's share alone if it is not heard of: more than a
        Publish takes.

    An event whose rule fails, or that the broker refuses, holds back its stream: it is tried five
    times, in about half a minute, and then stays parked until `retry` or `skip`. While the broker, the
    store or the database of views is away, it waits, however long that is: `status(out.view)` tells.
    """
    sending = Sending(out)
    outage = Outage(f"the publisher {out.name}", every)
    while True:
        try:
            yield from sending.began()
            break
        except StoreError as error:
            if not error.may_pass:
                raise
            yield from outage.wait(error)
    yield from outage.end()
    yield from sending.around(follow(out.view, every, owner=owner, lease=lease))


@program
def publish_once(out: Publisher) -> Do[SyncOp | SendOp | Elapsed, Synchronised]:
    """Publishes what is new, and ends: for scripts, timers and tests.

    Raises what is wrong with the broker, such as Unreachable; what was sent by then is noted.
    """
    sending = Sending(out)
    yield from sending.began()
    done: Synchronised = yield from sending.around(synchronise(out.view))
    return done


@program
def retry(out: Publisher, *streams: StreamId) -> Do[RetryOp | SendOp | Elapsed, tuple[Parked, ...]]:
    """Publishes parked streams, all if none are named; answers those that are still parked."""
    left: tuple[Parked, ...] = yield from Sending(out).around(retry_view(out.view, *streams))
    return left


@program
def skip(
    out: Publisher, stream: StreamId, why: str
) -> Do[SkipOp | SendOp | Elapsed, tuple[Parked, ...]]:
    """Goes past the event at which a stream is parked, which is never published, and on behind it.

    why: is kept, with the event, in the stream `eventsrc/operators`.
    Answers the stream if it is parked again. Raises as `eventsrc.following.parking.skip`.
    """
    left: tuple[Parked, ...] = yield from Sending(out).around(skip_view(out.view, stream, why))
    return left


_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
