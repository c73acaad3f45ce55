"""Event sourcing and CQRS to embed: services are programs, stores and views interpret them.

The names here are all that an application needs; a test suite will want `eventsrc.testing` too.
"""

from returns.result import Failure, Success

from eventsrc.codec import Codec, UnknownEvent, json_converter
from eventsrc.decide import AppendFailed, Decided, DecideOp, NotDecided
from eventsrc.errors import EventsrcError
from eventsrc.event import EVENTS, EventTypes, Opaque, event
from eventsrc.exact import NotStorable
from eventsrc.failures import attempt, ok
from eventsrc.fold import Fold, Folded
from eventsrc.handlers import AmbiguousHandlers, MissingHandlers
from eventsrc.interpreter import AsyncInterpreter, Interpreter, Translation, on
from eventsrc.operation import Command, Operation, Query
from eventsrc.parking import follow, retry
from eventsrc.positions import START, Cursor, Token
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
from eventsrc.sharing import leave, share
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
from eventsrc.synchroniser import Late, Synchronised, SyncOp, at_least, deliver, force, synchronise
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
    "NO_STREAM",
    "START",
    "AmbiguousHandlers",
    "Append",
    "AppendAll",
    "AppendFailed",
    "Appended",
    "AsyncInterpreter",
    "Chance",
    "Codec",
    "Command",
    "Condition",
    "Conflict",
    "Cursor",
    "DecideOp",
    "Decided",
    "Discard",
    "Do",
    "Effect",
    "Elapsed",
    "EventTypes",
    "EventsrcError",
    "Failure",
    "FindAppend",
    "Fold",
    "Folded",
    "GetLive",
    "GetParked",
    "GoLive",
    "Head",
    "Interpreter",
    "Late",
    "MemoryStore",
    "MissingHandlers",
    "NewId",
    "NotDecided",
    "NotSound",
    "NotStorable",
    "Now",
    "Opaque",
    "Operation",
    "Outcome",
    "Parked",
    "Polling",
    "Program",
    "Query",
    "Read",
    "ReadFeed",
    "Recorded",
    "Rejected",
    "Sleep",
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
    "retry",
    "share",
    "status",
    "synchronise",
    "trace",
    "trace_async",
    "world",
]
