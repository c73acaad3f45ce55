"""The names of the library in recordings: files have them, so that they never change."""

from __future__ import annotations

import importlib
import pkgutil
import re
from typing import Any

import eventsrc
from eventsrc import Operation
from eventsrc.recording import _library
from eventsrc.recording._names import Names

NAMES = """
Append AppendAll FindAppend Head LoadSnapshot Read ReadFeed SaveSnapshot WaitForEvents
Chance Elapsed NewId Now Sleep
Apply Claim Discard GetApplied GetLive GetParked GetProgress GoLive Leave Park Unpark
Cursor Gap Token Appended Blocked Condition Conflict Expect FeedPage Page Rejected Snapshot StreamAppend
Unknown Applied Failed Lease Parked PartitionProgress Progress
Consistency Decided Folded Unsound Stale Status Synchronised
Bind Gather Map OrConflict Pure
list same surely tuple value
at_least deliver force history newest rebuild retry serializable status synchronise
synchronise_partition
AppendFailed BadSnapshot BadCursor BadStreamId BadToken CommitFailed Corrupted EventTypeError
EventsrcError GapRemains Lost LostLease NoSuchVersion NotAStore NotDecided NotInToken NotNewEnough
NotRead NotStorable NotSerializable NotSerialized PastIsReadOnly Refused StoreBusy StoreClosed
StoreError StoreFull StoreReadOnly Undecodable UnknownEvent Unreachable ViewError WrongEpoch WrongStore
CarryOver Epochs GetEpochs OtherEpoch RaiseEpoch restored
OtherDefinition Skip StartOver StartedOver skip
AppendIf BadTag Boundary BoundaryChanged BoundaryItem DecidedAbout Gathered IndexTags Indexed NotIndexed
OtherTags ReadTagged TagValue Unchanged index_tags
"""


def test_every_name_that_was_given_still_leads_to_something() -> None:
    importlib.import_module("eventsrc.sqlite.store")
    for name in NAMES.split():
        assert _library.named(f"eventsrc/{name}") is not None, name


def operations_of(base: type) -> set[type]:
    found: set[type] = set(base.__subclasses__())
    return found.union(*map(operations_of, found))


def test_every_operation_of_the_library_can_be_recorded() -> None:
    for found in pkgutil.walk_packages(eventsrc.__path__, "eventsrc."):
        if "testing" not in found.name:
            importlib.import_module(found.name)
    own = {
        kind for kind in operations_of(Operation) if re.match(r"eventsrc\.(?!testing)", kind.__module__)
    }
    named = {kind for kind in own if _library.named(Names().of(kind)) is kind}
    bases, meant = {"Query", "Command", "Derived"}, {"Load", "Next", "StepId", "Changed", "Signal"}
    features = {"Publish"}  # a recording names them if an application registers them
    secret = {"GetIdentity", "KeepRecords", "EndCopy", "There"}
    left = {kind.__name__ for kind in own - named}
    assert left == bases | meant | features | secret, (
        "are performed as what they mean, or have the store's secret"
    )


def test_the_names_are_listed_here() -> None:
    table: dict[str, Any] = _library._LIBRARY | _library._ELSEWHERE
    listed = {name.removeprefix("eventsrc/") for name in table if name.startswith("eventsrc/")}
    assert listed == set(NAMES.split())


def test_no_base_of_exceptions_that_end_a_process_has_a_name() -> None:
    for kind in _library.ERRORS.values():
        assert issubclass(kind, Exception)
        assert not issubclass(kind, StopIteration | StopAsyncIteration)


def test_no_path_of_a_module_is_in_the_names() -> None:
    for name in _library._LIBRARY:
        assert re.fullmatch(r"(eventsrc|python)/[A-Za-z_]\w*", name)
