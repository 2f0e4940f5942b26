"""A restart forgets nothing and knows nothing new: the time nobody watched is a gap."""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rollbackd.core import deploys_kept, keep, watches_kept
from rollbackd.core.deploys import Deploys
from rollbackd.core.facts import Blessed, ReleasesSeen, Sample, TargetFact, Unlocked
from rollbackd.core.model import (
    HoldReason,
    Json,
    Machine,
    RollBack,
    RollbackOutcome,
    TriggerState,
)
from rollbackd.core.policy import TargetPolicy
from rollbackd.core.probe_track import ProbeTrack
from rollbackd.core.rules import Mode
from rollbackd.core.state import TargetState
from rollbackd.core.watch import SignalWatch, Trust
from tests.unit.core.test_properties import (
    EVERYTHING,
    RELEASE_AT,
    SECONDS,
    TARGET,
    in_order,
    streams,
)
from tests.unit.core.test_properties import PROBES as PROBE_NAMES
from tests.unit.core.test_regression import HOUR, Life
from tests.unit.core.world import (
    PROBES,
    SHOP,
    World,
    breached_world,
    down,
    error_rate,
    failing,
    locks,
    machine,
    regression,
    release,
    slow,
    target,
    trigger,
)

DURABLE = (ReleasesSeen, Unlocked, Blessed)


def written(world: World, now: float, heard: Iterable[str] = ()) -> Any:
    """As it lies on disk."""
    return json.loads(json.dumps(keep.as_json(world.state, now, heard)))


def restarted(
    world: World, now: float, *, one: TargetPolicy | None = None, facts: Iterable[TargetFact] = ()
) -> World:
    """Another process goes on at `now` with what this one kept a moment ago."""
    return revived(written(world, now), world, now, one=one, facts=facts)


def revived(
    kept: Json,
    world: World,
    now: float,
    *,
    one: TargetPolicy | None = None,
    facts: Iterable[TargetFact] = (),
) -> World:
    again = World(one or world.target, now=now)
    ledger = json.loads(json.dumps(world.state.ledger.as_json()))
    keep.revive(again.state, kept, ledger=ledger, facts=facts, now=now, apply=again.tell)
    return again


# Nothing is left out ---------------------------------------------------------------------------


def test_whatever_a_watch_remembers_is_kept() -> None:
    watch = SignalWatch(down(), 0)

    assert vars(watch).keys() - watches_kept.WATCH.keys() == {
        "signal", "delay_seconds", "gauge", "tally", "last_well", "resumed",
    }  # fmt: skip


def test_whatever_a_probe_track_remembers_is_kept() -> None:
    assert vars(ProbeTrack(PROBES[0])).keys() - watches_kept.PROBE.keys() == {"policy", "recent"}


def test_whatever_the_deploys_remember_is_kept() -> None:
    apart = {"known", "seen", "machines", "current", "put_back"}
    own = {"ours", "_first_seen", "_op_ids", "_boots", "_boot_seconds"}

    assert vars(Deploys()).keys() - deploys_kept.DEPLOYS.keys() == apart | own


def test_whatever_a_state_remembers_is_kept_or_told_again() -> None:
    told_again = {"ledger", "rollbacks", "paused_until", "paused_by", "mode_set"}
    of_the_moment = {"decided", "evaluated_at", "local_minutes", "missing_images"}
    made_of_policy = {"policy", "triggers", "_by_probe"}
    parts = {"probes", "watches", "regressions", "deploys"}

    assert set(TargetState.__slots__) - keep.STATE.keys() == (
        told_again | of_the_moment | made_of_policy | parts
    )


