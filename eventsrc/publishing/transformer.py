"""Transformers: the events of a service as others may see them.

Nothing leaves by default. A rule takes internal events of one type, and makes an external event of
each, or nothing:

    public = Transformer("https://shop.example/orders")

    @public.of(Placed, name="com.example.order.placed", version=2)
    def _(event: Recorded[Placed]) -> OrderPlaced | None:
        return OrderPlaced(event.data.order, event.data.total)

So internal events can change, and others need not follow. The class that a rule answers with is the
published schema: `public.catalogue()` prints it, and `public.check(file)`, in a test, fails when it
changes without a new version.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs

from eventsrc._errors import with_article
from eventsrc._pickling import ByName
from eventsrc.events.event import EVENTS, EventTypeError, EventTypes
from eventsrc.events.json_converter import default_converter
from eventsrc.events.recorded import Recorded
from eventsrc.publishing.catalogue import Catalogue, Entry, check_file
from eventsrc.publishing.cloud_event import CloudEvent
from eventsrc.publishing.schemas import schema_of

E = TypeVar("E")
X = TypeVar("X")


@attrs.frozen(slots=False)
class _Rule:
    """A rule for the events of one type.

    external: the type of what it makes. kind: the class of the data that it answers with.
    """

    external: str
    kind: type
    function: Callable[[Recorded[Any]], Any]
    entry: Entry

    @cached_property
    def write(self) -> Callable[[Any], Any]:
        """Makes data JSON."""
        return default_converter().get_unstructure_hook(self.kind)


class Transformer(ByName):
    """The rules by which internal events become external ones.

    source: of the external events, a URI that names who publishes them. With another, all ids are
        others.
    types: where the stored names of the events' classes are looked up.
    Raises ValueError for a source that is no text without blanks.
    """

    def __init__(self, source: str, *, types: EventTypes = EVENTS) -> None:
        if not isinstance(source, str) or not _SOURCE.fullmatch(source):
            raise ValueError(
                f"the source is {source!r:.100}: give the URI of who publishes, such as "
                "https://shop.example/orders"
            )
        self.source: Final = source
        self._types = types
        self._rules: dict[str, _Rule] = {}

    def of(
        self, kind: type[E], *, name: str, version: int = 1
    ) -> Callable[[Callable[[Recorded[E]], X]], Callable[[Recorded[E]], X]]:
        """Decorates the rule for an event type: a function of an event, which answers the data of the
        external event, of an attrs class that its annotation names, or None for nothing.

        name, version: the type of the external event is `name.v2`, for version 2. Data of other fields
            are another version.
        Raises EventTypeError if the type has a rule, the external type is taken, or the function is not
        annotated with what it answers.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise EventTypeError(
                f"{name!r:.100} cannot name external events: use words of letters, digits and -_ with "
                "dots between, such as com.example.order.placed"
            )
        if type(version) is not int or version < 1:
            raise EventTypeError(f"the version of {name} is {version!r:.100}: versions begin at 1")
        internal, external = self._types.of(kind).name, f"{name}.v{version}"
        for rule in self._rules.values():
            if rule.external == external:
                raise EventTypeError(f"{external} has a rule already: give this one another name")
        if internal in self._rules:
            raise EventTypeError(f"{kind.__qualname__} has a rule already: keep one")

        def register(function: Callable[[Recorded[E]], X]) -> Callable[[Recorded[E]], X]:
            data = _answered(function)
            entry = Entry(external, internal, schema_of(data), inspect.getdoc(data) or "")
            self._rules[internal] = _Rule(external, data, function, entry)
            return function

        return register

    def transform(self, event: Recorded[Any]) -> CloudEvent | None:
        """The external event of an internal one; None if it does not leave.

        Its id is the internal event's, its subject is the stream, and its extension `sequence` is the
        version. Raises what the rule raises, TypeError if it answers with another class than it says,
        and NotACloudEvent for data that JSON does not have.
        """
        rule = self._rules.get(event.type)
        if rule is None:
            return None
        event.data  # noqa: B018  raises what is wrong with it, before the rule is asked
        answer = rule.function(event)
        if answer is None:
            return None
        if type(answer) is not rule.kind:
            raise TypeError(
                f"the rule of {rule.external} answered {answer!r:.100}, and says that it answers with "
                f"{rule.kind.__qualname__}"
            )
        metadata = event.metadata
        extensions = {
            name: metadata[key]
            for key, name in _EXTENSIONS.items()
            if isinstance(metadata.get(key), str)
        }
        made = CloudEvent(
            id=str(event.id),
            source=self.source,
            type=rule.external,
            subject=event.stream,
            time=event.recorded_at,
            data=rule.write(answer),
            extensions={"sequence": f"{event.version:019}", **extensions},
        )
        made.to_json()  # or no broker could send it
        return made

    def catalogue(self) -> Catalogue:
        """All that leaves, with its schemas. Printed, it is for people."""
        entries = sorted((rule.entry for rule in self._rules.values()), key=lambda entry: entry.type)
        return Catalogue(self.source, tuple(entries))

    def check(self, file: str | Path, *, write: bool = False) -> None:
        """Raises SchemaChanged if what leaves is not what a file says, by which others go.

        For a test. The file is JSON and holds every schema that was ever published.
        write: whether to add to it what is new, or to make it. What others may count on is never
            replaced, so that a schema that has changed needs another version for that too.
        """
        check_file(self.catalogue(), Path(file), write=write)

    def __repr__(self) -> str:
        return f"Transformer({self.source!r})"


def _answered(function: Callable[..., Any]) -> type:
    """The attrs class that a rule answers with, by its annotation."""
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise EventTypeError(f"{function!r} would run nothing: a rule is a plain function")
    try:
        hint = typing.get_type_hints(function).get("return")
    except NameError as error:
        raise EventTypeError(
            f"the annotation of {function!r} cannot be read ({error}): the class of what a rule "
            "answers with is to be one of a module"
        ) from error
    kinds = [each for each in typing.get_args(hint) or (hint,) if each is not type(None)]
    match kinds:
        case [type() as kind] if attrs.has(kind):
            return kind
        case _:
            said = "nothing" if hint is None else with_article(repr(hint))
            raise EventTypeError(
                f"a rule says by its annotation which data others get, and {function!r} says {said}: "
                "write -> OrderPlaced | None, for an attrs class OrderPlaced"
            )


_SOURCE: Final = re.compile(r"[!-~]{1,500}")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_EXTENSIONS: Final = {"traceparent": "traceparent", "correlation_id": "correlationid"}
"""The keys of metadata that leave, and as what."""
