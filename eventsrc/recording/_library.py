"""The names under which recordings hold what is of this library: they never change.

A class or function may be renamed and moved; what stands here on the left stays.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Final

from eventsrc._errors import EventsrcError
from eventsrc.events._exact import NotStorable
from eventsrc.events.codec import Undecodable, UnknownEvent
from eventsrc.events.epochs import Epochs, OtherEpoch, WrongEpoch
from eventsrc.events.event import EventTypeError
from eventsrc.events.positions import BadCursor, BadToken, Cursor, NotInToken, Token, WrongStore
from eventsrc.events.record import Corrupted
from eventsrc.events.recorded import NotRead
from eventsrc.events.stream_id import BadStreamId
from eventsrc.events.tags import BadTag, Boundary, BoundaryItem, TagValue
from eventsrc.following import parking, rebuild, session, status, synchroniser, waiting
from eventsrc.programs import program, world
from eventsrc.stores import epochs, newest, tags
from eventsrc.stores import operations as store
from eventsrc.streams import boundaries, decide, fold, past, serializable, snapshots, stream
from eventsrc.views import operations as views
from eventsrc.views.guard import Gap
from eventsrc.views.view import ViewError

OrConflict: Final = stream._OrConflict  # pyright: ignore[reportPrivateUsage]

PREFIX: Final = "eventsrc/"
"""The beginning of the library's names; no other name has a slash but those of PYTHON."""

PYTHON: Final = "python/"
"""The beginning of the names of built-in exceptions."""


def _by_own_name(*things: Any) -> Iterable[tuple[str, Any]]:
    return ((PREFIX + thing.__name__, thing) for thing in things)


FUNCTIONS: Final[dict[str, Any]] = {
    f"{PREFIX}list": list,
    f"{PREFIX}tuple": tuple,
    f"{PREFIX}same": stream._same,  # pyright: ignore[reportPrivateUsage]
    f"{PREFIX}surely": stream._surely,  # pyright: ignore[reportPrivateUsage]
    f"{PREFIX}value": stream._value,  # pyright: ignore[reportPrivateUsage]
}
"""The functions that a Map or Gather of the library calls, harmless whatever they are given."""

PROGRAMS: Final[dict[str, Any]] = dict(
    _by_own_name(
        epochs.restored,
        newest.newest,
        parking.retry,
        parking.skip,
        rebuild.rebuild,
        serializable.serializable,
        status.status,
        synchroniser.at_least,
        synchroniser.deliver,
        synchroniser.force,
        synchroniser.synchronise,
        synchroniser.synchronise_partition,
        tags.index_tags,
    )
) | {f"{PREFIX}history": stream._history}  # pyright: ignore[reportPrivateUsage]
"""Programs that call nothing of what they are given."""

CLASSES: Final[dict[str, Any]] = dict(
    _by_own_name(
        # operations
        store.Append,
        store.AppendAll,
        store.FindAppend,
        store.GetEpochs,
        store.Head,
        store.LoadSnapshot,
        store.RaiseEpoch,
        store.Read,
        store.ReadFeed,
        store.SaveSnapshot,
        tags.AppendIf,
        tags.IndexTags,
        tags.ReadTagged,
        waiting.WaitForEvents,
        world.Chance,
        world.Elapsed,
        world.NewId,
        world.Now,
        world.Sleep,
        views.Apply,
        views.CarryOver,
        views.Claim,
        views.Discard,
        views.GetApplied,
        views.GetLive,
        views.GetParked,
        views.GetProgress,
        views.GoLive,
        views.Leave,
        views.Park,
        views.Skip,
        views.StartOver,
        views.Unpark,
        # values in them and in their answers
        Boundary,
        BoundaryItem,
        Cursor,
        Epochs,
        Gap,
        TagValue,
        Token,
        store.Appended,
        store.Blocked,
        store.Condition,
        store.Conflict,
        store.Expect,
        store.FeedPage,
        store.Page,
        store.Rejected,
        store.Snapshot,
        store.StreamAppend,
        store.Unknown,
        tags.BoundaryChanged,
        tags.Indexed,
        tags.Unchanged,
        views.Applied,
        views.Failed,
        views.Lease,
        views.Parked,
        views.PartitionProgress,
        views.Progress,
        # results of programs
        boundaries.DecidedAbout,
        boundaries.Gathered,
        decide.Decided,
        fold.Consistency,
        fold.Folded,
        rebuild.Unsound,
        status.Status,
        synchroniser.Stale,
        synchroniser.Synchronised,
        # programs that are no calls
        program.Bind,
        program.Gather,
        program.Map,
        program.Pure,
    )
) | {f"{PREFIX}OrConflict": OrConflict}

