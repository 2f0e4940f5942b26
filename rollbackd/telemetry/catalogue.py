"""The table of what is counted and timed: name, kind, labels, help, buckets. A table, no logic."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# Six bounds per probe: the default time-out, 3 s, is one of them.
LOOK = (0.025, 0.1, 0.25, 0.5, 1.0, 3.0)
CALL = (0.05, 0.1, 0.25, 1.0, 5.0, 30.0)
ROLLBACK = (5.0, 10.0, 20.0, 30.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0, 1200.0)
STEP = (0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 180.0)
TURN = (0.0001, 0.0005, 0.001, 0.005, 0.025, 0.1)
LAG = (0.01, 0.05, 0.25, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One metric that is written as things happen."""

    name: str
    help: str
    kind: type[Counter | Gauge | Histogram]
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    def make(self, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
        if issubclass(self.kind, Histogram):
            return Histogram(
                self.name, self.help, self.labels, registry=registry, buckets=self.buckets
            )
        return self.kind(self.name, self.help, self.labels, registry=registry)


def _counter(name: str, text: str, *labels: str) -> Instrument:
    return Instrument(name=name, help=text, kind=Counter, labels=labels)


def _gauge(name: str, text: str) -> Instrument:
    return Instrument(name=name, help=text, kind=Gauge)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Instrument:
    return Instrument(name=name, help=text, kind=Histogram, labels=labels, buckets=buckets)


INSTRUMENTS: tuple[Instrument, ...] = (
    _counter(
        "rollbackd_config_reloads_total",
        "Loads of the configuration, by result and by what asked for them.",
        "result", "cause",
    ),
    _gauge(
        "rollbackd_config_last_reload_successful",
        "Whether the newest load that changed anything was accepted (1) or refused (0).",
    ),
    _gauge(
        "rollbackd_config_last_reload_success_timestamp_seconds",
        "When a configuration was last accepted, in Unix time.",
    ),
    _counter(
        "rollbackd_probe_results_total",
        "Looks of a probe: ok, failed, refused, asleep, or the reason why it could not look.",
        "target", "probe", "result",
    ),
    _histogram(
        "rollbackd_probe_duration_seconds",
        "How long a whole look took, whatever its result.",
        LOOK, "target", "probe",
    ),
    _counter(
        "rollbackd_trigger_transitions_total",
        "Changes of a trigger's state, by the state it went to.",
        "target", "trigger", "to",
    ),
    _counter("rollbackd_evaluations_total", "Turns in which a target was judged.", "target"),
    _histogram(
        "rollbackd_evaluation_duration_seconds", "How long judging one target took.", TURN
    ),
    _counter(
        "rollbackd_decisions_total",
        "Decisions by reason: hold with the gate that held, roll_back with auto or manual.",
        "target", "decision", "reason",
    ),
    _histogram(
        "rollbackd_detection_seconds",
        "From the first bad sample to the decision to roll back.",
        ROLLBACK, "target",
    ),
    _counter(
        "rollbackd_releases_observed_total",
        "New releases seen: deploy by a person, rollback by rollbackd, external rollback.",
        "target", "kind",
    ),
    _counter(
        "rollbackd_quarantined_deploys_total",
        "Releases that came with the content or the commit of one that was quarantined.",
        "target",
    ),
    _counter(
        "rollbackd_false_alarms_total",
        "Rollbacks that a person undid, because the release was not to blame.",
        "target",
    ),
    _counter("rollbackd_rollbacks_started_total", "Rollbacks begun.", "target"),
    _counter(
        "rollbackd_rollbacks_total",
        "Rollbacks ended, by the trigger that asked (manual: a person) and by outcome.",
        "target", "trigger", "result",
    ),
    _histogram(
        "rollbackd_rollback_duration_seconds",
        "From the decision to the end of a rollback.",
        ROLLBACK, "target",
    ),
    _histogram(
        "rollbackd_rollback_step_duration_seconds",
        "How long one step took, by the phase of the runbook it belongs to.",
        STEP, "phase",
    ),
    _histogram(
        "rollbackd_scheduler_lag_seconds", "How late a probe started against its schedule.", LAG
    ),
    _counter(
        "rollbackd_scheduler_skipped_runs_total",
        "Looks that were due and did not happen, by reason.",
        "reason",
    ),
    _counter(
        "rollbackd_api_requests_total",
        "Calls to the platform, by route template and status code (error: no answer).",
        "api", "endpoint", "method", "code",
    ),
    _histogram(
        "rollbackd_api_request_duration_seconds",
        "How long calls to the platform took.",
        CALL, "api", "endpoint",
    ),
    _counter("rollbackd_api_retries_total", "Calls to the platform sent again.", "api"),
    _counter(
        "rollbackd_api_rate_limited_total", "Calls the platform asked to send later.", "api"
    ),
    _counter(
        "rollbackd_api_unauthorized_total", "Calls the platform refused for their token.", "api"
    ),
    _counter(
        "rollbackd_http_requests_total",
        "Requests to rollbackd's own listeners, by route template.",
        "handler", "method", "code",
    ),
    _counter("rollbackd_store_errors_total", "Operations of the store that failed.", "op"),
    _counter("rollbackd_log_messages_total", "Log lines written, by level.", "level"),
)  # fmt: skip

# Drawn whether there is a snapshot or not.
ALWAYS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "event_loop_lag_seconds",
        "Worst lateness of the event loop over the last ten seconds.",
        (),
    ),
    ("build_info", "What is running.", ("version", "python_version")),
)

