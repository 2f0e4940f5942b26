"""The replay's loop: when a moment is judged, what a rollback changes, whose facts count."""

import math
from dataclasses import replace
from typing import Any

import pytest

from rollbackd.core.asked import ModeSet, Proposed, Withdrawn
from rollbackd.core.facts import (
    Approved,
    Paused,
    ReleasesSeen,
    Resumed,
    RollbackEnded,
    RollbackStarted,
    RollbackSwitched,
    Tick,
)
from rollbackd.core.model import (
    Decision,
    Hold,
    HoldReason,
    ReleaseStatus,
    RollBack,
    RollbackId,
    RollbackOutcome,
    TargetName,
    TriggerName,
)
from rollbackd.core.policy import TimeWindow
from rollbackd.core.rules import Mode
from rollbackd.core.runbook import Plan
from rollbackd.replay.player import Player, key_of
from rollbackd.replay.sources import foretelling
from rollbackd.replay.told import Foretold, Noted, Reconfigured, Told
from tests.unit.core.world import SAFETY, SHOP, down, release, target, trigger
from tests.unit.replay.stories import (
    CALM,
    errors,
    life,
    look,
    named,
    played,
    policy,
    rolled_back,
    seen,
)

DOWN = target(
    trigger(down()), safety=replace(SAFETY, settle_floor_seconds=15, settle_ceiling_seconds=15)
)
LONG = target(trigger(down()))


def outage(*, came_at: float = 100, upto: float = 300, name: TargetName = SHOP) -> list[Told]:
    """v42 at 100 answers once and then no more."""
    told: list[Told] = [seen(0, release(41), name=name)]
    told += [look(at, name) for at in range(5, int(came_at), 10)]
    told.append(seen(came_at, release(42), release(41), name=name))
    told.append(look(came_at + 5, name))
    told += [look(at, name, ok=False) for at in range(int(came_at) + 15, int(upto), 10)]
    return told


def reasons(decisions: list) -> list[tuple[float, str]]:
    return [(d.at, key_of(d)[1]) for d in decisions]


# When a moment is judged ------------------------------------------------------------------------


def test_a_decision_carries_the_second_at_which_all_that_belongs_to_it_was_known() -> None:
    facts = [replace(told, at=told.at + 0.4) for told in outage()]

    assert rolled_back(played(facts, policy(DOWN))) == [(146, 42, 41)]


def test_facts_of_one_moment_are_judged_together() -> None:
    facts = [look(10), look(20), seen(0, release(41))]
    facts.sort(key=lambda told: told.at)
    both = [*facts, errors(20, 0), look(20.0)]

    assert [d.at for d in played(both, policy(DOWN))] == [d.at for d in played(facts, policy(DOWN))]


def test_a_tick_of_a_regression_trigger_closes_with_the_first_later_fact_and_carries_its_end() -> (
    None
):
    facts = life(came_at=1003.5, until=1200, bad_from=1003.5)

    (at, _, _), *_ = rolled_back(played(facts, policy(CALM)))

    assert (at - 1003.5) % 10 == 0


def test_the_open_tick_closes_at_the_end_of_the_facts() -> None:
    facts = life(until=1300, bad_from=1000)
    (at, _, _), *_ = rolled_back(played(facts, policy(CALM)))
    cut = [told for told in facts if told.at <= at]

    assert rolled_back(played(cut, policy(CALM))) == [(at, 42, 41)]
    earlier = [told for told in facts if told.at <= at - 10]
    assert rolled_back(played(earlier, policy(CALM))) == []


def test_a_tick_that_the_facts_leave_open_carries_its_own_end() -> None:
    facts = [
        told if isinstance(told, ReleasesSeen) else replace(told, at=told.at - 3)
        for told in life(until=1300, bad_from=1000)
    ]
    (at, _, _), *_ = rolled_back(played(facts, policy(CALM)))
    cut = [told for told in facts if told.at < at]

    assert cut[-1].at == at - 3
    assert rolled_back(played(cut, policy(CALM))) == [(at, 42, 41)]


