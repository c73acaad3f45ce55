"""Event sourcing and CQRS to embed: services are programs, stores and views interpret them.

The names here are all that an application needs; a test suite will want `eventsrc.testing` too.
"""

from returns.result import Failure, Success

from eventsrc.codec import Codec, UnknownEvent
from eventsrc.decide import AppendFailed, Decided, DecideOp, NotDecided
from eventsrc.errors import EventsrcError
from eventsrc.event import EVENTS, EventTypes, Opaque, event
from eventsrc.exact import NotStorable
from eventsrc.failures import attempt, ok
from eventsrc.fold import LATEST_EVENT, LATEST_SNAPSHOT, Consistency, Fold, Folded, FoldOp, Load
from eventsrc.handlers import AmbiguousHandlers, MissingHandlers
from eventsrc.interpreter import AsyncInterpreter, Interpreter, Translation, on
from eventsrc.json_converter import json_converter
from eventsrc.operation import Command, Derived, Operation, Query
from eventsrc.parking import follow, retry
from eventsrc.past import PastIsReadOnly, as_of, as_of_async
from eventsrc.positions import START, Cursor, NotInToken, Token
from eventsrc.program import (
    Do,
    Effect,
    Outcome,
    Program,
    Try,
    for_each,
    gather,
    gather_all,
    in_turn,
    intercept,
    program,
    pure,
)
from eventsrc.rebuild import NotSound, rebuild
from eventsrc.recorded import Recorded
from eventsrc.remembering import remembering, remembering_async
from eventsrc.serializable import NotSerializable, NotSerialized, serializable
from eventsrc.session import NotNewEnough, Session
from eventsrc.sharing import leave, share
from eventsrc.snapshots import BadSnapshot, Snapshots
from eventsrc.store import (
    ANY,
    EXISTS,
    NO_STREAM,
    Append,
    AppendAll,
    Appended,
    Condition,
    Conflict,
    FindAppend,
    Head,
    Read,
    ReadFeed,
    Rejected,
    StoreOp,
    StreamAppend,
    Unknown,
)
from eventsrc.stores.memory import MemoryStore
from eventsrc.stores.sqlite import SqliteStore
from eventsrc.stream import Stream, Streams
from eventsrc.stream_id import StreamId
from eventsrc.synchroniser import (
    ForceOp,
    Late,
    Synchronised,
    SyncOp,
    at_least,
    deliver,
    force,
    synchronise,
)
from eventsrc.trace import Trace, trace, trace_async
from eventsrc.view import Discard, GetLive, GetParked, GoLive, Parked, View, ViewOp
from eventsrc.views.sqlite import SqliteViews
from eventsrc.waiting import Polling, WaitForEvents, keep_up
from eventsrc.watching import Status, status
from eventsrc.world import Chance, Elapsed, NewId, Now, Sleep, World, world

__all__ = [
    "ANY",
    "EVENTS",
    "EXISTS",
    "LATEST_EVENT",
    "LATEST_SNAPSHOT",
    "NO_STREAM",
    "START",
    "AmbiguousHandlers",
    "Append",
    "AppendAll",
    "AppendFailed",
    "Appended",
    "AsyncInterpreter",
    "BadSnapshot",
    "Chance",
    "Codec",
    "Command",
    "Condition",
    "Conflict",
    "Consistency",
    "Cursor",
    "DecideOp",
    "Decided",
    "Derived",
    "Discard",
    "Do",
    "Effect",
    "Elapsed",
    "EventTypes",
    "EventsrcError",
    "Failure",
    "FindAppend",
    "Fold",
    "FoldOp",
    "Folded",
    "ForceOp",
    "GetLive",
    "GetParked",
    "GoLive",
    "Head",
    "Interpreter",
    "Late",
    "Load",
    "MemoryStore",
    "MissingHandlers",
    "NewId",
    "NotDecided",
    "NotInToken",
    "NotNewEnough",
    "NotSerializable",
    "NotSerialized",
    "NotSound",
    "NotStorable",
    "Now",
    "Opaque",
    "Operation",
    "Outcome",
    "Parked",
    "PastIsReadOnly",
    "Polling",
    "Program",
    "Query",
    "Read",
    "ReadFeed",
    "Recorded",
    "Rejected",
    "Session",
    "Sleep",
    "Snapshots",
    "SqliteStore",
    "SqliteViews",
    "Status",
    "StoreOp",
    "Stream",
    "StreamAppend",
    "StreamId",
    "Streams",
    "Success",
    "SyncOp",
    "Synchronised",
    "Token",
    "Trace",
    "Translation",
    "Try",
    "Unknown",
    "UnknownEvent",
    "View",
    "ViewOp",
    "WaitForEvents",
    "World",
    "as_of",
    "as_of_async",
    "at_least",
    "attempt",
    "deliver",
    "event",
    "follow",
    "for_each",
    "force",
    "gather",
    "gather_all",
    "in_turn",
    "intercept",
    "json_converter",
    "keep_up",
    "leave",
    "ok",
    "on",
    "program",
    "pure",
    "rebuild",
    "remembering",
    "remembering_async",
    "retry",
    "serializable",
    "share",
    "status",
    "synchronise",
    "trace",
    "trace_async",
    "world",
]