def test_what_is_written_reads_back_as_it_was() -> None:
    world = World(EVERYTHING)
    world.machines(1, machine("a", "image-41", 41, boot_seconds=3.0, started_at=0.5, op_id="op"))
    world.releases(2, release(41, created_at=0.25))
    for at in range(5, 96, 10):
        world.ok(at)
        world.ok(at, name="machines")
        world.ratio(at, 1, 30)
        world.buckets(at, (0.5, 9), (2.0, 10), (math.inf, 12))
        world.value(at, 12)
    world.refuse(98, name="database")
    world.miss(99, "locks", "source_error")
    world.sleep(99)
    world.machines(100, machine("a", "image-42", 42))
    world.control(101, ok=False)

    again = restarted(world, 102)

    assert written(again, 102) == written(world, 102)
    assert again.state.current == release(42) or again.state.current == world.state.current


# The same decisions as without the restart --------------------------------------------------------


def ends_without_a_gap(facts: list[TargetFact], name: str, ends: float) -> bool:
    looks = [f.at for f in facts if isinstance(f, Sample) and f.probe == name]
    before = max((at for at in looks if at <= ends), default=-math.inf)
    after = min((at for at in looks if at > ends), default=math.inf)
    return after - before <= 15 or math.isinf(before) or math.isinf(after)


def decisions(facts: list[TargetFact], *, cut_at: float = math.inf, gap: float = 0) -> list[object]:
    """One every five seconds. At `cut_at` the process ends; what comes in the `gap` is lost."""
    world, index, told = World(TARGET), 0, list[TargetFact]()
    found: list[object] = []
    for now in range(0, SECONDS + 30, 5):
        if now >= cut_at:
            if gap:
                facts = [f for f in facts[index:] if isinstance(f, DURABLE) or f.at > now + gap]
                index = 0
            world, cut_at = restarted(world, now, facts=told), math.inf
        while index < len(facts) and facts[index].at <= now:
            world.tell(facts[index])
            if isinstance(facts[index], DURABLE):
                told.append(facts[index])
            index += 1
        decision = world.decide(now)
        reason = "roll_back" if isinstance(decision, RollBack) else decision.reason
        found.append((reason, decision.trigger, decision.bad, decision.good, decision.verdicts))
        if isinstance(decision, RollBack):
            break
    return found


@settings(max_examples=20, deadline=None)
@given(streams(), st.integers(0, SECONDS))
def test_a_restart_without_a_gap_changes_no_decision(facts: list[TargetFact], cut_at: int) -> None:
    """A look that was missed just then is taken for one that was lost."""
    ends = 5 * math.ceil(cut_at / 5) - 5
    assume(all(ends_without_a_gap(facts, name, ends) for name in PROBE_NAMES))

    assert decisions(facts, cut_at=cut_at) == decisions(facts)


@settings(max_examples=20, deadline=None)
@given(streams(gaps=10_000), st.integers(0, SECONDS), st.integers(1, 150), st.booleans())
def test_a_restart_with_a_gap_neither_adds_nor_hastens_a_rollback(
    facts: list[TargetFact], cut_at: int, gap: int, dated: bool
) -> None:
    """Whether the platform tells when the release was made or not.

    v41 is vouched for: what was never seen before v42 came cannot spoil its good name.
    """
    made_at = RELEASE_AT if dated else None
    vouched = Blessed(target=SHOP, at=0.1, version=41, by="eva", reason="looked")
    facts = in_order([*facts, vouched])
    facts = [
        replace(fact, releases=tuple(replace(r, created_at=made_at) for r in fact.releases))
        if isinstance(fact, ReleasesSeen) and fact.at == RELEASE_AT
        else fact
        for fact in facts
    ]

    assert acted(decisions(facts, cut_at=cut_at, gap=gap)) >= acted(decisions(facts))


def acted(found: list[object]) -> float:
    """After how many decisions it rolled back; inf: never."""
    last = found[-1]
    return len(found) if isinstance(last, tuple) and last[0] == "roll_back" else math.inf


# What a regression trigger remembers is kept apart ------------------------------------------------


def outage(one: Life) -> Life:
    one.dead = lambda at: at > HOUR + 100
    return one


