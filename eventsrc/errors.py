"""Every exception that the library raises on purpose: for bugs, and for broken infrastructure.

What a caller is expected to handle is a value instead: a `Conflict`, a `Failure`. All exceptions can be
pickled, with their attributes and notes. In parentheses: which of Python's exceptions it is too:

    EventsrcError
        MissingHandlers (TypeError)
        AmbiguousHandlers (TypeError)
        Unpicklable (TypeError)
        BadUrl (ValueError)
        MissingExtra (ImportError)

        EventTypeError (TypeError)
        NotStorable (ValueError)
        UnknownEvent
        Undecodable
        Corrupted
        NotRead
        BadStreamId (ValueError)
        BadTag (ValueError)
        BadCursor (ValueError)
        BadToken (ValueError)
        NotInToken (LookupError)
        WrongStore
            WrongEpoch
                OtherEpoch

        StoreError
            StoreBusy
            StoreFull
            StoreReadOnly
            StoreClosed
            NotAStore
            Unreachable
            Lost
            CommitFailed
            Refused
            NotACopy
            NotIndexed
            OtherTags

        OtherRequest
        AppendFailed
        NotDecided
        NotSerialized
        NotSerializable
        NoSuchVersion (LookupError)
        BadSnapshot
        PastIsReadOnly

        ViewError
            BadHandler
            LostLease
            OtherDefinition
            StartedOver
        GapRemains
        NotNewEnough

        PreviewError
            PreviewIsDry
        NotPortable (ValueError)
        BadMask (ValueError)
        Problem
        TokenTooLong

        BadExport
        BadImport
        NoSuchRun
        OtherRun
        RunCancelled
        NotInARun
        NotUndone

        NotPublished
        SeveralAppends
        BadSignature
        SchemaChanged
        NotACloudEvent (ValueError)

Those that only tests meet are in `eventsrc.testing`, which needs the extra of that name.
"""

from eventsrc._errors import EventsrcError
from eventsrc._pickling import Unpicklable
from eventsrc.durable.operations import NotInARun
from eventsrc.durable.runs import NoSuchRun, OtherRun, RunCancelled
from eventsrc.durable.sagas import NotUndone
from eventsrc.events._exact import NotStorable
from eventsrc.events.codec import Undecodable, UnknownEvent
from eventsrc.events.epochs import OtherEpoch, WrongEpoch
from eventsrc.events.event import EventTypeError
from eventsrc.events.positions import BadCursor, BadToken, NotInToken, WrongStore
from eventsrc.events.record import Corrupted
from eventsrc.events.recorded import NotRead
from eventsrc.events.stream_id import BadStreamId
from eventsrc.events.tags import BadTag
from eventsrc.following.session import NotNewEnough
from eventsrc.following.synchroniser import GapRemains
from eventsrc.http import Problem, TokenTooLong
from eventsrc.moving.foreign import BadImport
from eventsrc.moving.lines import BadExport
from eventsrc.opening import BadUrl, MissingExtra
from eventsrc.preview import PreviewError, PreviewIsDry
from eventsrc.programs._scope import AmbiguousHandlers, MissingHandlers
from eventsrc.publishing.catalogue import SchemaChanged
from eventsrc.publishing.cloud_event import NotACloudEvent
from eventsrc.publishing.inbox import SeveralAppends
from eventsrc.publishing.operations import NotPublished
from eventsrc.publishing.signing import BadSignature
from eventsrc.recording.masks import BadMask
from eventsrc.recording.portable import NotPortable
from eventsrc.sqlite._errors import CommitFailed
from eventsrc.stores.copying import NotACopy
from eventsrc.stores.operations import (
    Lost,
    NotAStore,
    Refused,
    StoreBusy,
    StoreClosed,
    StoreError,
    StoreFull,
    StoreReadOnly,
    Unreachable,
)
from eventsrc.stores.requests import OtherRequest
from eventsrc.stores.tags import NotIndexed, OtherTags
from eventsrc.streams.decide import AppendFailed, NotDecided
from eventsrc.streams.fold import NoSuchVersion
from eventsrc.streams.past import PastIsReadOnly
from eventsrc.streams.serializable import NotSerializable, NotSerialized
from eventsrc.streams.snapshots import BadSnapshot
from eventsrc.views.operations import LostLease, OtherDefinition, StartedOver
from eventsrc.views.view import BadHandler, ViewError

__all__ = [
    "AmbiguousHandlers",
    "AppendFailed",
    "BadCursor",
    "BadExport",
    "BadHandler",
    "BadImport",
    "BadMask",
    "BadSignature",
    "BadSnapshot",
    "BadStreamId",
    "BadTag",
    "BadToken",
    "BadUrl",
    "CommitFailed",
    "Corrupted",
    "EventTypeError",
    "EventsrcError",
    "GapRemains",
    "Lost",
    "LostLease",
    "MissingExtra",
    "MissingHandlers",
    "NoSuchRun",
    "NoSuchVersion",
    "NotACloudEvent",
    "NotACopy",
    "NotAStore",
    "NotDecided",
    "NotInARun",
    "NotInToken",
    "NotIndexed",
    "NotNewEnough",
    "NotPortable",
    "NotPublished",
    "NotRead",
    "NotSerializable",
    "NotSerialized",
    "NotStorable",
    "NotUndone",
    "OtherDefinition",
    "OtherEpoch",
    "OtherRequest",
    "OtherRun",
    "OtherTags",
    "PastIsReadOnly",
    "PreviewError",
    "PreviewIsDry",
    "Problem",
    "Refused",
    "RunCancelled",
    "SchemaChanged",
    "SeveralAppends",
    "StartedOver",
    "StoreBusy",
    "StoreClosed",
    "StoreError",
    "StoreFull",
    "StoreReadOnly",
    "TokenTooLong",
    "Undecodable",
    "UnknownEvent",
    "Unpicklable",
    "Unreachable",
    "ViewError",
    "WrongEpoch",
    "WrongStore",
]
