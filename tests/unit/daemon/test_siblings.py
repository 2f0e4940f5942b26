"""A second machine of our own app, with a state of its own: nothing is done by itself then."""

import asyncio

import pytest
from structlog.testing import capture_logs

from rollbackd.clock import FakeClock
from rollbackd.core.decide import decide
from rollbackd.core.model import Hold, HoldReason, RollBack
from rollbackd.daemon.ceilings import Ceilings
from rollbackd.daemon.siblings import LOOK_SECONDS, Siblings, addresses
from rollbackd.telemetry import events
from tests.support import until
from tests.unit.core.world import SHOP, World, down, release, target, trigger

OURS, OTHER = "fdaa:0:1:a7b:1::2", "fdaa:0:1:a7b:2::2"
ON_FLY = {"FLY_APP_NAME": "rb", "FLY_PRIVATE_IP": "fdaa:0:1:a7b:1:0:0:2"}


class Dns:
    """What the private DNS says, or that it says nothing."""

    def __init__(self, *found: str) -> None:
        self.found = frozenset(found)
        self.asked: list[str] = []
        self.mute = False

    async def resolve(self, name: str) -> frozenset[str]:
        self.asked.append(name)
        if self.mute:
            raise OSError("no answer")
        return self.found


class Beside:
    def __init__(self, dns: Dns, environ: dict[str, str]) -> None:
        self.clock = FakeClock()
        self.changes = 0
        self.siblings = Siblings(
            clock=self.clock, environ=environ, changed=self.change, resolve=dns.resolve
        )

    def change(self) -> None:
        self.changes += 1


async def test_alone_nothing_is_capped() -> None:
    beside = Beside(Dns(OURS), ON_FLY)

    await beside.siblings.look()

    assert (beside.siblings.why, beside.changes) == ("", 0)


async def test_another_machine_is_told_once_as_an_error_with_what_to_do() -> None:
    beside = Beside(Dns(OURS, OTHER), ON_FLY)

    with capture_logs() as lines:
        await beside.siblings.look()
        await beside.siblings.look()

    (line,) = lines
    assert (line["event"], line["log_level"]) == (events.DAEMON_NOT_ALONE, "error")
    assert (line["others"], "fly scale count 1" in line["hint"]) == ([OTHER], True)
    assert OTHER in beside.siblings.why
    assert beside.changes == 1


async def test_when_the_other_is_gone_it_goes_on_by_itself() -> None:
    dns = Dns(OURS, OTHER)
    beside = Beside(dns, ON_FLY)
    running = asyncio.create_task(beside.siblings.run())
    await until(lambda: beside.siblings.why != "")
    dns.found = frozenset({OURS})

    await until(lambda: beside.siblings.why == "")
    running.cancel()

    assert beside.changes == 2
    assert beside.clock.now() >= 1_800_000_000 + 2 * LOOK_SECONDS


async def test_a_mute_dns_changes_nothing_of_what_is_known() -> None:
    dns = Dns(OURS, OTHER)
    beside = Beside(dns, ON_FLY)
    await beside.siblings.look()
    dns.mute = True

    await beside.siblings.look()

    assert OTHER in beside.siblings.why


async def test_only_machines_of_our_own_process_group_count() -> None:
    dns = Dns(OURS)

    await Beside(dns, ON_FLY).siblings.look()
    await Beside(dns, ON_FLY | {"FLY_PROCESS_GROUP": "app"}).siblings.look()

    assert dns.asked == ["rb.internal", "app.process.rb.internal"]


@pytest.mark.parametrize("missing", ["FLY_APP_NAME", "FLY_PRIVATE_IP"])
async def test_off_fly_nobody_is_asked(missing: str) -> None:
    dns = Dns(OURS, OTHER)
    beside = Beside(dns, {name: value for name, value in ON_FLY.items() if name != missing})

    running = asyncio.create_task(beside.siblings.run())
    await until(lambda: beside.clock.now() > 1_800_000_000 + 3 * LOOK_SECONDS)

    assert dns.asked == []
    assert not running.done()  # the end of any task is the daemon's end
    running.cancel()


async def test_a_real_name_is_resolved() -> None:
    assert await addresses("::1") == {"::1"}
    with pytest.raises(OSError):
        await addresses("nobody.invalid")


def test_beside_another_one_nothing_is_rolled_back_and_the_hold_says_why() -> None:
    world = World(target(trigger(down())))
    world.releases(0, release(41))
    world.ok(*range(5, 96, 10))
    world.releases(100, release(42), release(41))
    world.ok(105)
    world.fail(115, 125, 135, 145)
    beside = [""]
    ceilings = Ceilings(platforms=dict, beside=lambda: beside[0], apply=lambda: None)
    alone = ceilings.capped(world.policy)

    beside[0] = "another machine of rollbackd runs (fdaa::2): scale it to one"
    capped = ceilings.capped(world.policy)
    acts = decide(alone, world.state, 146)
    world.state.carry(capped.targets[SHOP], 146)
    held = decide(capped, world.state, 146)

    assert alone == world.policy
    assert isinstance(acts, RollBack)
    assert isinstance(held, Hold)
    assert held.reason is HoldReason.OBSERVE_MODE
    assert "another machine of rollbackd runs (fdaa::2)" in held.why