def went_on(
    told: Life, *, spoil: Callable[[Any], object] = lambda kept: kept, one: Life | None = None
) -> Life:
    """Another process goes on with both parts."""
    world = told.world
    large = json.loads(json.dumps(keep.regressions_as_json(world.state, told.at)))
    again = outage(one or Life())
    again.at = told.at
    again.world = World(again.world.target, now=told.at)
    keep.revive(
        again.world.state,
        written(world, told.at),
        regressions=spoil(large),
        ledger=world.state.ledger.as_json(),
        facts=(),
        now=told.at,
        apply=again.world.tell,
    )
    return again


@pytest.mark.parametrize("cut", [10, 90, 110, 130])
def test_evidence_and_baseline_go_on_where_they_were(cut: int) -> None:
    told = outage(Life()).run(HOUR).deploy().run(HOUR + cut)

    assert went_on(told).run(HOUR + 300).since() == 140


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _kept: None,
        lambda kept: kept | {"at": 1e9},
        lambda kept: kept | {"version": 0},
        lambda kept: kept | {"kept": {"worse": {"mark": 0, "kept": {}}}},
        lambda kept: kept | {"kept": {"worse": kept["kept"]["worse"] | {"kept": {"clock": []}}}},
    ],
)
def test_without_its_history_it_has_all_to_learn(spoil: Callable[[Any], object]) -> None:
    told = outage(Life()).run(HOUR).deploy().run(HOUR + 50)

    again = went_on(told, spoil=spoil).run(HOUR + 300)

    assert again.rolled_at is None
    assert again.watch.learning()


def test_another_rule_has_all_to_learn() -> None:
    told = outage(Life()).run(HOUR).deploy().run(HOUR + 50)

    again = went_on(told, one=Life(regression(odds=500))).run(HOUR + 300)

    assert again.rolled_at is None
    assert again.watch.learning()


def failing_a_little(one: Life, rate: float) -> Life:
    one.errors = lambda at: rate if at > HOUR else 0.001
    return one


@pytest.mark.parametrize(("rate", "within"), [(0.02, 200), (0.004, 1800)])
def test_a_release_that_the_kept_history_does_not_know_is_judged_as_a_new_one(
    rate: float, within: float
) -> None:
    """Not by the age and the baseline of the release before."""
    told = failing_a_little(Life(), rate).run(HOUR)
    older = keep.regressions_as_json(told.world.state, HOUR)
    told.deploy().run(HOUR + 10)

    again = went_on(told, spoil=lambda _kept: json.loads(json.dumps(older)))
    assert again.watch.begun_at == HOUR
    since = failing_a_little(again, rate).run(HOUR + 2400).since()

    assert since is not None
    assert since <= within


def test_the_record_of_our_own_rollback_begins_nothing() -> None:
    told = outage(Life()).run(HOUR).deploy().run(HOUR + 200)
    told.world.started(HOUR + 200, release(42), release(41))
    told.world.releases(HOUR + 205, release(43, content="image-41"), release(42), release(41))
    told.run(HOUR + 210)

    again = went_on(told)

    assert again.world.state.deploys.current_since == HOUR + 205
    assert again.watch.begun_at == told.watch.begun_at == HOUR


# A restart in the middle of a bad deploy ----------------------------------------------------------


def test_a_breach_is_a_breach_after_the_restart() -> None:
    again = restarted(breached_world(), 146)

    assert isinstance(again.decide(146), RollBack)


def test_what_was_pending_goes_on() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    world.bad_deploy()
    world.fail(115, 125, 135)

    again = restarted(world, 136)
    again.fail(145)

    assert isinstance(again.decide(146), RollBack)


def test_a_look_lost_in_the_restart_is_a_gap() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    world.bad_deploy()
    world.fail(115, 125, 135)

    again = restarted(world, 136)
    again.fail(155)  # without a restart 20 seconds are no gap

    assert again.verdict(156).state is TriggerState.PENDING


