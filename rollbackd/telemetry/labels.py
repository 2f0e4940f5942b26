"""Which label values there can be: the closed sets, and those a configuration implies."""

from __future__ import annotations

from itertools import product

from rollbackd.core.facts import CheckOutcome, MissReason
from rollbackd.core.model import HoldReason, RollbackOutcome, TriggerState
from rollbackd.core.policy import Policy
from rollbackd.core.runbook import Phase

MANUAL = "manual"  # the trigger of a rollback a person asked for
OTHER = "other"
PROBE_ERROR = str(MissReason.PROBE_ERROR)

PROBE_RESULTS = frozenset({*map(str, CheckOutcome), "asleep", *map(str, MissReason)})
SKIP_REASONS = frozenset({"in_flight", "max_instances", "misfire", "overrun", "error", OTHER})
STORE_OPS = frozenset(
    {
        "open", "facts", "keep", "record", "begin", "claim", "note", "turn", "finish",
        "unfinished", "journal", "history", "record_lines", "put_blob", "get_blob", "fact",
        "decision", "ledger", "state", OTHER,
    }
)  # fmt: skip
LOG_LEVELS = frozenset({"debug", "info", "warning", "error", "critical", OTHER})
RELOAD_RESULTS = ("success", "failed", "unchanged")
RELOAD_CAUSES = ("start", "sighup", "api", "watch")
RELEASE_KINDS = ("deploy", "rollback", "external")
APIS = ("machines", "graphql", "releases", "logs")

LabelSets = dict[str, set[tuple[str, ...]]]


def closed() -> LabelSets:
    """Label sets that hold whatever is configured."""
    apis: set[tuple[str, ...]] = {(api,) for api in APIS}
    return {
        "rollbackd_config_reloads_total": set(product(RELOAD_RESULTS, RELOAD_CAUSES)),
        "rollbackd_scheduler_skipped_runs_total": {(r,) for r in SKIP_REASONS},
        "rollbackd_store_errors_total": {(op,) for op in STORE_OPS},
        "rollbackd_log_messages_total": {(level,) for level in LOG_LEVELS},
        "rollbackd_rollback_step_duration_seconds": {(str(phase),) for phase in Phase},
        "rollbackd_api_retries_total": apis,
        "rollbackd_api_rate_limited_total": apis,
        "rollbackd_api_unauthorized_total": apis,
    }


def configured(policy: Policy) -> LabelSets:
    """Label sets a configuration implies: all of them exist from the start, at 0."""
    targets = sorted(policy.targets)
    probes = [(t, p) for t in targets for p in policy.targets[t].probes]
    triggers = [(t, trigger.name) for t in targets for trigger in policy.targets[t].triggers]
    causes = [*triggers, *((t, MANUAL) for t in targets)]
    decisions = [("hold", str(r)) for r in HoldReason]
    decisions += [("roll_back", "auto"), ("roll_back", "manual")]
    each: set[tuple[str, ...]] = {(t,) for t in targets}
    return {
        "rollbackd_probe_results_total": {(*p, r) for p in probes for r in PROBE_RESULTS},
        "rollbackd_probe_duration_seconds": set(probes),
        "rollbackd_trigger_transitions_total": {
            (*t, str(s)) for t in triggers for s in TriggerState
        },
        "rollbackd_evaluations_total": each,
        "rollbackd_detection_seconds": each,
        "rollbackd_decisions_total": {(t, *d) for t in targets for d in decisions},
        "rollbackd_quarantined_deploys_total": each,
        "rollbackd_false_alarms_total": each,
        "rollbackd_rollbacks_started_total": each,
        "rollbackd_rollbacks_total": {(*c, str(o)) for c in causes for o in RollbackOutcome},
        "rollbackd_rollback_duration_seconds": each,
        "rollbackd_releases_observed_total": set(product(targets, RELEASE_KINDS)),
    }
