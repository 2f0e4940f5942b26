import json
import math
from dataclasses import replace

from rollbackd.core.model import (
    GateSays,
    HoldReason,
    RollBack,
    RollbackId,
    TargetName,
    TriggerState,
)
from rollbackd.core.runbook import Phase, Plan, Step
from rollbackd.core.snapshot import RollbackView
from rollbackd.telemetry import shapes
from rollbackd.telemetry.advice import ANEW, WOULD_NEED, to_act
from rollbackd.telemetry.shapes import About
from tests import support_views as views

ABOUT = About(version="1.2.3", started_at=views.T0)


def test_the_status_before_the_first_turn_has_no_targets_yet() -> None:
    answer = shapes.status(None, ABOUT)

    assert answer["targets"] == []
    assert answer["control_ok"] is None


def test_the_status_says_when_the_configuration_was_refused() -> None:
    refused = replace(ABOUT, config_error="line 3: unknown key")

    answer = shapes.status(views.snapshot(), refused)

    assert answer["config"] == {
        "hash": "0123456789abcdef",
        "ok": False,
        "error": "line 3: unknown key",
    }


def test_a_target_shows_its_release_its_goal_and_its_decision() -> None:
    answer = shapes.target(views.target())

    assert (answer["name"], answer["app"], answer["mode"]) == ("shop", "hotdash", "auto")
    assert answer["release"] == shapes.release(views.target().releases[0])
    assert isinstance(answer["goal"], dict)
    assert answer["goal"]["version"] == 41
    assert isinstance(answer["decision"], dict)
    assert answer["decision"]["reason"] == "ok"
    assert answer["rollback"] is None


def test_a_roll_back_decision_names_both_releases() -> None:
    decision = RollBack(
        target=TargetName("shop"),
        at=views.T0,
        trigger=views.TriggerName("errors"),
        bad=views.release(42),
        good=views.release(41),
        plan="app",
    )

    answer = shapes.decision(decision)
    by_hand = shapes.decision(replace(decision, trigger=None))

    assert answer is not None
    assert by_hand is not None
    assert (answer["kind"], answer["reason"]) == ("roll_back", "auto")
    assert (answer["from_version"], answer["to_version"]) == (42, 41)
    assert by_hand["reason"] == "manual"


def test_numbers_that_json_cannot_write_become_null() -> None:
    odd = views.verdict(value=math.nan, threshold=math.inf, since=-math.inf)
    decision = views.hold(evidence={"odds": math.inf, "list": [math.nan, {"deep": -math.inf}]})
    view = views.target(verdicts=(odd,), decision=decision)

    answer = shapes.target(view)

    json.dumps(answer, allow_nan=False)
    assert isinstance(answer["decision"], dict)
    assert answer["decision"]["evidence"] == {"odds": None, "list": [None, {"deep": None}]}


def test_a_running_rollback_is_shown() -> None:
    running = RollbackView(
        rollback=RollbackId("r1"), bad_version=42, good_version=41, started_at=views.T0,
        cause="by hand: v42 -> v41",
    )  # fmt: skip

    assert shapes.rollback(running) == {
        "id": "r1",
        "from_version": 42,
        "to_version": 41,
        "started_at": views.T0,
        "switched_at": None,
        "cause": "by hand: v42 -> v41",
    }


def test_a_plan_is_shown_step_by_step_without_its_settings() -> None:
    step = Step(
        seq=1,
        phase=Phase.EXECUTE,
        kind="update",
        name="update m1",
        params={"config": {"env": {"KEY": "opensesame"}}},
        op_key="r1/1",
        mutates=True,
    )
    frozen = Plan(
        rollback=RollbackId("r1"),
        target=TargetName("shop"),
        name="app",
        from_version=42,
        to_version=41,
        steps=(step,),
        parallel=1,
        deadline_at=views.T0,
        hash="abc",
        settings={"token": "opensesame"},
        notes=("keeps 3 machines",),
    )

    answer = shapes.plan(frozen)

    assert answer["steps"] == [
        {"seq": 1, "phase": "execute", "kind": "update", "name": "update m1", "mutates": True}
    ]
    assert "opensesame" not in json.dumps(answer)


def test_a_row_of_the_store_speaks_the_words_of_the_api() -> None:
    row = shapes.past({"rollback": "r1", "decided_at": 5.0, "why": "errors", "state": "running"})

    assert (row["id"], row["started_at"], row["reason"]) == ("r1", 5.0, "errors")
    assert shapes.past(row) == row
    assert row["steps"] == []


def test_every_reason_to_hold_says_what_it_would_need() -> None:
    assert set(WOULD_NEED) == set(HoldReason)


def test_without_a_breach_the_triggers_come_first_then_the_gates_in_order() -> None:
    gates = [
        GateSays(reason=HoldReason.PAUSED, holds=True, why="by ann until 12:00"),
        GateSays(reason=HoldReason.LEARNING, holds=False, why="enough history"),
        GateSays(reason=HoldReason.OBSERVE_MODE, holds=True),
    ]

    lines = to_act(views.hold(HoldReason.OK), gates)

    assert len(lines) == 3
    assert lines[0].startswith("errors has to breach, it is ok (2.1 %")
    assert lines[1].endswith("(by ann until 12:00)")
    assert lines[2] == WOULD_NEED[HoldReason.OBSERVE_MODE]


