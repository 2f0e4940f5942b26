"""The first sentence: numbers first, and an accusation only where the release is to blame."""

from dataclasses import replace

import pytest

from rollbackd.core.model import (
    Hold,
    HoldReason,
    RollbackId,
    TriggerName,
    TriggerState,
    Verdict,
)
from rollbackd.core.sentence import headline, level
from rollbackd.core.view import target_view
from tests.unit.core.world import (
    SHOP,
    World,
    breached_world,
    down,
    failing,
    release,
    target,
    trigger,
)

# The numbers of docs/detection.md.
NUMBERS = "errors 5.1 % (51 of 1,004), before 0.12 %, tolerated 0.46 %; evidence 4,611 : 1"


def verdict(
    state: TriggerState = TriggerState.BREACHED, odds: float | None = 4611, **more: str
) -> Verdict:
    return Verdict(
        trigger=TriggerName(more.get("name", "release-regression")),
        state=state,
        since=0,
        value=odds,
        threshold=2000,
        samples=1004 if odds is not None else 0,
        why=more.get("why", NUMBERS),
        evidence={} if odds is None else {"odds": odds},
    )


def hold(reason: HoldReason, *verdicts: Verdict) -> Hold:
    about = verdicts[0].trigger if verdicts and reason is not HoldReason.OK else None
    return Hold(target=SHOP, at=0, reason=reason, trigger=about, bad=release(43), verdicts=verdicts)


def test_a_release_that_is_to_blame_is_worse_and_the_numbers_follow() -> None:
    decision = hold(HoldReason.OBSERVE_MODE, verdict())

    assert headline(decision, None) == f"shop v43 is worse: {NUMBERS}"


def test_without_a_comparison_it_is_bad() -> None:
    world = breached_world()

    sentence = "shop v42 is bad: health failing in 4 of the last 4 looks"
    assert headline(world.rolled(146), world.state.current) == sentence
    assert world.rolled(146).why == sentence


@pytest.mark.parametrize("reason", [HoldReason.VETOED, HoldReason.MASS_FAILURE, HoldReason.BLIND])
def test_a_release_that_is_not_to_blame_is_not_accused(reason: HoldReason) -> None:
    assert headline(hold(reason, verdict()), None) == f"shop v43 is not blamed: {NUMBERS}"


def test_a_hold_begins_with_the_same_sentence_as_the_rollback_it_is_not() -> None:
    vetoed = breached_world(target(trigger(down(), unless=(failing("database"),))))

    decision = vetoed.held(146)

    assert decision.why.startswith(headline(decision, None) + "; ")
    assert decision.why.startswith("shop v42 is not blamed: health failing")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (TriggerState.OK, "is well"),
        (TriggerState.PENDING, "is watched"),
        (TriggerState.NO_DATA, "cannot be judged"),
        (TriggerState.ERROR, "cannot be judged"),
    ],
)
def test_in_peace_the_comparison_speaks(state: TriggerState, words: str) -> None:
    plain = verdict(TriggerState.OK, None, name="health-down", why="health not failing")
    decision = hold(HoldReason.OK, plain, verdict(state, 3))

    assert headline(decision, release(44)) == f"shop v43 {words}: {NUMBERS}"


def test_a_comparison_that_has_counted_nothing_leaves_the_word_to_what_has_counted_most() -> None:
    young = replace(verdict(TriggerState.OK, 1, why="nothing was counted yet"), samples=0)
    plain = [
        replace(verdict(TriggerState.OK, None, name=why, why=why), samples=samples)
        for why, samples in (("12 looks", 12), ("errors 0 % (0 of 31)", 31))
    ]

    told = headline(hold(HoldReason.OK, young, *plain), release(43))

    assert told == "shop v43 is well: errors 0 % (0 of 31)"
    assert level(young) == ""


@pytest.mark.parametrize(
    "reason",
    [
        HoldReason.DEPLOY_IN_PROGRESS,
        HoldReason.PAUSED,
        HoldReason.LOCKED_OUT,
        HoldReason.RELEASE_IS_ROLLBACK,
        HoldReason.ALREADY_ROLLED_BACK,
    ],
)
def test_where_nobody_asked_yet_who_is_to_blame_it_is_ill(reason: HoldReason) -> None:
    assert headline(hold(reason, verdict()), None) == f"shop v43 is ill: {NUMBERS}"


