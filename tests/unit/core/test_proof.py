"""A rollback counts as proved only after an unbroken clear run."""

from rollbackd.core.model import RollbackOutcome, TriggerName, TriggerState, Verdict
from rollbackd.core.policy import After
from rollbackd.core.proof import Proof, Proved

AFTER = After(smoke=(), clear_for_seconds=10, monitor_seconds=0, prove_within_seconds=30)


def verdict(name: str, state: TriggerState) -> Verdict:
    return Verdict(trigger=TriggerName(name), state=state, since=0)


def proof(trigger: str | None = "errors") -> Proof:
    name = TriggerName(trigger) if trigger else None
    return Proof(trigger=name, after=AFTER, switched_at=100)


def outcome(running: Proof, verdicts: list[Verdict], at: float) -> RollbackOutcome | None:
    proved = running.look(verdicts, at)
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

    assert running.look(breached, 129.9) is None
    assert outcome(running, breached, 130) is RollbackOutcome.NOT_RECOVERED


def test_a_pending_trigger_at_the_end_is_not_recovered() -> None:
    pending = [verdict("errors", TriggerState.PENDING)]

    assert outcome(proof(), pending, 130) is RollbackOutcome.NOT_RECOVERED


def test_too_little_traffic_is_unproven_and_not_a_failure() -> None:
    no_data = [verdict("errors", TriggerState.NO_DATA)]

    assert outcome(proof(), no_data, 130) is RollbackOutcome.RECOVERED_UNPROVEN


def test_only_the_trigger_that_asked_is_looked_at() -> None:
    running = proof()
    both = [verdict("errors", TriggerState.OK), verdict("slow", TriggerState.BREACHED)]
    running.look(both, 100)

    assert outcome(running, both, 110) is RollbackOutcome.RECOVERED


def test_a_rollback_by_hand_needs_every_trigger_clear() -> None:
    running = proof(None)
    both = [verdict("errors", TriggerState.OK), verdict("slow", TriggerState.NO_DATA)]

    assert outcome(running, both, 130) is RollbackOutcome.RECOVERED_UNPROVEN


def test_a_trigger_that_is_gone_from_the_policy_falls_back_to_all() -> None:
    running = proof("removed")
    ok = [verdict("errors", TriggerState.OK)]
    running.look(ok, 100)

    assert outcome(running, ok, 110) is RollbackOutcome.RECOVERED
