"""Where it runs: the same service on any store, with or without an event loop."""

from typing import TypeAlias

from eventsrc import Interpreter, StoreOp, World, world
from eventsrc.views.operations import ViewOp
from examples.identity.commands import IdentityCommands
from examples.identity.operations import App
from examples.identity.queries import StreamQueries, ViewQueries
from examples.places import Views

Everything: TypeAlias = App | StoreOp | ViewOp | World
"""The service's operations, and those that it is made of: for looking into it, and for its views."""


def identity(store: Interpreter[StoreOp], views: Views) -> Interpreter[Everything]:
    """The service on a store and a database of views."""
    below = store | views | world
    return (IdentityCommands() | StreamQueries()).into(below) | ViewQueries(views) | below
