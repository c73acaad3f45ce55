"""The command that serves the page, to this machine alone."""

from __future__ import annotations

import contextlib
from typing import Any

import click

from eventsrc.cli._target import store_url
from eventsrc.cli._views import opened
from eventsrc.opening import MissingExtra, open_store

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command()
@store_url
@click.option("--app", help="The views: module:name of a View or of several.")
@click.option("--views-url", help="Where the views are kept, if not with the store.")
@click.option("--host", default="127.0.0.1", show_default=True, help="An address of this machine.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@click.option(
    "--name", "names", multiple=True, help="Another name that the page is asked for by, as by a proxy."
)
def web(
    url: str, app: str | None, views_url: str | None, host: str, port: int, names: tuple[str, ...]
) -> None:
    """Serve a page to look into the store, until it is interrupted.

    It has no login, and so is for this machine: to serve it to others, mount eventsrc.web.page in an
    application with one, or reach it through a tunnel.
    """
    if host not in _LOOPBACK:
        raise click.BadParameter(
            f"{host!r:.60} is no address of this machine alone, and the page has no login: mount "
            "eventsrc.web.page(..., user=...) in an application of yours, or use a tunnel",
            param_hint="--host",
        )
    try:
        import uvicorn

        from eventsrc.web import LOOPBACK, page
    except ImportError as error:
        raise MissingExtra("the page needs the extra web: pip install 'eventsrc[web]'") from error
    with contextlib.ExitStack() as stack:
        running: Any
        views: list[Any] = []
        if app is None:
            running = stack.enter_context(open_store(url, read_only=True))
        else:
            running, views = stack.enter_context(opened(url, app, views_url, read_only=True))
        shown = page(running, views=views, hosts=(*LOOPBACK, *names))
        click.echo(f"http://{host}:{port} until Ctrl-C", err=True)
        uvicorn.run(shown, host=host, port=port, log_level="warning")
