"""The new time is taken at rest only, and with it everything begins anew in one go."""

from collections.abc import Callable

import pytest

from rollbackd.core.errors import TemporaryError
from rollbackd.core.facts import RollbackStarted
from rollbackd.core.model import RollbackId
from rollbackd.daemon.timekeeper import Timekeeper
from tests.unit.core.world import SHOP, World, breached_world, release


class SetClock:
    """Somebody set it an hour ahead."""

    def __init__(self) -> None:
        self.steps = 0

    def now(self) -> float:
        return 150.0

    async def sleep(self, seconds: float) -> None: ...

    def behind(self) -> float:
        return 0.0 if self.steps else 3600.0

    def slew(self) -> None: ...

    def step(self) -> None:
        self.steps += 1


class Keeper:
    def __init__(self) -> None:
        self.clock = SetClock()
        self.world: World = breached_world()
        self.begun_after: list[int] = []
        self.disk_is_away = False
        self.meanwhile: Callable[[], None] = lambda: None
        self.keeper = Timekeeper(
            clock=self.clock,
            states=lambda: [self.world.state],
            record=self.record,
            anew=self.anew,
        )

    async def record(self, seconds: float) -> None: ...

    async def anew(self) -> Callable[[], None]:
        if self.disk_is_away:
            raise TemporaryError("the volume is away", hint="wait")
        self.meanwhile()
        return lambda: self.begun_after.append(self.clock.steps)

    def begin_rollback(self) -> None:
        self.world.tell(
            RollbackStarted(
                target=SHOP, at=150, rollback=RollbackId("r1"), bad=release(42), good=release(41)
            )
        )


@pytest.fixture
def told() -> Keeper:
    return Keeper()


async def test_at_rest_the_new_time_is_taken_once_with_what_was_kept(told: Keeper) -> None:
    await told.keeper.look()
    await told.keeper.look()

    assert told.begun_after == [1]


async def test_a_rollback_that_begins_while_the_disk_is_read_keeps_the_old_time(
    told: Keeper,
) -> None:
    told.meanwhile = told.begin_rollback

    await told.keeper.look()

    assert (told.clock.steps, told.begun_after) == (0, [])


async def test_while_the_disk_is_away_the_old_time_goes_on(told: Keeper) -> None:
    told.disk_is_away = True
    await told.keeper.look()
    assert told.clock.steps == 0

    told.disk_is_away = False
    await told.keeper.look()
    assert told.begun_after == [1]
