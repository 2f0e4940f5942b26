"""What the gates say: each names whose doing it is, and nothing that another line denies."""

import math
from dataclasses import replace

import pytest

from rollbackd.core.facts import Paused, RollbackEnded, Unlocked
from rollbackd.core.model import HoldReason as R
from rollbackd.core.model import RollbackId, RollbackOutcome, TriggerName
from rollbackd.core.rules import Mode
from rollbackd.core.view import target_view
from rollbackd.core.wording import figure, some
from tests.unit.core.world import (
    SAFETY,
    SHOP,
    World,
    breached_world,
    down,
    failing,
    release,
    target,
    trigger,
)


def says(world: World, reason: R, now: float = 146) -> tuple[bool, str]:
    answer = world.gates(now)[reason]
    return answer.holds, answer.why


@pytest.mark.parametrize(
    ("until", "reason", "why"),
    [
        (266, "a sale", "paused for 2 min more by eva: a sale"),
        (266, "", "paused for 2 min more by eva"),
        (math.inf, "a sale", "paused by eva: a sale"),
    ],
)
def test_a_pause_says_for_how_long_by_whom_and_why(until: float, reason: str, why: str) -> None:
    world = breached_world()
    world.tell(Paused(target=SHOP, at=140, until=until, by="eva", reason=reason))

    assert says(world, R.PAUSED) == (True, why)


def test_what_was_rolled_back_from_is_named_as_the_release_it_was() -> None:
    world = breached_world()
    world.started(146, release(42), release(41))
    world.ended(150)

    itself = says(world, R.ALREADY_ROLLED_BACK, 151)
    world.releases(500, release(44, "image-42"), release(42), release(41))
    again = says(world, R.ALREADY_ROLLED_BACK, 501)
    old = breached_world()
    old.started(146, release(7, "image-42"), release(6))
    old.ended(150)

    assert itself == (True, "v42 was rolled back from before: once is all")
    assert again == (True, "v44 has the content of v42 that was rolled back from: once is all")
    assert says(old, R.ALREADY_ROLLED_BACK, 151) == (
        True, "v42 has the content of a release that was rolled back from: once is all",
    )  # fmt: skip


def test_where_nothing_is_wrong_nothing_began() -> None:
    peace = World(target(trigger(down())))
    peace.good_start()
    peace.releases(100, release(42), release(41))
    peace.ok(105, 115)
    unseen = World(target(trigger(failing())))
    unseen.releases(0, release(42), release(41))
    unseen.fail(105)

    assert says(peace, R.NOT_SINCE_RELEASE, 116) == (
        False, "nothing was wrong before the release came",
    )  # fmt: skip
    assert says(breached_world(), R.NOT_SINCE_RELEASE) == (False, "began after the release came")
    assert says(unseen, R.NOT_SINCE_RELEASE, 106) == (
        False, "it is not known whether it was well before the release",
    )  # fmt: skip


def test_the_wait_after_a_refusal_says_what_was_refused() -> None:
    world = breached_world()
    world.started(146, release(42), release(41))
    world.tell(
        RollbackEnded(
            target=SHOP,
            at=147,
            rollback=RollbackId("r1"),
            outcome=RollbackOutcome.FAILED_BEFORE_EFFECT,
            detail="/data/STOP is there",
        )
    )

    assert says(world, R.COOLING_DOWN, 148) == (
        True, "the last try was refused: /data/STOP is there; the next one in 4 s",
    )  # fmt: skip

    world.started(152, release(42), release(41), name="r2")
    world.ended(160, name="r2")

    assert says(world, R.COOLING_DOWN, 161) == (
        True,
        "the last rollback ended lately, 4.98 min more",
    )


@pytest.mark.parametrize(
    ("outcome", "detail", "why"),
    [
        (RollbackOutcome.HOLDING, "status 422", "r1 stands still: status 422"),
        (RollbackOutcome.FAILED, "", "r1 failed"),
        (RollbackOutcome.NOT_RECOVERED, "errors 94 %", "r1 did not help: errors 94 %"),
    ],
)
def test_a_lock_out_says_which_rollback_it_was_and_how_it_ended(
    outcome: RollbackOutcome, detail: str, why: str
) -> None:
    world = breached_world()
    world.started(146, release(42), release(41))
    end = RollbackEnded(
        target=SHOP, at=150, rollback=RollbackId("r1"), outcome=outcome, detail=detail
    )
    world.tell(end)

    view = target_view(world.state, world.policy, 151)
    assert says(world, R.LOCKED_OUT, 151) == (True, f"{why}; a person must look, then unlock")
    assert (view.locked_out, view.locked_why) == (True, why)

    world.tell(Unlocked(target=SHOP, at=152, by="eva", reason="looked"))

    assert target_view(world.state, world.policy, 153).locked_why == ""
    assert says(world, R.LOCKED_OUT, 153) == (False, "not locked out")


def test_whose_mode_it_is_is_said() -> None:
    of_target = breached_world(target(trigger(down()), mode=Mode.APPROVE))
    of_trigger = breached_world(target(trigger(down(), mode=Mode.APPROVE)))
    of_process = breached_world(target(trigger(down())), ceiling=Mode.OBSERVE)
    blind = breached_world(replace(target(trigger(down())), token_ceiling=Mode.OBSERVE))

    name = TriggerName(of_trigger.target.triggers[0].name)
    assert of_target.held(146).why.endswith("; needs approval: the mode is approve")
    assert of_trigger.held(146).why.endswith(f"; needs approval: the mode of {name} is approve")
    assert of_process.held(146).why.endswith("; ROLLBACKD_MODE is observe")
    assert of_process.gates(146)[R.OBSERVE_MODE].holds
    assert blind.held(146).why.endswith(
        "; the mode is observe: the token cannot act, or is not known to yet"
    )


def test_a_spent_budget_is_the_reason_to_ask_where_the_mode_is_not() -> None:
    safety = replace(SAFETY, budget_rollbacks=1)
    world = breached_world(replace(target(trigger(down())), safety=safety))
    world.started(-1000, release(9), release(8), name="r9")
    world.ended(-1000, name="r9")

    assert says(world, R.BUDGET_SPENT)[1].startswith("the budget of 1 rollback in 24 h is spent: ")
    assert says(world, R.AWAITING_APPROVAL) == (True, "needs approval: the budget is spent")


def test_one_thing_is_no_plural() -> None:
    world = breached_world()
    world.releases(500, release(44), release(42), release(41))
    world.ok(505)

    assert world.verdict(506).why == "health failing in 0 of 1 look"
    assert [some(n, "machine") for n in (0, 1, 1004)] == [
        "0 machines",
        "1 machine",
        "1,004 machines",
    ]


def test_a_figure_has_four_digits_or_all_of_them() -> None:
    shown = [figure(n) for n in (0.56666, 9999.4, 23048.2, -23048.2, 3e14)]

    assert shown == ["0.5667", "9999", "23,048", "-23,048", "3e+14"]
