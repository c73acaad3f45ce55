"""Events as an API: what leaves a service, how it is sent, and how it arrives. The store is the outbox.

See transformer.py for what leaves, publisher.py for how it is sent, inbox.py for how it arrives.
"""

from eventsrc.publishing._sending import SendOp
from eventsrc.publishing.catalogue import Catalogue, Entry, SchemaChanged
from eventsrc.publishing.cloud_event import CloudEvent, NotACloudEvent
from eventsrc.publishing.inbox import Again, ArriveOp, SeveralAppends, arrived
from eventsrc.publishing.memory import MemoryBroker
from eventsrc.publishing.operations import NotPublished, Publish, Published, Refused, by_subject
from eventsrc.publishing.publisher import (
    Publisher,
    PublishOp,
    publish,
    publish_once,
    retry,
    skip,
)
from eventsrc.publishing.signing import BadSignature, received
from eventsrc.publishing.transformer import Transformer
from eventsrc.publishing.verbatim import Carried, Verbatim

__all__ = [
    "Again",
    "ArriveOp",
    "BadSignature",
    "Carried",
    "Catalogue",
    "CloudEvent",
    "Entry",
    "MemoryBroker",
    "NotACloudEvent",
    "NotPublished",
    "Publish",
    "PublishOp",
    "Published",
    "Publisher",
    "Refused",
    "SchemaChanged",
    "SendOp",
    "SeveralAppends",
    "Transformer",
    "Verbatim",
    "arrived",
    "by_subject",
    "publish",
    "publish_once",
    "received",
    "retry",
    "skip",
]