def test_after_the_gap_the_release_is_still_the_one_to_blame() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    world.bad_deploy()

    again = restarted(world, 106)
    again.fail(150, 160, 170, 180)

    assert isinstance(again.decide(181), RollBack)


def test_what_was_ill_before_the_release_stays_so() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    world.fail(96, 98)
    world.releases(100, release(42), release(41))
    world.fail(110, 120)

    again = restarted(world, 121)
    again.fail(180, 190, 200, 210, 220)

    assert again.reason(221) is HoldReason.NOT_SINCE_RELEASE


def killed_while_deploying(created_at: float | None, *, saved_at: float = 97) -> World:
    """Seen well until 95; v42 was made then and is seen after the restart, at 130."""
    world = World(target(trigger(down())))
    world.good_start()
    again = restarted(world, saved_at)
    again.fail(128)
    again.releases(130, release(42, created_at=created_at), release(41))
    again.fail(*range(191, 260, 10))
    return again


def test_a_release_that_came_while_nobody_watched_is_blamed_where_it_was_well_just_before() -> None:
    assert isinstance(killed_while_deploying(100).decide(255), RollBack)


def test_or_where_no_look_before_it_was_lost() -> None:
    assert isinstance(killed_while_deploying(110, saved_at=111).decide(255), RollBack)


def test_else_nobody_knows_how_it_was_before() -> None:
    """It was made so late that a look before it was lost."""
    assert killed_while_deploying(110).reason(255) is HoldReason.AWAITING_APPROVAL


def test_what_was_bad_before_an_undated_release_was_seen_is_not_its_fault() -> None:
    assert killed_while_deploying(None).reason(255) is HoldReason.NOT_SINCE_RELEASE


def test_a_bad_look_before_the_release_was_made_is_not_its_fault() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    world.fail(99)
    again = restarted(world, 100)
    again.ok(128)
    again.releases(130, release(42, created_at=101), release(41))
    again.fail(*range(191, 260, 10))

    assert again.reason(255) is HoldReason.AWAITING_APPROVAL


def test_a_refusal_before_the_release_was_made_is_no_good_name() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    world.refuse(99)
    again = restarted(world, 100)
    again.fail(128)
    again.releases(130, release(42, created_at=101), release(41))
    again.fail(*range(191, 260, 10))

    assert again.reason(255) is HoldReason.AWAITING_APPROVAL


def test_the_settling_of_a_release_goes_on_where_it_was() -> None:
    world = World(target(trigger(failing())))
    world.good_start()
    world.bad_deploy(answers=False)
    world.fail(105)

    again = restarted(world, 106)
    again.fail(115)

    assert again.state.suppressed == 2
    assert again.state.deploys.settle_from == 100


# What was kept by itself --------------------------------------------------------------------------


def started_world() -> tuple[World, list[TargetFact]]:
    world = breached_world()
    told: list[TargetFact] = [
        ReleasesSeen(target=SHOP, at=100, releases=(release(42), release(41)))
    ]
    return world, told


def test_a_switch_that_was_not_written_down_yet_happens_on_top() -> None:
    world = breached_world()
    kept = written(world, 146)
    again = World(world.target, now=150)
    hearer = World(world.target)
    told: list[TargetFact] = []
    hearer.tell = told.append  # type: ignore[method-assign]  # records what would be told
    hearer.releases(100, release(42), release(41))
    hearer.started(147, release(42), release(41))
    hearer.switched(149)

    keep.revive(
        again.state,
        kept,
        ledger=world.state.ledger.as_json(),
        facts=told,
        now=150,
        apply=again.tell,
    )

    assert again.state.current == release(41)
    assert again.verdict(150).state is TriggerState.NO_DATA


