"""What a person is asked, what an approval is bound to, and when the question is taken back."""

from dataclasses import replace

import pytest

from rollbackd.core.asked import ModeSet, Proposed, Withdrawn, mode_now
from rollbackd.core.facts import Approved, Rejected
from rollbackd.core.manual import manual
from rollbackd.core.model import HoldReason as R
from rollbackd.core.model import RollBack, RollbackId, RollbackOutcome
from rollbackd.core.proposing import changed, proposed, withdrawn
from rollbackd.core.rules import Mode
from rollbackd.core.runbook import Plan
from rollbackd.core.view import target_view
from tests.unit.core.world import (
    SHOP,
    World,
    breached_world,
    down,
    machine,
    release,
    target,
    trigger,
)

ID = RollbackId("shop-v42-to-v41")


def frozen(decision: RollBack, digest: str = "abcd", **settings: int) -> Plan:
    return Plan(
        rollback=decision.id,
        target=SHOP,
        name="app",
        from_version=42,
        to_version=41,
        steps=(),
        parallel=1,
        deadline_at=decision.at + 300,
        hash=digest,
        settings={**settings},
    )


def asking(mode: Mode = Mode.APPROVE) -> World:
    return breached_world(target(trigger(down()), mode=mode))


def propose(world: World, at: float = 146, digest: str = "abcd") -> RollBack:
    decision = proposed(world.policy, world.state, at)
    assert decision is not None
    plan = frozen(decision, digest)
    world.tell(Proposed(target=SHOP, at=at, rollback=ID, decision=decision, plan=plan))
    return decision


def approve(world: World, at: float, digest: str = "abcd") -> None:
    world.tell(Approved(target=SHOP, at=at, rollback=ID, by="eva", hash=digest))


def why(world: World, now: float) -> str:
    asked = world.state.rollbacks.proposal
    assert asked is not None
    return withdrawn(world.state, asked, now)


def test_a_person_is_asked_only_where_an_approval_would_do() -> None:
    asked = proposed(asking().policy, asking().state, 146)
    assert asked is not None
    assert (asked.bad, asked.good, asked.trigger) == (release(42), release(41), "health-down")
    assert asked.requested_by == "rollbackd"

    for mode in (Mode.AUTO, Mode.OBSERVE):
        world = asking(mode)
        assert proposed(world.policy, world.state, 146) is None
    blind = asking()
    blind.control(146, ok=False)
    assert proposed(blind.policy, blind.state, 146) is None
    calm = World(target(trigger(down()), mode=Mode.APPROVE))
    assert proposed(calm.policy, calm.state, 146) is None


def test_what_is_approved_is_carried_out_as_it_was_proposed() -> None:
    world = asking()
    asked = propose(world)
    world.fail(*range(155, 206, 10))
    approve(world, 200)

    done = world.rolled(201)

    assert (done.id, done.proposed_at, done.at) == (asked.id, 146, 201)
    assert (done.why, done.requested_by) == (asked.why, "eva")
    assert proposed(world.policy, world.state, 201) is None


@pytest.mark.parametrize("digest", ["efgh", "abcde"])
def test_an_approval_counts_for_the_plan_that_was_seen_only(digest: str) -> None:
    world = asking()
    propose(world)
    approve(world, 147, digest)

    assert world.reason(148) is R.AWAITING_APPROVAL


def test_an_approval_of_what_was_withdrawn_counts_for_nothing() -> None:
    world = asking()
    propose(world)
    approve(world, 147)
    world.tell(Withdrawn(target=SHOP, at=148, rollback=ID, why="v43 appeared"))

    assert world.reason(149) is R.AWAITING_APPROVAL
    approve(world, 150)
    assert world.reason(151) is R.AWAITING_APPROVAL


def test_what_was_rejected_does_not_come_again_and_no_higher_mode_does_it() -> None:
    world = asking()
    propose(world)
    fact = Rejected(target=SHOP, at=147, rollback=ID, by="bob", reason="a marketing test")
    world.tell(fact)

    assert world.state.rollbacks.proposal is None
    assert proposed(world.policy, world.state, 148) is None
    assert world.held(148).why.endswith("rejected by bob: a marketing test")
    world.tell(_mode(Mode.AUTO, until=900))
    assert world.reason(149) is R.AWAITING_APPROVAL


def test_nobody_answering_is_told_in_words_and_stays_answerable() -> None:
    world = asking()
    propose(world)
    world.fail(*range(155, 756, 10))
    assert "nobody answered" not in world.held(746).why
    held = world.held(747)

    assert held.why.endswith("the mode is approve; nobody answered for 10 min: page somebody")
    view = target_view(world.state, world.policy, 747).proposal
    assert view is not None
    assert (view.overdue, view.answer_by, view.plan.hash) == (True, 746, "abcd")
    approve(world, 748)
    assert world.rolled(749).requested_by == "eva"


def test_it_is_withdrawn_when_the_trigger_clears() -> None:
    world = asking()
    propose(world)
    assert why(world, 147) == ""
    world.ok(155)

    assert why(world, 156) == "health-down cleared"


def test_a_trigger_that_is_pending_anew_after_a_gap_withdraws_nothing() -> None:
    world = asking()
    propose(world)
    world.fail(400, 410, 420)  # nobody looked for long, and it fails still

    assert (world.reason(421), why(world, 421)) == (R.PENDING, "")
    world.fail(430)
    assert (world.reason(431), why(world, 431)) == (R.AWAITING_APPROVAL, "")
    world.ok(440, 450, 460, 470)
    assert why(world, 471) == "health-down cleared"


def test_blindness_and_missing_data_withdraw_nothing() -> None:
    world = asking()
    propose(world)
    world.control(146, ok=False)

    assert why(world, 147) == ""
    assert why(world, 400) == ""  # its samples are old


