"""The command line: looking into a store from a shell.

A store is named by its URL, as for `open_store`, and opened to be read: nothing is made, migrated or
written. No class of the application is needed. With `--json` a command writes a line of JSON for each
thing; talk goes to the standard error. Exit codes: 0 well, 1 damaged or not there, 2 wrong use, 3 the
store cannot be reached. Each command is a program over the store: see `eventsrc.inspection`.
"""

from eventsrc.cli._main import main

__all__ = ["main"]