def test_live_facts_are_judged_a_second_behind() -> None:
    facts = life(until=1300, bad_from=1000)
    (at, _, _), *_ = rolled_back(played(facts, policy(CALM)))

    late = played(facts, policy(CALM), Player(policy(CALM), late_seconds=1))

    assert rolled_back(late) == [(at + 1, 42, 41)]


def test_a_year_of_silence_costs_no_more_than_a_minute() -> None:
    facts = [*life(until=1300), look(4e7), errors(4e7, 0)]

    assert played(facts, policy(CALM))[-1].at >= 4e7


def test_no_decision_of_a_target_comes_before_its_first_fact() -> None:
    facts = [look(10, TargetName("b")), look(50, TargetName("a"))]
    under = policy(named(DOWN, "a"), named(DOWN, "b"))

    first = {d.target: d.at for d in reversed(played(facts, under))}

    assert first == {"a": 50, "b": 10}


def test_nothing_gives_nothing() -> None:
    assert played([], policy(CALM)) == []


# Silence of the platform is no blindness here --------------------------------------------------


def test_releases_once_told_stay_seen() -> None:
    blinking = target(
        trigger(down()),
        safety=replace(
            SAFETY, blind_after_seconds=30, settle_floor_seconds=15, settle_ceiling_seconds=15
        ),
    )

    assert rolled_back(played(outage(), policy(blinking))) == [(145, 42, 41)]


def test_a_record_of_every_look_shows_when_we_were_blind() -> None:
    blinking = target(
        trigger(down()),
        safety=replace(
            SAFETY, blind_after_seconds=30, settle_floor_seconds=15, settle_ceiling_seconds=15
        ),
    )
    player = Player(policy(blinking), watched=True)

    assert (145.0, "blind") in reasons(played(outage(), policy(blinking), player))


# What a rollback changes ------------------------------------------------------------------------


def test_a_rollback_is_carried_out_at_once() -> None:
    decisions = played(outage(), policy(DOWN))

    assert rolled_back(decisions) == [(145, 42, 41)]
    after = decisions[[isinstance(d, RollBack) for d in decisions].index(True) + 1 :]
    assert after[0].at == 146
    assert {key_of(d)[1] for d in after} <= {"no_data", "pending", "release_is_rollback"}


def test_a_release_of_that_content_is_this_rollback_and_is_left_alone() -> None:
    facts = outage(upto=200)
    facts.append(seen(200, release(43, "image-41"), release(42), release(41)))
    facts += [look(at, ok=False) for at in range(205, 300, 10)]

    decisions = played(facts, policy(DOWN))

    assert rolled_back(decisions) == [(145, 42, 41)]
    assert key_of(decisions[-1])[1] == "release_is_rollback"


def test_a_higher_release_of_other_content_is_judged_anew() -> None:
    calm = [look(at) for at in range(155, 600, 10)]
    facts = [*outage(upto=150), *calm, *outage(came_at=600, upto=700)[61:]]
    higher = seen(600, release(43), release(42), release(41))
    facts = [higher if isinstance(t, ReleasesSeen) and t.at == 600 else t for t in facts]
    facts.sort(key=lambda told: told.at)

    assert rolled_back(played(facts, policy(DOWN))) == [(145, 42, 41), (645, 43, 41)]


# Rollbacks that the facts tell -----------------------------------------------------------------


def started(at: float, name: str = "theirs") -> RollbackStarted:
    return RollbackStarted(
        target=SHOP, at=at, rollback=RollbackId(name), bad=release(42), good=release(41)
    )


def ended(at: float, outcome: str = "recovered", name: str = "theirs") -> RollbackEnded:
    return RollbackEnded(
        target=SHOP, at=at, rollback=RollbackId(name), outcome=RollbackOutcome(outcome)
    )


def in_order(facts: list[Told]) -> list[Told]:
    return sorted(facts, key=lambda told: told.at)


