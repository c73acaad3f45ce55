"""A page to look into a store and its views: `page(app)` is an ASGI application.

    app = page(store | views | world, views=[user_names], folds={"profile": profile})

It needs the extra `web`, shows and never changes: what it is given is asked by queries alone. Every
screen has a permanent address, and is JSON for whoever accepts that and no HTML.
"""

from __future__ import annotations

from eventsrc.web._page import LOOPBACK, page

__all__ = ["LOOPBACK", "page"]