def test_while_a_rollback_runs_it_is_told_whatever_the_triggers_say() -> None:
    quiet = replace(
        hold(HoldReason.NO_DATA, verdict(TriggerState.NO_DATA, why="3 of 20")), bad=None
    )

    going = headline(quiet, release(43), (43, 42))
    came = headline(quiet, release(44), (43, 42))

    assert going == "shop v43 is being rolled back to v42: 3 of 20"
    assert came == "shop v44 is put back in place of v43: 3 of 20"


LOOKS = "health failing in 4 of the last 4 looks"


def going(**more: object) -> World:
    world = breached_world()
    world.started(146, release(42), release(41), **more)  # type: ignore[arg-type]  # as `started`
    return world


def test_the_release_that_is_being_rolled_back_is_not_one_that_is_not_blamed() -> None:
    world = going(trigger=TriggerName("health-down"))

    decision = world.held(150)

    first = f"shop v42 is being rolled back to v41: {LOOKS}"
    cause = "r1 is under way since 4 s, because health-down breached: v42 -> v41"
    assert decision.why == f"{first}; {cause}"
    assert headline(decision, world.state.current) == headline(decision, None) == first
    assert (decision.bad, decision.good) == (release(42), release(41))
    assert decision.evidence["rollback"] == "r1"
    assert "proposal" not in decision.evidence


def test_once_the_good_release_runs_it_is_not_the_one_that_goes() -> None:
    world = going(trigger=TriggerName("health-down"))
    world.switched(150)
    world.fail(155, 165, 175, 185)

    decision = world.held(186)

    first = f"shop v41 is put back in place of v42: {LOOKS}"
    assert decision.why.startswith(f"{first}; r1 is under way")
    assert headline(decision, world.state.current) == first


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"automatic": False}, "by hand: v42 -> v41"),
        (
            {"automatic": False, "undoes": RollbackId("r0")},
            "to undo r0, a false alarm: v42 -> v41",
        ),
    ],
)
def test_a_rollback_says_who_or_what_asked_for_it(more: dict[str, object], why: str) -> None:
    world = going(**more)

    view = target_view(world.state, world.policy, 150)

    assert world.held(150).why.endswith(f"; r1 is under way since 4 s, {why}")
    assert view.rollback is not None
    assert view.rollback.cause == why


def test_beside_what_it_replaces_a_release_is_no_worse_whatever_the_numbers() -> None:
    """100 % of its requests may fail, as they do on the machines of the release before."""
    compared = replace(
        verdict(TriggerState.OK, 0),
        why="errors 100 % on the new machines (9 of 9), 100 % on the old ones (20 of 20)",
        evidence={"odds": 0, "side_by_side": {"errors": {"odds": 0}}},
    )

    told = headline(hold(HoldReason.OK, compared), release(43))

    assert told == f"shop v43 is no worse than what it replaces: {compared.why}"
    soon = replace(compared, evidence={"odds": 0, "side_by_side": {}})
    assert headline(hold(HoldReason.OK, soon), None).startswith("shop v43 is well: ")


def test_before_anything_is_known_it_says_that() -> None:
    world = World(target())

    assert headline(world.held(1), None) == "shop is not judged: there are no triggers"
    assert headline(hold(HoldReason.OK, verdict(TriggerState.OK, why="")), None) == (
        "shop v43 is well"
    )


@pytest.mark.parametrize(
    ("odds", "word"),
    [
        (0, "quiet"), (19.9, "quiet"), (20, "watching"), (199, "watching"),
        (200, "suspicious"), (1999, "suspicious"), (2000, "act"), (4611, "act"),
        (None, ""), (-1, "quiet"),
    ],
)  # fmt: skip
def test_the_evidence_has_four_levels(odds: float | None, word: str) -> None:
    assert level(verdict(odds=odds)) == word
