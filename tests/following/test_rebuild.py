"""Rebuilding at a pace, beside those who write, and when it is cancelled."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from eventsrc import MemoryStore, ReadFeed, Sleep, on, rebuild, status, synchronise, world
from eventsrc.programs.world import Elapsed
from eventsrc.views.operations import GetLive, GetProgress
from tests.contracts.upkeep import Clock, moved
from tests.kits.library import Noted, books, filled, folded
from tests.kits.views import Kit


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return Kit(str(tmp_path / "app.db"))


@pytest.mark.parametrize("partitions", [1, 3])
def test_it_ends_while_others_write_more_than_its_pace(kit: Kit, partitions: int) -> None:
    store, clock = filled(2, 300), Clock(600.0)

    def sleep(op: Sleep) -> None:
        clock.world.run(op)
        store.run(books[1].append(*map(Noted, range(int(op.seconds * 20)))))

    busy = on(Elapsed).run(lambda _: clock.now) | on(Sleep).run(sleep)
    view = kit.notes(partitions=partitions)
    with kit.open() as views:
        assert (store | views | busy).run(rebuild(view, pace=10)).unwrap().lag == 0
        assert kit.rows(views, view) == folded(store)
    assert 25.0 <= clock.now <= 35.0, "what was there was built at its pace"


@pytest.mark.parametrize("partitions", [1, 3])
def test_it_ends_while_others_write_all_the_time(kit: Kit, partitions: int) -> None:
    store, reads = filled(2, 100), 0

    def read(op: ReadFeed) -> Any:
        nonlocal reads
        reads += 1
        assert reads < 50, "it goes on and on"
        page = store.run(op)
        moved(store, reads)
        return page

    view = kit.notes(partitions=partitions)
    with kit.open() as views:
        app = (store | views | world).but(on(ReadFeed).run(read))
        app.run(rebuild(view)).unwrap()
        assert views.run(GetLive(view)) == 1
        assert (store | views | world).run(status(view)).lag <= 2 * partitions


@pytest.mark.parametrize("pace", [10, 0.5])
def test_a_pace_is_kept_of_less_than_a_page(kit: Kit, pace: float) -> None:
    store, clock = filled(2, 40), Clock(600.0)
    with kit.open() as views:
        (store | views | clock.world).run(rebuild(kit.notes(), pace=pace)).unwrap()
    assert 38 / pace - 1 <= clock.now <= 40 / pace


@pytest.mark.parametrize("pace", [0, -1.0, float("nan")])
def test_a_pace_that_is_none_is_refused(kit: Kit, pace: float) -> None:
    with kit.open() as views, pytest.raises(ValueError, match="never ends"):
        (MemoryStore() | views | world).run(rebuild(kit.notes(), pace=pace))


def test_one_that_is_cancelled_goes_on_where_it_was(kit: Kit) -> None:
    store, old, new = filled(2, 200), kit.notes(), kit.notes(version=2)

    async def cancelled(app: Any) -> None:
        building = asyncio.create_task(app.run_async(rebuild(new, pace=50)))
        while app.run(GetProgress(new)).applied < 50:
            assert not building.done()
            await asyncio.sleep(0.01)
        building.cancel()
        with pytest.raises(asyncio.CancelledError):
            await building

    with kit.open(old) as views:
        app = store | views | world
        app.run(synchronise(old))
        asyncio.run(cancelled(app))
        done = app.run(GetProgress(new)).applied
        assert 50 <= done < 200
        assert (app.run(GetLive(new)), kit.rows(views, new)) == (1, folded(store))
        moved(store, 7)
        assert app.run(rebuild(new)).unwrap().applied == 201 - done
        assert app.run(GetLive(new)) == 2
        assert kit.rows(views, new) == folded(store)


def test_one_goes_back_by_rebuilding_the_old_version(kit: Kit) -> None:
    store, old, new = filled(1, 3), kit.notes(), kit.notes(version=2)
    with kit.open(old) as views:
        app = store | views | world
        app.run(rebuild(old))
        app.run(rebuild(new))
        moved(store, 7)
        app.run(synchronise(new))
        app.run(rebuild(old)).unwrap()
        assert app.run(GetLive(new)) == 1
        assert kit.rows(views, old) == folded(store)
