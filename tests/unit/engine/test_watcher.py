"""The watcher says what is deployed, and says nothing where it could not look."""

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

    async def releases(self) -> tuple[Release, ...]:
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
