"""Event sourcing and CQRS to embed: services are programs, stores and views interpret them.

The names here are all that an application needs; a test suite will want `eventsrc.testing` too.
"""

from returns.result import Failure, Success

from eventsrc._errors import EventsrcError
from eventsrc.events._exact import NotStorable
from eventsrc.events.codec import Codec, UnknownEvent
from eventsrc.events.event import EVENTS, EventTypes, Opaque, event
from eventsrc.events.json_converter import json_converter
from eventsrc.events.positions import START, Cursor, NotInToken, Token
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.following.follow import follow
from eventsrc.following.parking import retry
from eventsrc.following.rebuild import NotSound, rebuild
from eventsrc.following.session import NotNewEnough, Session
from eventsrc.following.status import Status, status
from eventsrc.following.synchroniser import (
    ForceOp,
    Stale,
    Synchronised,
    SyncOp,
    at_least,
    deliver,
    force,
    synchronise,
)
from eventsrc.following.waiting import WaitForEvents
from eventsrc.programs._scope import AmbiguousHandlers, MissingHandlers
from eventsrc.programs.failures import attempt, ok
from eventsrc.programs.interpreter import AsyncInterpreter, Interpreter, Translation, on
from eventsrc.programs.operation import Command, Derived, Operation, Query
from eventsrc.programs.program import (
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
from eventsrc.programs.trace import Trace, trace, trace_async
from eventsrc.programs.world import Chance, Elapsed, NewId, Now, Sleep, World, world
from eventsrc.sqlite.store import SqliteStore
from eventsrc.sqlite.views import SqliteViews
from eventsrc.stores.memory import MemoryStore
from eventsrc.stores.operations import (
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
from eventsrc.streams.decide import AppendFailed, Decided, DecideOp, NotDecided
from eventsrc.streams.fold import LATEST_EVENT, LATEST_SNAPSHOT, Consistency, Fold, Folded, FoldOp, Load
from eventsrc.streams.past import PastIsReadOnly, as_of, as_of_async
from eventsrc.streams.remembering import remembering, remembering_async
from eventsrc.streams.serializable import NotSerializable, NotSerialized, serializable
from eventsrc.streams.snapshots import BadSnapshot, Snapshots
from eventsrc.streams.stream import Stream, Streams
from eventsrc.views.operations import Discard, GetLive, GetParked, GoLive, Parked, ViewOp
from eventsrc.views.view import View

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
    "Stale",
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
    "ok",
    "on",
    "program",
    "pure",
    "rebuild",
    "remembering",
    "remembering_async",
    "retry",
    "serializable",
    "status",
    "synchronise",
    "trace",
    "trace_async",
    "world",
]
