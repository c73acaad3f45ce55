"""Where it runs. The service is the same on any store, with or without an event loop."""

from __future__ import annotations

from eventsrc import Interpreter, SqliteViews, StoreOp, gather_all, synchronise, world
from examples.identity.commands import IdentityCommands
from examples.identity.operations import App
from examples.identity.queries import QueriesOfStreams, QueriesOfViews
from examples.identity.views import VIEWS


def identity(store: Interpreter[StoreOp], views: SqliteViews) -> Interpreter[App]:
    """The service on a store and a database of views."""
    commands = IdentityCommands().into(store | world)
    return commands | QueriesOfStreams().into(store) | QueriesOfViews(views)


def synchronise_all(store: Interpreter[StoreOp], views: SqliteViews) -> int:
    """Brings the views up to date; answers how many events that took."""
    done = (store | views).run(gather_all([synchronise(view) for view in VIEWS]))
    return max(progress.applied for progress in done)
