"""Where a rollback stands, read from its journal rows."""

import pytest

from rollbackd.core.model import JsonObject, RollbackId, TargetName
from rollbackd.core.runbook import Phase, Plan, RollbackState, Step, StepRow, StepState, progress

S = StepState


def row(seq: int, phase: Phase, state: StepState, *, mutates: bool = True) -> StepRow:
    step = Step(
        seq=seq, phase=phase, kind="k", name=f"s{seq}", params={}, op_key="op", mutates=mutates
    )
    return StepRow(step=step, state=state)


def test_the_first_phase_with_an_open_step_is_where_it_stands() -> None:
    rows = [
        row(3, Phase.VERIFY, S.PENDING),
        row(2, Phase.EXECUTE, S.PENDING),
        row(1, Phase.EXECUTE, S.FAILED),
        row(0, Phase.CHECKLIST, S.DONE),
    ]

    found = progress(rows)

    assert found.phase is Phase.EXECUTE
    assert [step.seq for step in found.next] == [1, 2]
    assert found.doubt == ()


def test_what_was_started_or_is_unknown_is_in_doubt() -> None:
    rows = [
        row(2, Phase.EXECUTE, S.UNKNOWN),
        row(1, Phase.EXECUTE, S.STARTED),
        row(0, Phase.EXECUTE, S.SKIPPED),
    ]

    found = progress(rows)

    assert [step.seq for step in found.doubt] == [1, 2]
    assert found.next == ()


def test_a_finished_rollback_has_no_phase() -> None:
    found = progress([row(0, Phase.EXECUTE, S.DONE), row(1, Phase.TEST, S.SKIPPED)])

    assert (found.phase, found.doubt, found.next) == (None, (), ())


def test_an_effect_is_one_that_mutates_and_may_have_happened() -> None:
    for state in StepState:
        done = state in {S.STARTED, S.DONE, S.UNKNOWN}
        assert progress([row(0, Phase.EXECUTE, state)]).applied_any is done
        assert not progress([row(0, Phase.EXECUTE, state, mutates=False)]).applied_any


def test_a_rollback_is_over_in_its_terminal_states_only() -> None:
    over = {state for state in RollbackState if state.terminal}

    assert over == {
        RollbackState.SUCCEEDED, RollbackState.COMPENSATED, RollbackState.FAILED,
        RollbackState.CANCELLED, RollbackState.SUPERSEDED,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "moves"),
    [({}, True), ({"parts": ["database", "app"]}, True), ({"parts": ["database"]}, False)],
)
def test_a_plan_without_the_app_leaves_the_release_that_runs(
    settings: JsonObject, moves: bool
) -> None:
    plan = Plan(
        rollback=RollbackId("r"),
        target=TargetName("shop"),
        name="p",
        from_version=43,
        to_version=42,
        steps=(),
        parallel=1,
        deadline_at=0.0,
        hash="",
        settings=settings,
    )

    assert plan.moves_app is moves
