"""A rollback counts as proved only after an unbroken clear run."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollbackd.core.model import RollbackOutcome, TriggerName, TriggerState, Verdict
from rollbackd.core.policy import After
from rollbackd.core.proof import GAP_SECONDS, Proof, Proved

AFTER = After(smoke=(), clear_for_seconds=10, monitor_seconds=0, prove_within_seconds=30)


def verdict(name: str, state: TriggerState, why: str = "") -> Verdict:
    return Verdict(trigger=TriggerName(name), state=state, since=0, why=why)


OK_SLOW = verdict("slow", TriggerState.OK)


def proof(trigger: str | None = "errors", *, undo: bool = False) -> Proof:
    name = TriggerName(trigger) if trigger else None
    return Proof(trigger=name, after=AFTER, switched_at=100, undo=undo)


def end(running: Proof, verdicts: list[Verdict], until: float, after: float = 100) -> Proved | None:
    """Look once a second; None where it is open even then."""
    looks = [running.look(verdicts, at) for at in range(int(after) + 1, int(until) + 1)]
    assert looks[:-1] == [None] * (len(looks) - 1)
    return looks[-1]


def outcome(
    running: Proof, verdicts: list[Verdict], until: float, after: float = 100
) -> RollbackOutcome | None:
    proved = end(running, verdicts, until, after)
    return proved.outcome if proved else None


def test_a_clear_run_of_the_full_time_is_recovered_with_both_times() -> None:
    running = proof()
    ok = [verdict("errors", TriggerState.OK)]

    looks = [running.look(ok, at) for at in (103.0, 108.0, 112.9, 113.0)]

    proved = Proved(outcome=RollbackOutcome.RECOVERED, recovered_at=103.0, proved_at=113.0)
    assert looks == [None, None, None, proved]


def test_a_break_starts_the_clear_run_afresh() -> None:
    running = proof()
    running.look([verdict("errors", TriggerState.OK)], 100)
    running.look([verdict("errors", TriggerState.PENDING)], 109)

    assert running.look([verdict("errors", TriggerState.OK)], 111) is None
    assert running.clear_since == 111


def test_a_trigger_still_breached_at_the_end_is_not_recovered() -> None:
    running = proof()
    breached = [verdict("errors", TriggerState.BREACHED)]

    assert outcome(running, breached, 130) is RollbackOutcome.NOT_RECOVERED


def test_a_pending_trigger_at_the_end_is_not_recovered() -> None:
    pending = [verdict("errors", TriggerState.PENDING)]

    assert outcome(proof(), pending, 130) is RollbackOutcome.NOT_RECOVERED


def test_too_little_traffic_is_unproven_and_not_a_failure() -> None:
    no_data = [verdict("errors", TriggerState.NO_DATA)]

    assert outcome(proof(), no_data, 130) is RollbackOutcome.RECOVERED_UNPROVEN


def test_only_the_trigger_that_asked_is_looked_at() -> None:
    both = [verdict("errors", TriggerState.OK), verdict("slow", TriggerState.BREACHED)]

    assert outcome(proof(), both, 111) is RollbackOutcome.RECOVERED


def test_a_rollback_by_hand_needs_every_trigger_clear() -> None:
    running = proof(None)
    both = [verdict("errors", TriggerState.OK), verdict("slow", TriggerState.NO_DATA)]

    assert outcome(running, both, 130) is RollbackOutcome.RECOVERED_UNPROVEN


def test_a_trigger_that_is_gone_from_the_policy_falls_back_to_all() -> None:
    running = proof("removed")
    ok = [verdict("errors", TriggerState.OK)]

    assert outcome(running, ok, 111) is RollbackOutcome.RECOVERED


def test_what_did_not_clear_is_told_in_the_triggers_own_words() -> None:
    breached = [verdict("errors", TriggerState.BREACHED, "5 % of 200"), OK_SLOW]
    unseen = [verdict("errors", TriggerState.NO_DATA), OK_SLOW]

    told = [end(proof(None), verdicts, 130) for verdicts in (breached, unseen)]

    assert [t.detail for t in told if t] == ["errors is breached: 5 % of 200", "errors is no_data"]


def test_a_frozen_process_proves_nothing_with_the_time_it_did_not_look() -> None:
    running = proof()
    ok = [verdict("errors", TriggerState.OK)]
    assert end(running, ok, 105) is None

    proved = end(running, ok, 611, after=600)

    assert proved is not None
    assert (proved.recovered_at, proved.proved_at) == (601.0, 611)


def test_a_pause_of_a_busy_machine_is_no_gap() -> None:
    running = proof()
    ok = [verdict("errors", TriggerState.OK)]
    assert end(running, ok, 101) is None

    proved = running.look(ok, 111)

    assert proved is not None
    assert proved.recovered_at == 101


def test_after_a_gap_there_is_all_the_time_again() -> None:
    running = proof()
    breached = [verdict("errors", TriggerState.BREACHED)]
    assert end(running, breached, 129) is None

    assert outcome(running, breached, 631, after=600) is RollbackOutcome.NOT_RECOVERED


def test_who_resumes_it_has_all_the_time_however_long_nobody_was_there() -> None:
    breached = [verdict("errors", TriggerState.BREACHED)]
    ok = [verdict("errors", TriggerState.OK)]
    running = proof()  # switched at 100, by another process

    assert end(running, breached, 629, after=600) is None
    assert end(running, ok, 640, after=629) == Proved(
        outcome=RollbackOutcome.RECOVERED, recovered_at=630, proved_at=640
    )


@pytest.mark.parametrize("state", list(TriggerState))
def test_an_undo_is_proved_whatever_the_trigger_says_and_tells_what_it_says(
    state: TriggerState,
) -> None:
    proved = end(proof(None, undo=True), [verdict("errors", state, "60 % of 90")], 110)

    told = "" if state is TriggerState.OK else f"errors is {state.value}: 60 % of 90"
    assert proved == Proved(
        outcome=RollbackOutcome.RECOVERED, recovered_at=100, proved_at=110, detail=told
    )


def test_an_undo_too_looks_for_its_whole_time_after_a_gap() -> None:
    running = proof(None, undo=True)
    breached = [verdict("errors", TriggerState.BREACHED)]
    assert end(running, breached, 105) is None

    assert end(running, breached, 611, after=600) is not None


@given(st.lists(st.floats(0.1, 60.0), min_size=1, max_size=60), st.data())
def test_recovered_always_rests_on_an_unbroken_run_of_looks(
    steps: list[float], data: st.DataObject
) -> None:
    running, at, looks = proof(), 100.0, [(100.0, False)]
    for step in steps:
        at += step
        clear = data.draw(st.booleans())
        looks.append((at, clear))
        state = TriggerState.OK if clear else TriggerState.PENDING
        proved = running.look([verdict("errors", state)], at)
        if proved is None:
            continue
        if proved.outcome is RollbackOutcome.RECOVERED:
            since = proved.recovered_at
            assert since is not None
            run = [look for look in looks if look[0] >= since]
            assert all(clear for _, clear in run)
            assert at - since >= AFTER.clear_for_seconds
            assert all(b[0] - a[0] <= GAP_SECONDS for a, b in pairwise(run))
        return