def test_a_switch_that_was_written_down_does_not_happen_again() -> None:
    world = breached_world()
    told: list[TargetFact] = []
    hearer = World(world.target)
    hearer.tell = told.append  # type: ignore[method-assign]  # records what would be told
    hearer.releases(100, release(42), release(41))
    hearer.started(147, release(42), release(41))
    hearer.switched(149)
    for fact in told[1:]:
        world.tell(fact)
    world.ok(150, 155)
    kept = written(world, 156, [keep.mark(fact) for fact in told[1:]])

    again = revived(kept, world, 157, facts=told)

    assert again.verdict(157).state is TriggerState.OK
    assert again.state.rollbacks.running is not None


def test_what_was_pending_when_its_successor_came_is_not_called_good_by_a_restart() -> None:
    world = World(target(trigger(down())))
    told: list[TargetFact] = [
        ReleasesSeen(target=SHOP, at=0, releases=(release(41),)),
        ReleasesSeen(target=SHOP, at=100, releases=(release(42), release(41))),
    ]
    world.tell(told[0])
    world.ok(5, 15, 25, 35)
    world.fail(85, 95)
    world.tell(told[1])
    assert world.state.ledger.standing(release(41)) == "unknown"

    again = restarted(world, 101, facts=told)

    assert again.state.ledger.standing(release(41)) == "unknown"


def test_the_ledger_as_written_is_the_truth_about_what_was_heard_before_it() -> None:
    """What took the quarantine back is forgotten sooner than the rollback is."""
    world = breached_world()
    told: list[TargetFact] = []
    hearer = World(world.target)
    hearer.tell = told.append  # type: ignore[method-assign]  # records what would be told
    hearer.started(147, release(42), release(41))
    kept = written(world, 150, [keep.mark(told[0])])

    again = revived(kept, world, 151, facts=told)

    assert release(42) not in again.state.ledger.quarantined


def test_without_a_kept_state_the_facts_are_all_there_is() -> None:
    world = World(target(trigger(down())))
    told = [ReleasesSeen(target=SHOP, at=0, releases=(release(41),))]

    again = revived(None, world, 5, facts=told)

    assert again.state.current == release(41)


def test_a_rollback_that_ended_keeps_its_budget_and_lock() -> None:
    world = breached_world()
    told: list[TargetFact] = []
    hearer = World(world.target)
    hearer.tell = told.append  # type: ignore[method-assign]  # records what would be told
    hearer.started(147, release(42), release(41))
    hearer.ended(149, RollbackOutcome.FAILED)

    again = restarted(world, 150, facts=told)

    assert again.state.rollbacks.locked_out
    assert again.reason(151) is HoldReason.LOCKED_OUT


# Only what is still the same ----------------------------------------------------------------------


def test_another_trigger_of_that_name_begins_anew() -> None:
    other = target(trigger(down(at_least=3, of_last=4)))

    again = restarted(breached_world(), 146, one=other)

    assert again.verdict(146).state is TriggerState.NO_DATA
    assert again.state.watches[next(iter(again.state.watches))].counts_after == 100


def test_another_setting_of_the_probe_begins_anew() -> None:
    before = target(trigger(down()), fingerprints={"probe:health": "a"})
    after = target(trigger(down()), fingerprints={"probe:health": "b"})

    again = restarted(breached_world(before), 146, one=after)

    assert again.verdict(146).state is TriggerState.NO_DATA
    assert next(iter(again.state.probes.values())).looked_at is None


def test_another_mode_of_the_target_changes_nothing() -> None:
    calm = replace(breached_world().target, mode=Mode.APPROVE)

    again = restarted(breached_world(), 146, one=calm)

    assert again.reason(146) is HoldReason.AWAITING_APPROVAL


def test_a_veto_is_kept_like_a_signal() -> None:
    one = target(trigger(down(), unless=(failing("database"),)))
    world = World(one)
    world.good_start()
    world.ok(*range(6, 96, 10), name="database")
    world.bad_deploy()
    world.fail(115, 125, 135, 145)
    world.ok(140, name="database")

    assert isinstance(restarted(world, 146).decide(146), RollBack)


