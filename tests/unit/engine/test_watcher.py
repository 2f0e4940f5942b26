"""The watcher says what is deployed, and says nothing where it could not look."""

import asyncio

import structlog

from rollbackd.clock import FakeClock
from rollbackd.core.errors import Unauthorized
from rollbackd.core.facts import MachinesSeen, ReleasesSeen, TargetFact
from rollbackd.core.model import Machine, Release, ReleaseStatus, TargetName
from rollbackd.core.ports import TokenReport
from rollbackd.engine.watcher import Watcher

SHOP = TargetName("shop")
RELEASE = Release(version=1, image="a", status=ReleaseStatus.COMPLETE, content="a")


class App:
    def __init__(self, machines: tuple[Machine, ...] = ()) -> None:
        self.fleet = machines
        self.error: Exception | None = None
        self.unlisted: Exception | None = None  # what asking for the releases meets

    async def releases(self) -> tuple[Release, ...]:
        if self.unlisted:
            raise self.unlisted
        return (RELEASE,)

    async def machines(self) -> tuple[Machine, ...]:
        if self.error:
            raise self.error
        return self.fleet

    async def current_version(self) -> int | None:
        return 1

    async def token_report(self) -> TokenReport:
        return TokenReport(covers_app=True, read_only=True, is_own_app=False)

    async def health_paths(self) -> tuple[str, ...]:
        return ()


def machine(name: str, owner: str | None = None, *, ours: bool = False) -> Machine:
    return Machine(
        id=name, state="started", group="app", content="a", lease_owner=owner, lease_ours=ours
    )


def watcher(app: App, facts: list[TargetFact]) -> Watcher:
    return Watcher(clock=FakeClock(50), platforms={SHOP: app}, publish=facts.append)


async def test_a_round_tells_machines_and_then_releases() -> None:
    facts: list[TargetFact] = []

    await watcher(App((machine("a"),)), facts).look(SHOP)

    assert [type(f) for f in facts] == [MachinesSeen, ReleasesSeen]
    assert facts[1] == ReleasesSeen(target=SHOP, at=50, releases=(RELEASE,))


async def test_our_own_leases_are_not_foreign() -> None:
    facts: list[TargetFact] = []
    fleet = (machine("a", "me", ours=True), machine("b", "ci"), machine("c"))

    await watcher(App(fleet), facts).look(SHOP)

    assert isinstance(facts[0], MachinesSeen)
    assert facts[0].foreign_leases == 1


async def test_a_platform_that_cannot_be_read_publishes_nothing() -> None:
    facts: list[TargetFact] = []
    app = App()
    app.error = Unauthorized("token expired")
    watching = watcher(app, facts)

    await watching.look(SHOP)
    app.error = None
    await watching.look(SHOP)

    assert len(facts) == 2


async def test_machines_are_told_even_where_the_releases_cannot_be_read() -> None:
    facts: list[TargetFact] = []
    app = App((machine("a"),))
    app.unlisted = Unauthorized("token may not list releases")

    await watcher(app, facts).look(SHOP)

    assert [type(f) for f in facts] == [MachinesSeen]


async def test_an_answer_nobody_foresaw_is_told_once_and_the_watch_goes_on() -> None:
    app, facts = App((machine("a"),)), list[TargetFact]()
    watching = watcher(app, facts)
    app.error = KeyError("checks")

    with structlog.testing.capture_logs() as told:
        await watching.look(SHOP)
        await watching.look(SHOP)
        app.error = None
        await watching.look(SHOP)

    assert [line["event"] for line in told] == ["watch.failed", "watch.regained"]
    assert told[0]["log_level"] == "error"
    assert [type(f) for f in facts] == [MachinesSeen, ReleasesSeen]


async def test_a_round_under_way_ends_with_the_watch() -> None:
    class Hanging(App):
        ended = False

        async def machines(self) -> tuple[Machine, ...]:
            try:
                await asyncio.Event().wait()
            finally:
                self.ended = True
            return ()

    app = Hanging()
    running = asyncio.create_task(watcher(app, []).run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert app.ended


async def test_a_target_that_a_reload_took_away_is_not_asked() -> None:
    facts: list[TargetFact] = []
    watching = watcher(App(), facts)
    watching.platforms = {}

    await watching.look(SHOP)

    assert facts == []