ERRORS: Final[dict[str, Any]] = dict(
    _by_own_name(
        EventsrcError,
        BadCursor,
        BadStreamId,
        BadTag,
        BadToken,
        Corrupted,
        EventTypeError,
        NotInToken,
        NotRead,
        NotStorable,
        OtherEpoch,
        Undecodable,
        UnknownEvent,
        WrongEpoch,
        WrongStore,
        decide.AppendFailed,
        decide.NotDecided,
        fold.NoSuchVersion,
        past.PastIsReadOnly,
        serializable.NotSerializable,
        serializable.NotSerialized,
        session.NotNewEnough,
        snapshots.BadSnapshot,
        store.Lost,
        store.NotAStore,
        store.Refused,
        store.StoreBusy,
        store.StoreClosed,
        store.StoreError,
        store.StoreFull,
        store.StoreReadOnly,
        store.Unreachable,
        synchroniser.GapRemains,
        tags.NotIndexed,
        tags.OtherTags,
        views.LostLease,
        views.OtherDefinition,
        views.StartedOver,
        ViewError,
    )
) | {
    f"{PYTHON}{kind.__name__}": kind
    for kind in (
        ArithmeticError,
        AssertionError,
        AttributeError,
        BlockingIOError,
        BrokenPipeError,
        BufferError,
        ChildProcessError,
        ConnectionAbortedError,
        ConnectionError,
        ConnectionRefusedError,
        ConnectionResetError,
        EOFError,
        Exception,
        FileExistsError,
        FileNotFoundError,
        FloatingPointError,
        ImportError,
        IndexError,
        InterruptedError,
        IsADirectoryError,
        KeyError,
        LookupError,
        MemoryError,
        ModuleNotFoundError,
        NameError,
        NotADirectoryError,
        NotImplementedError,
        OSError,
        OverflowError,
        PermissionError,
        ProcessLookupError,
        RecursionError,
        ReferenceError,
        RuntimeError,
        TimeoutError,
        TypeError,
        UnboundLocalError,
        UnicodeDecodeError,
        UnicodeEncodeError,
        UnicodeError,
        UnicodeTranslateError,
        ValueError,
        ZeroDivisionError,
    )
}
"""The exceptions that any recording may hold: none does anything when it is made or raised."""

_LIBRARY: Final = CLASSES | ERRORS | FUNCTIONS | PROGRAMS

_NAMES: Final = {thing: name for name, thing in _LIBRARY.items()}

_ELSEWHERE: Final = {
    f"{PREFIX}CommitFailed": ("eventsrc.sqlite._errors", "CommitFailed"),
}
"""Exceptions of one store, which are had once its module is imported."""


def named(name: str) -> Any:
    """The thing of the library that has a name; None if none has."""
    if name in _ELSEWHERE:
        module, its = _ELSEWHERE[name]
        return getattr(sys.modules.get(module), its, None)
    return _LIBRARY.get(name)


def stable_name(thing: Any) -> str | None:
    """The name of what is of the library, or is a built-in exception; None for all else."""
    name = _NAMES.get(thing)
    if name is None and str(thing.__module__).partition(".")[0] == "eventsrc":
        name = PREFIX + thing.__name__
    elif name is None and thing.__module__ == "builtins":
        name = PYTHON + thing.__name__
    return name
