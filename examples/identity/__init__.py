"""An identity service: users, groups and memberships, after Sidney Shek's talk "Event sourcing and CQRS
from the trenches". `python -m examples.identity` tells its story.

Read it in this order: `events` (what happened), `streams` (where events live), `operations` (what can
be asked for), `services` (programs over operations), `commands` (what a command means in events),
`views` and `queries` (how questions are answered), `app` (how they fit together). Where it runs, in
memory, in a SQLite file or in Postgres, is said in `examples.places`; `examples.tables` is what lets
views be written once for both databases.
"""