_PROBE = ("target", "probe")
_TRIGGER = ("target", "trigger")

# Drawn from the snapshot: name without its prefix, help, labels.
GAUGES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("config_info", "The configuration in force, by hash.", ("hash",)),
    ("control_ok", "Whether rollbackd's own connectivity works; 0 means it will not act.", ()),
    ("target_healthy", "1 when no trigger is breached, 0 when one is.", ("target",)),
    ("target_mode", "1 for what a breach may do now: the mode, or paused.", ("target", "mode")),
    ("paused", "Whether automatic rollback is paused.", ("target",)),
    ("pause_until_timestamp_seconds", "When the pause ends, 0 when there is none.", ("target",)),
    (
        "locked_out",
        "Whether a failed rollback locked the target until a person unlocks it.",
        ("target",),
    ),
    (
        "cooldown_until_timestamp_seconds",
        "When the cool-down ends, 0 when there is none.",
        ("target",),
    ),
    ("evaluation_last_timestamp_seconds", "When the target was last judged.", ("target",)),
    (
        "probe_success",
        "Newest sample: 1 good, 0 failed or refused; absent after a miss.",
        (*_PROBE, "kind"),
    ),
    ("probe_value", "Newest number of a probe that gives one.", _PROBE),
    ("probe_samples", "Samples in the probe's window now.", _PROBE),
    ("probe_last_run_timestamp_seconds", "When the probe last looked.", _PROBE),
    ("probe_last_success_timestamp_seconds", "When the probe last gave a good sample.", _PROBE),
    ("probe_interval_seconds", "How often the probe looks, as configured.", _PROBE),
    ("probe_consecutive_failures", "Failed samples in a row.", _PROBE),
    ("trigger_state", "1 for the state the trigger is in, 0 for the others.", (*_TRIGGER, "state")),
    ("trigger_value", "What the trigger compares.", _TRIGGER),
    ("trigger_threshold", "What the trigger compares with.", _TRIGGER),
    (
        "evidence_odds",
        "Evidence that the release is worse than before, N to 1; regression triggers only.",
        _TRIGGER,
    ),
    (
        "trigger_pending_since_timestamp_seconds",
        "Since when the trigger is pending, 0 when it is not.",
        _TRIGGER,
    ),
    (
        "target_release_info",
        "The release that is current, and its image tag.",
        ("target", "release", "image_tag"),
    ),
    ("target_release_version", "Version of the current release.", ("target",)),
    ("target_release_timestamp_seconds", "When the current release was made.", ("target",)),
    (
        "release_candidates",
        "Releases that could be gone back to; 0 means no rollback is possible.",
        ("target",),
    ),
    (
        "target_machines",
        "Machines by state and by the release they run.",
        ("target", "state", "release"),
    ),
    ("target_machine_checks", "Platform checks of the target's machines.", ("target", "status")),
    ("rollback_in_progress", "Whether a rollback is running.", ("target",)),
    (
        "rollback_started_timestamp_seconds",
        "When the running rollback was decided, 0 when none runs.",
        ("target",),
    ),
    ("rollback_budget_remaining", "Automatic rollbacks left in the budget.", ("target",)),
)