# Whatever lies on the disk ------------------------------------------------------------------------

anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)
MOTLEY = target(
    trigger(down()),
    trigger(error_rate(for_seconds=10, min_samples=5), name="errors"),
    trigger(slow(for_seconds=0), name="slow"),
    trigger(locks(for_seconds=5, clear=locks(10).breach), name="locks"),
)


def healthy() -> World:
    world = World(MOTLEY)
    world.machines(0, machine("a", "image-41", 41, boot_seconds=2.0, started_at=-5.0))
    world.releases(0, release(41))
    for at in range(5, 96, 10):
        world.ok(at)
        world.ratio(at, 0, 30)
        world.buckets(at, (0.5, 12), (2.0, 12), (math.inf, 12))
        world.value(at, 1)
    return world


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    below_it = [
        inner
        for key in keys
        if isinstance(value[key], dict | list)
        for inner in places(value[key], (*path, key))
    ]
    return [*((*path, key) for key in keys), *below_it]


@settings(max_examples=100, deadline=None)
@given(anything)
def test_no_json_at_all_can_break_the_start(kept: Any) -> None:
    again = revived(kept, World(TARGET), 100)

    assert all(watch.breached_at is None for watch in again.state.watches.values())


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_nothing_in_a_spoiled_state_makes_a_breach(data: st.DataObject) -> None:
    world = healthy()
    kept = written(world, 96)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(places(kept)))
        spot = kept
        for key in path[:-1]:
            spot = spot[key]
            if not isinstance(spot, dict | list):
                break
        else:
            spot[path[-1]] = data.draw(anything | st.floats(0, 96))

    again = revived(kept, world, 97)
    decision = again.decide(97)

    assert not isinstance(decision, RollBack)
    assert all(v.state is not TriggerState.BREACHED for v in decision.verdicts)


@pytest.mark.parametrize("spoil", ["at", "looked", "samples"])
def test_a_state_from_the_future_is_another_clocks(spoil: str) -> None:
    world = healthy()
    kept = written(world, 5000 if spoil == "at" else 96)
    if spoil == "looked":
        kept["deploys"]["releases_at"] = 5000
    if spoil == "samples":
        kept["probes"]["health"]["at"] = 5000

    again = revived(kept, world, 97)
    again.ok(98)

    assert again.state.probes[PROBES[0].name].ok_at == 98


def test_the_numbers_it_was_made_from_must_carry_a_breach() -> None:
    world = healthy()
    kept = written(world, 96)
    for row in kept["watches"]:
        row[4]["bad_since"] = row[4]["breached_at"] = 95.0

    again = revived(kept, world, 97)

    assert again.verdict(97, 0).state is TriggerState.NO_DATA
    assert again.verdict(97, 1).state is TriggerState.NO_DATA


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("judged_at", None),
        ("bad_since", 96.0),
        ("breached_at", 95.0),
        ("seen_at", 5000.0),
        ("seen_at", math.inf),
        ("covered_seconds", -1.0),
        ("covered_seconds", True),
        ("before", 1),
        ("gauge", {}),
        ("tally", [[95.0, True], [85.0, True]]),
        ("last_well", [1.0]),
    ],
)
def test_a_watch_with_anything_odd_begins_anew(name: str, value: Any) -> None:
    world = healthy()
    kept = written(world, 96)
    kept["watches"][0][4][name] = value

    again = revived(kept, world, 97)

    assert again.verdict(97, 0).state is TriggerState.NO_DATA
    assert again.verdict(97, 1).state is TriggerState.OK


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ratio", {"samples": [[95.0, 2.0, 1.0]], "bad": 2.0, "total": 1.0, "dropped": 0}),
        ("ratio", {"samples": [[95.0, 1.0, 2.0]], "bad": 9.0, "total": 2.0, "dropped": 0}),
        ("histogram", {"bounds": [0.5], "samples": [], "sums": [1.0], "dropped": 0}),
        ("histogram", {"bounds": [2, 1], "samples": [], "sums": [], "dropped": 0}),
        ("histogram", {"bounds": [1], "samples": [[95, [1, 2]]], "sums": [], "dropped": 0}),
        ("histogram", {"bounds": [1, 2], "samples": [[95, [2, 1]]], "sums": [], "dropped": 0}),
    ],
)
def test_rings_that_cannot_be_begin_anew(name: str, value: Any) -> None:
    world = healthy()
    kept = written(world, 96)
    for row in kept["watches"]:
        row[4]["gauge"][name] = value

    again = revived(kept, world, 97)

    assert [again.verdict(97, n).state for n in range(4)] == [TriggerState.NO_DATA] * 4


