"""The root of the library's exceptions, and of nothing else.

What a caller is expected to handle is a value: a `Conflict`, a `Failure`. Exceptions are for bugs and
for infrastructure that does not work; each is raised by the module that defines it.
"""


class EventsrcError(Exception):
    """Every exception that the library raises on purpose is one of these."""
