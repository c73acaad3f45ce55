"""Shows the arguments that a docstring explains as a list, when the site is built."""

import re
from typing import Any

import griffe

_ARGUMENT = re.compile(r"^(\w+(?:, \w+)*): ", re.MULTILINE)


class Arguments(griffe.Extension):
    """Makes list items of the lines of a docstring that begin with names and a colon."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrites the docstring of a function, class or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = _listed(obj.docstring.value)


def _listed(text: str) -> str:
    first, *others = text.splitlines() or [""]
    lines, in_list = [first], False
    for line in others:
        if found := _ARGUMENT.match(line):
            if not in_list and lines and lines[-1]:
                lines.append("")
            names = ", ".join(f"`{name}`" for name in found[1].split(", "))
            lines.append(f"- {names}: {line[found.end() :]}")
            in_list = True
        elif in_list and line and not line.startswith(" "):
            lines += ["", line]
            in_list = False
        else:
            lines.append(line)
    return "\n".join(lines)