def test_a_rollback_that_the_facts_tell_too_is_not_done_twice() -> None:
    plain = played(outage(), policy(DOWN))
    switched = RollbackSwitched(target=SHOP, at=160, rollback=RollbackId("theirs"))
    told = in_order([*outage(), started(146), switched, ended(170, "failed")])

    assert [key_of(d) for d in played(told, policy(DOWN))] == [key_of(d) for d in plain]


def test_its_end_needs_no_name() -> None:
    plain = played(outage(), policy(DOWN))
    told = in_order([*outage(), started(146), ended(170, "failed", name="")])

    assert [key_of(d) for d in played(told, policy(DOWN))] == [key_of(d) for d in plain]


def heard(facts: list[Told]) -> list[tuple[float, Told]]:
    return list(foretelling([(told.at, told) for told in facts]))  # type: ignore[misc]  # facts


def as_heard(facts: list[Told]) -> list[Decision]:
    player = Player(policy(DOWN))
    return [d for at, told in heard(facts) for d in player.take(at, told)] + [*player.end()]


def test_what_was_really_carried_out_is_left_to_the_facts() -> None:
    """Decided at 145, begun at 147, switched at 160 while looks still failed, over at 180."""
    switched = RollbackSwitched(target=SHOP, at=160, rollback=RollbackId("theirs"))
    told = in_order([*outage(upto=200), started(147), switched, ended(180)])

    decisions = as_heard(told)

    assert rolled_back(decisions) == [(145, 42, 41)]
    after = [(d.at, key_of(d)[1]) for d in decisions if d.at > 145]
    assert (147.0, "rolling_back") in after
    assert "rolling_back" not in {key_of(d)[1] for d in played(told, policy(DOWN))}


@pytest.mark.parametrize(
    ("at", "more"),
    [
        (151, {}),  # too late to have been this decision
        (147, {"good": release(40)}),  # another one
        (147, {"automatic": False}),  # a person's
    ],
)
def test_what_was_not_this_decision_does_not_stand_for_it(at: float, more: dict[str, Any]) -> None:
    told = in_order([*outage(upto=200), replace(started(at), **more), ended(180)])

    assert "rolling_back" not in {key_of(d)[1] for d in as_heard(told)}


def test_a_rollback_is_foretold_once_and_in_the_order_of_time() -> None:
    facts = in_order([*outage(upto=200), started(147)])

    told = heard(facts)

    assert [t for _, t in told if not isinstance(t, Foretold)] == facts
    assert [at for at, _ in told] == sorted(at for at, _ in told)
    ((at, one),) = [(at, t) for at, t in told if isinstance(t, Foretold)]
    assert one.started == started(147)
    assert 147 - 5 <= at < 147


def test_a_rollback_that_only_the_facts_tell_is_taken_as_it_was() -> None:
    told = in_order([*outage(), started(120), ended(240)])

    decisions = played(told, policy(DOWN))

    assert rolled_back(decisions) == []
    assert (155.0, "rolling_back") in reasons(decisions) or (145.0, "rolling_back") in reasons(
        decisions
    )
    assert key_of(decisions[-1])[1] == "release_is_rollback"


def test_its_end_says_that_the_good_release_serves() -> None:
    player = Player(policy(DOWN))
    played(in_order([*outage(upto=130), started(120), ended(130, name="")]), policy(DOWN), player)

    state = player.states[SHOP]
    assert state.current == release(41)
    assert state.rollbacks.running is None
    assert not state.rollbacks.locked_out


def test_one_that_failed_before_it_switched_put_nothing_back() -> None:
    player = Player(policy(DOWN))
    told = in_order([*outage(upto=130), started(120), ended(130, "failed")])
    played(told, policy(DOWN), player)

    assert player.states[SHOP].current == release(42)
    assert player.states[SHOP].rollbacks.locked_out


# People ------------------------------------------------------------------------------------------


