"""How a rollback that holds began is known until another one begins."""

from rollbackd.core.facts import RollbackEnded, RollbackStarted
from rollbackd.core.model import RollbackId, RollbackOutcome
from rollbackd.core.rollbacks import Rollbacks
from tests.unit.core.world import SHOP, release


def started(rollback: str) -> RollbackStarted:
    return RollbackStarted(
        target=SHOP,
        at=1,
        rollback=RollbackId(rollback),
        bad=release(42),
        good=release(41),
        automatic=True,
        trigger=None,
    )


def test_nothing_is_known_of_a_rollback_that_never_began() -> None:
    assert Rollbacks().begun(RollbackId("r1")) is None


def test_how_it_began_is_known_after_it_came_to_hold() -> None:
    rollbacks = Rollbacks()
    rollbacks.start(started("r1"))
    rollbacks.end(
        RollbackEnded(target=SHOP, at=2, rollback=RollbackId("r1"), outcome=RollbackOutcome.HOLDING)
    )

    assert rollbacks.begun(RollbackId("r1")) == started("r1")


def test_a_person_who_ends_what_holds_begins_no_other_cool_down() -> None:
    rollbacks = Rollbacks()
    rollbacks.start(started("r1"))
    for at, outcome in ((2, RollbackOutcome.HOLDING), (900, RollbackOutcome.CANCELLED)):
        rollbacks.end(RollbackEnded(target=SHOP, at=at, rollback=RollbackId("r1"), outcome=outcome))

    assert rollbacks.ended_at == 2


def test_only_the_newest_can_be_begun_anew() -> None:
    rollbacks = Rollbacks()
    rollbacks.start(started("r1"))
    rollbacks.start(started("r2"))

    assert rollbacks.begun(RollbackId("r1")) is None
