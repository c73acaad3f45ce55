"""The catalogue of what a service publishes, and the file that says what others may count on."""

from __future__ import annotations

import json
from pathlib import Path

import attrs

from eventsrc._errors import EventsrcError
from eventsrc.publishing.schemas import Schema


class SchemaChanged(EventsrcError):
    """A service would publish something else than others were told."""


@attrs.frozen
class Entry:
    """One type of external events.

    type: with its version. internal: the stored name of the events that they are made of.
    schema: of their data. says: the docstring of the data's class.
    """

    type: str
    internal: str
    schema: Schema = attrs.field(hash=False)
    says: str = ""


@attrs.frozen
class Catalogue:
    """All types of external events of a source."""

    source: str
    entries: tuple[Entry, ...]

    def to_json(self) -> Schema:
        """It as JSON: the source, and the schema of each type."""
        return {
            "source": self.source,
            "types": {entry.type: entry.schema for entry in self.entries},
        }

    def __str__(self) -> str:
        lines = [self.source]
        for entry in self.entries:
            lines += ["", f"{entry.type}, of {entry.internal}"]
            lines += [f"  {line}" for line in entry.says.splitlines()]
            lines += [f"  {line}" for line in json.dumps(entry.schema, indent=2).splitlines()]
        return "\n".join(lines)


def check_file(catalogue: Catalogue, file: Path, *, write: bool) -> None:
    """As `Transformer.check`."""
    now = catalogue.to_json()
    if not file.exists():
        if not write:
            raise SchemaChanged(f"there is no {file}: make it, by check(file, write=True)")
        _write(file, now)
        return
    told = json.loads(file.read_text("utf-8"))
    wrong: list[str] = []
    if told["source"] != now["source"]:
        wrong.append(f"the source was {told['source']}, and all events would have other ids")
    types, published = now["types"], told["types"]
    wrong += [
        f"{name} has another schema: give it a new version ({_diff(name, now, told)})"
        for name in types.keys() & published.keys()
        if types[name] != published[name]
    ]
    if wrong:
        raise SchemaChanged("; ".join(sorted(wrong)))
    new = sorted(types.keys() - published.keys())
    if new and not write:
        raise SchemaChanged(
            f"{', '.join(new)} not in {file.name}: add what is new, by check(file, write=True)"
        )
    if new:
        _write(file, {**told, "types": {**published, **types}})


def _diff(name: str, now: Schema, told: Schema) -> str:
    """The properties in which two schemas of a type differ."""
    new, old = (each["types"][name].get("properties", {}) for each in (now, told))
    changed = sorted(each for each in new.keys() | old.keys() if new.get(each) != old.get(each))
    return f"of {', '.join(changed)}" if changed else "of what its properties are made of"


def _write(file: Path, told: Schema) -> None:
    file.write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", "utf-8")