def test_an_approval_without_a_name_is_of_what_is_proposed() -> None:
    asking = target(trigger(down()), mode=Mode.APPROVE, safety=DOWN.safety)
    yes = Approved(target=SHOP, at=160, rollback=RollbackId(""), by="ada")

    decisions = played(in_order([*outage(), yes]), policy(asking))

    assert (145.0, "awaiting_approval") in reasons(decisions)
    assert rolled_back(decisions) == [(160, 42, 41)]


def set_to(at: float, mode: Mode | None, until: float | None = None) -> ModeSet:
    return ModeSet(target=SHOP, at=at, mode=mode, until=until, by="ada", reason="")


def test_a_mode_that_a_person_set_counts_until_its_second() -> None:
    decisions = played(in_order([*outage(), set_to(101, Mode.OBSERVE, 167.2)]), policy(DOWN))

    assert (145.0, "observe_mode") in reasons(decisions)
    assert rolled_back(decisions) == [(168, 42, 41)]


def test_a_mode_that_is_taken_back_counts_no_more() -> None:
    told = [*outage(), set_to(101, Mode.OBSERVE), set_to(160.5, None)]

    assert rolled_back(played(in_order(told), policy(DOWN))) == [(161, 42, 41)]


def proposal(at: float, digest: str) -> Proposed:
    asked = RollBack(
        target=SHOP, at=at, trigger=TriggerName("health-down"), bad=release(42), good=release(41),
        plan="app", why="as it was then",
    )  # fmt: skip
    plan = Plan(
        rollback=asked.id, target=SHOP, name="app", from_version=42, to_version=41, steps=(),
        parallel=1, deadline_at=at, hash=digest, settings={},
    )  # fmt: skip
    name = RollbackId("shop-v42-to-v41")
    return Proposed(target=SHOP, at=at, rollback=name, decision=asked, plan=plan)


@pytest.mark.parametrize(("seen", "done"), [("c0ffee", [(160, 42, 41)]), ("another", [])])
def test_an_approval_counts_for_the_plan_that_the_person_saw(
    seen: str, done: list[tuple[float, int, int]]
) -> None:
    asking = target(trigger(down()), mode=Mode.APPROVE, safety=DOWN.safety)
    yes = Approved(target=SHOP, at=160, rollback=RollbackId(""), by="ada", hash=seen)

    decisions = played(in_order([*outage(), proposal(150, "c0ffee"), yes]), policy(asking))

    assert rolled_back(decisions) == done


def test_what_was_withdrawn_is_approved_in_vain() -> None:
    asking = target(trigger(down()), mode=Mode.APPROVE, safety=DOWN.safety)
    asked = proposal(150, "c0ffee")
    gone = Withdrawn(target=SHOP, at=155, rollback=asked.rollback, why="")
    yes = Approved(target=SHOP, at=160, rollback=asked.rollback, by="ada", hash="c0ffee")

    assert rolled_back(played(in_order([*outage(), asked, gone, yes]), policy(asking))) == []


def test_a_pause_holds_until_the_second_it_ends() -> None:
    pause = Paused(target=SHOP, at=101, until=167.2, by="ada", reason="")

    decisions = played(in_order([*outage(), pause]), policy(DOWN))

    assert (145.0, "paused") in reasons(decisions)
    assert rolled_back(decisions) == [(168, 42, 41)]


def test_a_resume_ends_it_sooner() -> None:
    pause = Paused(target=SHOP, at=101, until=math.inf, by="ada", reason="")
    resume = Resumed(target=SHOP, at=150.5, by="ada")

    decisions = played(in_order([*outage(), pause, resume]), policy(DOWN))

    assert rolled_back(decisions) == [(151, 42, 41)]


def test_windows_are_of_the_local_time_that_at_tells() -> None:
    # Epoch second 0 was a Thursday, 01:00 in Berlin.
    office = TimeWindow(
        name="night", days=frozenset({3}), from_minute=62, to_minute=65, tz="Europe/Berlin",
        mode=Mode.OBSERVE,
    )  # fmt: skip
    timed = replace(DOWN, safety=replace(DOWN.safety, windows=(office,)))

    decisions = played(outage(upto=400), policy(timed))

    assert (145.0, "window") in reasons(decisions)
    assert rolled_back(decisions) == [(300, 42, 41)]


