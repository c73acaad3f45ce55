"""The platform, from its servers to its end: `python -m examples.pipeline`.

It starts an emulator of AWS, the services, the publishers and the functions, has clients ask them,
and prints who has what. It ends with 2 if a server is not installed, and with 1 if something did not
arrive.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from eventsrc import EventsrcError


def main() -> int:
    try:
        from eventsrc.testing.servers import NoServer, ministack
        from examples.pipeline.running import Answer, Running
    except ModuleNotFoundError as missing:
        print(f"{missing}: pip install 'eventsrc[test-servers]'")
        return 2
    with ExitStack() as stack:
        try:
            server = stack.enter_context(ministack())
        except NoServer as missing:
            print(missing)
            return 2
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="pipeline-")))
        began = time.monotonic()
        running = stack.enter_context(Running(server.url, folder, f"pipeline-{uuid4().hex[:12]}"))
        chapter("Two services, two publishers, three functions on Lambda")
        for line in running.picture():
            print(f"  {line}")

        chapter("Clients ask the services; a token of a write goes from the one to the other")
        groups: dict[str, Answer] = {}
        for name in ("Simpsons", "School"):
            groups[name] = running.ask("groups", "POST", "/groups", {"name": name})
        family = ("Homer", "Marge", "Bart", "Lisa", "Maggie")
        seen: dict[str, str] = {}
        ids: dict[str, str] = {}
        for name in family:
            user = {"name": name, "email": f"{name.lower()}@springfield.example"}
            added = running.ask("users", "POST", "/users", user)
            ids[name], seen[name] = added.body["id"], added.tag
            for group in ("Simpsons", "School") if name in ("Bart", "Lisa") else ("Simpsons",):
                path = f"/groups/{groups[group].body['id']}/members/{ids[name]}"
                joined = running.ask("groups", "PUT", path, seen=seen[name])
                seen[name] = ", ".join((seen[name], groups[group].tag, joined.tag))
        print(f"  {len(family)} users and {len(groups)} groups were added")

        chapter("Who has what, asked with the token of the write")
        for name in family:
            path = f"/users?search={name.lower()}"
            (found,) = running.ask("users", "GET", path, seen=seen[name]).body
            its = running.ask("groups", "GET", f"/users/{ids[name]}/groups", seen=seen[name]).body
            print(f"  {found['name']:<8} {found['email']:<30} {', '.join(sorted(its))}")

        chapter("Lags, in events")
        before, asked = running.lags(), time.monotonic()
        late = running.settled()
        took = time.monotonic() - asked
        for what, count in running.lags().items():
            print(f"  {what:<34} {before[what]:>3} to go, and {count} after {took:.1f} s")
        if late:
            print("what did not arrive: " + ", ".join(late))
            return 1

        chapter("The newsletter has heard of it by external events alone")
        for name, email in running.readers():
            print(f"  {name:<8} {email}")
        print(f"\nThe timer had to apply {running.timer()} events that were not pushed.")
        seconds = time.monotonic() - began
    print(f"All has ended, after {seconds:.0f} s; nothing is left of it.")
    return 0


def chapter(title: str) -> None:
    print(f"\n{title.upper()}", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EventsrcError as error:
        sys.exit(str(error))