def test_it_is_withdrawn_when_a_newer_release_appears() -> None:
    world = asking()
    propose(world)
    world.releases(147, release(43), release(42), release(41))

    assert why(world, 148) == "v43 appeared"


def test_it_is_withdrawn_when_the_goal_is_another_one() -> None:
    world = asking()
    propose(world)
    world.state.ledger.quarantine(release(41), 147, why="leaks")

    assert why(world, 148) == "v41 is not what it would go back to any more"


def test_it_is_withdrawn_when_something_else_runs() -> None:
    world = asking()
    decision = propose(world)
    other = replace(decision, bad=release(40), later_version=42)
    plan = frozen(other)
    world.tell(Proposed(target=SHOP, at=147, rollback=ID, decision=other, plan=plan))

    assert why(world, 148) == "v40 is not what runs any more"


def test_it_is_withdrawn_when_nothing_may_be_done_or_its_trigger_is_gone() -> None:
    world = asking()
    propose(world)
    world.tell(_mode(Mode.OBSERVE))
    assert why(world, 148) == "the mode is observe"

    gone = asking()
    propose(gone)
    gone.state.carry(target(trigger(down(), name="other")), 147)
    assert why(gone, 148) == "its trigger is not configured any more"


def test_a_token_not_known_yet_withdraws_nothing_and_no_mode_is_set_beyond_it() -> None:
    world = asking()
    propose(world)
    world.tell(_mode(Mode.AUTO))
    world.state.carry(replace(world.state.policy, token_ceiling=Mode.OBSERVE), 146)

    assert why(world, 147) == ""
    assert "the token cannot act" in world.held(147).why


def test_a_plan_rests_on_its_settings() -> None:
    decision = propose(asking())
    plan = frozen(decision, m1=3)

    assert changed(plan, frozen(decision, "other", m1=3)) == ""
    assert changed(plan, frozen(decision, m1=4)) == "since it was proposed, changed: m1"
    assert changed(plan, replace(plan, name="b")) == "since it was proposed, changed: plan"


# What people set ---------------------------------------------------------------------------------


def _mode(mode: Mode | None, until: float | None = None) -> ModeSet:
    return ModeSet(target=SHOP, at=140, mode=mode, until=until, by="ann", reason="sale")


@pytest.mark.parametrize(
    ("given", "now", "mode"),
    [
        (None, 150, Mode.APPROVE),
        (_mode(None), 150, Mode.APPROVE),
        (_mode(Mode.AUTO, 200), 199, Mode.AUTO),
        (_mode(Mode.AUTO, 200), 200, Mode.APPROVE),
        (_mode(Mode.AUTO), 150, Mode.APPROVE),  # nothing loosens without an end
        (_mode(Mode.OBSERVE), 9e9, Mode.OBSERVE),
    ],
)
def test_what_was_set_counts_until_its_end(given: ModeSet | None, now: float, mode: Mode) -> None:
    assert mode_now(Mode.APPROVE, given, now) is mode


def test_a_mode_that_was_set_is_obeyed_and_shown_and_no_ceiling_is_passed() -> None:
    world = asking(Mode.OBSERVE)
    world.tell(_mode(Mode.AUTO, 200))
    world.fail(*range(155, 206, 10))
    view = target_view(world.state, world.policy, 146)
    capped = breached_world(target(trigger(down()), mode=Mode.OBSERVE), ceiling=Mode.APPROVE)
    capped.tell(_mode(Mode.AUTO, 200))

    assert world.rolled(199)
    assert world.reason(200) is R.OBSERVE_MODE
    assert (view.mode, view.mode_set) == (Mode.AUTO, "auto, set by ann for 54 s more: sale")
    assert target_view(world.state, world.policy, 200).mode_set == ""
    assert capped.reason(146) is R.AWAITING_APPROVAL
    world.tell(_mode(Mode.OBSERVE))
    assert target_view(world.state, world.policy, 1).mode_set == "observe, set by ann: sale"


# By hand -----------------------------------------------------------------------------------------


def test_what_was_left_half_way_can_be_finished() -> None:
    world = asking()
    world.started(150, release(42), release(41))
    world.ended(160, RollbackOutcome.HOLDING)
    world.ended(161, RollbackOutcome.CANCELLED)
    world.releases(162, release(43, "image-41"), release(42), release(41))
    world.machines(163, machine("m1", "image-41", 43), machine("m2", "image-42", 42))

    asked = manual(
        world.policy, world.state, 170, to_version=41, plan="app", reason="finish", by="eva"
    )

    assert isinstance(asked, RollBack)
    assert (asked.bad, asked.good, asked.later_version) == (release(42), release(41), 43)


def test_a_false_alarm_clears_the_release_of_blame_and_accuses_nobody() -> None:
    world = breached_world()
    world.started(146, release(42), release(41))
    world.switched(150)
    world.ended(160)
    undo = manual(
        world.policy, world.state, 170, to_version=42, plan="app", reason="x", by="eva",
        undoes=RollbackId("r1"),
    )  # fmt: skip
    assert isinstance(undo, RollBack)
    from rollbackd.core.facts import RollbackStarted

    world.tell(
        RollbackStarted(
            target=SHOP, at=171, rollback=undo.id, bad=undo.bad, good=undo.good, automatic=False,
            undoes=undo.undoes,
        )
    )  # fmt: skip
    known = world.state.deploys.known

    assert world.state.ledger.standing(release(42)).value == "unknown"
    assert world.state.ledger.standing(release(41)).value == "good"
    assert world.state.ledger.why(release(42), known) == "was called a false alarm by a person"
    assert release(42) in world.state.rollbacks.spent  # never again by itself
