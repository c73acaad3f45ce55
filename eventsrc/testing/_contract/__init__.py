"""The contract of a store, as tests: what docs/guarantees.md promises of every store, ours or yours.

Subclass it in a test module, say how to get a store, and pytest does the rest:

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self) -> Iterator[Interpreter[StoreOp]]:
            with MyStore(...) as store:
                yield store

A store may have events in it, as long as nobody else writes to it. It must know the events that
`@event` registers, which it does with a `Codec()`. Hypothesis tries a quarter of the examples of the
profile that is in force.
"""

from __future__ import annotations

from eventsrc.testing._contract._bad_input import BadInput
from eventsrc.testing._contract._concurrency import Concurrency
from eventsrc.testing._contract._conditions import Conditions
from eventsrc.testing._contract._epochs import EpochsOfStores
from eventsrc.testing._contract._own_streams import OwnStreams
from eventsrc.testing._contract._reading import Reading
from eventsrc.testing._contract._retries import Retries
from eventsrc.testing._contract._storing import Storing
from eventsrc.testing._contract._tags import Tags
from eventsrc.testing._contract._together import Together


class StoreContract(
    Concurrency,
    Together,
    BadInput,
    Reading,
    Storing,
    Retries,
    Conditions,
    OwnStreams,
    EpochsOfStores,
    Tags,
):
    """The tests that every store must pass: subclass it and give it a `store` fixture.

    concurrent: whether the store may be used from several threads, and tasks, at once.
    epochs: whether it can be told that it was restored (GetEpochs, RaiseEpoch).
    snapshots: whether it keeps snapshots; if not, SaveSnapshot does nothing.
    several: whether it appends to several streams at once, and on conditions on others (AppendAll).
    finding: whether it finds appends by their ids (FindAppend).
    tags: whether it keeps tags (TagOp); not, unless it says so.
    reopen: a fixture, for a store that outlives its process: see there.
    What a store does not claim is skipped, visibly.
    """