def test_a_release_of_no_known_status_is_none() -> None:
    world = healthy()
    kept = written(world, 96)
    kept["deploys"]["known"][0]["status"] = "splendid"

    assert revived(kept, world, 97).state.current is None


def test_a_veto_that_is_another_now_begins_anew_and_counts_at_once() -> None:
    world = World(target(trigger(down(), unless=(failing("database"),))))
    world.good_start()
    world.ok(95, name="database")

    again = restarted(world, 96, one=target(trigger(down(), unless=(failing("machines"),))))
    again.ok(97, name="machines")

    assert all(w.gauge.looks for w in again.state.watches.values())


def test_before_any_release_there_is_nothing_to_compare() -> None:
    world = World(Life().world.target)
    world.ok(5)

    again = restarted(world, 6)

    assert again.state.current is None


@pytest.mark.parametrize("machines", ["none", [1], [{"id": 5}], [{"id": "a", "started_at": "x"}]])
def test_machines_that_are_none_spoil_the_whole(machines: Any) -> None:
    world = healthy()
    kept = written(world, 96)
    kept["deploys"]["machines"] = machines

    assert revived(kept, world, 97).state.current is None


def test_a_kept_machine_without_what_an_older_version_did_not_know_is_a_machine() -> None:
    world = healthy()
    kept = written(world, 96)
    del kept["deploys"]["machines"][0]["private_ip"]

    again = revived(kept, world, 97)

    assert again.state.deploys.machines == world.state.deploys.machines
    assert isinstance(again.state.deploys.machines, tuple)
    assert isinstance(again.state.deploys.machines[0], Machine)


def test_a_kept_release_without_its_version_is_none() -> None:
    world = healthy()
    kept = written(world, 96)
    del kept["deploys"]["known"][0]["version"]

    again = revived(kept, world, 97)

    assert again.state.current is None


def test_what_was_put_back_is_told_from_a_release_with_a_record() -> None:
    world = breached_world()
    world.started(147, release(42), release(41))
    world.switched(149)

    again = restarted(world, 150)

    assert again.state.deploys.current is again.state.deploys.put_back
    assert again.state.current == release(41)
    assert again.state.ledger is not world.state.ledger


def test_trust_is_one_of_three_words() -> None:
    world = healthy()
    kept = written(world, 96)
    kept["watches"][0][4]["before"] = "splendid"

    again = revived(kept, world, 97)

    assert next(iter(again.state.watches.values())).before is Trust.UNKNOWN


def test_whose_operations_machines_carried_is_known_after_a_restart() -> None:
    world = World(target(trigger(down())))
    world.releases(0, release(41))
    world.machines(1, machine("a", "image-41", 41, op_id="rb:1"), machine("b", "image-41", 41))
    kept = world.state.deploys.as_json()
    again = World(target(trigger(down()))).state.deploys

    again.restore(kept)

    carried = [one["op_ids"] for one in (kept, again.as_json())]
    for each in carried:
        assert isinstance(each, list)
        assert set(each) == {"rb:1", None}
