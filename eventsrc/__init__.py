"""Event sourcing and CQRS to embed: services are programs, stores and views interpret them.

These are the names that a first service needs. The rest are in modules of their own, all of them in the
reference: exceptions in `eventsrc.errors`, tools for test suites in `eventsrc.testing`.
"""

from returns.result import Failure, Success

from eventsrc._errors import EventsrcError
from eventsrc.events.codec import Codec
from eventsrc.events.event import event
from eventsrc.events.positions import START, Cursor, Token
from eventsrc.events.recorded import Recorded
from eventsrc.events.stream_id import StreamId
from eventsrc.following.follow import follow
from eventsrc.following.rebuild import rebuild
from eventsrc.following.status import status
from eventsrc.following.synchroniser import at_least, force, synchronise
from eventsrc.opening import open_store, open_store_async, open_views
from eventsrc.programs.failures import attempt, ok
from eventsrc.programs.interpreter import AsyncInterpreter, Interpreter, Translation, on
from eventsrc.programs.operation import Command, Operation, Query
from eventsrc.programs.program import (
    Do,
    Effect,
    Outcome,
    Program,
    Try,
    for_each,
    gather,
    gather_all,
    program,
    pure,
)
from eventsrc.programs.trace import trace
from eventsrc.programs.world import NewId, Now, Sleep, World, world
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
    Conflict,
    Head,
    Read,
    ReadFeed,
    Rejected,
    StoreOp,
    StreamAppend,
    Unknown,
)
from eventsrc.streams.decide import DecideOp
from eventsrc.streams.fold import Fold
from eventsrc.streams.snapshots import Snapshots
from eventsrc.streams.stream import Stream, Streams
from eventsrc.views.view import View

__all__ = [
    "ANY",
    "EXISTS",
    "NO_STREAM",
    "START",
    "Append",
    "AppendAll",
    "Appended",
    "AsyncInterpreter",
    "Codec",
    "Command",
    "Conflict",
    "Cursor",
    "DecideOp",
    "Do",
    "Effect",
    "EventsrcError",
    "Failure",
    "Fold",
    "Head",
    "Interpreter",
    "MemoryStore",
    "NewId",
    "Now",
    "Operation",
    "Outcome",
    "Program",
    "Query",
    "Read",
    "ReadFeed",
    "Recorded",
    "Rejected",
    "Sleep",
    "Snapshots",
    "SqliteStore",
    "SqliteViews",
    "StoreOp",
    "Stream",
    "StreamAppend",
    "StreamId",
    "Streams",
    "Success",
    "Token",
    "Translation",
    "Try",
    "Unknown",
    "View",
    "World",
    "at_least",
    "attempt",
    "event",
    "follow",
    "for_each",
    "force",
    "gather",
    "gather_all",
    "ok",
    "on",
    "open_store",
    "open_store_async",
    "open_views",
    "program",
    "pure",
    "rebuild",
    "status",
    "synchronise",
    "trace",
    "world",
]