# Several targets --------------------------------------------------------------------------------


def three(at: tuple[float, float, float]) -> list[Told]:
    shift = dict(zip("abc", at, strict=True))
    told: list[Told] = []
    for name, later in shift.items():
        told += [replace(t, at=t.at + later) for t in outage(name=TargetName(name), upto=400)]
    return in_order(told)


def test_three_that_break_in_one_second_are_not_rolled_back_in_it() -> None:
    under = policy(*(named(DOWN, name) for name in "abc"))

    decisions = played(three((0, 0, 0)), under)

    assert [d for d in decisions if isinstance(d, RollBack)] == []
    assert {(d.target, key_of(d)[1]) for d in decisions if d.at == 145} == {
        (name, "mass_failure") for name in "abc"
    }


def test_what_is_no_mass_failure_any_more_is_rolled_back() -> None:
    under = policy(*(named(DOWN, name) for name in "abc"))
    alone = outage(name=TargetName("a"), upto=400)
    others = [t for name in "bc" for t in outage(name=TargetName(name), upto=170)]
    well = [look(at, TargetName(name)) for name in "bc" for at in range(175, 400, 10)]

    back = rolled_back(played(in_order([*alone, *others, *well]), under))

    assert len(back) == 1
    assert 175 <= back[0][0] <= 240


def test_what_is_a_mass_failure_stays_one() -> None:
    under = policy(*(named(DOWN, name) for name in "abc"))

    assert rolled_back(played(three((0, 0, 0)), under)) == []


def test_three_that_break_minutes_apart_are_three_bad_releases() -> None:
    under = policy(*(named(DOWN, name) for name in "abc"))

    back = rolled_back(played(three((0, 500, 1000)), under))

    assert [at for at, _, _ in back] == [145, 645, 1145]


# What else is told ------------------------------------------------------------------------------


def test_ticks_and_notes_decide_nothing() -> None:
    noise: list[Told] = [Tick(at=50), Noted(at=120, target="", kind="alert", text="fire")]

    assert played(in_order([*outage(), *noise]), policy(DOWN)) == played(outage(), policy(DOWN))


def test_strangers_are_not_heard() -> None:
    stranger = look(50, TargetName("stranger"), ok=False)

    assert played(in_order([*outage(), stranger]), policy(DOWN)) == played(outage(), policy(DOWN))


def test_another_configuration_holds_from_the_moment_it_came() -> None:
    watching = policy(replace(DOWN, mode=Mode.OBSERVE))
    change = Reconfigured(at=170, policy=policy(DOWN), text="auto")

    decisions = played(in_order([*outage(), change]), watching)

    assert (145.0, "observe_mode") in reasons(decisions)
    assert rolled_back(decisions) == [(170, 42, 41)]


def test_a_target_that_is_no_longer_configured_is_let_go() -> None:
    other = policy(named(DOWN, "other"))
    change = Reconfigured(at=110, policy=other, text="other")

    assert max(d.at for d in played(in_order([*outage(), change]), policy(DOWN))) < 110


def test_a_running_deploy_counts_as_interrupted_when_its_time_is_over() -> None:
    facts: list[Told] = [seen(0, release(41))]
    facts += [look(at) for at in range(5, 100, 10)]
    facts.append(seen(100, release(42, status=ReleaseStatus.RUNNING), release(41)))
    facts += [look(at, ok=False) for at in range(105, 1300, 10)]

    decisions = played(facts, policy(LONG))

    held = [d for d in decisions if isinstance(d, Hold)]
    assert held[-1].reason is not HoldReason.DEPLOY_IN_PROGRESS
    assert [d.at for d in held if d.reason is HoldReason.DEPLOY_IN_PROGRESS]
    assert any(d.at == 1000 for d in held)
    assert TriggerName("health-down") in {d.trigger for d in held}