def test_with_a_breach_only_the_gates_are_left() -> None:
    breached = (views.verdict(TriggerState.BREACHED),)
    gates = [GateSays(reason=HoldReason.COOLING_DOWN, holds=True)]

    lines = to_act(views.hold(HoldReason.COOLING_DOWN, verdicts=breached), gates)

    assert lines == [WOULD_NEED[HoldReason.COOLING_DOWN]]


def test_a_hold_that_no_gate_names_is_still_explained() -> None:
    breached = (views.verdict(TriggerState.BREACHED),)

    lines = to_act(views.hold(HoldReason.ASLEEP, verdicts=breached), [])

    assert lines == [WOULD_NEED[HoldReason.ASLEEP]]


def test_while_a_rollback_runs_it_has_to_end_and_nothing_else_counts() -> None:
    gates = [
        GateSays(reason=HoldReason.ROLLING_BACK, holds=True, why="r1 is under way"),
        GateSays(reason=HoldReason.RELEASE_IS_ROLLBACK, holds=True, why="v43 was put back"),
    ]

    lines = to_act(views.hold(HoldReason.OK), gates)

    assert lines == ["the rollback that is running has to end (r1 is under way)"]


def test_what_was_rejected_is_not_something_to_approve() -> None:
    breached = (views.verdict(TriggerState.BREACHED),)
    gates = [GateSays(reason=HoldReason.AWAITING_APPROVAL, holds=True, why="rejected by bob: sale")]

    lines = to_act(views.hold(HoldReason.AWAITING_APPROVAL, verdicts=breached), gates)

    assert lines == [f"{ANEW} (rejected by bob: sale)"]


def test_a_decision_to_roll_back_needs_nothing_more() -> None:
    decision = RollBack(
        target=TargetName("shop"),
        at=views.T0,
        trigger=views.TriggerName("errors"),
        bad=views.release(42),
        good=views.release(41),
        plan="app",
    )

    assert to_act(decision, []) == []


def test_an_explanation_holds_all_gates_and_the_numbers() -> None:
    gates = [GateSays(reason=HoldReason.PAUSED, holds=False, why="not paused")]

    answer = shapes.explanation(views.hold(), gates, views.target())

    assert answer["gates"] == [{"reason": "paused", "holds": False, "why": "not paused"}]
    assert answer["triggers"] == [shapes.trigger(views.verdict())]


def test_an_explanation_begins_with_the_numbers_and_ends_with_where_it_would_go() -> None:
    answer = shapes.explanation(views.hold(), [], views.target())

    assert next(iter(answer)) == "target"
    assert answer["headline"] == "shop v42 is well: 2.1 % of 1,200 requests failed, limit 5 %"
    assert answer["then"] == ""
    assert isinstance(answer["goal"], dict)
    assert answer["goal"]["version"] == 41
    assert answer["trial"] == "would have acted once in 14 releases"


def test_what_a_gate_adds_to_the_first_sentence_is_said_once() -> None:
    first = "shop v42 is bad: 2.1 % of 1,200 requests failed, limit 5 %"
    held = views.hold(
        HoldReason.OBSERVE_MODE,
        why=f"{first}; the mode is observe",
        trigger=views.TriggerName("errors"),
        bad=views.release(42),
    )

    answer = shapes.target(views.target(decision=held))

    assert (answer["headline"], answer["then"]) == (first, "the mode is observe")


def test_before_the_first_decision_there_is_no_first_sentence() -> None:
    answer = shapes.target(views.target(decision=None))

    assert (answer["headline"], answer["then"]) == ("", "")


def test_evidence_has_its_odds_and_a_word() -> None:
    compared = views.verdict(value=4611.0, threshold=2000.0, evidence={"odds": 4611.0})

    assert shapes.trigger(compared)["odds"] == 4611.0
    assert shapes.trigger(compared)["level"] == "act"
    plain = shapes.trigger(views.verdict())
    assert (plain["odds"], plain["level"]) == (None, "")


def test_a_release_says_why_and_whose_it_is() -> None:
    view = views.ReleaseView(
        release=views.release(42, commit="3f2a91c0"),
        standing="bad",
        why="breached errors",
        passed_over="bad: breached errors",
        url="https://ci.example/7",
    )

    answer = shapes.release(view)

    assert (answer["commit"], answer["url"]) == ("3f2a91c0", "https://ci.example/7")
    assert (answer["why"], answer["passed_over"]) == ("breached errors", "bad: breached errors")


def test_the_status_lists_the_newest_releases_only() -> None:
    many = tuple(
        views.ReleaseView(release=views.release(v), standing="good") for v in range(40, 0, -1)
    )

    answer = shapes.target(views.target(releases=many))

    assert isinstance(answer["releases"], list)
    assert len(answer["releases"]) == shapes.SHOWN
    assert answer["releases"][0] == shapes.release(many[0])
