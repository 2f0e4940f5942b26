"""A plan that only a person may agree to, whatever the mode."""

from collections.abc import Mapping
from dataclasses import replace

from rollbackd.core.asked import NeedsApproval, Proposed
from rollbackd.core.model import HoldReason, JsonObject
from rollbackd.core.noting import Note, NotesMidway
from rollbackd.core.rules import Mode
from rollbackd.core.runbook import Plan, Step
from tests.unit.core.test_proposing import ID, approve, frozen
from tests.unit.core.world import SHOP, breached_world, down, target, trigger

COSTLY = "1,234 rows would be lost"


class Noting:
    async def apply_noting(
        self, plan: Plan, step: Step, results: Mapping[int, JsonObject], note: Note
    ) -> JsonObject:
        await note({"xid": f"{plan.name} {step.seq} {len(results)}"})
        return {}


def test_what_a_plan_asks_holds_in_mode_auto_until_a_person_agreed() -> None:
    world = breached_world(target(trigger(down()), mode=Mode.AUTO))
    decision = world.rolled(146)
    plan = replace(frozen(decision), asks=COSTLY)
    world.tell(Proposed(target=SHOP, at=146, rollback=ID, decision=decision, plan=plan))

    held = world.held(147)
    approve(world, 147)

    assert held.reason is HoldReason.AWAITING_APPROVAL
    assert COSTLY in held.why
    assert world.rolled(148).good == decision.good


def test_it_says_what_is_asked_and_which_plan() -> None:
    world = breached_world(target(trigger(down()), mode=Mode.AUTO))
    plan = replace(frozen(world.rolled(146), "feed"), asks=COSTLY)

    refused = NeedsApproval(plan)

    assert refused.plan is plan
    assert refused.message == f"needs approval: {COSTLY}"
    assert "feed" in refused.hint


def test_an_executor_that_notes_midway_is_known_by_its_shape() -> None:
    assert isinstance(Noting(), NotesMidway)
    assert not isinstance(object(), NotesMidway)
