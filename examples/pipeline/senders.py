"""A publisher, for as long as it runs: `python -m examples.pipeline.senders feed` (or `public`).

`feed` sends the platform's events as they are, for its own views; `public` sends what others may know.
"""

from __future__ import annotations

import signal
import sys

from eventsrc import world
from eventsrc.aws.kinesis import KinesisBroker
from eventsrc.publishing import publish
from examples.pipeline.platform import SENDERS, Platform


def main(name: str) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    place, out = Platform.from_environment(), SENDERS[name]
    broker = KinesisBroker(place.client("kinesis"), place.stream(name), packed=name == "feed")
    with place.store() as store, place.views(name, out.view) as progress:
        (store | progress | world | broker).run(publish(out))


if __name__ == "__main__":
    main(sys.argv[1])
