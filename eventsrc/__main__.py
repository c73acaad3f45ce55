"""`python -m eventsrc`: the command line, which needs the extra `cli`."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line, or says how to install it."""
    try:
        import click as _  # noqa: F401
    except ModuleNotFoundError:
        sys.stderr.write("the command line needs click: install eventsrc[cli]\n")
        sys.exit(2)
    from eventsrc.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
